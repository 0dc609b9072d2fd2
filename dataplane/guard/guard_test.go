package guard

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestStories runs the scenarios of testdata. Requests have names; every command prints what is to be done.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var d *Device
		var free, want uint64
		requests := map[string]*chunk.Request{}
		datadriven.RunTest(t, path, func(t *testing.T, td *datadriven.TestData) string {
			name, op := "", "write"
			var vol, generation, epoch uint32 = 1, 1, 1
			count := uint16(1)
			for _, a := range td.CmdArgs {
				switch a.Key {
				case "vol":
					td.ScanArgs(t, "vol", &vol)
				case "gen":
					td.ScanArgs(t, "gen", &generation)
				case "epoch":
					td.ScanArgs(t, "epoch", &epoch)
				case "op":
					td.ScanArgs(t, "op", &op)
				case "count":
					td.ScanArgs(t, "count", &count)
				case "want":
					td.ScanArgs(t, "want", &want)
				case "free":
					td.ScanArgs(t, "free", &free)
				case "reserve":
				default:
					name = a.Key
				}
			}
			key := cluster.VolumeKey{VUID: vol, Generation: generation}
			r := requests[name]
			switch td.Cmd {
			case "device":
				var reserve uint64
				td.ScanArgs(t, "reserve", &reserve)
				d = New(reserve)
				return ""
			case "arrive":
				r = &chunk.Request{Op: map[string]chunk.Op{"write": chunk.OpWrite, "tombstone": chunk.OpTombstone,
					"fence": chunk.OpFence, "wipe": chunk.OpJournalWipe, "stable": chunk.OpStable}[op], Vol: key,
					Epoch: epoch, Count: count, Want: uint32(want), Tag: name}
				want = 0
				requests[name] = r
				return acts(d.Volume(key).Arrive(r, nil))
			case "stored", "lost":
				return acts(d.Volume(r.Vol).Stored(r, td.Cmd == "stored", nil))
			case "ended":
				out := acts(d.Volume(r.Vol).Ended(r, free, nil))
				return fmt.Sprintf("granted %d, known %d\n", r.Granted, r.Known) + out
			case "forget":
				d.Forget(key)
				return ""
			case "restart": // the process ends with what was in flight; what was stored is there
				fence := d.Volume(key).Fence()
				d = New(d.reserve)
				d.Volume(key).Restore(fence)
				return ""
			}
			t.Fatalf("%s: unknown command %s", td.Pos, td.Cmd)
			return ""
		})
	})
}

