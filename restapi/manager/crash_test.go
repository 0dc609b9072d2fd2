package manager_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// errCrash is the end of the process in the middle of a change.
var errCrash = fmt.Errorf("crash: %w", store.ErrUnavailable)

// crashing is a store that fails at its n-th call, before or after doing it. After that every call fails
// until it is repaired: a crashed process makes no further step.
type crashing struct {
	*store.Mem
	mu            sync.Mutex // owners call it, too, while the cluster is prepared
	calls, failAt int        // failAt 0: never
	after         bool
	down          bool
	armed         bool
	callers       map[string]bool // methods of the manager that committed since it was armed
}

// step says whether the call is to be done and whether its caller learns of it.
func (c *crashing) step() (do, report bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.down {
		return false, false
	}
	if c.calls == c.failAt {
		c.down = true
		return c.after, false
	}
	return true, true
}

func (c *crashing) Read(ctx context.Context, q ...store.Query) (store.Snapshot, error) {
	if do, report := c.step(); !do || !report {
		return store.Snapshot{}, errCrash
	}
	return c.Mem.Read(ctx, q...)
}

func (c *crashing) Commit(ctx context.Context, t store.Txn) (int64, error) {
	do, report := c.step()
	if c.armed {
		c.noteCallers()
	}
	if !do {
		return 0, errCrash
	}
	rev, err := c.Mem.Commit(ctx, t)
	if !report {
		return 0, errCrash
	}
	return rev, err
}

// Await gives up at once when the cluster is prepared: nobody owns the volumes any more.
func (c *crashing) Await(ctx context.Context, key string, rev int64) error {
	if c.armed {
		return errCrash
	}
	return c.Mem.Await(ctx, key, rev)
}

func (c *crashing) arm(at int, after bool) {
	c.calls, c.failAt, c.after, c.down, c.armed = 0, at, after, false, true
	c.callers = nil
}

// drawn is what is drawn anew whenever a volume, or an authority, is made.
func drawn() *regexp.Regexp {
	return regexp.MustCompile(`"(data_key|wrapped)":"[^"]*"|data key [0-9a-f-]{36}|` +
		`"certificate":"[^"]*"(,"wrapped":"[^"]*")?`)
}

