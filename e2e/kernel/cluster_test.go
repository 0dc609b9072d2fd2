//go:build e2e

package kernel

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/guest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestVolumeOfACluster is the life of a volume as a host sees it: attach, file system, load, online extension,
// kill -9 of the owner, its return, death of a disk, detach. No I/O error anywhere, every byte verified.
func TestVolumeOfACluster(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Advertise: guest.HostAddr})
	v := c.CreateVolume("life", 192<<20)
	export, err := c.API.PutExport(t.Context(), v.ID, guest.HostNQN)
	if err != nil {
		t.Fatal(err)
	}
	h := attachExport(t, c, export)
	h.grow(256 << 20)
	h.survive("kill -9 of the owner", func() {
		owner := c.Owner(v.ID)
		owner.Kill()
		if next := c.Owner(v.ID); next == owner {
			t.Error("the killed node still owns the volume")
		}
		h.progress()
		owner.Restart()
		c.Back(owner)
	})
	c.WholeAgain(v.ID)
	h.survive("a hang of the owner", func() {
		owner := c.Owner(v.ID)
		owner.Pause()
		h.progress()
		owner.Resume()
	})
	c.WholeAgain(v.ID)
	h.survive("the death of a disk", func() {
		lost := c.Owner(v.ID)
		if err := lost.Disk.Lose(); err != nil {
			t.Fatal(err)
		}
		h.progress()
	})
	h.detach()
	if err := c.API.DeleteExport(t.Context(), v.ID, guest.HostNQN); err != nil {
		t.Error(err)
	}
}

// host is a guest with a volume of a cluster mounted and I/O going on in it.
type host struct {
	t      *testing.T
	c      *cluster.Cluster
	g      *guest.Guest
	export wire.Export
	dev    string
	steady *guest.Job
}

// attachExport boots a guest, has it connect to all portals, make and mount ext4, and start steady I/O. Before
// that it tries as a host that is not on the allow-list.
func attachExport(t *testing.T, c *cluster.Cluster, export wire.Export) *host {
	t.Helper()
	h := &host{t: t, c: c, export: export, g: guest.Start(t, guest.Options{})}
	for _, p := range export.Portals {
		r := h.g.Connect(export.NQN, guest.Portal{Addr: p.Address, Port: p.Port},
			"--hostnqn="+strangerNQN, "--hostid="+strangerID)
		if r.Code == 0 {
			t.Fatalf("a host that is not on the allow-list connects to %+v", p)
		}
	}
	if !strings.Contains(h.g.Must("dmesg"), "is not allowed") {
		t.Errorf("a stranger was not told that it is not allowed:\n%s", h.g.Must("dmesg"))
	}
	for _, p := range export.Portals {
		portal := guest.Portal{Addr: p.Address, Port: p.Port}
		r := h.g.Connect(export.NQN, portal, "--ctrl-loss-tmo=600", "--keep-alive-tmo=5")
		if r.Code != 0 {
			t.Fatalf("connect %+v: %+v\n%s", p, r, h.g.Must("dmesg | tail"))
		}
	}
	h.dev = h.g.Device(export.NQN)
	t.Logf("paths: %+v", h.g.Paths(export.NQN))
	h.g.Must("mkfs.ext4 -q " + h.dev + " && mkdir -p /mnt/v && mount " + h.dev + " /mnt/v")
	h.g.Must("truncate -s 4M /mnt/v/steady")
	fio(h.g, "/mnt/v/first", "24M", "--rw=write --bs=256k --iodepth=4 --ioengine=libaio --end_fsync=1")
	h.start()
	return h
}

func (h *host) start() {
	h.steady = h.g.Go("exec iotest steady -dev /mnt/v/steady -size 4M -rate 50 -for 30m")
	h.steady.WaitOutput("@ 1 ")
}

// grow extends the volume and the mounted file system on it.
func (h *host) grow(size uint64) {
	h.t.Helper()
	if _, err := h.c.API.ResizeVolume(h.t.Context(), h.export.Volume, size, ""); err != nil {
		h.t.Fatal(err)
	}
	h.g.Until(fmt.Sprintf("[ $(cat /sys/block/%s/size) = %d ]", strings.TrimPrefix(h.dev, "/dev/"), size/512))
	h.g.Must("resize2fs " + h.dev + " 2>&1")
	h.t.Logf("after the extension: %s", h.g.Must("df -m /mnt/v | tail -1"))
}

// progress waits until I/O has gone on after this moment.
func (h *host) progress() {
	h.t.Helper()
	before := h.steady.Output()
	h.g.Eventually("I/O goes on", func() bool { return strings.Count(h.steady.Output(), "@") > strings.Count(before, "@")+1 })
}

// survive has an event happen under steady I/O and a verifying fio, and reports the longest pause. Everything
// written is read back and compared.
func (h *host) survive(what string, event func()) {
	h.t.Helper()
	load := h.g.Go("cd /tmp && fio --name=load --filename=/mnt/v/load --size=8M --direct=1 --rw=randwrite --bs=4k " +
		"--iodepth=4 --ioengine=libaio --rate_iops=150 --verify=crc32c --verify_fatal=1 --randrepeat=0 2>&1")
	begin := time.Now()
	event()
	if r := load.Wait(); r.Code != 0 {
		h.t.Fatalf("%s: fio: exit %d\n%s\n%s", what, r.Code, r.Output, strings.Join(h.g.IOErrors(), "\n"))
	}
	h.steady.Interrupt()
	r := h.steady.Wait().Clean(h.g)
	if bad := h.g.IOErrors(); len(bad) > 0 {
		h.t.Errorf("%s: the kernel says:\n%s", what, strings.Join(bad, "\n"))
	}
	h.t.Logf("%s: %d writes, %d reads, 0 errors; longest pause %v; took %v", what, r.Writes, r.Reads,
		time.Duration(r.PauseUS)*time.Microsecond, time.Since(begin).Round(time.Second))
	h.start()
}

// detach stops the I/O, checks everything once more and disconnects.
func (h *host) detach() {
	h.t.Helper()
	h.steady.Interrupt()
	h.steady.Wait().Clean(h.g)
	h.g.Must("umount /mnt/v && e2fsck -fn " + h.dev + " 2>&1 && nvme disconnect -n " + h.export.NQN)
	if bad := h.g.IOErrors(); len(bad) > 0 {
		h.t.Errorf("the kernel says:\n%s", strings.Join(bad, "\n"))
	}
}
