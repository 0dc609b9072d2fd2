package initiator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet/memns"
)

const (
	volumeNQN = "nqn.2026-11.io.ashlar:test:vol:1"
	hostNQN   = "nqn.2026-11.io.ashlar:test:host"
)

// view is one node's view of a namespace: an ANA state of its own, and vendor commands.
type view struct {
	*memns.Namespace
	state atomic.Uint32
}

func (v *view) ANAState() nvme.ANAState { return nvme.ANAState(v.state.Load()) }

// Submit answers vendor writes with the sum of their bytes and vendor reads with CDW10.
func (v *view) Submit(r *nvmet.Request) {
	switch r.Cmd.Opcode() {
	case 0x81:
		sum := uint32(0)
		for _, b := range r.Data {
			sum += uint32(b)
		}
		r.CompleteResult(nvme.Success, sum, uint32(len(r.Data)))
	case 0x82:
		for i := range r.Data {
			r.Data[i] = byte(r.Cmd.CDW10())
		}
		r.Complete(nvme.Success)
	default:
		v.Namespace.Submit(r)
	}
}

// node is a target on the loopback interface that shows a view.
type node struct {
	*nvmet.Target
	view *view
	addr string
}

// newNode serves ns; id keeps the controller identifiers of nodes apart.
func newNode(t testing.TB, id uint16, ns *memns.Namespace, o nvmet.Options) *node {
	t.Helper()
	o.MinCNTLID, o.MaxCNTLID = id*100+1, id*100+99
	target, err := nvmet.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Target: target, view: &view{Namespace: ns}, addr: ln.Addr().String()}
	n.view.state.Store(uint32(nvme.ANAOptimized))
	err = target.Put(nvmet.SubsystemConfig{
		NQN: volumeNQN, Serial: "1", Model: "Ashlar", Namespace: n.view, AllowedHosts: []string{hostNQN},
		Vendor:  len(o.Secret) > 0,
		Portals: []nvmet.Portal{{Addr: "127.0.0.1", Port: uint16(ln.Addr().(*net.TCPAddr).Port), PortID: id}},
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		// Serve ends when the target is closed; what it returns then is the target's story.
		_ = target.Serve(ln)
	}()
	t.Cleanup(func() {
		target.Close()
		<-served
	})
	return n
}

