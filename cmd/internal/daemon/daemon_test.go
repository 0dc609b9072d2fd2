package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/freeport"
	"github.com/ashlar-storage/ashlar/dataplane/node"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/contract"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// patience bounds every wait of these tests.
const patience = 90 * time.Second

// still is a data plane that has nothing to do.
type still struct{ o DataPlaneOptions }

func (s still) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (s still) Stats() cluster.NodeStats      { return cluster.NodeStats{Node: s.o.Node} }
func (s still) Figures() node.Figures         { return node.Figures{} }
func (s still) Purged(context.Context, []cluster.PurgeAt) map[cluster.DeviceID]*cluster.Purged {
	return nil
}
func (s still) Associations() []nvmet.Association { return nil }
func (s still) Space(context.Context, cluster.VolumeKey, uint32) ([]node.DeviceSpace, error) {
	return nil, nil
}

func testOptions(t testing.TB, name string) Options {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	if testing.Verbose() {
		log.SetOutput(t.Output())
	}
	o := Options{DataDir: filepath.Join(t.TempDir(), name), Name: name, Listen: freeServices(t),
		Etcd:     Etcd{Member: true, Heartbeat: 100 * time.Millisecond, Election: time.Second},
		Shutdown: 20 * time.Second, Log: log,
		NewDataPlane: func(o DataPlaneOptions) (DataPlane, error) { return still{o}, nil }}
	o.Advertise = o.Listen
	return o
}

// freeServices finds a loopback port for each of them.
func freeServices(t testing.TB) Services {
	t.Helper()
	var s Services
	s.each(func(_ string, addr *string) { *addr = freeport.Addr(t) })
	return s
}

// process is a daemon that runs in this process.
type process struct {
	cancel context.CancelFunc
	ended  chan error
}

func start(t testing.TB, o Options) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{cancel: cancel, ended: make(chan error, 1)}
	go func() { p.ended <- Run(ctx, o) }()
	t.Cleanup(func() { cancel(); <-p.ended })
	return p
}

