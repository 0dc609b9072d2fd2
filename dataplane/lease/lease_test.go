package lease

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func vol(n uint32) cluster.VolumeKey { return cluster.VolumeKey{VUID: n, Generation: 1} }

// TestNoTwoAnswerers plays renewals and take-overs with lost, late and reordered messages and checks the
// promise of the package documentation: from the moment a new owner may answer, the old one may not.
func TestNoTwoAnswerers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		voters := []cluster.NodeID{1, 2, 3}
		servers := map[cluster.NodeID]*Voter{}
		for _, v := range voters {
			servers[v] = NewVoter(uint64(v), 0, nil)
		}
		old := NewHolder(0, voters)
		owns := true
		now := int64(0)
		type message struct {
			voter cluster.NodeID
			sent  int64
			reply Reply
			asked bool
		}
		var net []message
		fencedBy := map[cluster.NodeID]bool{}
		majorityAt, clearAt := int64(-1), int64(0)
		heard := map[cluster.NodeID]int64{}
		for step := 0; step < 300; step++ {
			now += rapid.Int64Range(0, second/4).Draw(t, "pass")
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				net = append(net, message{voter: rapid.SampledFrom(voters).Draw(t, "to"), sent: now})
			case 2, 3, 4:
				if len(net) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(net)-1).Draw(t, "which")
				m := net[i]
				net = append(net[:i], net[i+1:]...)
				if !m.asked {
					m.reply, m.asked = servers[m.voter].Renew(now, 9, old.Since(m.voter)), true
					net = append(net, m)
					continue
				}
				for _, f := range m.reply.Fences {
					owns = owns && !(f.Vol == vol(7) && f.Epoch > 1)
				}
				old.Granted(m.voter, m.sent, now, m.reply)
			case 5:
				if step > 100 {
					v := rapid.SampledFrom(voters).Draw(t, "fence")
					servers[v].Stored(Fence{vol(7), 2})
					fencedBy[v] = true
					heard[v] = now - servers[v].Age(now, 9)
					if len(fencedBy) >= 2 && majorityAt < 0 {
						majorityAt, clearAt = now, Clear(slices.Collect(maps.Values(heard)))
					}
				}
			case 6: // a voter restarts with what it had stored
				v := rapid.SampledFrom(voters).Draw(t, "restart")
				servers[v] = NewVoter(uint64(now)+uint64(v)<<50, now, servers[v].All())
			}
			if majorityAt >= 0 && now >= clearAt && owns && now < old.ValidUntil() {
				t.Fatalf("at %d the old owner still answers; the fence had its majority at %d, clear at %d",
					now, majorityAt, clearAt)
			}
		}
	})
}

func TestFencesComeInPieces(t *testing.T) {
	v := NewVoter(5, 0, nil)
	for n := uint32(1); n <= 3*MaxFences; n++ {
		v.Stored(Fence{vol(n), 4})
	}
	h := NewHolder(0, []cluster.NodeID{1})
	got := map[cluster.VolumeKey]uint32{}
	for i := 0; ; i++ {
		if i > 3 {
			t.Fatal("never complete")
		}
		r := v.Renew(10, 2, h.Since(1))
		for _, f := range r.Fences {
			got[f.Vol] = f.Epoch
		}
		if h.Granted(1, 10, 11, r) {
			break
		}
		if h.ValidUntil() != 0 {
			t.Fatal("a reply with more to follow granted a lease")
		}
	}
	if len(got) != 3*MaxFences || h.ValidUntil() != 10+Duration-Margin {
		t.Fatalf("%d fences, lease until %d", len(got), h.ValidUntil())
	}
	if r := v.Renew(20, 2, h.Since(1)); len(r.Fences) != 0 {
		t.Fatalf("fences were sent twice: %v", r.Fences)
	}
}

func TestRepeatedFencesAreCompacted(t *testing.T) {
	v := NewVoter(5, 0, nil)
	for e := uint32(1); e < 10000; e++ {
		v.Stored(Fence{vol(1), e})
	}
	if len(v.log) > 2+MaxFences {
		t.Fatalf("the log has %d entries for one volume", len(v.log))
	}
	if r := v.Renew(1, 2, Position{Boot: 5, Seq: 3}); len(r.Fences) != 1 || r.Fences[0].Epoch != 9999 {
		t.Fatalf("got %v", r.Fences)
	}
}

