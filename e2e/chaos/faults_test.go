//go:build e2e

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const (
	hostNQN    = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-0000000000c1"
	witnessNQN = "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-4000-8000-0000000000c2"

	writers  = 3               // per volume
	steady   = 20              // operations per volume that show that I/O goes on
	calm     = 2 * time.Second // of undisturbed I/O after each fault
	deadline = 5 * time.Minute // of every wait
	diskSize = 256 << 20
)

// world is a cluster under load.
type world struct {
	t         *testing.T
	cluster   *cluster.Cluster
	rng       *rand.Rand
	seed      uint64
	disks     map[*cluster.Node]string // the path by which a node knows its disk: a link
	memory    map[*cluster.Node]*cluster.Disk
	devices   map[*cluster.Node]model.DeviceID
	dead      *cluster.Node // whose disk is gone for good
	volumes   []*volume
	witnesses map[*cluster.Node][]*witness
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Logf("seed %d", seed)
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)),
		cluster: cluster.Start(t, cluster.Options{Patience: deadline}),
		disks:   map[*cluster.Node]string{}, memory: map[*cluster.Node]*cluster.Disk{},
		devices: map[*cluster.Node]model.DeviceID{}, witnesses: map[*cluster.Node][]*witness{}}
	devices := w.addDisks()
	for i, parity := range []int{1, 1, 2} {
		pool, volume := fmt.Sprintf("copies%d", parity+1), fmt.Sprintf("v%d-copies%d", i+1, parity+1)
		if i != 1 {
			w.must(w.cluster.API.CreatePool(t.Context(),
				wire.PoolCreate{Name: pool, Parity: &parity, Devices: devices}))
		}
		v, err := w.cluster.API.CreateVolume(t.Context(),
			wire.VolumeCreate{Name: volume, Pool: pool, Size: volumeSize})
		w.must(v, err)
		w.attach(newVolume(t, v.Volume, parity+1))
	}
	for _, v := range w.volumes {
		v.start(writers, seed)
	}
	w.progress(steady)
	return w
}

