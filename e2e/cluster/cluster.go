package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd"
	"github.com/ashlar-storage/ashlar/e2e/build"
	"github.com/ashlar-storage/ashlar/e2e/network"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// PoolName is the pool that a cluster has unless the options say otherwise.
const PoolName = "pool"

// Options of a cluster; the zero value means three nodes with a disk of 512 MiB each and two copies of
// everything.
type Options struct {
	Nodes     int
	Disks     int   // of each node
	DiskSize  int64 // bytes
	Pools     []wire.PoolCreate
	Network   *network.Network // to have every node in a namespace of its own instead of on loopback
	Settings  []string         // more arguments of every ashlard
	Advertise string           // address at which hosts reach this machine's loopback; default 127.0.0.1
	Patience  time.Duration    // bound of every wait, default 2 minutes
}

// attempt bounds a call of the API at one node: the next may answer where this one is cut off.
const attempt = 5 * time.Second

// Cluster is a running cluster.
type Cluster struct {
	Nodes []*Node
	API   *client.Client // asks any node that answers
	Token string         // the administrator's

	t        testing.TB
	patience time.Duration
}

// Start starts a cluster and returns when it has its pool.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	begin := time.Now()
	o = o.withDefaults()
	c := &Cluster{t: t, patience: o.Patience}
	if err := c.start(o); err != nil {
		c.report()
		t.Fatalf("start cluster: %v", err)
	}
	t.Logf("cluster of %d up after %v", o.Nodes, time.Since(begin).Round(time.Millisecond))
	return c
}

func (o Options) withDefaults() Options {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.DiskSize == 0 {
		o.DiskSize = 512 << 20
	}
	if o.Disks == 0 {
		o.Disks = 1
	}
	if o.Pools == nil {
		parity := 1
		o.Pools = []wire.PoolCreate{{Name: PoolName, Parity: &parity}}
	}
	if o.Patience == 0 {
		o.Patience = 2 * time.Minute
	}
	return o
}

