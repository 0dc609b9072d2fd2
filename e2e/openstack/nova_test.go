//go:build e2e && full

package openstack_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/loophost"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

// compute is a cloud that has servers. Their guests do what guest-init says.
type compute struct {
	cloud
	*openstack.Nova
	host *loophost.Host
}

// TestNova is the life of servers with volumes: Nova and libvirt as Debian has them, volumes attached to this
// machine by a stand-in for its kernel (package loophost).
func TestNova(t *testing.T) {
	host := loophost.Start(t)
	storage := cluster.Start(t, cluster.Options{DiskSize: 4 * gib}) // a third of it is kept for rebuilds
	var endpoints []string
	for _, n := range storage.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	c := compute{host: host, cloud: cloud{cluster: storage, Cinder: openstack.Start(t, openstack.Options{
		Endpoints: endpoints, Token: storage.Token, Pool: cluster.PoolName, Host: host,
	})}}
	c.Nova = openstack.StartNova(t, c.Cinder)
	t.Run("a server uses volumes, and nodes are lost", c.serverUsesVolumes)
	t.Run("a server is deleted with a volume", c.serverIsDeleted)
	t.Run("a server starts from a volume", c.serverStartsFromVolume)
	t.Run("an image is made of a volume", c.imageOfVolume)
	t.Run("volumes are backed up and restored", c.volumesAreBackedUp)
	t.Run("two servers share a volume", c.serversShareVolume)
	t.Run("the connector of Ashlar attaches", c.connectorAttaches)
}

// serverUsesVolumes attaches a volume to a server, extends it, kills its owner, attaches another one without
// that node, and detaches both: the guest notices nothing of the node, and all that it wrote is there.
func (c compute) serverUsesVolumes(t *testing.T) {
	ctx := t.Context()
	s := c.boot(t, "user")
	first, second := c.create(t, "first", 1), c.create(t, "second", 1)
	if err := c.Plug(ctx, s, first.ID); err != nil {
		t.Fatal(err)
	}
	said := c.says(t, s, 0, "GUEST vdb wrote 3\n")
	want := fmt.Sprintf("GUEST vdb is %s of %d sectors", first.ID[:20], gib/512)
	if !strings.Contains(said, want) {
		t.Errorf("the guest does not say %q:\n%s", want, said)
	}
	d, err := c.host.Show(ctx, uuid.MustParse(first.ID))
	if err != nil || len(d.Paths) != 3 {
		t.Fatalf("device %+v, %v; should have three paths", d, err)
	}
	if exports, err := c.cluster.API.ListExports(ctx, parse(t, first.ID)); err != nil || len(exports) != 1 {
		t.Errorf("exports %+v, %v; should be one, to Nova's host", exports, err)
	}
	if _, err := c.Extend(ctx, first.ID, 2); err != nil {
		t.Fatal(err)
	}
	c.says(t, s, 0, fmt.Sprintf("GUEST vdb has %d sectors", 2*gib/512))

	owner := c.cluster.Owner(parse(t, first.ID))
	skip := len(c.says(t, s, 0, "GUEST vdb wrote"))
	owner.Kill()
	c.says(t, s, skip, fmt.Sprintf("GUEST vdb wrote %d\n", c.writes(t, s, "vdb")+3))
	if err := c.Plug(ctx, s, second.ID); err != nil {
		t.Fatal(err)
	}
	c.says(t, s, 0, "GUEST vdc wrote 3\n")
	owner.Restart()
	c.cluster.Back(owner)
	for disk, v := range map[string]openstack.Volume{"vdb": first, "vdc": second} {
		if err := c.Unplug(ctx, s, v.ID); err != nil {
			t.Fatal(err)
		}
		said = c.says(t, s, 0, "GUEST lost "+disk)
		c.nobodyHas(t, v.ID)
		c.holds(t, v.ID, v.ID, c.writes(t, s, disk))
	}
	if strings.Contains(said, "failed") {
		t.Errorf("I/O of the guest failed:\n%s", said)
	}
	if err := c.End(ctx, s); err != nil {
		t.Fatal(err)
	}
	c.delete(t, first, second)
}

