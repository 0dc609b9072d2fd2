package history

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

// script runs a history of one sector from words: "w1(" begins the write that the script calls 1, "w1)"
// answers it; "r1(" begins read 1, "r1)=w1" ends it with that write's stamp; "z1(", "z1)" are writes of
// zeroes; "=0" is zeroes, "w1!" lets write 1 expire, "cut" cuts the sector off. It returns the first
// violation.
func script(t *testing.T, words string) error {
	t.Helper()
	h := New(1)
	ops := map[string]*Op{}
	for _, w := range strings.Fields(words) {
		name, value, isRead := strings.Cut(w, ")=")
		switch {
		case isRead:
			stamp := uint64(0)
			if value != "0" {
				stamp = ops[value].Stamp()
			}
			if err := ops[name].Done([]uint64{stamp}); err != nil {
				return err
			}
		case w == "cut":
			h.Cut(0, 1)
		case strings.HasSuffix(w, "!"):
			ops[w[:len(w)-1]].Expire()
		case strings.HasSuffix(w, ")"):
			if err := ops[w[:len(w)-1]].Done(nil); err != nil {
				return err
			}
		case w[0] == 'w':
			ops[w[:len(w)-1]] = h.Write(0, 1)
		case w[0] == 'z':
			ops[w[:len(w)-1]] = h.Zero(0, 1)
		case w[0] == 'r':
			ops[w[:len(w)-1]] = h.Read(0, 1)
		default:
			t.Fatalf("script: %q", w)
		}
	}
	return nil
}

func TestStories(t *testing.T) {
	for _, c := range []struct {
		story, words string
		legal        bool
	}{
		{"a fresh volume reads as zeroes", "r1( r1)=0", true},
		{"a write is read back", "w1( w1) r1( r1)=w1", true},
		{"an acknowledged write is lost", "w1( w1) r1( r1)=0", false},
		{"an overwritten value comes back", "w1( w1) w2( w2) r1( r1)=w1", false},
		{"a read during a write may see either", "w1( w1) w2( r1( r1)=w1 r2( r2)=w2 w2)", true},
		{"two reads during a write go backwards", "w1( w1) w2( r1( r1)=w2 r2( r2)=w1 w2)", false},
		{"a read that began before may end with the old value", "w1( w1) r1( w2( w2) r1)=w1", true},
		{"but not once a later read has seen both in the other order", "w1( w1) w2( w2) r1( r1)=w2 r2( r2)=w1",
			false},
		{"concurrent writes end in either order", "w1( w2( w1) w2) r1( r1)=w1 r2( r2)=w1", true},
		{"concurrent writes do not alternate", "w1( w2( w1) w2) r1( r1)=w1 r2( r2)=w2", false},
		{"an unanswered write may take effect late", "w1( w2( w2) r1( r1)=w2 r2( r2)=w1", true},
		{"but only once", "w1( w2( w2) r1( r1)=w1 r2( r2)=w2", false},
		{"zeroes after a deallocation", "w1( w1) z1( z1) r1( r1)=0", true},
		{"a deallocation is lost", "w1( w1) z1( z1) r1( r1)=w1", false},
		{"zeroes from nowhere", "z1( z1) w1( w1) r1( r1)=0", false},
		{"a write that expired has taken effect before", "w1( w2( w2) r1( r1)=w1 w1! r2( r2)=w1", true},
		{"or never does", "w1( w1! w2( w2) r1( r1)=w1", false},
		{"or did unnoticed", "w2( w2) w1( w1! r1( r1)=w1", true},
		{"a second try takes effect beside the first", "w1( w2( r1( r1)=w1 w3( w3) r2( r2)=w2 w2) w1! r3( r3)=w2",
			true},
		{"but the first not after the second was answered", "w1( w2( w2) w1! w3( w3) r1( r1)=w1", false},
		{"what is cut off is zeroes", "w1( w1) w2( cut r1( r1)=0 w2) r2( r2)=0", true},
		{"what was there before a cut comes back", "w1( w1) cut r1( r1)=w1", false},
		{"what was under way is written behind a cut", "w1( cut w1) r1( r1)=w1", false},
		{"or without an answer", "w1( cut r1( r1)=w1", false},
		{"it was written before, and a read that began before sees it", "w1( r1( cut r1)=w1 w1! r2( r2)=0", true},
		{"what is written after a cut stays", "w1( cut w2( w2) w1) r1( r1)=w2", true},
		{"two zeroes, one fits", "w1( w1) z1( r1( r1)=0 z1) w2( w2) r2( r2)=0", false},
	} {
		if err := script(t, c.words); (err == nil) != c.legal {
			t.Errorf("%s: %s: got %v", c.story, c.words, err)
		}
	}
}

