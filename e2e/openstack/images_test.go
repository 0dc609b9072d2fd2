//go:build e2e && full

package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/loophost"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// otherPool is one that only the second backend has.
const otherPool = "other"

// inFirst are extra specs of volumes in the first backend.
func inFirst() map[string]string { return map[string]string{"volume_backend_name": "ashlar-1"} }

// library is a cloud that has images, and two backends.
type library struct {
	cloud
	*openstack.Glance
	host *loophost.Host
}

// TestImages makes volumes from images and images from volumes, with a real Glance. What has to be copied
// goes through this machine, with a stand-in for its kernel (package loophost).
func TestImages(t *testing.T) {
	host := loophost.Start(t)
	parity := 1
	storage := cluster.Start(t, cluster.Options{DiskSize: 2 * gib, Pools: []wire.PoolCreate{
		{Name: cluster.PoolName, Parity: &parity}, {Name: otherPool, Parity: &parity}}})
	var endpoints []string
	for _, n := range storage.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	l := library{host: host, cloud: cloud{cluster: storage, Cinder: openstack.Start(t, openstack.Options{
		Endpoints: endpoints, Token: storage.Token, Pool: cluster.PoolName, Host: host, Images: true,
		Second: cluster.PoolName + "," + otherPool,
	})}}
	l.Glance = openstack.StartGlance(t, l.Cinder)
	if err := l.Specify(t.Context(), inFirst()); err != nil {
		t.Fatal(err)
	}
	t.Run("an image is a volume", l.imageIsVolume)
	t.Run("an image is downloaded once", l.imageIsCached)
	t.Run("a volume is copied to an image", l.volumeIsCopied)
	t.Run("a volume moves", l.volumeMoves)
	t.Run("clones get independent", l.clonesGetIndependent)
}

