//go:build e2e

package loophost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/loophost"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const (
	mib     = 1 << 20
	hostNQN = "nqn.2014-08.org.nvmexpress:uuid:0c0c0c0c-0000-4000-8000-00000000000c"
)

// bed is a cluster and a host that may use a volume of it.
type bed struct {
	t       *testing.T
	cluster *cluster.Cluster
	host    *loophost.Host
	volume  wire.Volume
	id      uuid.UUID
	target  loophost.Target
}

// TestDevice is the life of a device: what is written to it, in every size and also through the page cache,
// is what the volume has; it follows the volume's size, and outlives the volume's owner.
func TestDevice(t *testing.T) {
	b := newBed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	d := b.attach(ctx)
	if d.Size != int64(b.volume.Size) {
		t.Errorf("the device has %d bytes, the volume %d", d.Size, b.volume.Size)
	}
	again, err := b.host.Attach(ctx, b.id, b.target)
	if err != nil || again.Path != d.Path {
		t.Errorf("attached again: %+v, %v; should be %s", again, err, d.Path)
	}
	t.Run("data", func(t *testing.T) { b.data(ctx, t, d.Path) })
	t.Run("zeroes", func(t *testing.T) { b.zeroes(ctx, t, d.Path) })
	t.Run("size", func(t *testing.T) { b.size(ctx, t, d.Path) })
	t.Run("a lost owner", func(t *testing.T) { b.lostOwner(ctx, t, d.Path) })
	t.Run("the end", func(t *testing.T) { b.end(ctx, t, d.Path) })
}

// TestKilledHost has nothing left of a host that was killed, not even while its device was in use.
func TestKilledHost(t *testing.T) {
	b := newBed(t)
	d := b.attach(t.Context())
	user := open(t, d.Path, unix.O_DIRECT)
	b.host.Kill()
	if _, err := user.WriteAt(aligned(4096), 0); !errors.Is(err, unix.EIO) {
		t.Errorf("write to a device without a host: %v, should be an I/O error", err)
	}
	if err := user.Close(); err != nil {
		t.Error(err)
	}
	b.gone(t, d.Path)
}

// TestKilledAtDetach kills a host while it waits for the write back of a device to nodes that stand still.
func TestKilledAtDetach(t *testing.T) {
	b := newBed(t)
	d := b.attach(t.Context())
	user := open(t, d.Path, 0)
	if _, err := user.WriteAt(random(mib, 1), 0); err != nil {
		t.Fatal(err)
	}
	if err := user.Close(); err != nil { // nobody has it now but the host
		t.Fatal(err)
	}
	for _, n := range b.cluster.Nodes {
		n.Pause()
	}
	ended := make(chan error, 1)
	go func() { ended <- b.host.Detach(t.Context(), b.id) }()
	b.cluster.Eventually("the device is flushed", func() error {
		select {
		case err := <-ended:
			return fmt.Errorf("it was detached: %w", err)
		default:
		}
		stat, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(d.Path), "inflight"))
		if err == nil && strings.Join(strings.Fields(string(stat)), " ") == "0 0" {
			err = errors.New("no I/O is in flight")
		}
		return err
	})
	b.host.Kill()
	if err := <-ended; err == nil {
		t.Error("detached by a host that was killed")
	}
	b.gone(t, d.Path)
	for _, n := range b.cluster.Nodes {
		n.Resume()
	}
}

// TestRefused has attempts fail that cannot go well, and leave nothing behind.
func TestRefused(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	for what, target := range map[string]loophost.Target{
		"no access":    {NQN: b.target.NQN, HostNQN: hostNQN[:len(hostNQN)-1] + "d", Portals: b.target.Portals},
		"no portal":    {NQN: b.target.NQN, HostNQN: hostNQN},
		"no volume":    {NQN: b.target.NQN + "x", HostNQN: hostNQN, Portals: b.target.Portals},
		"not a target": {},
	} {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		if d, err := b.host.Attach(ctx, b.id, target); err == nil {
			t.Errorf("%s: attached as %+v", what, d)
		}
		cancel()
	}
	if d, err := b.host.Attach(ctx, uuid.New(), b.target); err == nil {
		t.Errorf("attached under another id: %+v", d)
	}
	if _, err := b.host.Show(ctx, b.id); err == nil {
		t.Error("a device that is not attached is shown")
	}
	b.attach(ctx)
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t: t, cluster: cluster.Start(t, cluster.Options{}), host: loophost.Start(t)}
	b.volume = b.cluster.CreateVolume("v", 64*mib)
	b.id = uuid.UUID(b.volume.ID)
	export, err := b.cluster.API.PutExport(t.Context(), b.volume.ID, hostNQN)
	if err != nil {
		t.Fatal(err)
	}
	b.target = loophost.Target{NQN: export.NQN, HostNQN: hostNQN}
	for _, p := range export.Portals {
		b.target.Portals = append(b.target.Portals, loophost.Portal{p.Address, strconv.Itoa(int(p.Port)), "tcp"})
	}
	return b
}

