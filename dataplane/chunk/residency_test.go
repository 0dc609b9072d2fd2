package chunk

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestResidenciesRise: a later table, and in it a later draw, has the higher number; over another device's
// data lie only alternates.
func TestResidenciesRise(t *testing.T) {
	rising := []Residency{0, Home(0), Alternate(0, 1, 0), Alternate(0, 1, 1), Alternate(0, 2, 0), Home(1),
		Alternate(1, 1, 0), Alternate(MaxTable, cluster.MaxOwnerEpoch, MaxRound)}
	for i, r := range rising {
		if i > 0 && r <= rising[i-1] {
			t.Errorf("%v is not above %v", r, rising[i-1])
		}
		if want := i != 0 && i != 1 && i != 5; r.Overlay() != want {
			t.Errorf("%v lies over another: %v", r, r.Overlay())
		}
	}
	if last := rising[len(rising)-1]; last > maxResidency || last.String() != "t65534/16777215.65535" {
		t.Errorf("the largest residency is %v, %#x", last, uint64(last))
	}
}

// TestSees is the rule of reverts: who looks from behind a hidden interval does not see into it.
func TestSees(t *testing.T) {
	v := View{Hidden: []Interval{{After: 10, To: 20}, {After: 30, To: 40}}}
	for _, x := range []struct {
		s, w cluster.Seq
		want bool
	}{
		{0, 5, true}, {0, 10, true}, {0, 11, false}, {0, 20, false}, {0, 21, true}, {0, 35, false}, {0, 41, true},
		{15, 11, true}, {15, 16, false}, {20, 20, true}, {21, 20, false}, {35, 15, false}, {35, 33, true},
		{40, 33, true}, {41, 33, false},
	} {
		if got := v.Sees(x.s, x.w); got != x.want {
			t.Errorf("as of %d, %d is seen: %v", x.s, x.w, got)
		}
	}
}

// TestWrongRequestsAreRefused goes through the sentences of Validate.
func TestWrongRequestsAreRefused(t *testing.T) {
	good := func() *Request {
		return &Request{Op: OpWrite, Vol: cluster.VolumeKey{VUID: 1, Generation: 1}, Epoch: 3, Residency: Home(0),
			Count: 1, W: cluster.MakeSeq(3, 1), Data: make([]byte, 4096), Blocks: make([]BlockInfo, 1)}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Request){
		"no volume":          func(r *Request) { r.Vol.VUID = 0 },
		"no epoch":           func(r *Request) { r.Epoch = 0 },
		"epoch too large":    func(r *Request) { r.Epoch = cluster.MaxOwnerEpoch + 1 },
		"operation":          func(r *Request) { r.Op = 0x99 },
		"no blocks":          func(r *Request) { r.Count = 0 },
		"beyond the chunk":   func(r *Request) { r.Block = MaxBlocks },
		"no residency":       func(r *Request) { r.Residency = 0 },
		"no counter":         func(r *Request) { r.W = cluster.MakeSeq(3, 0) },
		"w of a later epoch": func(r *Request) { r.W = cluster.MakeSeq(4, 1) },
		"too little data":    func(r *Request) { r.Data = r.Data[1:] },
		"too few records":    func(r *Request) { r.Blocks = nil },
		"drop of nothing":    func(r *Request) { r.Op, r.Residency = OpDrop, 0 },
		"list of nothing":    func(r *Request) { r.Op, r.Count = OpList, 0 },
		"list mode":          func(r *Request) { r.Op, r.Mode = OpList, ListBad+1 },
		"long journal list":  func(r *Request) { r.Op, r.Count = OpJournalList, MaxJournalEntries+1 },
		"empty journal":      func(r *Request) { r.Op = OpJournalPut },
		"foreign mark":       func(r *Request) { r.Op, r.W = OpStable, cluster.MakeSeq(2, 1) },
		"hole above":         func(r *Request) { r.Op, r.Holes = OpStable, []cluster.Seq{r.W + 1} },
		"hole twice":         func(r *Request) { r.Op, r.Holes = OpStable, []cluster.Seq{r.W, r.W} },
		"unsorted pins":      func(r *Request) { r.Op, r.View.Pins = OpView, []cluster.Seq{2, 1} },
		"empty interval":     func(r *Request) { r.Op, r.View.Hidden = OpView, []Interval{{After: 2, To: 2}} },
		"endless interval": func(r *Request) {
			r.Op, r.View.Hidden = OpView, []Interval{{After: 2, To: ^cluster.Seq(0)}}
		},
		"journal entry": func(r *Request) { r.Op, r.Journal = OpJournalPut, []JournalEntry{{}} },
		"journal place": func(r *Request) {
			r.Op, r.Journal = OpJournalPut, []JournalEntry{{Seq: 1, Places: []Place{{Device: 1}}}}
		},
	} {
		r := good()
		if spoil(r); r.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestWrongReadsForClonesAreRefused goes through the sentences of ValidateInherit. A device takes none.
func TestWrongReadsForClonesAreRefused(t *testing.T) {
	good := func() *Request {
		return &Request{Op: OpInherit, Vol: cluster.VolumeKey{VUID: 1, Generation: 1}, Epoch: 3, Page: maxPage - 1,
			Count: 1, W: cluster.MakeSeq(4, 1), Data: make([]byte, 4096), Blocks: make([]BlockInfo, 1)}
	}
	if err := good().ValidateInherit(); err != nil {
		t.Fatal(err)
	}
	if good().Validate() == nil {
		t.Error("a device takes a request to an owner")
	}
	for name, spoil := range map[string]func(*Request){
		"operation":       func(r *Request) { r.Op = OpRead },
		"no volume":       func(r *Request) { r.Vol.VUID = 0 },
		"no pin":          func(r *Request) { r.W = 0 },
		"no blocks":       func(r *Request) { r.Count = 0 },
		"too many blocks": func(r *Request) { r.Count = MaxBlocks + 1 },
		"beyond the end":  func(r *Request) { r.Page = maxPage },
		"too little data": func(r *Request) { r.Data = r.Data[1:] },
		"too few records": func(r *Request) { r.Blocks = nil },
	} {
		r := good()
		if spoil(r); r.ValidateInherit() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
