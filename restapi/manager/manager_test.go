package manager_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd/etcdtest"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// code is the code of a refusal, empty for everything else.
func code(err error) wire.Code {
	var e *manager.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// TestVoters: the first pool names the first one, three or five storage nodes, and nothing changes them
// later.
func TestVoters(t *testing.T) {
	for nodes, want := range map[int]int{1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 7: 5} {
		c := apitest.New(t)
		c.Device(1, 1)
		for n := 2; n <= nodes; n++ {
			c.Device(c.Join(n), 1)
		}
		c.Join(99) // a node without devices never votes
		zero := 0
		for _, name := range []string{"a", "b"} {
			if _, _, err := c.Manager.CreatePool(t.Context(), wire.PoolCreate{Name: name, Parity: &zero}); err != nil {
				t.Fatal(err)
			}
			info, err := c.Manager.Cluster(t.Context())
			if err != nil || len(info.Voters) != want {
				t.Errorf("%d storage nodes: voters %v, want %d (%v)", nodes, info.Voters, want, err)
			}
			c.Device(c.Join(100+len(name)+len(info.Voters)+info.Nodes), 1)
		}
		c.Audit()
	}
}

// TestEpoch: every change of the map raises the epoch by one; nothing else does.
func TestEpoch(t *testing.T) {
	c := apitest.New(t)
	epoch := cluster.Epoch(1)
	raised := func(what string, by cluster.Epoch) {
		t.Helper()
		info, err := c.Manager.Cluster(t.Context())
		if err != nil || info.Epoch != epoch+by {
			t.Errorf("%s: epoch %d after %d, %v", what, info.Epoch, epoch, err)
		}
		epoch = info.Epoch
	}
	raised("bootstrap", 0)
	c.Device(1, 1)
	raised("device", 1)
	c.Join(2)
	raised("join", 1)
	if err := c.Manager.UpdateAddresses(t.Context(), 2, apitest.Node(8).Addresses); err != nil {
		t.Fatal(err)
	}
	raised("addresses", 1)
	if err := c.Manager.UpdateAddresses(t.Context(), 2, apitest.Node(8).Addresses); err != nil {
		t.Fatal(err)
	}
	raised("the same addresses", 0)
	zero := 0
	for _, by := range []cluster.Epoch{1, 0} {
		r := wire.PoolCreate{Name: "gold", Parity: &zero}
		if _, _, err := c.Manager.CreatePool(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		raised("pool", by)
	}
	c.Volume(1, "v")
	raised("volume", 0)
}

// TestPoolFreezesItsDevices: what joins the cluster later is not in it by itself.
func TestPoolFreezesItsDevices(t *testing.T) {
	c := apitest.New(t)
	p := c.Pool()
	c.Device(1, 2)
	again, err := c.Manager.Pool(t.Context(), "gold")
	if err != nil || fmt.Sprint(again.Devices) != fmt.Sprint(p.Devices) || len(p.Devices) != 3 {
		t.Errorf("got %v, then %v, %v", p.Devices, again.Devices, err)
	}
}

func TestNotEnoughDomainsCounts(t *testing.T) {
	c := apitest.New(t)
	c.Device(1, 1)
	c.Device(1, 2)
	one := 1
	_, _, err := c.Manager.CreatePool(t.Context(), wire.PoolCreate{Name: "p", Parity: &one})
	if code(err) != wire.NotEnoughDomains {
		t.Fatalf("got %v", err)
	}
	want := `domain: 2 chunks need 2 different failure domains of level "node", there are 1; possible: ` +
		`the same with relax (up to 2 chunks in one node), the same at level "device" (there are 2)`
	if err.Error() != want {
		t.Errorf("got %q", err)
	}
	_, _, err = c.Manager.CreatePool(t.Context(), wire.PoolCreate{Name: "p", Parity: &one, Domain: "device"})
	if err != nil {
		t.Errorf("two devices as domains: %v", err)
	}
}

// TestJoinTokens: once, in time, for one node.
func TestJoinTokens(t *testing.T) {
	c := apitest.New(t)
	ctx := t.Context()
	token := func(role auth.Role, life int64) string {
		r := wire.TokenCreate{Name: "t", Role: string(role), ExpiresSeconds: life}
		tok, err := c.Manager.CreateToken(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return tok.Secret
	}
	join := func(n int, secret string) (cluster.NodeID, bool, error) {
		r := apitest.Node(n)
		r.Token = secret
		res, created, err := c.Manager.Join(ctx, r)
		return res.Node, created, err
	}
	two := token(auth.Join, 60)
	if n, created, err := join(2, two); n != 2 || !created || err != nil {
		t.Fatalf("first: %d %v %v", n, created, err)
	}
	if n, created, err := join(2, two); n != 2 || created || err != nil {
		t.Errorf("again: %d %v %v", n, created, err)
	}
	for name, f := range map[string]func() error{
		"another node with a used token": func() error { _, _, err := join(3, two); return err },
		"an admin token":                 func() error { _, _, err := join(3, token(auth.Admin, 0)); return err },
		"no token":                       func() error { _, _, err := join(3, ""); return err },
		"an expired token": func() error {
			old := token(auth.Join, 60)
			c.Advance(61 * time.Second)
			_, _, err := join(3, old)
			return err
		},
	} {
		if err := f(); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, created, err := join(2, token(auth.Join, 60)); n != 2 || created || err != nil {
		t.Errorf("a known node with a new token: %d %v %v", n, created, err)
	}
	r := apitest.Node(4)
	r.Name, r.Token = "node2", token(auth.Join, 60)
	if _, _, err := c.Manager.Join(ctx, r); code(err) != wire.Conflict {
		t.Errorf("a name that is taken: %v", err)
	}
	r.Name = "node4"
	if _, _, err := c.Manager.Join(ctx, r); err != nil {
		t.Errorf("the refused join used the token up: %v", err)
	}
	c.Audit()
}

// TestReturningNode: a node that asks again may bring new addresses, but not move what others rely on.
func TestReturningNode(t *testing.T) {
	c := apitest.New(t)
	c.Device(c.Join(2), 1)
	for name, x := range map[string]struct {
		change func(r *wire.JoinRequest)
		want   wire.Code
	}{
		"as it was":          {func(*wire.JoinRequest) {}, ""},
		"new addresses":      {func(r *wire.JoinRequest) { r.Addresses = apitest.Node(8).Addresses }, ""},
		"new name":           {func(r *wire.JoinRequest) { r.Name = "other" }, wire.Conflict},
		"new failure domain": {func(r *wire.JoinRequest) { r.Domain = "az2/rack1" }, wire.Conflict},
		"the name of node 1": {func(r *wire.JoinRequest) { r.Name = "node1" }, wire.Conflict},
	} {
		tok, err := c.Manager.CreateToken(t.Context(), wire.TokenCreate{Name: "t", Role: "join"})
		if err != nil {
			t.Fatal(err)
		}
		r := apitest.Node(2)
		r.Token = tok.Secret
		x.change(&r)
		res, created, err := c.Manager.Join(t.Context(), r)
		if code(err) != x.want || x.want == "" && (err != nil || created || res.Node != 2) {
			t.Errorf("%s: %+v %v %v", name, res, created, err)
		}
	}
	c.Audit()
}

// TestEtcdMembers: the first five nodes that can run one do.
func TestEtcdMembers(t *testing.T) {
	c := apitest.New(t)
	for n := 2; n <= 7; n++ {
		c.Join(n)
	}
	list, err := c.Manager.Nodes(t.Context(), manager.Page{}, "")
	if err != nil {
		t.Fatal(err)
	}
	members := 0
	for _, n := range list.Items {
		if n.EtcdMember {
			members++
		}
	}
	if members != 5 {
		t.Errorf("%d members", members)
	}
}

func TestBadNodes(t *testing.T) {
	c := apitest.New(t)
	for field, spoil := range map[string]func(r *wire.JoinRequest){
		"name":                func(r *wire.JoinRequest) { r.Name = "a b" },
		"uuid":                func(r *wire.JoinRequest) { r.UUID = cluster.UUID{} },
		"domain":              func(r *wire.JoinRequest) { r.Domain = "a/b/c" },
		"etcd_peer_url":       func(r *wire.JoinRequest) { r.EtcdPeerURL = "192.0.2.1:2380" },
		"addresses.host":      func(r *wire.JoinRequest) { r.Addresses.Host = "0.0.0.0:4420" },
		"addresses.discovery": func(r *wire.JoinRequest) { r.Addresses.Discovery = "192.0.2.1" },
		"addresses.peer":      func(r *wire.JoinRequest) { r.Addresses.Peer = "192.0.2.1:0" },
		"addresses.rest":      func(r *wire.JoinRequest) { r.Addresses.REST = "192.0.2.1:7443" },
		"addresses.etcd":      func(r *wire.JoinRequest) { r.Addresses.Etcd = "ftp://192.0.2.1" },
	} {
		tok, err := c.Manager.CreateToken(t.Context(), wire.TokenCreate{Name: "t", Role: "join"})
		if err != nil {
			t.Fatal(err)
		}
		r := apitest.Node(2)
		r.Token = tok.Secret
		spoil(&r)
		_, _, err = c.Manager.Join(t.Context(), r)
		var e *manager.Error
		if !errors.As(err, &e) || e.Code != wire.InvalidField || e.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
	c.Audit()
}

// TestDeviceIdentity: a uuid is one device, a path holds one device, numbers are never reused.
func TestDeviceIdentity(t *testing.T) {
	c := apitest.New(t)
	c.Join(2)
	add := func(node, uuid int, path string) (wire.Device, bool, error) {
		return c.Manager.AddDevice(t.Context(), manager.DeviceAdd{Node: cluster.NodeID(node),
			UUID: apitest.UUID(uuid), Path: path, Size: apitest.DeviceSize})
	}
	d, created, err := add(1, 50, "/dev/a")
	if err != nil || !created || d.Number != 1 || d.Weight != 16 {
		t.Fatalf("got %+v %v %v", d, created, err)
	}
	if d, created, err = add(1, 50, "/dev/a"); err != nil || created || d.Number != 1 {
		t.Errorf("again: %+v %v %v", d, created, err)
	}
	if _, _, err := add(1, 50, "/dev/b"); code(err) != wire.Conflict {
		t.Errorf("the same device at another path: %v", err)
	}
	if _, _, err := add(1, 51, "/dev/a"); code(err) != wire.Conflict {
		t.Errorf("another device at the same path: %v", err)
	}
	if d, _, err := add(2, 51, "/dev/a"); err != nil || d.Number != 2 {
		t.Errorf("another node, same path: %+v %v", d, err)
	}
	if _, _, err := add(3, 52, "/dev/a"); code(err) != wire.InvalidField {
		t.Errorf("no such node: %v", err)
	}
	for _, size := range []uint64{0, 4095, 4097} {
		_, _, err := c.Manager.AddDevice(t.Context(), manager.DeviceAdd{Node: 1, UUID: apitest.UUID(53),
			Path: "/dev/c", Size: size})
		if code(err) != wire.InvalidField {
			t.Errorf("size %d: %v", size, err)
		}
	}
	c.Audit()
}

// TestVolumeIdentity: the same request is the same volume, also after a resize; another one is refused;
// VUIDs are never given twice.
func TestVolumeIdentity(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	ctx := t.Context()
	r := wire.VolumeCreate{ID: apitest.UUID(1), Name: "v", Pool: "gold", Size: 4096}
	v, created, err := c.Manager.CreateVolume(ctx, r)
	if err != nil || !created || v.VUID != 1 {
		t.Fatalf("got %+v %v %v", v, created, err)
	}
	larger := wire.VolumeUpdate{Size: new(uint64(8192))}
	if _, err := c.Manager.UpdateVolume(ctx, r.ID, larger, v.ETag); err != nil {
		t.Fatal(err)
	}
	v, created, err = c.Manager.CreateVolume(ctx, r)
	if err != nil || created || v.Size != 8192 {
		t.Errorf("again: %+v %v %v", v, created, err)
	}
	other := r
	other.Size = 8192
	if _, _, err := c.Manager.CreateVolume(ctx, other); code(err) != wire.Conflict {
		t.Errorf("another request for the same id: %v", err)
	}
	other.ID = apitest.UUID(2)
	if _, _, err := c.Manager.CreateVolume(ctx, other); code(err) != wire.Conflict {
		t.Errorf("the same name: %v", err)
	}
	if err := c.Manager.DeleteVolume(ctx, r.ID, "", false); err != nil {
		t.Fatal(err)
	}
	if v, created, err = c.Manager.CreateVolume(ctx, r); err != nil || !created || v.VUID != 2 {
		t.Errorf("after the delete: %+v %v %v", v, created, err)
	}
	keyed := wire.VolumeCreate{Name: "k", Pool: "gold", Size: 4096}
	same := func() context.Context {
		return manager.WithChance(ctx, strings.NewReader(strings.Repeat("7", 16)))
	}
	k1, _, err1 := c.Manager.CreateVolume(same(), keyed)
	k2, created, err2 := c.Manager.CreateVolume(same(), keyed)
	if err1 != nil || err2 != nil || created || k1.ID != k2.ID {
		t.Errorf("with the same chance: %v %v, %v %v %v", k1.ID, err1, k2.ID, created, err2)
	}
	c.Audit()
}

// TestManyAtOnce: many callers create, grow, export and delete the same few volumes; whatever they win or
// lose, the records fit together.
func TestManyAtOnce(t *testing.T) {
	t.Run("in memory", func(t *testing.T) { manyAtOnce(t, apitest.New(t)) })
	t.Run("in etcd", func(t *testing.T) {
		manyAtOnce(t, apitest.NewOn(t, store.NewEtcd(etcdtest.Run(t).Client())))
	})
}

func manyAtOnce(t *testing.T, c *apitest.Cluster) {
	c.Pool()
	ctx := t.Context()
	ids := make(map[uint32]cluster.UUID)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 12 {
				r := wire.VolumeCreate{ID: apitest.UUID(i%4 + 1), Name: fmt.Sprintf("v%d", i%4), Pool: "gold", Size: 4096}
				v, created, err := c.Manager.CreateVolume(ctx, r)
				if err != nil {
					t.Errorf("create: %v", err)
					continue
				}
				mu.Lock()
				if created {
					if !ids[v.VUID].IsZero() {
						t.Errorf("VUID %d given twice", v.VUID)
					}
					ids[v.VUID] = v.ID
				}
				mu.Unlock()
				larger := wire.VolumeUpdate{Size: new(uint64(8192))}
				tolerate(t, "resize", errOf(c.Manager.UpdateVolume(ctx, r.ID, larger, "")))
				_, _, err = c.Manager.Allow(ctx, manager.OfVolume(r.ID), apitest.HostA, "")
				tolerate(t, "allow", err)
				tolerate(t, "disallow", c.Manager.Disallow(ctx, manager.OfVolume(r.ID), apitest.HostA, ""))
				if worker%2 == 0 {
					tolerate(t, "delete", c.Manager.DeleteVolume(ctx, r.ID, "", false))
				}
			}
		})
	}
	wg.Wait()
	c.Audit()
}

func errOf[T any](_ T, err error) error { return err }

// tolerate accepts what another worker may have caused.
func tolerate(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil && code(err) != wire.NotFound && code(err) != wire.VolumeExported {
		t.Errorf("%s: %v", what, err)
	}
}

// TestQuotaUnderARace: many ask at the same time for the last that a project may have.
func TestQuotaUnderARace(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	most := uint64(3)
	if _, _, err := c.Manager.SetQuota(t.Context(), "acme", wire.Quota{Volumes: &most}, ""); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var got atomic.Int32
	for n := range 12 {
		wg.Go(func() {
			_, _, err := c.Manager.CreateVolume(t.Context(), wire.VolumeCreate{ID: apitest.UUID(n + 1),
				Name: fmt.Sprintf("v%d", n), Project: "acme", Pool: "gold", Size: apitest.MiB})
			var refused *manager.Error
			switch {
			case err == nil:
				got.Add(1)
			case !errors.As(err, &refused) || refused.Code != wire.QuotaExceeded:
				t.Errorf("volume %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if got.Load() != int32(most) {
		t.Errorf("%d volumes were made, the quota is %d", got.Load(), most)
	}
	c.Audit()
}

// TestPublishStats writes only what changed.
func TestPublishStats(t *testing.T) {
	c := apitest.New(t)
	d := c.Device(1, 1)
	ctx := t.Context()
	rev := func() int64 {
		snap, err := c.Store.Read(ctx, store.Key(cluster.KeyNodeStats(1)))
		if err != nil {
			t.Fatal(err)
		}
		return snap.One(0).Rev
	}
	st := cluster.NodeStats{Node: 1,
		Devices: []cluster.DeviceStats{{Device: d, Total: 100, Free: 60, Healthy: true}}}
	if err := c.Manager.PublishStats(ctx, st); err != nil {
		t.Fatal(err)
	}
	first := rev()
	c.Advance(time.Minute)
	if err := c.Manager.PublishStats(ctx, st); err != nil || rev() != first {
		t.Errorf("unchanged stats were written (%v)", err)
	}
	st.Devices[0].Free, st.Devices[0].Healthy = 50, false
	if err := c.Manager.PublishStats(ctx, st); err != nil || rev() == first {
		t.Errorf("changed stats were not written (%v)", err)
	}
	dev, err := c.Manager.Device(ctx, d)
	if err != nil || dev.Stats == nil || dev.Stats.Used != 50 || dev.Stats.Updated != "2026-11-21T12:01:00Z" {
		t.Errorf("got %+v, %v", dev.Stats, err)
	}
	h, err := c.Manager.Health(ctx)
	if err != nil || len(h.Devices.Bad) != 1 || h.Devices.Online != 0 {
		t.Errorf("health %+v, %v", h.Devices, err)
	}
	if err := c.Manager.PublishStats(ctx, cluster.NodeStats{Node: 9}); code(err) != wire.NotFound {
		t.Errorf("stats of nobody: %v", err)
	}
}

// TestKeepAlive shows a node online while its daemon runs.
func TestKeepAlive(t *testing.T) {
	c := apitest.New(t)
	status := func(want string) func() bool {
		return func() bool {
			n, err := c.Manager.Node(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			return n.Status == want
		}
	}
	if !status("unavailable")() {
		t.Error("online before it lived")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- c.Manager.KeepAlive(ctx, 1) }()
	waitFor(t, "online", status("online"))
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	waitFor(t, "unavailable", status("unavailable"))
}

// TestPages: whatever the limit, the pages together are the list.
func TestPages(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	for n := 4; n <= 12; n++ {
		c.Device(c.Join(n), 1)
	}
	zero := 0
	for i := range 5 {
		r := wire.PoolCreate{Name: fmt.Sprintf("p%d", i), Parity: &zero}
		if _, _, err := c.Manager.CreatePool(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 9 {
		c.Volume(i+1, fmt.Sprintf("v%d", i))
	}
	ctx := t.Context()
	for limit := 1; limit <= 14; limit++ {
		count := func(want int, list func(p manager.Page) (ids []string, next string, err error)) {
			seen := make(map[string]bool)
			for p := (manager.Page{Limit: limit}); ; {
				ids, next, err := list(p)
				if err != nil || len(ids) > limit || next != "" && len(ids) < limit {
					t.Fatalf("page of %d items, next %q, limit %d: %v", len(ids), next, limit, err)
				}
				for _, id := range ids {
					if seen[id] {
						t.Fatalf("%s comes twice", id)
					}
					seen[id] = true
				}
				if p.Cursor = next; next == "" {
					break
				}
			}
			if len(seen) != want {
				t.Fatalf("%d items, want %d", len(seen), want)
			}
		}
		count(12, func(p manager.Page) ([]string, string, error) { return flat(c.Manager.Nodes(ctx, p, "")) })
		count(12, func(p manager.Page) ([]string, string, error) { return flat(c.Manager.Devices(ctx, p, 0)) })
		count(6, func(p manager.Page) ([]string, string, error) { return flat(c.Manager.Pools(ctx, p, "")) })
		count(9, func(p manager.Page) ([]string, string, error) {
			return flat(c.Manager.Volumes(ctx, p, manager.VolumeFilter{}))
		})
		count(9, func(p manager.Page) ([]string, string, error) {
			return flat(c.Manager.Volumes(ctx, p, manager.VolumeFilter{Pool: "gold"}))
		})
		count(0, func(p manager.Page) ([]string, string, error) {
			return flat(c.Manager.Volumes(ctx, p, manager.VolumeFilter{Pool: "p1"}))
		})
		count(1, func(p manager.Page) ([]string, string, error) {
			return flat(c.Manager.Volumes(ctx, p, manager.VolumeFilter{Name: "v3"}))
		})
		count(12, func(p manager.Page) ([]string, string, error) { return flat(c.Manager.Tokens(ctx, p)) })
	}
}

// flat makes something comparable of the items of a page.
func flat[T any](p wire.Page[T], err error) ([]string, string, error) {
	var ids []string
	for _, it := range p.Items {
		ids = append(ids, fmt.Sprint(it))
	}
	return ids, p.Next, err
}

// TestVUIDsAreReused: after the last VUID come those of the next generation, also where a volume of this one
// still is.
func TestVUIDsAreReused(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	old := c.Volume(1, "old")
	key := cluster.KeyCounterVUID
	read, err := c.Store.Read(t.Context(), store.Key(key))
	if err != nil {
		t.Fatal(err)
	}
	last := fmt.Sprint(cluster.VolumeKey{VUID: cluster.MaxVUID - 1, Generation: 1}.Serial())
	if _, err := c.Store.Commit(t.Context(), store.Txn{If: []store.Cond{{Key: key, Rev: read.One(0).Rev}},
		Put: []store.Put{{Key: key, Value: []byte(last)}}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []wire.VolumeNumbers{{VUID: cluster.MaxVUID, Generation: 1}, {VUID: 1, Generation: 2},
		{VUID: 2, Generation: 2}} {
		if v := c.Volume(i+2, fmt.Sprint("v", i)); v.VolumeNumbers != want {
			t.Errorf("got %+v, want %+v", v.VolumeNumbers, want)
		}
	}
	if err := c.Manager.DeleteVolume(t.Context(), old.ID, "", false); err != nil {
		t.Error(err)
	}
	c.Audit()
}
