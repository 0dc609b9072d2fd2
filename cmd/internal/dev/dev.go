package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/cmd/internal/cli"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// What a development cluster has.
const (
	poolName   = "dev"
	volumeName = "disk1"
	copies     = 2
	// codedPool is made too when there are enough disks.
	codedPool = "ec42"
	codedData = 4
	codedLost = 2
)

// coded tells whether the disks are enough for the coded pool. One more gives it a place to rebuild on.
func (s *state) coded() bool { return nodeCount*s.Disks >= codedData+codedLost }

const (
	startTimeout = 2 * time.Minute
	pollEvery    = 50 * time.Millisecond
)

// options of a run.
type options struct {
	dir     string
	binary  string // ashlard
	fresh   bool
	tls     bool // of the REST API
	once    bool // stop as soon as everything is ready
	host    string
	wanted  state
	out     io.Writer
	started time.Time
}

// Command is `ashlar dev`.
func Command() *cobra.Command {
	o := options{}
	var disk, volume string
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a cluster of three nodes on this machine, until Ctrl-C",
		Long: "Run a cluster of three nodes on this machine, until Ctrl-C: three ashlard processes on loopback " +
			"with files as disks, a pool that keeps two copies, one of Reed-Solomon 4+2, and a volume. What is " +
			"stored stays for the next run.",
		Example: "  ashlar dev\n  ashlar dev --fresh --dir /tmp/try",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.started, o.out = time.Now(), cmd.OutOrStdout()
			if err := o.complete(disk, volume); err != nil {
				return err
			}
			return o.run(cmd.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&o.dir, "dir", "",
		"directory of the cluster (default $XDG_STATE_HOME/ashlar-dev or ~/.local/state/ashlar-dev)")
	f.BoolVar(&o.fresh, "fresh", false, "wipe the cluster that is in the directory first")
	f.BoolVar(&o.tls, "tls", false,
		"encrypt the REST API, by an authority of the cluster's own, and in a new cluster what goes "+
			"between nodes and what goes to etcd")
	f.BoolVar(&o.once, "exit-after-ready", false, "stop again as soon as everything is ready")
	f.StringVar(&o.binary, "ashlard", "", "the daemon (default: beside this program, else from PATH)")
	f.StringVar(&o.host, "host-nqn", "", "host to allow on the volume (default: the one in "+cli.HostNQNFile+")")
	f.IntVar(&o.wanted.Disks, "disks", 3, "disks of each node; takes effect with a new cluster")
	f.StringVar(&disk, "disk-size", "8GiB", "size of each disk, a sparse file; takes effect with a new cluster")
	f.StringVar(&volume, "volume-size", "4GiB", "size of the volume; takes effect with a new cluster")
	return c
}

// complete fills in what was not said.
func (o *options) complete(disk, volume string) (err error) {
	if o.wanted.DiskSize, err = cli.ParseSize(disk); err != nil {
		return err
	}
	if o.wanted.VolumeSize, err = cli.ParseSize(volume); err != nil {
		return err
	}
	if o.wanted.Disks < 1 || o.wanted.Disks > 16 {
		return errors.New("--disks must be from 1 to 16")
	}
	if o.dir == "" {
		base := os.Getenv("XDG_STATE_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return fmt.Errorf("find a place for the cluster (give --dir): %w", err)
			}
			base = filepath.Join(home, ".local", "state")
		}
		o.dir = filepath.Join(base, "ashlar-dev")
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if o.binary == "" {
		o.binary, err = findDaemon()
	}
	return err
}

// findDaemon looks beside this program, then in PATH.
func findDaemon() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "ashlard")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath("ashlard")
	if err != nil {
		return "", fmt.Errorf("ashlard is neither beside this program nor in PATH "+
			"(`make build` makes it; or give --ashlard): %w",
			err)
	}
	return path, nil
}