// stop ends the daemon and fails the test if it does not end well.
func (p *process) stop(t testing.TB) {
	t.Helper()
	p.cancel()
	err := <-p.ended
	p.ended <- nil
	if err != nil {
		t.Fatalf("stop: %v", err)
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually calls try until it succeeds; a daemon that ends meanwhile fails the test.
func eventually(t testing.TB, ctx context.Context, what string, try func() error) {
	t.Helper()
	for {
		err := try()
		if err == nil {
			return
		}
		if perr := pause(ctx, 50*time.Millisecond); perr != nil {
			t.Fatalf("%s: gave up: %v", what, err)
		}
	}
}

// admin makes a client of the nodes' API with the founder's token, which holds every answer against the
// OpenAPI document.
func admin(t testing.TB, founder Options, nodes ...Options) *client.Client {
	t.Helper()
	var urls []string
	for _, n := range append([]Options{founder}, nodes...) {
		urls = append(urls, "http://"+n.Listen.REST)
	}
	token, err := os.ReadFile(filepath.Join(founder.DataDir, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	bearer := strings.TrimSpace(string(token))
	held := &contract.Transport{Token: bearer, Report: func(err error) { t.Error("undocumented:", err) }}
	c, err := client.New(client.Options{Endpoints: urls, Token: bearer, Timeout: 5 * time.Second,
		Transport: held})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func waitUp(t testing.TB, ctx context.Context, o Options) {
	t.Helper()
	c, err := client.New(client.Options{Endpoints: []string{"http://" + o.Listen.REST}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, o.Name+" is up", func() error { _, err := c.GetLiveness(ctx); return err })
}

// TestACluster founds a cluster, lets two nodes join at the same time, stops the founder, and starts it again
// without being told anything.
func TestACluster(t *testing.T) {
	ctx := testContext(t)
	a := testOptions(t, "a")
	a.First = First{Bootstrap: true, ClusterName: "test"}
	pa := start(t, a)
	waitUp(t, ctx, a)
	var others []Options
	for _, name := range []string{"b", "c"} {
		tok, err := admin(t, a).CreateToken(ctx, wire.TokenCreate{Name: name, Role: "join", ExpiresSeconds: 600})
		if err != nil {
			t.Fatal(err)
		}
		o := testOptions(t, name)
		o.First = First{JoinURLs: []string{"http://" + a.Listen.REST}, JoinToken: tok.Secret}
		start(t, o)
		others = append(others, o)
	}
	all := admin(t, a, others...)
	eventually(t, ctx, "three nodes online", func() error { return online(ctx, all, 3) })
	eventually(t, ctx, "every state file knows three members", func() error {
		for _, o := range append(others, a) {
			if s, err := LoadState(o.DataDir); err != nil || s.Stage != Member || !s.EtcdStarted ||
				len(s.EtcdEndpoints) != 3 {
				return fmt.Errorf("%s: %+v, %v", o.Name, s, err)
			}
		}
		return nil
	})

	pa.stop(t)
	rest := admin(t, a, others...)
	eventually(t, ctx, "the others go on and miss the founder", func() error { return online(ctx, rest, 2) })
	a.First = First{}
	a.Listen.Hosts = freeServices(t).Hosts
	a.Advertise = a.Listen
	start(t, a)
	eventually(t, ctx, "the founder is back", func() error { return online(ctx, rest, 3) })
	eventually(t, ctx, "its new address is known", func() error {
		n, err := rest.GetNode(ctx, 1)
		if err == nil && n.Addresses.Host != a.Listen.Hosts {
			err = fmt.Errorf("node 1 is at %s, want %s", n.Addresses.Host, a.Listen.Hosts)
		}
		return err
	})
}

func online(ctx context.Context, c *client.Client, want int) error {
	nodes, err := c.AllNodes(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, x := range nodes {
		if x.Status == "online" {
			n++
		}
	}
	if n != want {
		return fmt.Errorf("%d nodes online, want %d: %+v", n, want, nodes)
	}
	return nil
}

// TestBirthGoesOnWhereItStopped starts a founder again from the state that a kill would have left behind.
func TestBirthGoesOnWhereItStopped(t *testing.T) {
	ctx := testContext(t)
	o := testOptions(t, "a")
	o.First.Bootstrap = true
	first := &daemon{opt: o, log: o.Log}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := first.conceive(); err != nil { // killed right after this
		t.Fatal(err)
	}
	p := start(t, o)
	waitUp(t, ctx, o)
	c, err := admin(t, o).GetCluster(ctx)
	if err != nil || c.ID != first.state.ClusterID {
		t.Fatalf("cluster %v (%v), the state said %v", c.ID, err, first.state.ClusterID)
	}
	p.stop(t)
	// Killed between founding the cluster and noting it.
	s, err := LoadState(o.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if s.AdminToken != "" {
		t.Fatal("the admin token stayed in the state file")
	}
	s.Stage, s.Node, s.AdminToken = Founding, 0, first.state.AdminToken
	if err := s.save(o.DataDir); err != nil {
		t.Fatal(err)
	}
	start(t, o)
	waitUp(t, ctx, o)
	if c, err = admin(t, o).GetCluster(ctx); err != nil || c.ID != first.state.ClusterID || c.Nodes != 1 {
		t.Fatalf("after the second birth: %+v, %v", c, err)
	}
	for _, name := range []string{stateFile, tokenFile} {
		if st, err := os.Stat(filepath.Join(o.DataDir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, st.Mode(), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	open := func(loopback string) string { return strings.Replace(loopback, "127.0.0.1", "0.0.0.0", 1) }
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no cluster": {func(*Options) {}, "--bootstrap"},
		"both": {func(o *Options) { o.First = First{Bootstrap: true, JoinURLs: []string{"x"}} },
			"exclude"},
		"no token":          {func(o *Options) { o.First.JoinURLs = []string{"http://127.0.0.1:1"} }, "token"},
		"open REST":         {func(o *Options) { o.Listen.REST = open(o.Listen.REST) }, "insecure-http"},
		"open etcd":         {func(o *Options) { o.Listen.EtcdPeer = open(o.Listen.EtcdPeer) }, "insecure-http"},
		"advertise nothing": {func(o *Options) { o.Advertise.Hosts = "0.0.0.0:4420" }, "advertise-address"},
		"bad name":          {func(o *Options) { o.Name = "a b" }, "name"},
		"no etcd at all":    {func(o *Options) { o.First.Bootstrap, o.Etcd.Member = true, false }, "etcd"},
		"join URL is none": {func(o *Options) { o.First = First{JoinURLs: []string{"node1"}, JoinToken: "x"} },
			"http"},
		"no time for the stop": {func(o *Options) { o.Shutdown = 0 }, "shutdown-timeout-seconds"},
	} {
		o := testOptions(t, "a")
		c.change(&o)
		if err := Run(testContext(t), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, c.want)
		}
	}
}

func TestATakenPortIsNamedBeforeAnythingIsFounded(t *testing.T) {
	o := testOptions(t, "a")
	o.First.Bootstrap = true
	ln, err := net.Listen("tcp", o.Listen.Nodes)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if err := Run(testContext(t), o); err == nil || !strings.Contains(err.Error(), "nodes: cannot listen") {
		t.Fatalf("error %v", err)
	}
	if s, err := LoadState(o.DataDir); err != nil || s != nil {
		t.Fatalf("a state was written: %+v, %v", s, err)
	}
}

func TestASecondDaemonOnOneDirectoryIsRefused(t *testing.T) {
	o := testOptions(t, "a")
	o.First.Bootstrap = true
	start(t, o)
	ctx := testContext(t)
	waitUp(t, ctx, o)
	if err := Run(ctx, o); err == nil || !strings.Contains(err.Error(), "another ashlard") {
		t.Fatalf("error %v", err)
	}
}

func TestAMemberThatLostItsDirectoryDoesNotStart(t *testing.T) {
	ctx := testContext(t)
	o := testOptions(t, "a")
	o.First.Bootstrap = true
	p := start(t, o)
	waitUp(t, ctx, o)
	p.stop(t)
	if err := os.RemoveAll(filepath.Join(o.DataDir, etcdDir)); err != nil {
		t.Fatal(err)
	}
	if err := Run(ctx, o); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Fatalf("error %v", err)
	}
}

func TestADamagedStateFileIsNamed(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "{", `{"format":9}`, `{"format":1,"stage":"member"}`,
		`{"format":1,"stage":"x"}`} {
		if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadState(dir); err == nil || !strings.Contains(err.Error(), stateFile) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

// TestADevice makes a file a device of the cluster, twice, and refuses what is somebody else's.
func TestADevice(t *testing.T) {
	ctx := testContext(t)
	o := testOptions(t, "a")
	o.First.Bootstrap = true
	p := start(t, o)
	waitUp(t, ctx, o)
	c := admin(t, o)
	path := filepath.Join(t.TempDir(), "disk")
	_, err := c.CreateDevice(ctx, wire.DeviceCreate{Node: 1, Path: path})
	if !client.Is(err, wire.InvalidField, wire.Unavailable) {
		t.Fatalf("nothing there: %v", err)
	}
	var d wire.Device
	eventually(t, ctx, "the device is added", func() error {
		d, err = c.CreateDevice(ctx, wire.DeviceCreate{Node: 1, Path: path, Size: 64 << 20})
		return err
	})
	if d.Size == 0 || d.Size >= 64<<20 || d.UUID.IsZero() {
		t.Fatalf("device %+v", d)
	}
	if again, err := c.CreateDevice(ctx, wire.DeviceCreate{Node: 1, Path: path}); err != nil ||
		again.UUID != d.UUID {
		t.Fatalf("again: %+v, %v", again, err)
	}
	for story, x := range map[string]struct {
		fill func(t *testing.T, path string)
		says string
	}{
		"data":            {fillWith(0, strings.Repeat("data", 16<<20/4)), "not known"},
		"a file system":   {fillWith(1080, "\x53\xef"), "ext4"},
		"a RAID member":   {fillWith(16<<20-8192, "\xfc\x4e\x2b\xa9"), "RAID"},
		"another cluster": {formatForAnother, "belongs to cluster"},
	} {
		foreign := filepath.Join(t.TempDir(), "foreign")
		x.fill(t, foreign)
		_, err := c.CreateDevice(ctx, wire.DeviceCreate{Node: 1, Path: foreign})
		if !client.Is(err, wire.Conflict) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("a device with %s: %v", story, err)
		}
	}
	p.stop(t)
}

// fillWith makes a file of 16 MiB that holds data at one place.
func fillWith(off int64, data string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte(data), off)
		if err := errors.Join(err, f.Truncate(16<<20), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// formatForAnother makes a device of another cluster.
func formatForAnother(t *testing.T, path string) {
	dev, err := blockdev.OpenFile(path, blockdev.FileOptions{Create: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	err = pagestore.Format(t.Context(), dev, pagestore.FormatOptions{ClusterID: cluster.UUID{1},
		DeviceUUID: cluster.UUID{2}})
	if err := errors.Join(err, dev.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestShutdownDoesNotWaitForever(t *testing.T) {
	ctx := testContext(t)
	o := testOptions(t, "a")
	o.First.Bootstrap = true
	o.Shutdown = 300 * time.Millisecond
	release := make(chan struct{})
	running := make(chan struct{})
	o.NewDataPlane = func(DataPlaneOptions) (DataPlane, error) {
		return stuck{running: running, release: release}, nil
	}
	p := start(t, o)
	waitUp(t, ctx, o)
	<-running
	p.cancel()
	err := <-p.ended
	p.ended <- nil
	close(release)
	if err == nil || !strings.Contains(err.Error(), "did not stop") {
		t.Fatalf("error %v", err)
	}
}

// stuck is a data plane that does not stop when it is told to.
type stuck struct{ running, release chan struct{} }

func (s stuck) Run(context.Context) error {
	close(s.running)
	<-s.release
	return errors.New("released")
}
func (s stuck) Stats() cluster.NodeStats { return cluster.NodeStats{} }

func (s stuck) Figures() node.Figures { return node.Figures{} }
func (s stuck) Purged(context.Context, []cluster.PurgeAt) map[cluster.DeviceID]*cluster.Purged {
	return nil
}
func (s stuck) Associations() []nvmet.Association { return nil }
func (s stuck) Space(context.Context, cluster.VolumeKey, uint32) ([]node.DeviceSpace, error) {
	return nil, nil
}
