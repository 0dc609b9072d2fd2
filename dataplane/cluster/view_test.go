package cluster

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSeesWhatWasThere plays writes, pins and reverts of one block and holds the rule of hidden intervals
// against what the block was at each pin and is now.
func TestSeesWhatWasThere(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var v View
		var versions []Seq
		was := map[Seq]Seq{} // by pin: the version that it saw
		now := Seq(0)
		for w := Seq(1); w < 60; w++ {
			switch rng.IntN(5) {
			case 0:
				v = v.WithPins([]Seq{w}, nil)
				was[w] = now
			case 1:
				if len(v.Pins) > 0 {
					pin := v.Pins[rng.IntN(len(v.Pins))]
					v, now = v.Reverted(pin, w), was[pin]
				}
			case 2:
				if len(v.Pins) > 3 {
					v = v.WithPins(nil, []Seq{v.Pins[rng.IntN(len(v.Pins))]})
				}
			default:
				versions, now = append(versions, w), w
			}
			newest := func(s Seq) (seen Seq) {
				for _, x := range slices.Backward(versions) {
					if v.Sees(s, x) {
						return x
					}
				}
				return 0
			}
			if err := v.Validate(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, pin := range v.Pins {
				if got := newest(pin); got != was[pin] {
					t.Fatalf("seed %d: at %d pin %d sees %d, saw %d; hidden %v", seed, w, pin, got, was[pin], v.Hidden)
				}
			}
			if got := newest(0); got != now {
				t.Fatalf("seed %d: at %d the present is %d, want %d; hidden %v", seed, w, got, now, v.Hidden)
			}
		}
	}
}

// TestIntervalsGo: what nobody looks through any more is not kept: of reverts to one pin, only the last.
func TestIntervalsGo(t *testing.T) {
	v := (&View{}).WithPins([]Seq{5}, nil)
	for w := Seq(10); w < 100; w += 10 {
		v = v.Reverted(5, w)
	}
	if len(v.Hidden) != 1 || v.Hidden[0] != (Interval{5, 90}) {
		t.Errorf("after reverts to one pin: %v", v.Hidden)
	}
	v = v.WithPins([]Seq{95}, nil)
	v = v.Reverted(5, 100)
	if len(v.Hidden) != 2 {
		t.Errorf("a pin that looks through an older revert has lost it: %v", v.Hidden)
	}
	if v = v.WithPins(nil, []Seq{95}); len(v.Hidden) != 1 {
		t.Errorf("without the pin: %v", v.Hidden)
	}
}

// TestViewIsForPeopleToRead in etcd, and comes back as it was.
func TestViewIsForPeopleToRead(t *testing.T) {
	v := View{Version: 3, Pins: []Seq{MakeSeq(9, 1), MakeSeq(MaxOwnerEpoch, MaxSeqCounter)},
		Hidden: []Interval{{MakeSeq(1, 2), MakeSeq(3, 4)}}}
	text, err := json.Marshal(v)
	want := `{"version":3,"pins":["9.1","16777215.1099511627775"],"hidden":[{"after":"1.2","to":"3.4"}]}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	var back View
	if err := json.Unmarshal(text, &back); err != nil || back.Version != 3 || !slices.Equal(back.Pins, v.Pins) ||
		!slices.Equal(back.Hidden, v.Hidden) {
		t.Errorf("%+v, %v", back, err)
	}
	for _, wrong := range []string{`"1"`, `"16777216.0"`, `"1.1099511627776"`, `"-1.2"`, `7`} {
		var s Seq
		if err := json.Unmarshal([]byte(wrong), &s); err == nil {
			t.Errorf("%s is no sequence number, got %v", wrong, s)
		}
	}
}