// records is everything but what is drawn, tokens among it, without revisions.
func records(t testing.TB, s manager.Store) string {
	t.Helper()
	snap, err := s.Read(t.Context(), store.All(cluster.Prefix))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, it := range snap.Results[0].Items {
		if strings.HasPrefix(it.Key, cluster.PrefixEvents) {
			it.Key = cluster.PrefixEvents // drawn, too; each happened once
		}
		value := drawn().ReplaceAll(it.Value, []byte(`drawn`))
		if strings.HasPrefix(it.Key, cluster.PrefixTokens) { // all is drawn, but how many there are
			it.Key, value = cluster.PrefixTokens, nil
		}
		lines = append(lines, fmt.Sprintf("%s = %s\n", it.Key, value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// change is one request of the control plane; prepare brings the cluster to where it makes sense and returns
// it.
type change struct {
	name    string
	prepare func(c *apitest.Cluster) doer
}

type doer = func(ctx context.Context) error

func changes() []change {
	return slices.Concat(mapChanges(), poolChanges(), volumeChanges(), policyChanges(), keyChanges(), renaming(),
		snapshotChanges(), cloneChanges(), hiddenChanges(), groupChanges(), scheduleChanges(),
		shrinkChanges(), smallChanges(), credentialChanges())
}

// poolChanges: pool gold is on devices 1 to 3, there is a fourth, and another pool on all.
func poolChanges() []change {
	prepare := func(c *apitest.Cluster) {
		c.Pool()
		c.Device(1, 2)
		if _, _, err := c.Manager.CreatePool(c.T.Context(), wire.PoolCreate{Name: "other"}); err != nil {
			c.T.Fatal(err)
		}
	}
	return []change{
		{"add a device to a pool", func(c *apitest.Cluster) doer {
			prepare(c)
			return func(ctx context.Context) error {
				r := wire.PoolChange{Kind: cluster.ChangeAdd, Devices: []cluster.DeviceID{4}}
				return errOf(c.Manager.ChangePool(ctx, "gold", r, ""))
			}
		}},
		{"scrub a device", func(c *apitest.Cluster) doer {
			prepare(c)
			return func(ctx context.Context) error {
				return errOf(c.Manager.ScrubDevice(ctx, 3, wire.ScrubRequest{Action: wire.ScrubStart}, ""))
			}
		}},
		{"bound a pool", func(c *apitest.Cluster) doer {
			prepare(c)
			q := wire.PoolQoS{Total: &wire.QoS{IOPS: 100}}
			return func(ctx context.Context) error { return errOf(c.Manager.SetPoolQoS(ctx, "gold", q, "")) }
		}},
		{"delete a pool", func(c *apitest.Cluster) doer {
			prepare(c)
			return func(ctx context.Context) error { return c.Manager.DeletePool(ctx, "other", "") }
		}},
		{"delete the last pool, which had a volume", func(c *apitest.Cluster) doer {
			c.Pool()
			c.Volume(1, "v1")
			if err := c.Manager.DeleteVolume(c.T.Context(), apitest.UUID(1), "", false); err != nil {
				c.T.Fatal(err)
			}
			if err := purge(c.T.Context(), c); err != nil {
				c.T.Fatal(err)
			}
			return func(ctx context.Context) error { return c.Manager.DeletePool(ctx, "gold", "") }
		}},
		{"fail a device of two pools", func(c *apitest.Cluster) doer {
			prepare(c)
			return func(ctx context.Context) error {
				return errOf(c.Manager.UpdateDevice(ctx, 3, wire.DeviceUpdate{State: cluster.DeviceFailed}, ""))
			}
		}},
	}
}

func mapChanges() []change {
	return []change{
		{"join", func(c *apitest.Cluster) doer { return joiner(c, 2) }},
		{"add a device", func(c *apitest.Cluster) doer {
			return func(ctx context.Context) error {
				_, _, err := c.Manager.AddDevice(ctx, manager.DeviceAdd{Node: 1, UUID: apitest.UUID(70),
					Path: "/dev/sdx", Size: apitest.DeviceSize})
				return err
			}
		}},
		{"create the first pool", func(c *apitest.Cluster) doer {
			c.Device(1, 1)
			zero := 0
			return func(ctx context.Context) error {
				_, _, err := c.Manager.CreatePool(ctx, wire.PoolCreate{Name: "p", Parity: &zero})
				return err
			}
		}},
		{"rotate the cluster key", func(c *apitest.Cluster) doer {
			c.Key("k1")
			return func(ctx context.Context) error {
				return errOf(c.Manager.RotateKey(ctx, wire.KeyRotation{To: "k1"}, ""))
			}
		}},
		{"publish stats", func(c *apitest.Cluster) doer {
			c.Device(1, 1)
			st := cluster.NodeStats{Node: 1, Devices: []cluster.DeviceStats{{Device: 1, Total: 10, Free: 5}}}
			return func(ctx context.Context) error { return c.Manager.PublishStats(ctx, st) }
		}},
		{"move a node's addresses", func(c *apitest.Cluster) doer {
			a := apitest.Node(7).Addresses
			return func(ctx context.Context) error { return c.Manager.UpdateAddresses(ctx, 1, a) }
		}},
	}
}

func made(_ wire.Volume, _ bool, err error) error { return err }

func volumeChanges() []change {
	vol := func(c *apitest.Cluster) cluster.UUID { c.Pool(); return c.Volume(1, "v1").ID }
	volume := wire.VolumeCreate{Name: "v2", Pool: "gold", Size: 8 * apitest.MiB}
	charged := wire.VolumeCreate{ID: apitest.UUID(3), Name: "v3", Project: "acme", Pool: "gold",
		Size: 8 * apitest.MiB}
	return []change{
		{"create the first volume of a project", func(c *apitest.Cluster) doer {
			c.Pool()
			return func(ctx context.Context) error { return made(c.Manager.CreateVolume(ctx, charged)) }
		}},
		{"delete the last volume of a project", func(c *apitest.Cluster) doer {
			c.Pool()
			if err := made(c.Manager.CreateVolume(c.T.Context(), charged)); err != nil {
				c.T.Fatal(err)
			}
			return func(ctx context.Context) error { return c.Manager.DeleteVolume(ctx, charged.ID, "", false) }
		}},
		{"create a volume by id", func(c *apitest.Cluster) doer {
			vol(c)
			r := volume
			r.ID = apitest.UUID(2)
			return func(ctx context.Context) error { return made(c.Manager.CreateVolume(ctx, r)) }
		}},
		{"create a volume by key", func(c *apitest.Cluster) doer {
			vol(c)
			return func(ctx context.Context) error {
				ctx = manager.WithChance(ctx, strings.NewReader(strings.Repeat("7", 64)))
				return made(c.Manager.CreateVolume(ctx, volume))
			}
		}},
		{"resize", func(c *apitest.Cluster) doer {
			id := vol(c)
			return func(ctx context.Context) error {
				_, err := c.Manager.UpdateVolume(ctx, id, wire.VolumeUpdate{Size: new(uint64(32 * apitest.MiB))}, "")
				return err
			}
		}},
		{"delete", func(c *apitest.Cluster) doer {
			id := vol(c)
			return func(ctx context.Context) error { return c.Manager.DeleteVolume(ctx, id, "", false) }
		}},
		{"delete and purge", func(c *apitest.Cluster) doer {
			id := vol(c)
			return func(ctx context.Context) error {
				if err := c.Manager.DeleteVolume(ctx, id, "", false); err != nil && !gone(err) {
					return err
				}
				return purge(ctx, c)
			}
		}},
		{"allow a host", func(c *apitest.Cluster) doer {
			id := vol(c)
			return func(ctx context.Context) error {
				_, _, err := c.Manager.Allow(ctx, manager.OfVolume(id), apitest.HostA, "")
				return err
			}
		}},
		{"take it from all hosts", func(c *apitest.Cluster) doer {
			id := vol(c)
			for _, h := range []string{apitest.HostA, apitest.HostB} {
				if _, _, err := c.Manager.Allow(c.T.Context(), manager.OfVolume(id), h, ""); err != nil {
					c.T.Fatal(err)
				}
			}
			return func(ctx context.Context) error { return c.Manager.DisallowAll(ctx, manager.OfVolume(id), "") }
		}},
	}
}

// snapshotChanges: a volume with two snapshots.
func snapshotChanges() []change {
	vol := func(c *apitest.Cluster) cluster.UUID {
		c.Pool()
		id := c.Volume(1, "v1").ID
		stop := c.Own()
		for n, name := range []string{"a", "b"} {
			c.Snapshot(id, 10+n, name)
		}
		stop()
		return id
	}
	renamed := "c"
	return []change{
		{"take a snapshot", func(c *apitest.Cluster) doer {
			id := vol(c)
			return func(ctx context.Context) error {
				r := wire.SnapshotCreate{Volume: id, ID: apitest.UUID(12), Name: "c"}
				_, _, err := c.Manager.CreateSnapshot(ctx, r)
				return err
			}
		}},
		{"rename a snapshot", func(c *apitest.Cluster) doer {
			vol(c)
			return func(ctx context.Context) error {
				return errOf(c.Manager.UpdateSnapshot(ctx, apitest.UUID(10), wire.SnapshotUpdate{Name: &renamed}, ""))
			}
		}},
		{"delete a snapshot", func(c *apitest.Cluster) doer {
			vol(c)
			return func(ctx context.Context) error {
				_, _, err := c.Manager.DeleteSnapshot(ctx, apitest.UUID(10), "")
				return err
			}
		}},
		{"revert to a snapshot", func(c *apitest.Cluster) doer {
			id := vol(c)
			return func(ctx context.Context) error {
				ctx = manager.WithChance(ctx, strings.NewReader(strings.Repeat("7", 64)))
				_, _, err := c.Manager.RevertVolume(ctx, id, wire.VolumeRevert{Snapshot: apitest.UUID(11)}, "")
				return err
			}
		}},
		{"allow a host to read a snapshot", func(c *apitest.Cluster) doer {
			vol(c)
			return func(ctx context.Context) error {
				_, _, err := c.Manager.Allow(ctx, manager.OfSnapshot(apitest.UUID(10)), apitest.HostA, "")
				return err
			}
		}},
	}
}

func keyChanges() []change {
	return []change{
		{"wrap the authority", func(c *apitest.Cluster) doer {
			if _, err := c.Manager.Authority(c.T.Context()); err != nil {
				c.T.Fatal(err)
			}
			useKey(c, "k1")
			return func(ctx context.Context) error { return errOf(c.Manager.RewrapAuthority(ctx)) }
		}},
		{"destroy a key", func(c *apitest.Cluster) doer {
			c.Pool()
			c.Key("k1")
			if _, err := c.Manager.RotateKey(c.T.Context(), wire.KeyRotation{To: "k1"}, ""); err != nil {
				c.T.Fatal(err)
			}
			id := encryptedVolume(c, 1).ID
			return func(ctx context.Context) error { return c.Manager.DestroyKey(ctx, id, "") }
		}},
		{"erase a volume", func(c *apitest.Cluster) doer {
			c.Pool()
			c.Key("k1")
			if _, err := c.Manager.RotateKey(c.T.Context(), wire.KeyRotation{To: "k1"}, ""); err != nil {
				c.T.Fatal(err)
			}
			id := encryptedVolume(c, 1).ID
			return func(ctx context.Context) error {
				if err := c.Manager.EraseVolume(ctx, id, ""); err != nil && !gone(err) {
					return err
				}
				return purge(ctx, c)
			}
		}},
	}
}

func policyChanges() []change {
	return []change{
		{"make a volume thick", func(c *apitest.Cluster) doer {
			c.Pool()
			id := c.Volume(1, "v1").ID
			return func(ctx context.Context) error {
				u := wire.VolumeUpdate{Provisioning: wire.Thick}
				return errOf(c.Manager.UpdateVolume(ctx, id, u, ""))
			}
		}},
		{"say where a volume is at home", func(c *apitest.Cluster) doer {
			c.Pool()
			id := c.Volume(1, "v1").ID
			return func(ctx context.Context) error {
				return errOf(c.Manager.SetVolumeHome(ctx, id, new("az1/rack2"), ""))
			}
		}},
		{"say where the volumes of a pool are at home", func(c *apitest.Cluster) doer {
			c.Pool()
			return func(ctx context.Context) error {
				u := wire.PoolUpdate{Home: new("az1/rack2"), Balance: new(bool)}
				return errOf(c.Manager.UpdatePool(ctx, "gold", u, ""))
			}
		}},
		{"move a volume", func(c *apitest.Cluster) doer {
			c.Pool()
			vol := c.Volume(1, "v1")
			c.Served(cluster.VolumeKey(vol.VolumeNumbers))
			c.Alive(1, 2, 3)
			to := vol.VUID%3 + 2 // the node after the one that it was given to
			return func(ctx context.Context) error {
				_, _, err := c.Manager.MoveVolume(ctx, vol.ID, wire.VolumeMove{Node: cluster.NodeID(to)}, "")
				return err
			}
		}},
		{"bound a volume", func(c *apitest.Cluster) doer {
			c.Pool()
			id := c.Volume(1, "v1").ID
			return func(ctx context.Context) error {
				return errOf(c.Manager.SetVolumeQoS(ctx, id, &wire.QoS{IOPS: 100}, ""))
			}
		}},
	}
}

// renaming moves a name, changes the size and the pairs, in one request.
func renaming() []change {
	return []change{{"rename", func(c *apitest.Cluster) doer {
		c.Pool()
		id := c.Volume(1, "v1").ID
		r := wire.VolumeUpdate{Name: new("other"), Size: new(32 * apitest.MiB),
			Metadata: map[string]*string{"a": new("b")}}
		return func(ctx context.Context) error { return errOf(c.Manager.UpdateVolume(ctx, id, r, "")) }
	}}}
}

// joiner makes a call that adds node n, with one token however often it is made.
func joiner(c *apitest.Cluster, n int) func(context.Context) error {
	token, err := c.Manager.CreateToken(c.T.Context(), wire.TokenCreate{Name: "j", Role: string(auth.Join)})
	if err != nil {
		c.T.Fatal(err)
	}
	r := apitest.Node(n)
	r.Token = token.Secret
	return func(ctx context.Context) error { _, _, err := c.Manager.Join(ctx, r); return err }
}

// TestCrashAtEveryStep: each change is cut off at each of its steps, once before the step happens and once
// after. No rule between records may then be broken, and repeating the request must lead where the
// undisturbed one leads.
func TestCrashAtEveryStep(t *testing.T) {
	cut, ran := make(map[string]bool), 0
	for _, ch := range changes() {
		t.Run(ch.name, func(t *testing.T) {
			ran++
			steps, want := undisturbed(t, ch, cut)
			for at := 1; at <= steps; at++ {
				for _, after := range []bool{false, true} {
					s := &crashing{Mem: store.NewMem()}
					c := apitest.NewOn(t, s)
					do := ch.prepare(c)
					s.arm(at, after)
					err := do(t.Context())
					if err == nil {
						t.Fatalf("step %d, after %v: succeeded although the process crashed", at, after)
					}
					s.arm(0, false)
					c.Audit()
					if err := do(t.Context()); err != nil && !gone(err) {
						t.Errorf("step %d, after %v: repeating failed: %v", at, after, err)
					}
					c.Audit()
					if got := records(t, s); got != want {
						t.Errorf("step %d, after %v: ended with\n%s\nwant\n%s", at, after, got, want)
					}
				}
			}
		})
	}
	if !t.Failed() && ran == len(changes()) {
		wantAllCut(t, cut)
	}
}

// gone is what repeating a delete may answer.
func gone(err error) bool {
	var e *manager.Error
	return errors.As(err, &e) && e.Code == wire.NotFound
}

// undisturbed counts the steps of a change, keeps where it leads, and adds to cut what changed records.
func undisturbed(t *testing.T, ch change, cut map[string]bool) (steps int, result string) {
	t.Helper()
	s := &crashing{Mem: store.NewMem()}
	c := apitest.NewOn(t, s)
	do := ch.prepare(c)
	before := records(t, s)
	s.arm(0, false)
	if err := do(t.Context()); err != nil {
		t.Fatal(err)
	}
	steps = s.calls
	maps.Copy(cut, s.callers)
	c.Audit()
	result = records(t, s)
	if result == before || steps < 2 {
		t.Fatalf("the change changes nothing (%d steps)", steps)
	}
	if err := do(t.Context()); err != nil && !gone(err) {
		t.Errorf("repeating it: %v", err)
	}
	if again := records(t, s); again != result {
		t.Errorf("repeating it changed\n%s\nto\n%s", result, again)
	}
	return steps, result
}

// TestCrashAtBootstrap: the first node asks again with what it kept on its disk.
func TestCrashAtBootstrap(t *testing.T) {
	secret, err := auth.NewSecret(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := manager.Bootstrap{ClusterID: apitest.UUID(5), Secret: make([]byte, manager.SecretSize),
		AdminToken: secret, Node: apitest.Node(1)}
	for at := 1; at <= 2; at++ {
		for _, after := range []bool{false, true} {
			s := &crashing{Mem: store.NewMem()}
			m := manager.New(manager.Options{Store: s, Members: &apitest.Members{}})
			s.arm(at, after)
			_, _ = m.Bootstrap(t.Context(), b)
			s.arm(0, false)
			if n, err := m.Bootstrap(t.Context(), b); err != nil || n != 1 {
				t.Errorf("step %d, after %v: again: node %d, %v", at, after, n, err)
			}
			if broken, err := m.Audit(t.Context()); err != nil || len(broken) > 0 {
				t.Errorf("step %d, after %v: %v %v", at, after, broken, err)
			}
			other := b
			other.ClusterID = apitest.UUID(6)
			if _, err := m.Bootstrap(t.Context(), other); err == nil {
				t.Error("a second cluster in the same etcd")
			}
		}
	}
}

// TestEtcdMemberFails: the node is registered, its member is not added; the node asks again until it is.
func TestEtcdMemberFails(t *testing.T) {
	c := apitest.New(t)
	do := joiner(c, 2)
	c.Members.Fail = errors.New("etcd is busy")
	if err := do(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	c.Audit()
	c.Members.Fail = nil
	if err := do(t.Context()); err != nil {
		t.Fatal(err)
	}
	n, err := c.Manager.Node(t.Context(), 2)
	if err != nil || !n.EtcdMember {
		t.Errorf("got %+v, %v", n, err)
	}
	list, err := c.Manager.Nodes(t.Context(), manager.Page{}, "")
	if err != nil || len(list.Items) != 2 {
		t.Errorf("%d nodes, %v", len(list.Items), err)
	}
}

// waitFor repeats a look at the store until it says yes.
func waitFor(t testing.TB, what string, look func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !look(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
