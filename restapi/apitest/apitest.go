// Package apitest runs the real API on loopback over a store in memory, for the tests of the server and of
// its clients: the same fixtures, no canned answers.
package apitest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/audit"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"

	"time"
)

// Host NQNs, UUIDs and sizes that tests use.
const (
	HostA      = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-1111-1111-111111111111"
	HostB      = "nqn.2014-08.org.nvmexpress:uuid:22222222-2222-2222-2222-222222222222"
	DeviceSize = uint64(1 << 30)
	MiB        = uint64(1 << 20)
)

// UUID makes a UUID that is easy to recognise.
func UUID(n int) cluster.UUID {
	u, err := cluster.ParseUUID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n))
	if err != nil {
		panic(err)
	}
	return u
}

// Node is how node n of a test introduces itself.
func Node(n int) wire.JoinRequest {
	port := func(base int) string { return fmt.Sprintf("192.0.2.%d:%d", n, base) }
	return wire.JoinRequest{
		UUID: UUID(n), Name: fmt.Sprintf("node%d", n), Domain: fmt.Sprintf("az1/rack%d", n),
		Addresses: cluster.Addresses{Host: port(4420), Discovery: port(8009), Peer: port(4421),
			REST: "http://" + port(7443), Etcd: "http://" + port(2379)},
		EtcdPeerURL: "http://" + port(2380),
	}
}

// Members is an etcd membership in memory.
type Members struct {
	mu    sync.Mutex
	peers []wire.EtcdPeer
	Fail  error // when set, Add fails with it
}

// Add implements manager.Members.
func (m *Members) Add(_ context.Context, name, peerURL string) ([]wire.EtcdPeer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Fail != nil {
		return nil, m.Fail
	}
	p := wire.EtcdPeer{Name: name, URL: peerURL}
	if !slices.Contains(m.peers, p) {
		m.peers = append(m.peers, p)
	}
	return slices.Clone(m.peers), nil
}

// Endpoints implements manager.Members.
func (m *Members) Endpoints(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := []string{"http://192.0.2.1:2379"}
	for _, p := range m.peers {
		out = append(out, "client of "+p.URL)
	}
	return out, nil
}

// Disks is the disks of a node in memory: formatting a path gives it a uuid that stays.
type Disks struct {
	Node cluster.NodeID
	mu   sync.Mutex
	made map[string]cluster.UUID
}

// PrepareDevice implements api.Runtime. Paths below /foreign hold something that is not ours.
func (d *Disks) PrepareDevice(_ context.Context, path string, size uint64) (cluster.UUID, uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(path) > 8 && path[:9] == "/foreign/" {
		return cluster.UUID{}, 0, fmt.Errorf("%s holds an ext4 file system", path)
	}
	if d.made == nil {
		d.made = make(map[string]cluster.UUID)
	}
	if d.made[path].IsZero() {
		d.made[path] = UUID(int(d.Node)*1000 + len(d.made) + 1)
	}
	if size == 0 {
		size = DeviceSize
	}
	return d.made[path], size, nil
}

// Cluster is a cluster whose API answers on loopback.
type Cluster struct {
	T        testing.TB
	Store    manager.Store
	Members  *Members
	Keys     ClusterKeys
	Manager  *manager.Manager
	Token    string // of an administrator
	URL      string // of node 1
	Server   *api.Server
	Log      io.Writer     // of servers that Serve starts later
	AuditDir string        // each node has a directory of its own in it
	Others   auth.Verifier // of tokens that are not the cluster's own; for servers that Serve starts later

	Limits api.Limits // of servers that are started from now on

	mu   sync.Mutex
	now  time.Time
	data map[cluster.UUID]uint64 // where it ends, see Fill
}

// New bootstraps a cluster of one node with no device.
func New(t testing.TB) *Cluster {
	t.Helper()
	return NewOn(t, store.NewMem())
}

// NewOn is New on a given store.
func NewOn(t testing.TB, s manager.Store) *Cluster {
	t.Helper()
	return NewFollowing(t, s, nil)
}

