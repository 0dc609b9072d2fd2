//go:build e2e

package brick

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/guest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

var releaseFlag = flag.String("brick.release", string(Current), "os-brick of TestStockConnector, from PyPI")

// TestStockConnector attaches with the connector of an unpatched os-brick, as an unpatched Nova does.
func TestStockConnector(t *testing.T) { connectorLives(t, Release(*releaseFlag), Stock, true) }

// connectorLives is a volume's life on a host: attached over every portal, its owner killed under I/O,
// extended while attached, detached with nothing left behind.
func connectorLives(t *testing.T, r Release, connector string, multipath bool) {
	c := cluster.Start(t, cluster.Options{Advertise: guest.HostAddr})
	h := Start(t, guest.Options{}, r)
	p := h.Properties()
	if p["nqn"] != h.NQN || p["nvme_native_multipath"] != true || p["ashlar_connector"] == nil {
		t.Errorf("the host says of itself %v", p)
	}
	life := &life{t: t, c: c, h: h}
	life.made = c.CreateVolume("brick", 128<<20)
	life.attach(connector, multipath)
	life.surviveOwner()
	life.extend(192 << 20)
	life.detach()
	if err := h.Connect(life.at); err == nil {
		t.Error("a host attaches a volume that was taken from it")
	}
	expectNothing(t, h, life.made.NQN)
}

// life is a volume on a host.
type life struct {
	t    *testing.T
	c    *cluster.Cluster
	h    *Host
	made wire.Volume
	at   *Volume
}

// attach connects, and expects a path to every node and one device that works.
func (l *life) attach(connector string, multipath bool) {
	l.t.Helper()
	l.at = export(l.t, l.c, l.h, l.made, connector, multipath)
	if err := l.h.Connect(l.at); err != nil {
		l.t.Fatal(err)
	}
	l.expectPaths(len(l.c.Nodes))
	l.run("write", 7)
	l.run("check", 7)
}

// run writes or checks the first MiB of the volume on its host.
func (l *life) run(mode string, gen int) {
	l.t.Helper()
	l.h.Run(fmt.Sprintf("iotest %s -dev %s -size 1M -gen %d", mode, l.at.Path(), gen)).Clean(l.h.Guest)
}

// export lets a host use a volume.
func export(t *testing.T, c *cluster.Cluster, h *Host, v wire.Volume, connector string,
	multipath bool) *Volume {
	t.Helper()
	e, err := c.API.PutExport(t.Context(), v.ID, h.NQN)
	if err != nil {
		t.Fatal(err)
	}
	return NewVolume(connector, multipath, e, v.ID.String())
}

// expectPaths waits until that many paths are live, one of them optimized.
func (l *life) expectPaths(want int) {
	l.t.Helper()
	var paths []guest.Path
	l.h.Eventually(fmt.Sprintf("%d paths, one to the owner", want), func() bool {
		paths = l.h.Paths(l.made.NQN)
		live, optimized := 0, 0
		for _, p := range paths {
			if p.State == "live" {
				live++
			}
			if p.ANA == "optimized" {
				optimized++
			}
		}
		return len(paths) == want && live == want && optimized == 1
	})
	l.t.Logf("%s has the paths %+v", l.at.Path(), paths)
}

// surviveOwner kills the owner with -9 under I/O: it goes on by another path, without an error.
func (l *life) surviveOwner() {
	l.t.Helper()
	io := l.steady(100)
	owner := l.c.Owner(l.made.ID)
	owner.Kill()
	if next := l.c.Owner(l.made.ID); next == owner {
		l.t.Error("the killed node still owns the volume")
	}
	progress(l.h, io)
	owner.Restart()
	l.c.Back(owner)
	l.c.WholeAgain(l.made.ID)
	l.expectPaths(len(l.c.Nodes))
	io.Interrupt()
	l.t.Logf("the owner was killed: %+v", io.Wait().Clean(l.h.Guest))
}

// steady starts I/O that writes generations from gen on.
func (l *life) steady(gen int) *guest.Job {
	l.t.Helper()
	io := l.h.Go(fmt.Sprintf("exec iotest steady -dev %s -size 4M -rate 50 -gen %d -for 10m", l.at.Path(), gen))
	io.WaitOutput("@ 1 ")
	return io
}

// progress waits until steady I/O has gone on after this moment.
func progress(h *Host, io *guest.Job) {
	lines := func() int { return strings.Count(io.Output(), "@") }
	before := lines()
	h.Eventually("I/O goes on", func() bool { return lines() > before+1 })
}

// extend grows the volume while it is attached.
func (l *life) extend(size uint64) {
	l.t.Helper()
	if _, err := l.c.API.ResizeVolume(l.t.Context(), l.made.ID, size, ""); err != nil {
		l.t.Fatal(err)
	}
	got, err := l.h.Extend(l.at)
	if err != nil || got != size {
		l.t.Errorf("extended to %d bytes, os-brick says %d, %v", size, got, err)
	}
	if got := strings.TrimSpace(l.h.Must("blockdev --getsize64 " + l.at.Path())); got != fmt.Sprint(size) {
		l.t.Errorf("extended to %d bytes, the device has %s", size, got)
	}
}

// detach disconnects, expects that nothing of the volume is left on the host, and takes the right away.
func (l *life) detach() {
	l.t.Helper()
	if err := l.h.Disconnect(l.at); err != nil {
		l.t.Fatal(err)
	}
	expectNothing(l.t, l.h, l.made.NQN)
	if err := l.c.API.DeleteExport(l.t.Context(), l.made.ID, l.h.NQN); err != nil {
		l.t.Error(err)
	}
}

// expectNothing checks that a host has neither controllers nor a device of a subsystem, and no I/O error.
func expectNothing(t *testing.T, h *Host, nqn string) {
	t.Helper()
	if paths := h.Paths(nqn); len(paths) > 0 {
		t.Errorf("the host still has the paths %+v", paths)
	}
	if left := h.Must("ls /sys/block | grep ^nvme; true"); left != "" {
		t.Errorf("the host still has the devices %s", left)
	}
	if bad := h.IOErrors(); len(bad) > 0 {
		t.Errorf("the kernel says:\n%s", strings.Join(bad, "\n"))
	}
}
