//go:build e2e

package kernel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/guest"
)

// host is a guest with a volume of a cluster mounted and I/O going on in it.
type host struct {
	t      *testing.T
	c      *cluster.Cluster
	g      *guest.Guest
	at     attachment
	dev    string
	sum    string // of a file that is written once and read after every event
	steady *guest.Job
	dead   []model.DeviceID // disks
}

// attachment is where a host finds a volume.
type attachment struct {
	volume  model.UUID
	nqn     string
	portals []guest.Portal
}

// attach boots a guest, has it connect to all portals, make and mount ext4, and start steady I/O. Before
// that it tries as a host that is not on the allow-list.
func attach(t *testing.T, c *cluster.Cluster, at attachment) *host {
	t.Helper()
	h := &host{t: t, c: c, at: at, g: guest.Start(t, guest.Options{})}
	for _, p := range at.portals {
		if r := h.g.Connect(at.nqn, p, "--hostnqn="+strangerNQN, "--hostid="+strangerID); r.Code == 0 {
			t.Fatalf("a host that is not on the allow-list connects to %+v", p)
		}
	}
	refused := strings.Count(h.g.Must("dmesg"), "is not allowed, hostnqn: "+strangerNQN)
	if refused != len(at.portals) {
		t.Errorf("%d of %d portals told a stranger that it is not allowed:\n%s", refused, len(at.portals),
			h.g.Must("dmesg"))
	}
	for _, p := range at.portals {
		if r := h.g.Connect(at.nqn, p, "--ctrl-loss-tmo=600", "--keep-alive-tmo=5"); r.Code != 0 {
			t.Fatalf("connect %+v: %+v\n%s", p, r, h.g.Must("dmesg | tail"))
		}
	}
	h.dev = h.g.Device(at.nqn)
	t.Logf("refused at %d portals as a stranger, connected as itself: %+v", refused, h.g.Paths(at.nqn))
	h.g.Must("mkfs.ext4 -q " + h.dev + " && mkdir -p /mnt/v && mount " + h.dev + " /mnt/v")
	h.g.Must("truncate -s 4M /mnt/v/steady")
	fio(h.g, "/mnt/v/first", "24M", "--rw=write --bs=256k --iodepth=4 --ioengine=libaio --end_fsync=1")
	h.sum = h.checksum()
	h.start()
	return h
}

// checksum reads the first file from the volume, not from the guest's memory.
func (h *host) checksum() string {
	h.t.Helper()
	return h.g.Must("sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum /mnt/v/first")
}

func (h *host) start() {
	h.steady = h.g.Go("exec iotest steady -dev /mnt/v/steady -size 4M -rate 50 -for 30m")
	h.steady.WaitOutput("@ 1 ")
}

// grown waits until the host sees the volume's new size by itself, and extends the mounted file system.
func (h *host) grown(size uint64) {
	h.t.Helper()
	h.g.Until(fmt.Sprintf("[ $(cat /sys/block/%s/size) = %d ]", strings.TrimPrefix(h.dev, "/dev/"), size/512))
	h.g.Must("resize2fs " + h.dev + " 2>&1")
	mib, err := strconv.Atoi(strings.Fields(h.g.Must("df -m /mnt/v | tail -1"))[1])
	if err != nil || uint64(mib) < size>>20*8/10 {
		h.t.Errorf("extended to %d MiB, the file system has %d: %v", size>>20, mib, err)
	}
	h.t.Logf("extended online: device %d MiB, file system %d MiB", size>>20, mib)
}

// progress waits until I/O has gone on after this moment.
func (h *host) progress() {
	h.t.Helper()
	lines := func() int { return strings.Count(h.steady.Output(), "@") }
	before := lines()
	h.g.Eventually("I/O goes on", func() bool { return lines() > before+1 })
}

