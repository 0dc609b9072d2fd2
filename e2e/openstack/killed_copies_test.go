//go:build e2e && full

package openstack_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

// moveKilled is about a move to another service that serves the pool: it can be asked for again.
func (l library) moveKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	for _, moments := range both("migrate_volume") {
		v := l.movable(t, "moved")
		l.killAt(t, moments, func() {
			l.must(t, l.BeginMigrate(ctx, v.ID, "vm@ashlar-2#"+cluster.PoolName))
		})
		l.audit(ctx, t)
		l.must(t, l.ResetTo(ctx, v.ID, "available"))
		l.must(t, l.Migrate(ctx, v.ID, "vm@ashlar-2#"+cluster.PoolName))
		l.audit(ctx, t)
		l.must(t, l.Delete(ctx, v.ID))
		l.expectGone(t, v.ID)
	}
}

// copyKilled is about a move to another pool, where Cinder makes a volume, copies to it, and has the two
// change places. Up to the change the volume is as it was, and its copy can be deleted; after it the volume
// is the copy, whoever deletes what Cinder has left of that, and the audit finds what it was.
func (l library) copyKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	data := random(64 << 10)
	there := "vm@ashlar-2#" + otherPool
	for _, moment := range []string{"after create_volume", "after initialize_connection",
		"before terminate_connection", "before update_migrated_volume", "after update_migrated_volume",
		"before delete_volume"} {
		t.Logf("killed %q", moment)
		v := l.movable(t, "copied-to-another-pool")
		l.put(ctx, t, v.ID, data)
		l.killAt(t, []string{moment}, func() { l.must(t, l.BeginMigrate(ctx, v.ID, there)) })
		rest, err := l.CopyOf(ctx, v.ID)
		l.must(t, err)
		if rest != "" {
			_, err = l.Settled(ctx, rest)
			l.must(t, err)
			l.must(t, l.ResetTo(ctx, v.ID, "available"))
			l.must(t, l.ResetTo(ctx, rest, "available"))
			out, _ := l.tryAudit(ctx, "--repair", "--yes")
			t.Log(out)
			l.must(t, l.Delete(ctx, rest))
			l.expectData(ctx, t, v.ID, data)
			l.must(t, l.Migrate(ctx, v.ID, there))
		}
		l.isGone(t, v.ID)
		l.expectData(ctx, t, v.ID, data)
		l.audit(ctx, t)
		l.must(t, l.Delete(ctx, v.ID))
		if left, err := l.cluster.API.AllVolumes(ctx, "", ""); err != nil || len(left) > 0 {
			t.Errorf("the cluster has %+v, %v", left, err)
		}
	}
}

// movable makes a volume in the first back end whose type lets it be in any.
func (l library) movable(t *testing.T, name string) openstack.Volume {
	t.Helper()
	v := l.create(t, name, 1)
	l.must(t, l.Retype(t.Context(), v.ID, "movable"))
	return v
}

// downloadKilled is about an image that is copied to a new volume: that is in status error, and is deleted as
// always. In the middle of the copy means that the nodes stand still.
func (l library) downloadKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	data := random(64 << 20)
	image, err := l.Upload(ctx, "file", "raw", nil, bytes.NewReader(data))
	l.must(t, err)
	for _, moment := range []string{"before copy_image_to_volume", "after initialize_connection", "",
		"before terminate_connection", "after copy_image_to_volume"} {
		t.Logf("killed %q", moment)
		var id string
		begin := func() {
			id, err = l.BeginFromImage(ctx, "downloaded", 1, image)
			l.must(t, err)
		}
		if moment == "" {
			l.killAmidCopy(t, func() string { begin(); return id })
		} else {
			l.killAt(t, []string{moment}, begin)
		}
		if status, err := l.Settled(ctx, id); err != nil || status != "error" {
			t.Errorf("the volume is %q, %v; should be in status error", status, err)
		}
		l.audit(ctx, t)
		l.must(t, l.Delete(ctx, id))
		l.expectGone(t, id)
	}
	l.must(t, l.DeleteImage(ctx, image))
}