// NewFollowing is NewOn with what follows that store.
func NewFollowing(t testing.TB, s manager.Store, states manager.States) *Cluster {
	t.Helper()
	c := &Cluster{T: t, Store: s, Members: &Members{}, Keys: ClusterKeys{}, Log: io.Discard,
		AuditDir: t.TempDir(), now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	c.Manager = manager.New(manager.Options{Store: s, States: states, Members: c.Members, Keys: c.Keys,
		Now: c.Now})
	secret, err := auth.NewSecret(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Token = secret.Reveal()
	_, err = c.Manager.Bootstrap(t.Context(), manager.Bootstrap{
		ClusterID: UUID(999), ClusterName: "test", Secret: make([]byte, manager.SecretSize), AdminToken: secret,
		Node: Node(1),
	})
	if err != nil {
		t.Fatalf("bootstrap: %v", err)
	}
	c.Server, c.URL = c.Serve(1)
	return c
}

// Now is the cluster's clock.
func (c *Cluster) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Cluster) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Serve starts the API of a node until the test ends.
func (c *Cluster) Serve(self cluster.NodeID) (*api.Server, string) {
	c.T.Helper()
	log := logrus.New()
	log.SetOutput(c.Log)
	log.SetLevel(logrus.DebugLevel)
	verifier := auth.Verifier(auth.NewTokens(c.Manager, c.Now))
	if c.Others != nil {
		verifier = auth.Either{Own: verifier, Other: c.Others}
	}
	dir := filepath.Join(c.AuditDir, fmt.Sprint(self))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		c.T.Fatal(err)
	}
	trail, err := audit.Open(dir)
	if err != nil {
		c.T.Fatal(err)
	}
	c.T.Cleanup(func() { _ = trail.Close() })
	s, err := api.New(api.Options{
		Audit:   trail,
		Manager: c.Manager, Verifier: verifier, Runtime: &Disks{Node: self},
		Observer: &Counts{Node: self, cluster: c}, Inspector: &Process{Node: self},
		Surveyor: &Kept{Node: self, cluster: c}, Self: self,
		Version: wire.Version{Version: "test", Go: "go"}, Log: log, Limits: c.Limits,
	})
	if err != nil {
		c.T.Fatal(err)
	}
	h := httptest.NewServer(http.Handler(s))
	c.T.Cleanup(h.Close)
	return s, h.URL
}

// Join adds node n.
func (c *Cluster) Join(n int) cluster.NodeID {
	c.T.Helper()
	ctx := c.T.Context()
	token, err := c.Manager.CreateToken(ctx, wire.TokenCreate{Name: "join", Role: string(auth.Join)})
	if err != nil {
		c.T.Fatal(err)
	}
	r := Node(n)
	r.Token = token.Secret
	res, _, err := c.Manager.Join(ctx, r)
	if err != nil {
		c.T.Fatalf("join node %d: %v", n, err)
	}
	return res.Node
}

// Device adds a device of DeviceSize to a node.
func (c *Cluster) Device(node cluster.NodeID, n int) cluster.DeviceID {
	c.T.Helper()
	d, _, err := c.Manager.AddDevice(c.T.Context(), manager.DeviceAdd{Node: node,
		UUID: UUID(10_000*int(node) + n),
		Path: fmt.Sprintf("/dev/nvme%dn1", n), Size: DeviceSize})
	if err != nil {
		c.T.Fatalf("add device %d of node %d: %v", n, node, err)
	}
	return d.Number
}

// Pool makes three nodes with a device each and a pool "gold" with one further copy.
func (c *Cluster) Pool() wire.Pool {
	c.T.Helper()
	c.Device(1, 1)
	for n := 2; n <= 3; n++ {
		c.Device(c.Join(n), 1)
	}
	parity := 1
	p, _, err := c.Manager.CreatePool(c.T.Context(), wire.PoolCreate{Name: "gold", Parity: &parity})
	if err != nil {
		c.T.Fatalf("create pool: %v", err)
	}
	return p
}

// Volume makes a volume of 16 MiB in pool gold with id UUID(n).
func (c *Cluster) Volume(n int, name string) wire.Volume {
	c.T.Helper()
	v, _, err := c.Manager.CreateVolume(c.T.Context(),
		wire.VolumeCreate{ID: UUID(n), Name: name, Pool: "gold", Size: 16 * MiB})
	if err != nil {
		c.T.Fatalf("create volume %s: %v", name, err)
	}
	return v
}

// Snapshot takes a snapshot of a volume, with id UUID(n); Own must have been called.
func (c *Cluster) Snapshot(volume cluster.UUID, n int, name string) wire.Snapshot {
	c.T.Helper()
	r := wire.SnapshotCreate{ID: UUID(n), Volume: volume, Name: name}
	s, _, err := c.Manager.CreateSnapshot(c.T.Context(), r)
	if err != nil || s.State != cluster.SnapshotAvailable {
		c.T.Fatalf("snapshot %s is %s: %v", name, s.State, err)
	}
	return s
}

// Audit fails the test when records contradict each other.
func (c *Cluster) Audit() {
	c.T.Helper()
	broken, err := c.Manager.Audit(c.T.Context())
	if err != nil {
		c.T.Errorf("audit: %v", err)
	}
	for _, b := range broken {
		c.T.Errorf("audit: %s", b)
	}
}