// TestARegisterIsLegal: what a real register with delays does is never refused, and memory stays bounded.
func TestARegisterIsLegal(t *testing.T) {
	for seed := range int64(300) {
		if err := simulate(seed, 0); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestAStaleRegisterIsFound: a register that now and then answers with the value before the present one is
// found out.
func TestAStaleRegisterIsFound(t *testing.T) {
	found := 0
	for seed := range int64(100) {
		if simulate(seed, 20) != nil {
			found++
		}
	}
	if found < 95 {
		t.Fatalf("found only %d of 100 stale registers", found)
	}
}

// simulate drives a register: operations begin, take effect and end at random moments. One read in stale
// returns what the register held before; with few operations at a time that is rarely what it may return.
func simulate(seed int64, stale int) error {
	rng := rand.New(rand.NewSource(seed))
	h := New(1)
	type running struct {
		op    *Op
		write bool
		done  bool // has taken effect
		value uint64
	}
	var ops []*running
	var now, before uint64
	width := 6
	if stale > 0 {
		width = 2
	}
	for range 3000 {
		switch r := rng.Intn(3); {
		case r == 0 && len(ops) < width:
			o := &running{write: rng.Intn(2) == 0}
			switch {
			case o.write && rng.Intn(5) == 0:
				o.op = h.Zero(0, 1)
			case o.write:
				o.op = h.Write(0, 1)
			default:
				o.op = h.Read(0, 1)
			}
			ops = append(ops, o)
		case r == 1 && len(ops) > 0:
			o := ops[rng.Intn(len(ops))]
			switch {
			case o.done:
			case o.write:
				before, now = now, o.op.Stamp()
			case stale > 0 && rng.Intn(stale) == 0:
				o.value = before
			default:
				o.value = now
			}
			o.done = true
		case r == 2 && len(ops) > 0:
			i := rng.Intn(len(ops))
			o := ops[i]
			if !o.done {
				continue
			}
			ops = append(ops[:i], ops[i+1:]...)
			if o.write && rng.Intn(20) == 0 {
				o.op.Abandon()
				continue
			}
			if err := o.op.Done([]uint64{o.value}); err != nil {
				return err
			}
		}
		if n := len(h.sectors[0]); n > 400 {
			return fmt.Errorf("%d groups are remembered", n)
		}
	}
	return nil
}

// BenchmarkWrite is the cost of judging one write of 4 KiB.
func BenchmarkWrite(b *testing.B) {
	h := New(1 << 16)
	b.ReportAllocs()
	for i := range b.N {
		from := i * 8 % (1 << 16)
		if err := h.Write(from, from+8).Done(nil); err != nil {
			b.Fatal(err)
		}
	}
}

// TestPin: what is read as of a pin may be what was under way when it was taken, but nothing older and
// nothing that began later.
func TestPin(t *testing.T) {
	h := New(1)
	done := func(op *Op, values ...uint64) {
		t.Helper()
		if err := op.Done(values); err != nil {
			t.Fatal(err)
		}
	}
	old, before := h.Write(0, 1), h.Write(0, 1)
	done(old)
	done(before)
	meanwhile := h.Write(0, 1)
	pin := h.Pin()
	done(meanwhile)
	done(h.Read(0, 1), meanwhile.Stamp())
	after := h.Write(0, 1)
	done(after)
	if err := pin.Seen(0, []uint64{meanwhile.Stamp()}); err != nil {
		t.Errorf("a write that was under way is not allowed: %v", err)
	}
	if pin.Seen(0, []uint64{after.Stamp()}) == nil {
		t.Error("a write that began later is allowed")
	}
	if pin.Seen(0, []uint64{0}) == nil {
		t.Error("what was there before two writes is allowed")
	}
	done(h.Read(0, 1), after.Stamp())
}