// killAmidCopy has the nodes stand still as soon as this machine has the device of a volume, and kills
// cinder-volume, which reads or writes it.
func (l library) killAmidCopy(t *testing.T, begin func() string) {
	t.Helper()
	id := uuid.MustParse(begin())
	l.cluster.Eventually("cinder-volume has attached the volume", func() error {
		_, err := l.host.Show(t.Context(), id)
		return err
	})
	for _, n := range l.cluster.Nodes {
		n.Pause()
	}
	l.killNow(t)
	for _, n := range l.cluster.Nodes {
		n.Resume()
	}
	// As an operator of a real host would: nvme disconnect. What copied for cinder-volume ends with its read.
	l.cluster.Eventually("the device can be detached", func() error { return l.host.Detach(t.Context(), id) })
}

// imageCloneKilled is about an image that is a volume, of which a volume is a clone.
func (l library) imageCloneKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	specs := inFirst()
	specs["image_service:store_id"] = "volumes"
	l.must(t, l.CreateTypeWith(ctx, "crash-master", specs))
	v, err := l.CreateVolumeOfType(ctx, "crash-master", 1, "crash-master")
	l.must(t, err)
	image, err := l.ToImage(ctx, "crash-master", "raw", v.ID)
	l.must(t, err)
	for _, moment := range append(slices.Concat(both("clone_image")...), "after create_cloned_volume") {
		var id string
		l.killAt(t, []string{moment}, func() {
			id, err = l.BeginFromImage(ctx, "cloned", 1, image)
			l.must(t, err)
		})
		if status, err := l.Settled(ctx, id); err != nil || status != "error" {
			t.Errorf("the volume is %q, %v; should be in status error", status, err)
		}
		l.audit(ctx, t)
		l.must(t, l.Delete(ctx, id))
		l.expectGone(t, id)
	}
	l.must(t, l.DeleteImage(ctx, image))
	l.must(t, l.Delete(ctx, v.ID))
}

// uploadKilled is about an image that is made of a volume. Cinder does not go on with it; the audit takes
// from cinder-volume's host what it had for the copy.
func (l library) uploadKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	v, data := l.create(t, "uploaded", 1), random(64<<20)
	l.put(ctx, t, v.ID, data)
	for _, moment := range []string{"before copy_volume_to_image", "after initialize_connection", "",
		"before terminate_connection", "after copy_volume_to_image"} {
		t.Logf("killed %q", moment)
		var image string
		begin := func() {
			var err error
			image, err = l.BeginToImage(ctx, "crash-upload", "qcow2", v.ID)
			l.must(t, err)
		}
		if moment == "" {
			l.killAmidCopy(t, func() string { begin(); return v.ID })
		} else {
			l.killAt(t, []string{moment}, begin)
		}
		l.must(t, l.ResetTo(ctx, v.ID, "available"))
		l.audit(ctx, t, "--repair")
		l.expectHosts(t, v.ID)
		l.must(t, l.DeleteImage(ctx, image))
		l.expectData(ctx, t, v.ID, data)
	}
	l.must(t, l.Delete(ctx, v.ID))
	l.expectGone(t, v.ID)
}

// backupKilled is about the backup of a volume that a host uses: Cinder takes a snapshot, and cinder-backup
// reads that. cinder-backup, started again, gives up and deletes the snapshot; one that it could read stays
// until the audit has taken that away.
func (l library) backupKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	v := l.create(t, "backed-up", 1)
	a := l.attach(t, v.ID)
	for _, moment := range slices.Concat(both("get_backup_device", "initialize_connection_snapshot",
		"terminate_connection_snapshot")...) {
		t.Logf("killed %q", moment)
		var backup string
		l.killAt(t, []string{moment}, func() {
			var err error
			backup, err = l.BeginBackUp(ctx, v.ID)
			l.must(t, err)
		})
		l.must(t, l.RestartBackup())
		l.must(t, l.EndBackup(ctx, backup))
		rest, err := l.SettledSnapshots(ctx, v.ID)
		l.must(t, err)
		l.audit(ctx, t, "--repair")
		for _, s := range rest {
			l.must(t, l.DeleteSnapshot(ctx, s.ID))
		}
		l.expectSnapshots(t, v.ID)
		l.expectHosts(t, v.ID, a.Info.HostNQN)
	}
	l.must(t, l.Detach(ctx, a))
	l.must(t, l.Delete(ctx, v.ID))
	l.audit(ctx, t)
}