func acts(out []Act) string {
	var b strings.Builder
	for _, a := range out {
		fmt.Fprintf(&b, "%s: %s", a.Request.Tag, []string{"execute", "store", "fenced", "no session"}[a.Verdict])
		if a.Verdict == Fenced {
			fmt.Fprintf(&b, ", known %d", a.Request.Known)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// world drives a guard as a server would, in any order, and checks what it says against what it promises.
type world struct {
	rng     *rand.Rand
	d       *Device
	free    uint64
	reserve uint64
	vols    []*sender
	asked   int
	done    int
}

// sender is one volume with its owner, who trusts only what answers say.
type sender struct {
	v                *Volume
	key              cluster.VolumeKey
	epoch            uint32
	stored           uint32
	executing        []*chunk.Request
	storing          *chunk.Request
	granted, counted uint32 // by the answers of this session, and blocks of writes
}

func (w *world) do(s *sender, out []Act) error {
	for _, a := range out {
		r := a.Request
		switch a.Verdict {
		case Fenced:
			if r.Epoch >= r.Known {
				return fmt.Errorf("epoch %d was fenced by %d", r.Epoch, r.Known)
			}
			w.done++
			continue
		case Store:
			if r.Epoch <= s.stored || s.storing != nil || len(s.executing) > 0 {
				return fmt.Errorf("epoch %d is stored over %d with %d in flight", r.Epoch, s.stored, len(s.executing))
			}
			s.storing = r
			continue
		}
		one := func(x *chunk.Request) bool { return alone(x.Op) }
		if r.Epoch != s.stored || s.storing != nil || slices.ContainsFunc(s.executing, one) ||
			alone(r.Op) && len(s.executing) > 0 {
			return fmt.Errorf("%#x of epoch %d runs under fence %d beside %d", r.Op, r.Epoch, s.stored,
				len(s.executing))
		}
		if r.Op == chunk.OpWrite {
			w.free -= min(w.free, uint64(r.Count))
		}
		s.executing = append(s.executing, r)
	}
	return nil
}

func (w *world) arrive(s *sender) error {
	r := &chunk.Request{Vol: s.key, Epoch: s.epoch, Count: uint16(1 + w.rng.IntN(64))}
	switch w.rng.IntN(12) {
	case 0:
		s.epoch++
		r.Epoch = s.epoch
		r.Op = chunk.OpFence
	case 1:
		r.Op = chunk.OpFence
	case 2:
		r.Op = chunk.OpJournalWipe
	case 3:
		r.Op, r.Want = chunk.OpStable, w.rng.Uint32N(3000)
	case 4:
		r.Op, r.Epoch = chunk.OpRead, s.epoch-w.rng.Uint32N(min(s.epoch, 2))
	default:
		r.Op = chunk.OpWrite
	}
	w.asked++
	return w.do(s, s.v.Arrive(r, nil))
}

// advance ends something that is under way.
func (w *world) advance(s *sender) error {
	if r := s.storing; r != nil {
		s.storing = nil
		ok := w.rng.IntN(5) > 0
		if ok {
			s.stored, s.granted, s.counted = r.Epoch, 0, 0
		} else {
			w.done++
		}
		return w.do(s, s.v.Stored(r, ok, nil))
	}
	if len(s.executing) == 0 {
		return nil
	}
	i := w.rng.IntN(len(s.executing))
	r := s.executing[i]
	s.executing = slices.Delete(s.executing, i, i+1)
	before := w.d.unused
	if r.Op == chunk.OpFence {
		s.granted, s.counted = 0, 0
	}
	out := s.v.Ended(r, w.free, nil)
	w.done++
	if r.Op == chunk.OpWrite {
		s.counted += uint32(r.Count)
	}
	if r.Granted < s.granted {
		return fmt.Errorf("granted %d after %d", r.Granted, s.granted)
	}
	s.granted = r.Granted
	if w.d.unused > before && w.d.unused+w.reserve > w.free {
		return fmt.Errorf("%d blocks are promised of %d, reserve %d", w.d.unused, w.free, w.reserve)
	}
	// What a sender may still use is what is kept for it, unless a fence that has begun meanwhile has ended its
	// session.
	if s.v.started {
		return w.do(s, out)
	}
	if left := int64(s.granted) - int64(s.counted); left != int64(s.v.unused) {
		return fmt.Errorf("the sender counts on %d blocks, %d are kept for it", left, s.v.unused)
	}
	return w.do(s, out)
}

// TestAnyOrder: whatever comes and ends in whatever order, exclusive requests are alone, epochs only rise,
// every request comes back, and no more is promised than there is.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := &world{rng: rng, free: 200 + rng.Uint64N(20000), reserve: rng.Uint64N(300)}
		w.d = New(w.reserve)
		for i := range uint32(3) {
			key := cluster.VolumeKey{VUID: 1 + i, Generation: 1}
			w.vols = append(w.vols, &sender{v: w.d.Volume(key), key: key, epoch: 1})
		}
		for step := range 600 {
			s := w.vols[rng.IntN(3)]
			f := w.advance
			if step < 500 && rng.IntN(2) == 0 {
				f = w.arrive
			}
			if rng.IntN(4) == 0 {
				w.free += rng.Uint64N(100)
			}
			if err := f(s); err != nil {
				t.Fatalf("seed %d step %d: %v", seed, step, err)
			}
		}
		for _, s := range w.vols {
			for s.storing != nil || len(s.executing) > 0 {
				if err := w.advance(s); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
		var unused uint64
		for _, s := range w.vols {
			unused += s.v.unused
		}
		if w.done != w.asked || unused != w.d.unused {
			t.Fatalf("seed %d: %d of %d requests came back; %d blocks unused, the device says %d", seed, w.done,
				w.asked, unused, w.d.unused)
		}
	}
}