func (w *world) must(_ any, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// addDisks gives every node one more disk, behind a link so that it can be taken away.
func (w *world) addDisks() (devices []model.DeviceID) {
	dir := w.t.TempDir()
	for _, n := range w.cluster.Nodes {
		disk, err := cluster.NewDisk("chaos-"+n.Name, diskSize)
		w.must(disk, err)
		w.t.Cleanup(func() { _ = disk.Close() })
		link := filepath.Join(dir, n.Name)
		w.must(nil, os.Symlink(disk.Path(), link))
		d, err := w.cluster.API.CreateDevice(w.t.Context(), wire.DeviceCreate{Node: n.Number, Path: link})
		w.must(d, err)
		w.disks[n], w.memory[n], w.devices[n] = link, disk, d.Number
		devices = append(devices, d.Number)
	}
	return devices
}

// attach connects the writers' host to all nodes and a witness to each.
func (w *world) attach(v *volume) {
	for _, host := range []string{hostNQN, witnessNQN} {
		w.must(w.cluster.API.PutExport(w.t.Context(), v.ID, host))
	}
	v.host = w.open(v)
	w.t.Cleanup(func() { _ = v.host.Close() })
	for _, n := range w.cluster.Nodes {
		x, err := newWitness(v, n, w.seed)
		w.must(x, err)
		w.witnesses[n] = append(w.witnesses[n], x)
	}
	w.volumes = append(w.volumes, v)
}

func (w *world) open(v *volume) *initiator.Volume {
	cfg := initiator.VolumeConfig{GiveUp: patience,
		Config: initiator.Config{SubNQN: v.NQN, HostNQN: hostNQN, HostID: [16]byte{1}, KATO: 2 * time.Second,
			ConnectTimeout: 5 * time.Second},
		Backoff: initiator.Backoff{First: 50 * time.Millisecond, Max: time.Second}}
	for _, n := range w.cluster.Nodes {
		cfg.Portals = append(cfg.Portals, fmt.Sprintf("127.0.0.1:%d", n.Hosts))
	}
	h, err := initiator.Open(w.t.Context(), cfg)
	w.must(h, err)
	return h
}

// check ends the test when a host saw something wrong.
func (w *world) check() {
	w.t.Helper()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// progress waits until n more operations have ended on every volume.
func (w *world) progress(n int) {
	w.t.Helper()
	w.progressOf(n, w.volumes...)
}

func (w *world) progressOf(n int, volumes ...*volume) {
	w.t.Helper()
	w.cluster.Eventually("I/O goes on", func() error {
		w.check()
		for _, v := range volumes {
			if err := v.pause.progressed(n); err != nil {
				return fmt.Errorf("%s: %w", v.Name, err)
			}
		}
		return nil
	})
}

// wait lets time pass while I/O goes on.
func (w *world) wait(d time.Duration) {
	<-time.After(d)
	w.check()
}

// fault is something that happens to one node, and what ends it.
type fault struct {
	name  string
	owner bool // it happens to the owner of a volume, else to another node
	do    func(w *world, n *cluster.Node)
	// number is its place in the list: it decides which volume the short run takes.
	number int
}

// faults lists them all. Each do returns when the cause is gone; what follows is recovery.
func faults() []fault {
	return []fault{
		{name: "kill -9 of the owner", owner: true, do: kill},
		{name: "kill -9 of another node", owner: false, do: kill},
		{name: "SIGSTOP of the owner", owner: true, do: hang},
		{name: "SIGSTOP of another node", owner: false, do: hang},
		{name: "stop of the owner", owner: true, do: stop},
		{name: "restart of the owner without its disk, which comes back", owner: true, do: unplug},
		{name: "two kills of the owner, the second as it comes back", owner: true, do: killTwice},
		{name: "stutter of the owner", owner: true, do: stutter},
		{name: "kill -9 of all nodes", owner: true, do: killAll},
		{name: "kill -9 of all nodes, one of which comes back late", owner: true, do: killAllOneLate},
		{name: "kill -9 of the owner, and of the next one while the first is behind", owner: true, do: relay},
		{name: "SIGSTOP of the owner and another node", owner: true, do: hangTwo},
	}
}

func kill(w *world, n *cluster.Node) {
	n.Kill()
	w.progress(steady)
	n.Restart()
}

// hang stops a process for 1 to 6 seconds. Meanwhile and right afterwards witnesses read and write there.
func hang(w *world, n *cluster.Node) {
	w.hang(n, time.Second+time.Duration(w.rng.IntN(5001))*time.Millisecond)
}

func (w *world) hang(n *cluster.Node, d time.Duration, others ...*cluster.Node) {
	w.everyWitness(func(x *witness) { x.writing.Store(true) })
	n.Pause()
	w.wait(d)
	w.everyWitness(func(x *witness) { x.storm.Store(true) })
	n.Resume()
	for _, o := range others {
		o.Resume()
	}
	w.wait(time.Second)
	w.everyWitness(func(x *witness) { x.storm.Store(false); x.writing.Store(false) })
	w.progress(steady)
	w.t.Logf("    it hung for %v", d)
}

func (w *world) everyWitness(do func(*witness)) {
	for _, n := range w.cluster.Nodes {
		for _, x := range w.witnesses[n] {
			do(x)
		}
	}
}

// stutter stops a process for moments shorter than any timeout.
func stutter(w *world, n *cluster.Node) {
	for range 8 {
		n.Pause()
		w.wait(time.Duration(50+w.rng.IntN(700)) * time.Millisecond)
		n.Resume()
		w.wait(time.Duration(20+w.rng.IntN(200)) * time.Millisecond)
	}
	w.progress(steady)
}

func stop(w *world, n *cluster.Node) {
	n.Stop()
	w.progress(steady)
	n.Restart()
}

func killTwice(w *world, n *cluster.Node) {
	n.Kill()
	w.progress(steady)
	n.Restart()
	w.wait(time.Duration(200+w.rng.IntN(3000)) * time.Millisecond)
	n.Kill()
	w.progress(2 * steady)
	n.Restart()
}

// unplug takes the disk away while the node is down; the node comes up without it.
func unplug(w *world, n *cluster.Node) {
	n.Kill()
	w.must(nil, os.Rename(w.disks[n], w.disks[n]+".away"))
	n.Restart()
	w.cluster.Back(n)
	w.progress(steady)
	w.must(nil, os.Rename(w.disks[n]+".away", w.disks[n]))
}

func killAll(w *world, _ *cluster.Node) {
	for _, n := range w.cluster.Nodes {
		n.Kill()
	}
	for _, n := range w.cluster.Nodes {
		n.Restart()
	}
	w.progress(steady)
}

func killAllOneLate(w *world, n *cluster.Node) {
	for _, m := range w.cluster.Nodes {
		m.Kill()
	}
	for _, m := range w.cluster.Nodes {
		if m != n {
			m.Restart()
		}
	}
	w.progress(steady)
	n.Restart()
}

// relay takes the next owner away while the disk of the first still lacks what it missed: of two copies, that
// may be the only good one. Hosts wait for it without an error.
func relay(w *world, n *cluster.Node) {
	n.Kill()
	w.progress(steady)
	next := w.cluster.Owner(w.volumes[w.rng.IntN(len(w.volumes))].ID)
	n.Restart()
	w.wait(time.Duration(w.rng.IntN(1500)) * time.Millisecond)
	next.Kill()
	w.wait(time.Duration(w.rng.IntN(1500)) * time.Millisecond)
	next.Restart()
	w.progress(2 * steady)
}

// hangTwo takes the majority away: everything waits, nothing fails.
func hangTwo(w *world, n *cluster.Node) {
	other := n
	for other == n {
		other = w.cluster.Nodes[w.rng.IntN(len(w.cluster.Nodes))]
	}
	other.Pause()
	w.hang(n, time.Second+time.Duration(w.rng.IntN(4000))*time.Millisecond, other)
}

// inflict lets one fault happen to (an owner of) a volume and waits until the cluster is whole again.
func (w *world) inflict(f fault, v *volume) {
	w.t.Helper()
	n := w.cluster.Owner(v.ID)
	for !f.owner && n == w.cluster.Owner(v.ID) {
		n = w.cluster.Nodes[w.rng.IntN(len(w.cluster.Nodes))]
	}
	began := time.Now()
	w.t.Logf("%s %s: %s, %s", began.Format("15:04:05.000"), f.name, v.Name, n.Name)
	w.reset()
	f.do(w, n)
	healed := time.Now()
	w.whole()
	whole := time.Now()
	w.report(began, n)
	w.t.Logf("    cause gone after %v, whole %v later", healed.Sub(began).Round(time.Millisecond),
		whole.Sub(healed).Round(time.Millisecond))
	w.reset()
	w.wait(calm)
	w.progress(steady)
}

func (w *world) reset() {
	for _, v := range w.volumes {
		v.pause.reset()
	}
}

// whole waits until every node takes part, every volume has all its copies and I/O goes on.
func (w *world) whole() {
	w.t.Helper()
	for _, n := range w.cluster.Nodes {
		w.cluster.Back(n)
	}
	if w.dead != nil {
		w.cluster.Eventually("only the dead disk is out", w.onlyTheDeadIsOut)
		return
	}
	for _, v := range w.volumes {
		w.cluster.WholeAgain(v.ID)
	}
	w.cluster.Healthy()
	w.check()
}

func (w *world) onlyTheDeadIsOut() error {
	w.check()
	for _, v := range w.volumes {
		got, err := w.cluster.API.GetVolume(w.t.Context(), v.ID)
		if err != nil {
			return err
		}
		if len(got.Out) != 1 || got.Out[0].Device != w.devices[w.dead] {
			return fmt.Errorf("%s: out are %+v", v.Name, got.Out)
		}
	}
	return nil
}

// report prints what hosts felt and what the logs tell about owners.
func (w *world) report(since time.Time, n *cluster.Node) {
	for _, v := range w.volumes {
		w.t.Logf("    %s: %v", v.Name, &v.pause)
		for _, line := range ownerships(w.cluster, v, since) {
			w.t.Logf("        %s", line)
		}
	}
	for _, x := range w.witnesses[n] {
		w.t.Logf("    witness of %s at %s: %d answered, %d refused, %d writes acknowledged, since the start",
			x.v.Name, n.Name, x.answered.Load(), x.refused.Load(), x.acked.Load())
	}
}