// run is the life of a development cluster.
func (o *options) run(ctx context.Context) error {
	s, lock, err := openDir(o.dir, o.fresh, o.wanted)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	d := &devCluster{options: o, state: s}
	if err := d.makeNodes(); err != nil {
		return err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer d.stop(end)
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := d.start(starting, life); err != nil {
		if ctx.Err() != nil {
			return nil // Ctrl-C
		}
		for _, n := range d.nodes {
			n.tail(o.out)
		}
		return fmt.Errorf("the cluster did not start: %w", err)
	}
	if o.once {
		return nil
	}
	<-ctx.Done()
	return nil
}

// devCluster is a running development cluster.
type devCluster struct {
	*options
	state *state
	nodes []*node
	api   *client.Client
	token string
	trust []string // what a node that joins must be told to trust the API

	sayMu sync.Mutex
}

func (d *devCluster) say(format string, args ...any) {
	d.sayMu.Lock()
	defer d.sayMu.Unlock()
	_, _ = fmt.Fprintf(d.out, format+"\n", args...)
}

// makeNodes makes the directories and disks of all nodes.
func (d *devCluster) makeNodes() error {
	keys, err := makeKey(d.dir)
	if err != nil {
		return err
	}
	for i := range nodeCount {
		n := &node{number: i + 1, dir: filepath.Join(d.dir, nodeName(i+1)), binary: d.binary,
			ports: d.state.Ports[i], keys: keys,
			tls: d.tls, say: d.say, done: make(chan struct{})}
		if err := os.MkdirAll(n.dir, 0o700); err != nil {
			return err
		}
		for k := 1; k <= d.state.Disks; k++ {
			f, err := os.OpenFile(n.disk(k), os.O_CREATE|os.O_WRONLY, 0o600)
			if err == nil {
				err = errors.Join(f.Truncate(int64(d.state.DiskSize)), f.Close())
			}
			if err != nil {
				return fmt.Errorf("make disk: %w", err)
			}
		}
		d.nodes = append(d.nodes, n)
	}
	return nil
}

// start brings everything up and prints how to use it. The processes run until life ends.
func (d *devCluster) start(ctx, life context.Context) error {
	d.say("Ashlar development cluster in %s", d.dir)
	first := d.nodes[0]
	founding := []string{"--bootstrap", "--cluster-name", "dev"}
	if d.tls {
		founding = append(founding, "--encrypt-nodes")
	}
	first.begin(life, "", founding...)
	if err := d.connect(ctx); err != nil {
		return err
	}
	var endpoints []string
	for _, n := range d.nodes[1:] {
		endpoints = append(endpoints, n.rest())
		token, err := d.joinToken(ctx, n)
		if err != nil {
			return err
		}
		n.begin(life, token, append([]string{"--join", first.rest()}, d.trust...)...)
		// One after the other, so that node 2 gets the number 2.
		err = d.retry(ctx, "see "+nodeName(n.number)+" join", func() error { return d.joined(ctx, n) })
		if err != nil {
			return err
		}
	}
	if err := d.retry(ctx, "see all nodes online", func() error { return d.online(ctx) }); err != nil {
		return err
	}
	if err := d.addDisks(ctx); err != nil {
		return err
	}
	if err := d.useKey(ctx); err != nil {
		return err
	}
	if err := d.makePools(ctx); err != nil {
		return err
	}
	v, err := d.firstVolume(ctx)
	if err != nil {
		return err
	}
	return d.present(ctx, v, append([]string{first.rest()}, endpoints...))
}

// connect waits for the first node and learns the administrator's token.
func (d *devCluster) connect(ctx context.Context) error {
	file := filepath.Join(d.nodes[0].dataDir(), "admin-token")
	err := d.retry(ctx, "read the administrator's token", func() error {
		raw, err := os.ReadFile(file)
		d.token = strings.TrimSpace(string(raw))
		return err
	})
	if err != nil {
		return err
	}
	opts := client.Options{Endpoints: []string{d.nodes[0].rest()}, Token: d.token}
	if d.tls {
		if opts.Transport, err = d.authority(ctx); err != nil {
			return err
		}
	}
	if d.api, err = client.New(opts); err != nil {
		return err
	}
	return d.retry(ctx, "reach the first node", func() error { _, err := d.api.GetLiveness(ctx); return err })
}

// authorityFile is where the first node leaves the certificate to trust.
func (d *devCluster) authorityFile() string { return filepath.Join(d.nodes[0].dataDir(), "ca.pem") }

// authority waits for the cluster's certificate authority.
func (d *devCluster) authority(ctx context.Context) (t *http.Transport, err error) {
	err = d.retry(ctx, "read the cluster's authority", func() error {
		text, err := os.ReadFile(d.authorityFile())
		if err != nil {
			return err
		}
		fingerprint, err := pki.Fingerprint(string(text))
		if err != nil {
			return err
		}
		d.trust = []string{"--ca-fingerprint", fingerprint}
		t, err = pki.Transport(string(text))
		return err
	})
	return t, err
}

// joinToken makes a token for a node that was not started before; the others need none.
func (d *devCluster) joinToken(ctx context.Context, n *node) (string, error) {
	if _, err := os.Stat(filepath.Join(n.dataDir(), "etcd")); err == nil {
		return "unused", nil
	}
	var t wire.Token
	err := d.retry(ctx, "make a join token", func() (err error) {
		t, err = d.api.CreateToken(ctx, wire.TokenCreate{Name: nodeName(n.number), Role: "join",
			ExpiresSeconds: 3600})
		return err
	})
	return t.Secret, err
}

func (d *devCluster) joined(ctx context.Context, n *node) error {
	p, err := d.api.ListNodes(ctx, client.NodeListOpts{Name: nodeName(n.number)})
	if err == nil && len(p.Items) == 0 {
		err = errors.New("it is not listed")
	}
	return err
}

func (d *devCluster) online(ctx context.Context) error {
	nodes, err := d.api.AllNodes(ctx)
	if err != nil {
		return err
	}
	up := 0
	for _, n := range nodes {
		if n.Status == "online" {
			up++
		}
	}
	if up < nodeCount {
		return fmt.Errorf("%d of %d nodes are online", up, nodeCount)
	}
	return nil
}

// addDisks makes every disk a device of the cluster.
func (d *devCluster) addDisks(ctx context.Context) error {
	nodes, err := d.api.AllNodes(ctx)
	if err != nil {
		return err
	}
	number := map[string]cluster.NodeID{}
	for _, n := range nodes {
		number[n.Name] = n.Number
	}
	var wg sync.WaitGroup
	errs := make([]error, nodeCount)
	for i, n := range d.nodes {
		wg.Go(func() {
			for k := 1; k <= d.state.Disks && errs[i] == nil; k++ {
				errs[i] = d.retry(ctx, "add "+n.disk(k), func() error {
					_, err := d.api.CreateDevice(ctx, wire.DeviceCreate{Node: number[nodeName(n.number)], Path: n.disk(k)})
					return err
				})
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// makePools makes the pools, unless they are there.
func (d *devCluster) makePools(ctx context.Context) error {
	parity, lost := copies-1, codedLost
	pools := []wire.PoolCreate{{Name: poolName, Parity: &parity}}
	if d.state.coded() {
		pools = append(pools, wire.PoolCreate{Name: codedPool, Code: cluster.CodeRS, Data: codedData, Parity: &lost,
			Domain: cluster.DomainDevice})
	}
	for _, p := range pools {
		err := d.retry(ctx, "make pool "+p.Name, func() error {
			_, err := d.api.GetPool(ctx, p.Name)
			if client.Is(err, wire.NotFound) {
				_, err = d.api.CreatePool(ctx, p)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// firstVolume makes the volume, unless it is there, and waits until a node serves it.
func (d *devCluster) firstVolume(ctx context.Context) (wire.Volume, error) {
	var v wire.Volume
	err := d.retry(ctx, "make the volume", func() error {
		found, err := d.api.AllVolumes(ctx, volumeName, poolName)
		if err == nil && len(found) == 0 {
			_, err = d.api.CreateVolume(ctx, wire.VolumeCreate{Name: volumeName, Pool: poolName,
				Size: d.state.VolumeSize})
			if err == nil {
				err = errors.New("the volume is not listed yet")
			}
		}
		if err == nil && len(found) > 0 {
			if v = found[0]; v.Owner == nil {
				err = errors.New("no node serves the volume yet")
			}
		}
		return err
	})
	return v, err
}

// retry repeats try until it succeeds, fails for good, or ctx is done.
func (d *devCluster) retry(ctx context.Context, what string, try func() error) error {
	for {
		err := try()
		var answer *client.Error
		if err == nil {
			return nil
		}
		if errors.As(err, &answer) && !client.Is(err, wire.Unavailable, wire.NotFound, wire.Internal) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last: %w)", what, ctx.Err(), err)
		}
	}
}

// stop ends the processes and waits for them.
func (d *devCluster) stop(end context.CancelFunc) {
	begin := time.Now()
	d.say("stopping")
	end()
	for _, n := range d.nodes {
		if n.kept {
			<-n.done
		}
	}
	d.say("stopped after %.1f s; `ashlar dev` goes on from here, --fresh starts over",
		time.Since(begin).Seconds())
}