func (b *bed) attach(ctx context.Context) loophost.Device {
	b.t.Helper()
	d, err := b.host.Attach(ctx, b.id, b.target)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// data writes runs of every size at places that do not overlap, and compares with what another host of the
// volume reads; the device's last block is among them.
func (b *bed) data(ctx context.Context, t *testing.T, path string) {
	other := b.other(t)
	off := int64(0)
	for _, flags := range []int{unix.O_DIRECT, 0} {
		dev := open(t, path, flags)
		for size := 512; size <= 4*mib; size *= 2 {
			at := off
			if size == 512 && flags == 0 {
				at = int64(b.volume.Size) - 512
			}
			want := random(size, uint64(at))
			if _, err := dev.WriteAt(want, at); err != nil {
				t.Fatalf("write %d bytes at %d: %v", size, at, err)
			}
			if err := dev.Sync(); err != nil {
				t.Fatal(err)
			}
			got := aligned(size)
			if err := other.Read(ctx, got, at); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes at %d: the volume has other data (%v)", size, at, err)
			}
			clear(got)
			if _, err := dev.ReadAt(got, at); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes at %d: the device has other data (%v)", size, at, err)
			}
			off += int64(size)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}
}

// zeroes discards a part in the middle of data.
func (b *bed) zeroes(ctx context.Context, t *testing.T, path string) {
	dev := open(t, path, unix.O_DIRECT)
	want := random(mib, 99)
	if _, err := dev.WriteAt(want, 32*mib); err != nil {
		t.Fatal(err)
	}
	clear(want[4096 : mib/2])
	const discard = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	if err := unix.Fallocate(int(dev.Fd()), discard, 32*mib+4096, mib/2-4096); err != nil {
		t.Fatalf("discard: %v", err)
	}
	if err := unix.Fallocate(int(dev.Fd()), discard, 36*mib, 24*mib); err != nil { // more than one command does
		t.Fatalf("discard: %v", err)
	}
	got := aligned(mib)
	if err := b.other(t).Read(ctx, got, 32*mib); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after a discard the volume has other data (%v)", err)
	}
}

// size grows the volume under the device.
func (b *bed) size(ctx context.Context, t *testing.T, path string) {
	if _, err := b.cluster.API.ResizeVolume(ctx, b.volume.ID, 96*mib, ""); err != nil {
		t.Fatal(err)
	}
	b.cluster.Eventually("the device has the new size", func() error {
		d, err := b.host.Rescan(ctx, b.id)
		if err == nil && d.Size != 96*mib {
			err = fmt.Errorf("it has %d bytes", d.Size)
		}
		return err
	})
	dev := open(t, path, unix.O_DIRECT)
	want := random(mib, 7)
	if _, err := dev.WriteAt(want, 95*mib); err != nil {
		t.Fatal(err)
	}
	got := aligned(mib)
	if err := b.other(t).Read(ctx, got, 95*mib); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was added has other data (%v)", err)
	}
}

// lostOwner kills the volume's owner between writes that nobody waits for, and finds all of them afterwards.
func (b *bed) lostOwner(ctx context.Context, t *testing.T, path string) {
	dev := open(t, path, unix.O_DIRECT)
	const size, writes = 4096, 400
	owner := b.cluster.Owner(b.volume.ID)
	began := time.Now()
	var pause time.Duration
	for i := range writes {
		if i == writes/4 {
			owner.Kill()
		}
		before := time.Now()
		if _, err := dev.WriteAt(random(size, uint64(i)), int64(i)*size); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		pause = max(pause, time.Since(before))
	}
	t.Logf("%d writes in %v, the longest took %v", writes, time.Since(began), pause)
	d, err := b.host.Show(ctx, b.id)
	if err != nil {
		t.Fatal(err)
	}
	up := 0
	for _, p := range d.Paths {
		if p.Up {
			up++
		}
	}
	if len(d.Paths) != 3 || up != 2 {
		t.Errorf("paths %+v, two of three should be up", d.Paths)
	}
	got := aligned(size)
	for i := range writes {
		if _, err := dev.ReadAt(got, int64(i)*size); err != nil || !bytes.Equal(got, random(size, uint64(i))) {
			t.Fatalf("write %d is not there (%v)", i, err)
		}
	}
	owner.Restart()
}

// end does not detach a device under its user, and leaves nothing when it does.
func (b *bed) end(ctx context.Context, t *testing.T, path string) {
	user := open(t, path, 0)
	if err := b.host.Detach(ctx, b.id); err == nil {
		t.Error("a device that is in use was detached")
	}
	want := random(mib, 5)
	if _, err := user.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := user.Close(); err != nil { // not synced: detaching does that
		t.Fatal(err)
	}
	if err := b.host.Detach(ctx, b.id); err != nil {
		t.Fatal(err)
	}
	b.gone(t, path)
	got := aligned(mib)
	if err := b.other(t).Read(ctx, got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was written last is lost (%v)", err)
	}
}

// gone waits until the kernel has no file for the device.
func (b *bed) gone(t *testing.T, path string) {
	t.Helper()
	b.cluster.Eventually(path+" is free", func() error {
		name, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(path), "loop/backing_file"))
		if err == nil {
			return fmt.Errorf("it is of %s", name)
		}
		return nil
	})
}

// other is another connection to the volume, without a kernel.
func (b *bed) other(t *testing.T) *initiator.Volume {
	t.Helper()
	config := initiator.VolumeConfig{Config: initiator.Config{SubNQN: b.target.NQN,
		HostNQN: hostNQN, HostID: uuid.New()}}
	for _, p := range b.target.Portals {
		config.Portals = append(config.Portals, p[0]+":"+p[1])
	}
	v, err := initiator.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func open(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	dev, err := os.OpenFile(path, os.O_RDWR|flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dev.Close() }) // again, perhaps
	return dev
}

// aligned is a buffer for O_DIRECT: the runtime puts what is larger than a page on a page.
func aligned(n int) []byte { return make([]byte, max(n, 64<<10))[:n] }

func random(n int, seed uint64) []byte {
	data := aligned(n)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), 1})
	_, _ = source.Read(data)
	return data
}