// serverIsDeleted deletes a server that has a volume.
func (c compute) serverIsDeleted(t *testing.T) {
	s := c.boot(t, "mortal")
	v := c.create(t, "survivor", 1)
	if err := c.Plug(t.Context(), s, v.ID); err != nil {
		t.Fatal(err)
	}
	c.says(t, s, 0, "GUEST vdb wrote 1\n")
	if err := c.End(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := c.Free(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	c.nobodyHas(t, v.ID)
	c.holds(t, v.ID, v.ID, 1)
	c.delete(t, v)
}

// serverStartsFromVolume has Cinder make a volume of an image, and a server use it as its only disk.
func (c compute) serverStartsFromVolume(t *testing.T) {
	ctx := t.Context()
	disk := make([]byte, 8<<20)
	_, _ = rand.NewChaCha8([32]byte{'i', 'm', 'a', 'g', 'e'}).Read(disk)
	image, err := c.CreateImage(ctx, "disk", bytes.NewReader(disk))
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.CreateFromImage(ctx, "root", 1, image)
	if err != nil {
		t.Fatal(err)
	}
	c.nobodyHas(t, v.ID)
	c.begins(t, v.ID, disk)
	s, err := c.BootFromVolume(ctx, "rooted", v.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("GUEST vda is %s of %d sectors, begins with %x", v.ID[:20], gib/512,
		sha256.Sum256(disk[:1<<20]))
	c.says(t, s, 0, want)
	c.says(t, s, 0, "GUEST vda wrote 3\n")
	if err := c.End(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := c.Free(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	c.nobodyHas(t, v.ID)
	c.holds(t, v.ID, v.ID, 3)
	c.delete(t, v)
}

// imageOfVolume has Cinder make an image of a volume, and a volume of that.
func (c compute) imageOfVolume(t *testing.T) {
	ctx := t.Context()
	data := random(32 << 20)
	v := c.create(t, "before", 1)
	c.fill(t, v.ID, data)
	image, err := c.ToImage(ctx, "between", "qcow2", v.ID)
	if err != nil {
		t.Fatal(err)
	}
	c.nobodyHas(t, v.ID)
	again, err := c.CreateFromImage(ctx, "after", 1, image)
	if err != nil {
		t.Fatal(err)
	}
	c.nobodyHas(t, again.ID)
	c.begins(t, again.ID, data)
	c.delete(t, v, again)
}

// volumesAreBackedUp backs up a volume while a guest writes to it, and one that nobody uses, and restores
// both to other volumes.
func (c compute) volumesAreBackedUp(t *testing.T) {
	ctx := t.Context()
	c.StartBackup(t)
	data := random(32 << 20)
	idle, used := c.create(t, "idle", 1), c.create(t, "used", 1)
	c.fill(t, idle.ID, data)
	s := c.boot(t, "writer")
	if err := c.Plug(ctx, s, used.ID); err != nil {
		t.Fatal(err)
	}
	c.says(t, s, 0, "GUEST vdb wrote 3\n")
	written := c.writes(t, s, "vdb")
	restored := map[string]openstack.Volume{}
	for _, v := range []openstack.Volume{idle, used} {
		backup, err := c.BackUp(ctx, v.ID)
		if err != nil {
			t.Fatal(err)
		}
		to := c.create(t, "restored", 1)
		if err := c.Restore(ctx, backup, to.ID); err != nil {
			t.Fatal(err)
		}
		c.nobodyHas(t, to.ID)
		restored[v.ID] = to
	}
	c.begins(t, restored[idle.ID].ID, data)
	c.holds(t, restored[used.ID].ID, used.ID, written)
	if err := c.End(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := c.Free(ctx, used.ID); err != nil {
		t.Fatal(err)
	}
	c.delete(t, idle, used, restored[idle.ID], restored[used.ID])
}

// fill writes data to the beginning of a volume, without Cinder.
func (c compute) fill(t *testing.T, id string, data []byte) {
	t.Helper()
	c.look(t, id, func(v *initiator.Volume) {
		if err := v.Write(t.Context(), data, 0); err != nil {
			t.Fatal(err)
		}
	})
}

// boot starts a server from an image, with arguments for its kernel, and waits until its guest is up.
func (c compute) boot(t *testing.T, name string, args ...string) openstack.Server {
	t.Helper()
	image, err := c.CreateImage(t.Context(), name, bytes.NewReader(make([]byte, 1<<20)), args...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Boot(t.Context(), name, image)
	if err != nil {
		t.Fatal(err)
	}
	c.says(t, s, 0, "GUEST up")
	return s
}

func (c compute) says(t *testing.T, s openstack.Server, skip int, what string) string {
	t.Helper()
	said, err := c.Says(t.Context(), s, skip, what)
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// writes is the number of the last write to a disk that a guest has told.
func (c compute) writes(t *testing.T, s openstack.Server, disk string) int {
	t.Helper()
	said, err := c.Console(s.ID)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`GUEST `+disk+` wrote (\d+)\n`).FindAllStringSubmatch(said, -1)
	if len(all) == 0 {
		t.Fatalf("the guest wrote nothing to %s:\n%s", disk, said)
	}
	n, err := strconv.Atoi(all[len(all)-1][1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// holds compares a volume with what a guest wrote to the volume written, up to its write n.
func (c compute) holds(t *testing.T, id, written string, n int) {
	t.Helper()
	c.holdsFrom(t, 256, id, written, n)
}

// holdsFrom is holds of a guest that writes from another block on.
func (c compute) holdsFrom(t *testing.T, first int, id, written string, n int) {
	t.Helper()
	got := make([]byte, 4096)
	c.look(t, id, func(v *initiator.Volume) {
		for i := range n + 1 {
			err := v.Read(t.Context(), got, int64(first+i)*4096)
			if want := fmt.Sprintf("%-4096s", written[:20]+" "+strconv.Itoa(i)); err != nil || string(got) != want {
				t.Fatalf("write %d of the guest is not there: %q, %v", i, strings.TrimSpace(string(got)), err)
			}
		}
	})
}

// begins compares the beginning of a volume with data.
func (c compute) begins(t *testing.T, id string, data []byte) {
	t.Helper()
	got := make([]byte, len(data))
	c.look(t, id, func(v *initiator.Volume) {
		if err := v.Read(t.Context(), got, 0); err != nil || !bytes.Equal(got, data) {
			t.Errorf("volume %s begins with other data (%v)", id, err)
		}
	})
}

// nobodyHas checks that nothing is left of an attachment.
func (c compute) nobodyHas(t *testing.T, id string) {
	t.Helper()
	c.expectHosts(t, id)
	if d, err := c.host.Show(t.Context(), uuid.MustParse(id)); err == nil {
		t.Errorf("the host has a device still: %+v", d)
	}
}

// look uses a volume without Cinder, as a host of its own.
func (c compute) look(t *testing.T, id string, use func(*initiator.Volume)) {
	t.Helper()
	const nqn = "nqn.2014-08.org.nvmexpress:uuid:0d0d0d0d-0000-4000-8000-00000000000d"
	export, err := c.cluster.API.PutExport(t.Context(), parse(t, id), nqn)
	if err != nil {
		t.Fatal(err)
	}
	config := initiator.VolumeConfig{Config: initiator.Config{SubNQN: export.NQN,
		HostNQN: nqn, HostID: uuid.New()}}
	for _, p := range export.Portals {
		config.Portals = append(config.Portals, net.JoinHostPort(p.Address, strconv.Itoa(int(p.Port))))
	}
	v, err := initiator.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	use(v)
	if err := errors.Join(v.Close(), c.cluster.API.DeleteExport(t.Context(), parse(t, id), nqn)); err != nil {
		t.Fatal(err)
	}
}

func (c compute) delete(t *testing.T, volumes ...openstack.Volume) {
	t.Helper()
	for _, v := range volumes {
		if err := c.Delete(t.Context(), v.ID); err != nil {
			t.Fatal(err)
		}
		c.expectGone(t, v.ID)
	}
}