func (c *Cluster) start(o Options) error {
	binary, err := build.Program("cmd/ashlard", false)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ashlar-e2e-*")
	if err != nil {
		return err
	}
	ports, err := freePorts(o.Nodes * len(services()))
	if err != nil {
		return err
	}
	c.t.Cleanup(func() { c.close(dir) })
	for i := range o.Nodes {
		n, err := newNode(c.t, o, binary, dir, i+1, ports[i*len(services()):])
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, n)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), o.Patience)
	defer cancel()
	if err := c.found(ctx); err != nil {
		return fmt.Errorf("first node: %w", err)
	}
	for _, n := range c.Nodes[1:] {
		if err := c.join(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	if err := c.until(ctx, "etcd has its voters", func() error { return c.etcdSettled(ctx) }); err != nil {
		return err
	}
	return c.furnish(ctx, o)
}

// etcdSettled says whether as many etcd members vote as can: a node that is taken away before that may take
// the majority with it. Settle promotes members where a node has not done so yet.
func (c *Cluster) etcdSettled(ctx context.Context) error {
	once, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	etcd, err := embedetcd.Dial([]string{c.Nodes[0].etcd}, false, nil, quiet())
	if err != nil {
		return err
	}
	defer func() { _ = etcd.Close() }()
	counts, err := embedetcd.Settle(once, etcd)
	if err == nil && counts.Voters != (len(c.Nodes)-1)|1 {
		err = fmt.Errorf("it has %+v", counts)
	}
	return err
}

func quiet() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// found starts the first node, which makes the cluster, and waits for its API.
func (c *Cluster) found(ctx context.Context) error {
	first := c.Nodes[0]
	if err := first.start("--bootstrap", "--cluster-name", "e2e"); err != nil {
		return err
	}
	tokenFile := filepath.Join(first.DataDir(), "admin-token")
	err := c.until(ctx, "it writes the administrator's token", func() error {
		raw, err := os.ReadFile(tokenFile)
		c.Token = strings.TrimSpace(string(raw))
		return err
	})
	if err != nil {
		return err
	}
	var endpoints []string
	for _, n := range c.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	c.API, err = client.New(client.Options{Endpoints: endpoints, Token: c.Token, Timeout: attempt})
	if err != nil {
		return err
	}
	return c.number(ctx, first)
}

// join adds a node to the cluster.
func (c *Cluster) join(ctx context.Context, n *Node) error {
	token, err := c.API.CreateToken(ctx, wire.TokenCreate{Name: "join-" + n.Name, Role: "join"})
	if err != nil {
		return err
	}
	if err := n.start("--join", c.Nodes[0].REST, "--token", token.Secret); err != nil {
		return err
	}
	return c.number(ctx, n)
}

// number waits until the cluster shows a node as online and notes its number.
func (c *Cluster) number(ctx context.Context, n *Node) error {
	return c.until(ctx, "the cluster shows it online", func() error {
		page, err := c.API.ListNodes(ctx, client.NodeListOpts{Name: n.Name})
		if err != nil {
			return err
		}
		if len(page.Items) != 1 || page.Items[0].Status != "online" {
			return fmt.Errorf("it shows %+v", page.Items)
		}
		n.Number = page.Items[0].Number
		return nil
	})
}

// furnish adds the disks and makes the pools.
func (c *Cluster) furnish(ctx context.Context, o Options) error {
	for _, n := range c.Nodes {
		for _, disk := range n.Disks {
			err := c.until(ctx, disk.Name+" is added", func() error {
				d, err := c.API.CreateDevice(ctx, wire.DeviceCreate{Node: n.Number, Path: disk.Path()})
				disk.Device = d.Number
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
		}
	}
	for _, p := range o.Pools {
		err := c.until(ctx, "the pool is made", func() error {
			_, err := c.API.CreatePool(ctx, p)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// CreateVolume makes a volume in the pool.
func (c *Cluster) CreateVolume(name string, size uint64) wire.Volume {
	c.t.Helper()
	v, err := c.API.CreateVolume(c.t.Context(), wire.VolumeCreate{Name: name, Pool: PoolName, Size: size})
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// Volume shows a volume.
func (c *Cluster) Volume(id model.UUID) wire.Volume {
	c.t.Helper()
	v, err := c.API.GetVolume(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// Owner waits until a running node serves a volume, and returns it.
func (c *Cluster) Owner(id model.UUID) *Node {
	c.t.Helper()
	var owner *Node
	c.Eventually("a node serves the volume", func() error {
		v, err := c.API.GetVolume(c.t.Context(), id)
		if err != nil {
			return err
		}
		if v.Owner == nil || v.Owner.Epoch == 0 {
			return fmt.Errorf("it has no owner: %+v", v)
		}
		if owner = c.Node(v.Owner.Gateway); owner == nil || !owner.Running() {
			return fmt.Errorf("its owner is down: %+v", v)
		}
		return nil
	})
	return owner
}

// Back waits until a node that was restarted takes part again.
func (c *Cluster) Back(n *Node) {
	c.t.Helper()
	api, err := client.New(client.Options{Endpoints: []string{n.REST}, Token: c.Token, Timeout: attempt})
	if err != nil {
		c.t.Fatal(err)
	}
	c.Eventually(n.Name+" is back", func() error {
		h, err := api.GetHealth(c.t.Context())
		if err == nil && h.Etcd.Status != wire.OK {
			err = fmt.Errorf("it says %+v", h.Etcd)
		}
		return err
	})
}

// Node returns the node of a number, nil when there is none.
func (c *Cluster) Node(number model.NodeID) *Node {
	for _, n := range c.Nodes {
		if n.Number == number {
			return n
		}
	}
	return nil
}

// told is the time after which what an owner knew can be read: it publishes within a second what stops being
// well.
const told = 2 * time.Second

// WholeAgain waits until the present owners of volumes say that nothing is left to heal. What they said
// before the call, or may have, does not count.
func (c *Cluster) WholeAgain(volumes ...model.UUID) {
	c.t.Helper()
	begin := time.Now()
	c.Eventually("the volumes are whole", func() error {
		for _, id := range volumes {
			v, err := c.API.GetVolume(c.t.Context(), id)
			if err != nil {
				return err
			}
			if v.Health != wire.OK {
				return fmt.Errorf("%s is %s: %q", v.Name, v.Health, v.Reasons)
			}
		}
		if time.Since(begin) < told {
			return errors.New("an owner may not have told its news yet")
		}
		return nil
	})
}

// Healthy waits until the cluster finds nothing wrong with itself.
func (c *Cluster) Healthy() {
	c.t.Helper()
	c.Eventually("the cluster is healthy", func() error {
		h, err := c.API.GetHealth(c.t.Context())
		if err == nil && (h.Status != wire.OK || h.Volumes.Moving+h.Volumes.Unknown > 0) {
			err = fmt.Errorf("it says %+v", h)
		}
		return err
	})
}

// Eventually waits until ok returns nil.
func (c *Cluster) Eventually(what string, ok func() error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), c.patience)
	defer cancel()
	if err := c.until(ctx, what, ok); err != nil {
		c.t.Fatal(err)
	}
}

// long is a wait that a reader of the test's output wants to know the reason of.
const long = 10 * time.Second

// until asks ten times a second.
func (c *Cluster) until(ctx context.Context, what string, ok func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for began := time.Now(); ; {
		err := ok()
		if err == nil {
			if took := time.Since(began); took > long {
				c.t.Logf("waited %v until %s; before that: %v", took.Round(time.Millisecond), what, last)
			}
			return nil
		}
		last = err
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, err)
		}
	}
}

// report shows the end of every node's log.
func (c *Cluster) report() {
	for _, n := range c.Nodes {
		c.t.Logf("%s, running: %v, %s:\n%s", n.Name, n.Running(), n.LogFile(), n.tail(15))
	}
}

// close ends all nodes; the directory of a failed test stays.
func (c *Cluster) close(dir string) {
	if c.t.Failed() {
		c.report()
		for _, n := range c.Nodes { // all at once: none goes on without the others
			if n.Running() {
				n.Pause()
			}
		}
	}
	for _, n := range c.Nodes {
		n.close()
	}
	if !c.t.Failed() {
		_ = os.RemoveAll(dir)
	}
}
