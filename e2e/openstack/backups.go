package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/backups"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/services"

	"github.com/ashlar-storage/ashlar/e2e/build"
)

// cinderBackup is the service that copies volumes to somewhere else.
const cinderBackup = "cinder-backup"

// StartBackup brings up cinder-backup, whose backups are files, and waits for it. It ends with the Cinder.
func (c *Cinder) StartBackup(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	root, err := build.Root()
	if err == nil {
		err = c.site.startOneOfCinder(c.procs, root, cinderBackup)
	}
	if err == nil {
		err = c.procs.wait(ctx, cinderBackup, c.backupUp)
	}
	if err != nil {
		t.Fatalf("start %s: %v", cinderBackup, err)
	}
}

func (c *Cinder) backupUp(ctx context.Context) error {
	pages, err := services.List(c.admin, services.ListOpts{Binary: cinderBackup}).AllPages(ctx)
	if err != nil {
		return err
	}
	list, err := services.ExtractServices(pages)
	if err == nil && (len(list) != 1 || list[0].State != "up") {
		err = fmt.Errorf("services: %+v", list)
	}
	return err
}

// BackUp makes a backup of a volume, attached or not, and returns its id.
func (c *Cinder) BackUp(ctx context.Context, volume string) (string, error) {
	id, err := c.BeginBackUp(ctx, volume)
	if err != nil {
		return "", err
	}
	return id, c.backupIs(ctx, id)
}

// BeginBackUp asks for a backup of a volume, attached or not, and returns its id.
func (c *Cinder) BeginBackUp(ctx context.Context, volume string) (string, error) {
	made, err := backups.Create(ctx, c.admin, backups.CreateOpts{VolumeID: volume, Force: true}).Extract()
	if err != nil {
		return "", fmt.Errorf("back up volume %s: %w", volume, err)
	}
	return made.ID, nil
}

// RestartBackup kills cinder-backup and starts it again, which gives up what it finds begun.
func (c *Cinder) RestartBackup() error {
	root, err := build.Root()
	if err != nil {
		return err
	}
	return c.restart(root, cinderBackup)
}

// EndBackup waits until a backup has failed, and deletes it.
func (c *Cinder) EndBackup(ctx context.Context, id string) error {
	if err := c.backupIs(ctx, id); err == nil {
		return fmt.Errorf("backup %s should have failed", id)
	}
	if err := backups.Delete(ctx, c.admin, id).Err; err != nil {
		return fmt.Errorf("delete backup %s: %w", id, err)
	}
	return c.procs.wait(ctx, "backup "+id+" to be gone", func(ctx context.Context) error {
		err := backups.Get(ctx, c.admin, id).Err
		switch {
		case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			return nil
		case err == nil:
			err = errors.New("it is there")
		}
		return err
	})
}

// Restore writes a backup to a volume.
func (c *Cinder) Restore(ctx context.Context, backup, volume string) error {
	opts := backups.RestoreOpts{VolumeID: volume}
	if err := backups.RestoreFromBackup(ctx, c.admin, backup, opts).Err; err != nil {
		return fmt.Errorf("restore backup %s: %w", backup, err)
	}
	if err := c.backupIs(ctx, backup); err != nil {
		return err
	}
	_, err := c.waitFor(ctx, volume, "available")
	return err
}

// backupIs waits until a backup is available.
func (c *Cinder) backupIs(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var failed error
	err := c.procs.wait(ctx, "backup "+id, func(ctx context.Context) error {
		b, err := backups.Get(ctx, c.admin, id).Extract()
		switch {
		case err != nil:
			return err
		case b.Status == "error":
			failed = errors.New("backup " + id + " failed: " + b.FailReason)
		case b.Status != "available":
			return fmt.Errorf("it is %q", b.Status)
		}
		return nil
	})
	return errors.Join(err, failed)
}
