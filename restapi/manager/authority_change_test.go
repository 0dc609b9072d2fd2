package manager_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// replacing is a cluster whose authority is replaced, with nodes that say what they follow.
type replacing struct {
	*apitest.Cluster
	t *testing.T
}

// follow lets nodes publish that they follow the record as it is.
func (r replacing) follow(nodes ...cluster.NodeID) {
	r.t.Helper()
	rec, err := r.Manager.Authority(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, n := range nodes {
		err := r.Manager.PublishStats(r.t.Context(), cluster.NodeStats{Node: n, Authority: rec.Generation})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// advance lets all look whether it can go on, as every node does, and says where it stands then.
func (r replacing) advance() wire.Authority {
	r.t.Helper()
	for range 3 {
		if err := r.Manager.AdvanceAuthority(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
	a, err := r.Manager.ShowAuthority(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r replacing) want(what string, a wire.Authority, stage cluster.AuthorityStage,
	waiting ...cluster.NodeID) {
	r.t.Helper()
	var got []cluster.NodeID
	for _, w := range a.Waiting {
		got = append(got, w.Node)
	}
	if a.Stage != stage || !slices.Equal(got, waiting) {
		r.t.Errorf("%s: %s, waiting for %v, want %s, %v", what, a.Stage, got, stage, waiting)
	}
}

func (r replacing) rotate(overlap time.Duration, leave bool) (wire.Authority, error) {
	seconds := uint64(overlap / time.Second)
	return r.Manager.RotateAuthority(r.t.Context(), wire.AuthorityRotation{Overlap: &seconds,
		LeaveAbsent: &leave}, "")
}

func roles(a wire.Authority) (out []string) {
	for _, c := range a.Authorities {
		out = append(out, c.Role)
	}
	return out
}

// TestReplacingTheAuthority: no stage begins before all nodes follow the one before, and the first one lasts
// as long as was asked for.
func TestReplacingTheAuthority(t *testing.T) {
	r := replacing{apitest.New(t), t}
	if _, err := r.rotate(0, false); code(err) != wire.NotFound {
		t.Errorf("replaced an authority that is not there: %v", err)
	}
	before, err := r.Manager.Authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Join(2)
	a, err := r.rotate(time.Hour, false)
	if err != nil || !slices.Equal(roles(a), []string{wire.AuthorityIssues, wire.AuthorityNext}) {
		t.Fatalf("%+v, %v", a, err)
	}
	next := a.Authorities[1].Certificate
	r.want("announced", r.advance(), cluster.AuthorityAnnounced, 1, 2)
	if again, err := r.rotate(time.Hour, false); err != nil || again.Authorities[1].Certificate != next {
		t.Errorf("asked again: another authority, %v", err)
	}
	r.follow(1)
	r.want("one follows", r.advance(), cluster.AuthorityAnnounced, 2)
	r.follow(2)
	r.want("both follow, but not long enough", r.advance(), cluster.AuthorityAnnounced)
	r.Advance(time.Hour)
	a = r.advance()
	r.want("an hour later", a, cluster.AuthorityIssuing, 1, 2)
	if !slices.Equal(roles(a), []string{wire.AuthorityIssues, wire.AuthorityFormer}) ||
		a.Authorities[0].Certificate != next || a.Authorities[1].Certificate != before.Certificate {
		t.Errorf("%+v", a)
	}
	r.follow(2)
	r.want("one has a new certificate", r.advance(), cluster.AuthorityIssuing, 1)
	r.follow(1)
	a = r.advance()
	r.want("both have", a, cluster.AuthoritySettled, 1, 2)
	if len(a.Authorities) != 1 || a.Authorities[0].Certificate != next {
		t.Errorf("%+v", a)
	}
}

// TestNodesThatAreDown hold a replacement up, until somebody says that they are left behind; nodes that are
// up are always waited for.
func TestNodesThatAreDown(t *testing.T) {
	r := replacing{apitest.New(t), t}
	if _, err := r.Manager.Authority(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Join(2)
	alive(t, r.Cluster, 1)
	if _, err := r.rotate(0, false); err != nil {
		t.Fatal(err)
	}
	r.follow(1)
	r.want("node 2 is down", r.advance(), cluster.AuthorityAnnounced, 2)
	if _, err := r.rotate(0, true); err != nil {
		t.Fatal(err)
	}
	a := r.advance()
	r.want("without it", a, cluster.AuthorityIssuing, 1)
	if !slices.Equal(a.Left, []cluster.NodeID{2}) {
		t.Errorf("left behind: %v", a.Left)
	}
	r.follow(1)
	r.want("settled", r.advance(), cluster.AuthoritySettled, 1, 2)
	r.follow(1)
	if _, err := r.rotate(0, false); err != nil {
		t.Errorf("the next replacement: %v", err)
	}
}

// TestTheNextReplacementWaits for nodes that are up and have not followed the last one.
func TestTheNextReplacementWaits(t *testing.T) {
	r := replacing{apitest.New(t), t}
	if _, err := r.Manager.Authority(t.Context()); err != nil {
		t.Fatal(err)
	}
	alive(t, r.Cluster, 1)
	if _, err := r.rotate(0, false); err != nil {
		t.Fatal(err)
	}
	r.follow(1)
	r.advance()
	r.follow(1)
	r.want("settled, but not everywhere", r.advance(), cluster.AuthoritySettled, 1)
	if _, err := r.rotate(0, false); code(err) != wire.Conflict {
		t.Errorf("began the next: %v", err)
	}
	r.follow(1)
	if _, err := r.rotate(0, false); err != nil {
		t.Error(err)
	}
	if _, err := r.rotate(10000*time.Hour, false); code(err) != wire.InvalidField {
		t.Errorf("an overlap of a year: %v", err)
	}
}

// TestMembersRestartOneByOne: by number, those that are down do not hold the others up.
func TestMembersRestartOneByOne(t *testing.T) {
	r := replacing{apitest.New(t), t}
	if _, err := r.Manager.Authority(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Join(2)
	r.Join(3)
	alive(t, r.Cluster, 1)
	alive(t, r.Cluster, 3)
	if _, err := r.rotate(0, false); err != nil {
		t.Fatal(err)
	}
	turns := func(want ...bool) {
		t.Helper()
		for i, w := range want {
			if got, err := r.Manager.MayRestartMember(t.Context(), cluster.NodeID(i+1)); err != nil || got != w {
				t.Errorf("node %d: %v, %v", i+1, got, err)
			}
		}
	}
	turns(true, false, false)
	r.follow(1)
	turns(true, true, true)
}

// TestAuthorityOfABackup: what nodes trust each other by counts before what was in a backup of etcd.
func TestAuthorityOfABackup(t *testing.T) {
	r := replacing{apitest.New(t), t}
	old, err := r.Manager.Authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	newer := old
	newer.Announce(cluster.AuthorityPair{Certificate: old.Certificate, AuthorityKey: old.AuthorityKey},
		"2026-11-27T00:00:00Z")
	for range 2 {
		if err := r.Manager.RestoreAuthority(t.Context(), newer); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Manager.RestoreAuthority(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if now, err := r.Manager.Authority(t.Context()); err != nil || now.Generation != newer.Generation {
		t.Errorf("generation %d, %v", now.Generation, err)
	}
}
