package placement

import (
	"math"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

const keys = 200_000

// winners draws many keys; a hole is drawn again, as a table would.
func winners(l *list) []int32 {
	out := make([]int32, keys)
	for k := range out {
		out[k], _ = l.draw(k, 0, func(int32) bool { return true })
	}
	return out
}

func fairly(t *testing.T, what string, won []int32, weights []cluster.Member) {
	t.Helper()
	count, all := map[int32]int{}, 0.0
	for _, pos := range won {
		count[pos]++
	}
	for _, m := range weights {
		all += float64(m.Weight)
	}
	for pos, m := range weights {
		want := keys * float64(m.Weight) / all
		if got := float64(count[int32(pos)]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%s: position %d won %v keys, want about %.0f", what, pos, got, want)
		}
	}
}

// TestChangesMoveOnlyTheirKeys: the list bucket's promise, for every kind of change: keys go to who
// gains, or come from who loses, and no other key moves. And all have their share by weight, before and
// after.
func TestChangesMoveOnlyTheirKeys(t *testing.T) {
	for name, c := range map[string]cluster.Change{
		"join":         join(cluster.Member{Device: 900, Weight: 13, Domain: "a/b/9"}),
		"oldest fails": leave(cluster.ChangeFail, 100),
		"middle fails": leave(cluster.ChangeFail, 301),
		"gain":         reweight(200, 44),
		"loss":         reweight(201, 3),
		"oldest loses": reweight(100, 1),
	} {
		r, err := cluster.NewRoster(members(1, 4, 2, 4, 8, 16))
		if err != nil {
			t.Fatal(err)
		}
		l := newList(r.Members)
		before := winners(&l)
		fairly(t, name+", before", before, r.Members)
		pos := int32(len(r.Members))
		if i, ok := r.At(c.Members[0].Device); ok {
			pos = int32(i)
		}
		if err := r.Apply(c); err != nil {
			t.Fatal(err)
		}
		l.apply(c, r)
		after := winners(&l)
		fairly(t, name+", after", after, r.Members)
		gains := name == "join" || name == "gain"
		for k := range before {
			if before[k] != after[k] && (gains && after[k] != pos || !gains && before[k] != pos) {
				t.Fatalf("%s: key %d moved from %d to %d", name, k, before[k], after[k])
			}
		}
	}
}

// TestHolesAreFilledIn: a list that is mostly holes is made anew, and goes on to be fair.
func TestHolesAreFilledIn(t *testing.T) {
	r, err := cluster.NewRoster(members(1, 10, 1, 5))
	if err != nil {
		t.Fatal(err)
	}
	l := newList(r.Members)
	for n := cluster.DeviceID(100); n <= 600; n += 100 {
		c := leave(cluster.ChangeRemove, n)
		if err := r.Apply(c); err != nil {
			t.Fatal(err)
		}
		l.apply(c, r)
		if 2*l.holes > l.end() {
			t.Fatalf("%d of %d are holes", l.holes, l.end())
		}
	}
	fairly(t, "after six of ten left", winners(&l), r.Members)
}