func newNamespace(t testing.TB, bytes, limit uint64) *memns.Namespace {
	t.Helper()
	ns, err := memns.New([16]byte{0x12, 0x34, 15: 1}, bytes/512, limit/512)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func (n *node) config() initiator.Config {
	return initiator.Config{Addr: n.addr, SubNQN: volumeNQN, HostNQN: hostNQN, HostID: [16]byte{1}}
}

func volumeConfig(nodes ...*node) initiator.VolumeConfig {
	cfg := initiator.VolumeConfig{Config: nodes[0].config()}
	cfg.Backoff.First = 10 * time.Millisecond
	for _, n := range nodes {
		cfg.Portals = append(cfg.Portals, n.addr)
	}
	return cfg
}

func open(t testing.TB, cfg initiator.VolumeConfig) *initiator.Volume {
	t.Helper()
	v, err := initiator.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestAgainstTarget writes, reads, zeroes and deallocates at random and compares with a model, through every
// way that data can take.
func TestAgainstTarget(t *testing.T) {
	cases := []struct {
		name string
		set  func(*initiator.VolumeConfig, *nvmet.Options)
	}{
		{"plain", func(*initiator.VolumeConfig, *nvmet.Options) {}},
		{"digests", func(c *initiator.VolumeConfig, _ *nvmet.Options) {
			c.HeaderDigest, c.DataDigest = true, true
		}},
		{"header digest, aligned", func(c *initiator.VolumeConfig, _ *nvmet.Options) {
			c.HeaderDigest, c.HPDA = true, nvme.MaxPDA
		}},
		{"small capsules, many queues", func(c *initiator.VolumeConfig, o *nvmet.Options) {
			o.InCapsule, c.Queues = 4096, 4
		}},
		{"shallow, small transfers", func(c *initiator.VolumeConfig, o *nvmet.Options) {
			c.Depth, o.MDTS = 2, 8192
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			const size = 4 << 20
			var o nvmet.Options
			var probe initiator.VolumeConfig
			tc.set(&probe, &o)
			cfg := volumeConfig(newNode(t, 1, newNamespace(t, size, size), o))
			tc.set(&cfg, &o)
			compare(t, open(t, cfg), size)
		})
	}
}

// compare runs a seeded workload on a volume of zeroes and on a model of it.
func compare(t *testing.T, v *initiator.Volume, size int64) {
	t.Helper()
	model := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, 2))
	ctx := t.Context()
	buf := make([]byte, 600<<10)
	for i := range 300 {
		n := int64(512) << rng.IntN(10)
		if rng.IntN(8) == 0 {
			n = 512 * (1 + rng.Int64N(int64(len(buf))/512))
		}
		off := 512 * rng.Int64N((size-n)/512+1)
		p := buf[:n]
		var err error
		switch op := rng.IntN(5); op {
		case 0, 1:
			for j := range p {
				p[j] = byte(rng.Uint32())
			}
			err = v.Write(ctx, p, off)
			copy(model[off:], p)
		case 2:
			if err = v.WriteZeroes(ctx, off, n); rng.IntN(2) == 0 && err == nil {
				err = v.Flush(ctx)
			}
			clear(model[off : off+n])
		case 3:
			err = v.Deallocate(ctx, off, n)
			clear(model[off : off+n])
		case 4:
			if err = v.Read(ctx, p, off); !bytes.Equal(p, model[off:off+n]) {
				t.Fatalf("step %d: %d bytes at %d differ", i, n, off)
			}
		}
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	all := make([]byte, size)
	if err := v.Read(ctx, all, 0); err != nil || !bytes.Equal(all, model) {
		t.Fatalf("at the end: %v", err)
	}
	if err := v.WriteZeroes(ctx, 0, size); err != nil { // more than a target clears at once
		t.Fatal(err)
	}
	if err := v.Read(ctx, all, 0); err != nil || !bytes.Equal(all, make([]byte, size)) {
		t.Fatalf("zeroed: %v", err)
	}
}

// TestTargetRefuses: a host that is not on the list, and a subsystem that is not there.
func TestTargetRefuses(t *testing.T) {
	n := newNode(t, 1, newNamespace(t, 1<<20, 1<<20), nvmet.Options{})
	for _, tc := range []struct {
		name string
		set  func(*initiator.Config)
	}{
		{"host", func(c *initiator.Config) { c.HostNQN += "x" }},
		{"subsystem", func(c *initiator.Config) { c.SubNQN += "x" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := n.config()
			tc.set(&cfg)
			_, err := initiator.Dial(t.Context(), cfg)
			var st nvme.Status
			if !errors.As(err, &st) || st.Type() != nvme.TypeCommandSpecific {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestTargetEvents: resizing and change of owner reach the host by events, in milliseconds.
func TestTargetEvents(t *testing.T) {
	ns := newNamespace(t, 1<<20, 4<<20)
	a, b := newNode(t, 1, ns, nvmet.Options{}), newNode(t, 2, ns, nvmet.Options{})
	b.view.state.Store(uint32(nvme.ANAInaccessible))
	v := open(t, volumeConfig(a, b))
	eventually(t, "both paths up", func() bool { s := v.Paths(); return s[0].Up && s[1].Up })
	for size := int64(2 << 20); size <= 4<<20; size += 1 << 20 {
		if err := ns.Resize(uint64(size / 512)); err != nil {
			t.Fatal(err)
		}
		a.NamespaceChanged(volumeNQN)
		b.NamespaceChanged(volumeNQN)
		eventually(t, "new size", func() bool { return v.Size() == size })
	}
	for i := range 6 {
		from, to := a, b
		if i%2 == 1 {
			from, to = b, a
		}
		from.view.state.Store(uint32(nvme.ANAInaccessible))
		from.ANAChanged(volumeNQN)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		time.AfterFunc(5*time.Millisecond, func() {
			to.view.state.Store(uint32(nvme.ANAOptimized))
			to.ANAChanged(volumeNQN)
		})
		if err := v.Write(ctx, bytes.Repeat([]byte{byte(i + 1)}, 4096), 0); err != nil {
			t.Fatalf("hand-over %d: %v", i, err)
		}
		cancel()
	}
}

// TestTargetDies: under load, the node with the better path goes away for good; no request fails.
func TestTargetDies(t *testing.T) {
	ns := newNamespace(t, 1<<20, 1<<20)
	a, b := newNode(t, 1, ns, nvmet.Options{}), newNode(t, 2, ns, nvmet.Options{})
	b.view.state.Store(uint32(nvme.ANANonOptimized))
	v := open(t, volumeConfig(a, b))
	eventually(t, "both paths up", func() bool { s := v.Paths(); return s[0].Up && s[1].Up })
	var wg sync.WaitGroup
	var after atomic.Int64
	var dead atomic.Bool
	for w := range 8 {
		wg.Go(func() {
			p := bytes.Repeat([]byte{byte(w)}, 4096)
			for after.Load() < 2000 {
				if err := v.Write(t.Context(), p, int64(w)*4096); err != nil {
					t.Errorf("%v", err)
					return
				}
				if dead.Load() {
					after.Add(1)
				}
			}
		})
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	dead.Store(true)
	wg.Wait()
	got := make([]byte, 8*4096)
	if err := v.Read(t.Context(), got, 0); err != nil {
		t.Fatal(err)
	}
	for w := range 8 {
		if !bytes.Equal(got[w*4096:(w+1)*4096], bytes.Repeat([]byte{byte(w)}, 4096)) {
			t.Errorf("block %d lost its write", w)
		}
	}
}

// TestTargetStalls: a target that sits on commands loses its connection when they time out, and what it does
// with them later reaches nobody.
func TestTargetStalls(t *testing.T) {
	ns := newNamespace(t, 1<<20, 1<<20)
	n := newNode(t, 1, ns, nvmet.Options{})
	cfg := n.config()
	cfg.Timeout = 200 * time.Millisecond
	c, err := initiator.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ns.Hold()
	var lost atomic.Int32
	for i := range 10 {
		io := &initiator.IO{Data: make([]byte, 4096), Done: func(io *initiator.IO) {
			if io.Status() == nvme.HostPathingError {
				lost.Add(1)
			}
		}}
		io.Cmd.ReadWrite(nvme.OpRead, 1, uint64(i), 8)
		c.Submit(io)
	}
	ns.AwaitHeld(10)
	<-c.Done()
	if lost.Load() != 10 || !errors.Is(c.Err(), initiator.ErrTimeout) {
		t.Errorf("%d lost, %v", lost.Load(), c.Err())
	}
	ns.Release()
}

// TestVendorCommands: between nodes, with the cluster's secret, at the sizes that chunk commands have.
func TestVendorCommands(t *testing.T) {
	secret := []byte("of the cluster")
	n := newNode(t, 1, newNamespace(t, 1<<20, 1<<20), nvmet.Options{Secret: secret, MDTS: 1 << 20})
	cfg := n.config()
	if _, err := initiator.Dial(t.Context(), cfg); !errors.Is(err, nvme.AuthenticationRequired) {
		t.Errorf("without the secret: %v", err)
	}
	cfg.Secret = []byte("of another cluster")
	if _, err := initiator.Dial(t.Context(), cfg); err == nil {
		t.Error("with another secret: connected")
	}
	cfg.Secret, cfg.Queues = secret, 2
	c, err := initiator.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, size := range []int{1, 40, 4096, 4096 + 40, 8192, 8193, 1<<20 + 4096} {
		head := bytes.Repeat([]byte{1}, min(40, size))
		io := &initiator.IO{Data: head, Tail: bytes.Repeat([]byte{1}, size-len(head))}
		io.Cmd.SetOpcode(0x81)
		vendor(c, io)
		if got := io.Completion; !got.Status.OK() || got.DW0 != uint32(size) || got.DW1 != uint32(size) {
			t.Errorf("send %d: %+v", size, got)
		}
		io.Cmd.SetOpcode(0x82)
		io.Cmd.SetCDW10(7)
		vendor(c, io)
		all := append(bytes.Clone(io.Data), io.Tail...)
		if !io.Status().OK() || bytes.Count(all, []byte{7}) != size {
			t.Errorf("receive %d: %v", size, io.Status())
		}
	}
}

func vendor(c *initiator.Client, io *initiator.IO) {
	io.Cmd.SetNSID(1)
	done := make(chan struct{})
	io.Done = func(*initiator.IO) { close(done) }
	c.Submit(io)
	<-done
}

// TestTargetDiscovery finds the volume by the well known name.
func TestTargetDiscovery(t *testing.T) {
	n := newNode(t, 3, newNamespace(t, 1<<20, 1<<20), nvmet.Options{})
	cfg := n.config()
	cfg.SubNQN = ""
	l, err := initiator.Discover(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range l.Entries {
		found = append(found, fmt.Sprintf("%s %s:%s", e.SUBNQN, e.TRADDR, e.TRSVCID))
	}
	if all := strings.Join(found, "\n"); !strings.Contains(all, volumeNQN+" "+n.addr) {
		t.Errorf("no %s at %s in\n%s", volumeNQN, n.addr, all)
	}
}