// survive has an event happen under steady I/O and a verifying fio, and reports the longest pause. Everything
// written is read back and compared.
func (h *host) survive(what string, event func()) {
	h.t.Helper()
	load := h.g.Go("cd /tmp && fio --name=load --filename=/mnt/v/load --size=8M --direct=1 --rw=randwrite " +
		"--bs=4k --iodepth=4 --ioengine=libaio --rate_iops=150 --verify=crc32c --verify_fatal=1 --randrepeat=0 " +
		"2>&1")
	begin := time.Now()
	event()
	if r := load.Wait(); r.Code != 0 {
		h.t.Fatalf("%s: fio: exit %d\n%s\n%s", what, r.Code, r.Output, strings.Join(h.g.IOErrors(), "\n"))
	}
	h.steady.Interrupt()
	r := h.steady.Wait().Clean(h.g)
	if sum := h.checksum(); sum != h.sum {
		h.t.Errorf("%s: an old file reads %s, was %s", what, sum, h.sum)
	}
	if bad := h.g.IOErrors(); len(bad) > 0 {
		h.t.Errorf("%s: the kernel says:\n%s", what, strings.Join(bad, "\n"))
	}
	h.t.Logf("%s: %d writes, %d reads, 0 errors; longest pause %v; took %v", what, r.Writes, r.Reads,
		time.Duration(r.PauseUS)*time.Microsecond, time.Since(begin).Round(time.Second))
	h.start()
}

// killOwner has the owner end by kill -9, another node take over, and the first come back.
func (h *host) killOwner() {
	owner := h.c.Owner(h.at.volume)
	owner.Kill()
	if next := h.c.Owner(h.at.volume); next == owner {
		h.t.Error("the killed node still owns the volume")
	}
	h.progress()
	owner.Restart()
	h.c.Back(owner)
}

// other is a node that does not own the volume.
func (h *host) other() *cluster.Node {
	owner := h.c.Owner(h.at.volume)
	return h.c.Nodes[(slices.Index(h.c.Nodes, owner)+1)%len(h.c.Nodes)]
}

// killOther has a node that is not the owner end by kill -9 and come back.
func (h *host) killOther() {
	n := h.other()
	n.Kill()
	h.progress()
	n.Restart()
	h.c.Back(n)
}

// hangOwner has the owner hang with its connections open, and go on when another node has taken over.
func (h *host) hangOwner() {
	owner := h.c.Owner(h.at.volume)
	owner.Pause()
	h.progress()
	owner.Resume()
}

// killAll ends all nodes by kill -9, as a power cut would, and starts them again.
func (h *host) killAll() {
	for _, n := range h.c.Nodes {
		n.Kill()
	}
	for _, n := range h.c.Nodes {
		n.Restart()
	}
	h.progress()
}

// loseDisk takes a node's first disk away for good; the cluster must notice.
func (h *host) loseDisk(n *cluster.Node) {
	if err := n.Disks[0].Lose(); err != nil {
		h.t.Fatal(err)
	}
	h.dead = append(h.dead, n.Disks[0].Device)
	slices.Sort(h.dead)
	h.progress()
	h.c.Eventually("the cluster knows that the disk is gone", func() error {
		v := h.c.Volume(h.at.volume)
		if v.Healing == nil || !slices.Equal(slices.Sorted(slices.Values(v.Healing.Down)), h.dead) {
			return fmt.Errorf("it is %s: %q, want devices %d down", v.Health, v.Reasons, h.dead)
		}
		return nil
	})
}

// detach stops the I/O, checks everything once more and disconnects.
func (h *host) detach() {
	h.t.Helper()
	h.steady.Interrupt()
	h.steady.Wait().Clean(h.g)
	h.g.Must("umount /mnt/v && e2fsck -fn " + h.dev + " 2>&1 && nvme disconnect -n " + h.at.nqn)
	if bad := h.g.IOErrors(); len(bad) > 0 {
		h.t.Errorf("the kernel says:\n%s", strings.Join(bad, "\n"))
	}
}
