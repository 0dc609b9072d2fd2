package qos

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestRateIsExact: whatever the limits and sizes, a volume that always wants more gets its rate over ten
// seconds, to within the burst and one command; the requirement is 5 %.
func TestRateIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.flows["v"] = w.s.NewFlow()
		l := Limits{Burst: rapid.Int64Range(0, second/10).Draw(t, "burst")}
		size := uint32(rapid.IntRange(1, 256).Draw(t, "blocks") * 4096)
		if rapid.Bool().Draw(t, "by operations") {
			l.IOPS = rapid.Uint64Range(100, 20_000).Draw(t, "iops")
		} else {
			l.Bytes = rapid.Uint64Range(100, 5_000).Draw(t, "commands") * uint64(size)
		}
		if rapid.Bool().Draw(t, "of the pool") {
			w.s.Limit(l)
		} else {
			w.s.LimitFlow(w.flows["v"], l)
		}
		for range 4 { // commands that it always has under way
			w.submit("v", size)
		}
		var ops, bytes uint64
		w.run(10*second, func(_ int64, c *command) {
			ops, bytes = ops+1, bytes+uint64(c.Bytes)
			w.submit("v", size)
		})
		within := func(what string, got, rate, one uint64) {
			most := float64(rate)*(10+float64(l.Burst)/second) + float64(one)
			if least := float64(rate)*10 - float64(one); float64(got) > most+1 || float64(got) < least {
				t.Fatalf("%d %s in 10 s at %d a second (burst %d ns)", got, what, rate, l.Burst)
			}
		}
		if l.IOPS > 0 {
			within("operations", ops, l.IOPS, 1)
		} else {
			within("bytes", bytes, l.Bytes, uint64(size))
		}
	})
}

// TestContendedPoolIsSharedFairly: volumes that always want more get equal parts of the pool's time, whatever
// the sizes of their commands and however many they have under way; one with a lower limit of its own gets
// that, and the others share the rest.
func TestContendedPoolIsSharedFairly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		const rate = 100 << 20
		w.s.Limit(Limits{Bytes: rate, Burst: second / 100})
		volumes := rapid.IntRange(2, 8).Draw(t, "volumes")
		limited := rapid.Bool().Draw(t, "limited")
		sizes, got := map[string]uint32{}, map[string]uint64{}
		for i := range volumes {
			name := fmt.Sprint("v", i)
			w.flows[name] = w.s.NewFlow()
			sizes[name] = uint32(rapid.IntRange(1, 32).Draw(t, "blocks") * 4096)
			for range rapid.IntRange(1, 16).Draw(t, "depth") {
				w.submit(name, sizes[name])
			}
		}
		if limited {
			w.s.LimitFlow(w.flows["v0"], Limits{Bytes: 2 << 20, Burst: second / 100})
		}
		w.run(10*second, func(_ int64, c *command) {
			got[c.name] += uint64(c.Bytes)
			w.submit(c.name, sizes[c.name])
		})
		share, others := 10*rate/uint64(volumes), volumes
		if limited {
			share, others = (10*rate-20<<20)/uint64(volumes-1), volumes-1
			if g := got["v0"]; g > 21<<20 || g < 19<<20 {
				t.Fatalf("v0 got %d bytes, its limit is %d", g, 20<<20)
			}
			delete(got, "v0")
		}
		for name, g := range got {
			if d := float64(g) - float64(share); d > 0.05*float64(share) || d < -0.05*float64(share) {
				t.Fatalf("%s got %d bytes, a fair share of %d is %d", name, g, others, share)
			}
		}
	})
}

// TestOrderAndLimitsOfAnyHistory: commands begin in the order of their volume, none twice, none is lost, and
// never do more begin than a limit allows, whatever is submitted when and whichever limits change.
func TestOrderAndLimitsOfAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, sent, seen := New(), [3]int{}, [3]int{}
		flows := [3]*Flow{s.NewFlow(), s.NewFlow(), s.NewFlow()}
		now, most := int64(0), 0.0 // most operations that may have begun by now
		limit := Limits{IOPS: 1000, Burst: second / 100}
		s.Limit(limit)
		most = 1 + float64(limit.IOPS)*float64(limit.Burst)/second
		began := 0
		out := func(it *Item) {
			for ; it != nil; it = it.Next {
				tag := it.Tag.([2]int)
				if seen[tag[0]] != tag[1] {
					t.Fatalf("command %d of volume %d begins after %d others", tag[1], tag[0], seen[tag[0]])
				}
				seen[tag[0]]++
				began++
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			v := rapid.IntRange(0, 2).Draw(t, "volume")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				for range rapid.IntRange(1, 30).Draw(t, "n") {
					s.Submit(flows[v], &Item{Bytes: 4096, Tag: [2]int{v, sent[v]}})
					sent[v]++
				}
			case 2:
				s.LimitFlow(flows[v], Limits{IOPS: rapid.Uint64Range(0, 2000).Draw(t, "iops"), Burst: second / 50})
			case 3:
				d := rapid.Int64Range(0, second/20).Draw(t, "time")
				now, most = now+d, most+float64(d)*float64(limit.IOPS)/second
			}
			out(s.Ready(now))
			if float64(began) > most+1 {
				t.Fatalf("%d have begun by %d, the limit allows %f", began, now, most)
			}
			if s.Next() <= now {
				t.Fatal("something may begin and was not given out")
			}
		}
		for _, f := range flows {
			s.LimitFlow(f, Limits{})
		}
		s.Limit(Limits{})
		out(s.Ready(now))
		if seen != sent || s.Next() != Never {
			t.Fatalf("sent %v, begun %v", sent, seen)
		}
	})
}

func TestNothingIsAllocated(t *testing.T) {
	w := newWorld()
	w.s.Limit(Limits{IOPS: 1_000_000})
	items := make([]Item, 4)
	flows := []*Flow{w.s.NewFlow(), w.s.NewFlow()}
	step := func() {
		for i := range items {
			w.s.Submit(flows[i%2], &items[i])
		}
		for range items {
			w.now = w.s.Next()
			w.s.Ready(w.now)
		}
	}
	step()
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkScheduler is what a limit costs a command: queued, given out, with so many volumes competing.
func BenchmarkScheduler(b *testing.B) {
	for _, volumes := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(volumes), func(b *testing.B) {
			s := New()
			s.Limit(Limits{IOPS: 1_000_000, Bytes: 10 << 30})
			flows, items := make([]*Flow, volumes), make([]Item, volumes)
			for i := range flows {
				flows[i] = s.NewFlow()
				items[i].Bytes, items[i].Tag = 4096, i
				s.Submit(flows[i], &items[i])
			}
			now := int64(0)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				now = max(now, s.Next())
				for it := s.Ready(now); it != nil; {
					next := it.Next
					s.Submit(flows[it.Tag.(int)], it)
					it = next
				}
			}
		})
	}
}

// TestRemaindersAreCarried: 70 million a second are 14 2/7 ns each; after 70,000 of them 1 ms has passed.
func TestRemaindersAreCarried(t *testing.T) {
	m := meter{rate: 70_000_000, burst: second}
	for range 70_000 {
		m.charge(0, 1)
	}
	if m.hand != second/1000 {
		t.Errorf("the hand is at %d ns", m.hand)
	}
}