func TestSuspicionNeedsAMajority(t *testing.T) {
	h := NewHolder(0, []cluster.NodeID{1, 2, 3})
	now := 10 * second
	h.Granted(1, now, now, Reply{Seen: []Seen{{Gateway: 8, AgeMS: 1600}}})
	if h.Suspects(8, now) {
		t.Fatal("one voter of three is no majority")
	}
	h.Granted(2, now, now, Reply{Seen: []Seen{{Gateway: 8, AgeMS: 1400}}})
	if h.Suspects(8, now) {
		t.Fatal("1.4 s is too short")
	}
	if !h.Suspects(8, now+second/5) {
		t.Fatal("two voters have not heard of it for more than 1.5 s")
	}
	if h.Suspects(8, now+3*second) {
		t.Fatal("old word of the voters must not count")
	}
}

func TestReplyRoundTrip(t *testing.T) {
	r := Reply{At: Position{3, 4}, More: true, Fences: []Fence{{vol(9), 2}}, Seen: []Seen{{4, 5}, {6, 7}}}
	b := make([]byte, ReplySize)
	EncodeReply(&r, b)
	got, err := DecodeReply(b)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("got %+v, %v", got, err)
	}
	want := []byte{3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0,
		0, 9, 0, 0, 0, 1}
	if !bytes.HasPrefix(b, want) {
		t.Fatalf("layout changed: % x", b[:len(want)])
	}
}

func FuzzDecodeReply(f *testing.F) {
	f.Add(make([]byte, ReplySize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeReply(b); err == nil {
			EncodeReply(&r, make([]byte, ReplySize))
		}
	})
}

// TestNobodyIsSuspectedAtOnce: right after the voter list was made no voter has heard of anybody.
func TestNobodyIsSuspectedAtOnce(t *testing.T) {
	h := NewHolder(10*second, []cluster.NodeID{1})
	h.Granted(1, 10*second, 10*second, Reply{})
	if h.Suspects(8, 10*second) {
		t.Fatal("a gateway is suspected before it had time to renew")
	}
	h.Granted(1, 12*second, 12*second, Reply{})
	if !h.Suspects(8, 12*second) {
		t.Fatal("a gateway that never renews must be suspected")
	}
}

// TestTheVoterThatHeardLastCounts: the old owner was out of reach of one voter for longer than of the others.
// The fence's majority includes that voter; but the lease stands on the other one.
func TestTheVoterThatHeardLastCounts(t *testing.T) {
	voters := map[cluster.NodeID]*Voter{}
	for n := range cluster.NodeID(3) {
		voters[n+1] = NewVoter(uint64(n+1), 0, nil)
	}
	old := NewHolder(0, []cluster.NodeID{1, 2, 3})
	renew := func(now int64, with ...cluster.NodeID) {
		for _, v := range with {
			old.Granted(v, now, now, voters[v].Renew(now, 9, old.Since(v)))
		}
	}
	renew(second/10, 1, 2, 3)
	renew(second, 2, 3)
	now := second + second/5
	var heard []int64
	for _, v := range []cluster.NodeID{1, 2} {
		voters[v].Stored(Fence{vol(7), 2})
		heard = append(heard, now-voters[v].Age(now, 9))
	}
	renew(now+second/10, 3)
	if until := old.ValidUntil(); until != second+Duration-Margin || Clear(heard) < until {
		t.Fatalf("the old owner answers until %d, the new one from %d", until, Clear(heard))
	}
}

// TestALongListOfGatewaysIsCut: who does not fit into the reply is not suspected for that.
func TestALongListOfGatewaysIsCut(t *testing.T) {
	v := NewVoter(1, 0, nil)
	var r Reply
	for g := range cluster.NodeID(400) {
		r = v.Renew(10*second, g+1, Position{})
	}
	b := make([]byte, ReplySize)
	EncodeReply(&r, b)
	r, err := DecodeReply(b)
	if err != nil {
		t.Fatal(err)
	}
	h := NewHolder(0, []cluster.NodeID{1})
	h.Granted(1, 10*second, 10*second, r)
	if h.Suspects(400, 10*second) {
		t.Error("suspected, although the voter has heard of it just now")
	}
}