// imageIsVolume makes an image that is a clone of a volume, and volumes that are clones of that.
func (l library) imageIsVolume(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	// Glance has several stores, and Cinder tells which one by the type of the volume.
	specs := inFirst()
	specs["image_service:store_id"] = "volumes"
	if err := l.CreateTypeWith(ctx, "master", specs); err != nil {
		t.Fatal(err)
	}
	v, err := l.CreateVolumeOfType(ctx, "master", 1, "master")
	if err != nil {
		t.Fatal(err)
	}
	data := random(64 << 10)
	l.put(ctx, t, v.ID, data)
	image, err := l.ToImage(ctx, "master", "raw", v.ID)
	if err != nil {
		t.Fatal(err)
	}
	kept := l.clonesOf(t, parse(t, v.ID))
	if len(kept) != 1 {
		t.Fatalf("clones of the volume: %v, should be one, the image", kept)
	}
	l.put(ctx, t, v.ID, bytes.Repeat([]byte{0x5a}, len(data)))
	if err := l.Delete(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	made, err := l.CreateFromImage(ctx, "of-image", 2, image)
	if err != nil {
		t.Fatal(err)
	}
	if clones := l.clonesOf(t, kept[0]); len(clones) != 1 || clones[0] != parse(t, made.ID) {
		t.Errorf("clones of the image: %v, should be %s", clones, made.ID)
	}
	if err := l.DeleteImage(ctx, image); err != nil {
		t.Fatal(err)
	}
	l.isGone(t, kept[0].String())
	l.expectData(ctx, t, made.ID, data)
	if err := l.Delete(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
}

// imageIsCached makes two volumes from an image that is a file. It is copied to the first one; the second is
// a clone of a clone of that, which Cinder keeps.
func (l library) imageIsCached(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	data := random(1 << 20)
	image, err := l.Upload(ctx, "file", "raw", nil, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var made [2]model.UUID
	for i := range made {
		v, err := l.CreateFromImage(ctx, "of-file", 1, image)
		if err != nil {
			t.Fatal(err)
		}
		made[i] = parse(t, v.ID)
		l.expectData(ctx, t, v.ID, data)
	}
	kept := l.clonesOf(t, made[0])
	if len(kept) != 1 {
		t.Fatalf("clones of the first volume: %v, should be one, the cache's", kept)
	}
	if clones := l.clonesOf(t, kept[0]); len(clones) != 1 || clones[0] != made[1] {
		t.Errorf("clones of the cache's volume: %v, should be %v", clones, made[1])
	}
	for _, id := range made {
		if err := l.Delete(ctx, id.String()); err != nil {
			t.Fatal(err)
		}
	}
}

// volumeIsCopied makes an image that cannot be a volume, and a volume from that.
func (l library) volumeIsCopied(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	v, data := l.create(t, "copied", 1), random(64<<10)
	l.put(ctx, t, v.ID, data)
	image, err := l.ToImage(ctx, "copy", "qcow2", v.ID)
	if err != nil {
		t.Fatal(err)
	}
	l.expectHosts(t, v.ID)
	again, err := l.CreateFromImage(ctx, "copied-back", 1, image)
	if err != nil {
		t.Fatal(err)
	}
	l.expectData(ctx, t, again.ID, data)
	for _, id := range []string{v.ID, again.ID} {
		if err := l.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
}

// clonesGetIndependent makes clones with ashlar_flatten_clones, and deletes at once what they began as. A
// host writes to one while it is copied.
func (l library) clonesGetIndependent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	if err := l.FlattenClones(true); err != nil {
		t.Fatal(err)
	}
	source, data := l.create(t, "source", 1), random(8<<20)
	l.put(ctx, t, source.ID, data)
	snap := l.snap(t, source.ID, "old")
	ofVolume, err := l.CreateFromVolume(ctx, "of-volume", 1, source.ID)
	if err != nil {
		t.Fatal(err)
	}
	ofSnapshot, err := l.CreateFromSnapshot(ctx, "of-snapshot", 2, snap.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.DeleteSnapshot(ctx, snap.ID), l.Delete(ctx, source.ID)); err != nil {
		t.Fatal(err)
	}
	l.expectGone(t, source.ID)
	young := bytes.Repeat([]byte{0x5a}, 4096)
	l.put(ctx, t, ofVolume.ID, young)
	for id, want := range map[string][]byte{
		ofVolume.ID: append(young, data[4096:]...), ofSnapshot.ID: data} {
		l.cluster.Eventually("the clone shares nothing", func() error {
			if p := l.cluster.Volume(parse(t, id)).Parent; p != nil {
				return fmt.Errorf("it is a clone of %s", p.Volume)
			}
			return nil
		})
		l.expectData(ctx, t, id, want)
		if err := l.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
}

// volumeMoves migrates a volume to another backend of its pool, where nothing is copied, and to another pool,
// where Cinder copies it. It goes by another id then.
func (l library) volumeMoves(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	v, data := l.create(t, "moving", 1), random(8<<20)
	l.put(ctx, t, v.ID, data)
	if err := l.CreateType(ctx, "movable", nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Retype(ctx, v.ID, "movable"); err != nil {
		t.Fatal(err)
	}
	if err := l.Migrate(ctx, v.ID, "vm@ashlar-2#"+cluster.PoolName); err != nil {
		t.Fatal(err)
	}
	l.expectSize(t, v.ID, 1)
	l.expectData(ctx, t, v.ID, data)
	if err := l.Migrate(ctx, v.ID, "vm@ashlar-2#"+otherPool); err != nil {
		t.Fatal(err)
	}
	l.isGone(t, v.ID)
	l.expectData(ctx, t, v.ID, data)
	there, err := l.cluster.API.AllVolumes(ctx, "", otherPool)
	if err != nil || len(there) != 1 || len(there[0].Hosts) > 0 {
		t.Fatalf("volumes in the other pool: %+v, %v; should be one that no host has", there, err)
	}
	snap := l.snap(t, v.ID, "there")
	l.put(ctx, t, v.ID, bytes.Repeat([]byte{0x5a}, len(data)))
	if err := l.Revert(ctx, v.ID, snap.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Extend(ctx, v.ID, 2); err != nil {
		t.Fatal(err)
	}
	l.expectData(ctx, t, v.ID, data)
	if size := l.cluster.Volume(there[0].ID).Size; size != 2*gib {
		t.Errorf("the volume has %d bytes in the cluster, should have 2 GiB", size)
	}
	if err := errors.Join(l.DeleteSnapshot(ctx, snap.ID), l.Delete(ctx, v.ID)); err != nil {
		t.Fatal(err)
	}
	l.expectGone(t, there[0].ID.String())
}

// isGone waits for the end of a volume of the cluster that Cinder does not tell of.
func (l library) isGone(t *testing.T, id string) {
	t.Helper()
	l.cluster.Eventually("Cinder has deleted volume "+id, func() error {
		all, err := l.cluster.API.AllVolumes(t.Context(), "", "")
		if slices.ContainsFunc(all, func(v wire.Volume) bool { return v.ID == parse(t, id) }) {
			err = errors.New("it is there")
		}
		return err
	})
}

// clonesOf lists the volumes that began as a volume.
func (l library) clonesOf(t *testing.T, source model.UUID) (clones []model.UUID) {
	t.Helper()
	all, err := l.cluster.API.AllVolumes(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.Parent != nil && v.Parent.Volume == source {
			clones = append(clones, v.ID)
		}
	}
	return clones
}
