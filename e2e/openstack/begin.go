package openstack

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
)

// What begins here goes on in cinder-volume; nobody waits for it.

// Begin asks for a volume, empty or as another volume or snapshot is (their ids, or ""), and returns its id.
func (c *Cinder) Begin(ctx context.Context, name, volume, snapshot string) (string, error) {
	v, err := volumes.Create(ctx, c.admin, volumes.CreateOpts{Name: name, Size: 1, SourceVolID: volume,
		SnapshotID: snapshot}, nil).Extract()
	if err != nil {
		return "", fmt.Errorf("begin volume %s: %w", name, err)
	}
	return v.ID, nil
}

// BeginSnapshot asks for a snapshot of a volume, and returns its id.
func (c *Cinder) BeginSnapshot(ctx context.Context, volume string) (string, error) {
	s, err := snapshots.Create(ctx, c.admin, snapshots.CreateOpts{VolumeID: volume, Force: true}).Extract()
	if err != nil {
		return "", fmt.Errorf("begin a snapshot of %s: %w", volume, err)
	}
	return s.ID, nil
}

// BeginDelete asks for the end of a volume.
func (c *Cinder) BeginDelete(ctx context.Context, id string) error {
	return volumes.Delete(ctx, c.admin, id, nil).Err
}

// BeginDeleteSnapshot asks for the end of a snapshot.
func (c *Cinder) BeginDeleteSnapshot(ctx context.Context, id string) error {
	return snapshots.Delete(ctx, c.admin, id).Err
}

// BeginExtend asks for a larger volume.
func (c *Cinder) BeginExtend(ctx context.Context, id string, gib int) error {
	if err := volumes.ExtendSize(ctx, c.admin, id, volumes.ExtendSizeOpts{NewSize: gib}).Err; err != nil {
		return fmt.Errorf("extend volume %s: %w", id, err)
	}
	return nil
}

// BeginRetype asks for another type of a volume, where it is.
func (c *Cinder) BeginRetype(ctx context.Context, id, volumeType string) error {
	opts := volumes.ChangeTypeOpts{NewType: volumeType, MigrationPolicy: volumes.MigrationPolicyNever}
	if err := volumes.ChangeType(ctx, c.admin, id, opts).Err; err != nil {
		return fmt.Errorf("retype volume %s: %w", id, err)
	}
	return nil
}

// BeginRevert asks for what the newest snapshot of a volume shows.
func (c *Cinder) BeginRevert(ctx context.Context, volume, snapshot string) error {
	body := map[string]any{"revert": map[string]string{"snapshot_id": snapshot}}
	if err := c.post(ctx, body, nil, "volumes", volume, "action"); err != nil {
		return fmt.Errorf("revert volume %s: %w", volume, err)
	}
	return nil
}

// BeginMigrate asks for a detached volume to be moved to a pool (host@backend#pool).
func (c *Cinder) BeginMigrate(ctx context.Context, id, pool string) error {
	body := map[string]any{"os-migrate_volume": map[string]string{"host": pool}}
	if err := c.post(ctx, body, nil, "volumes", id, "action"); err != nil {
		return fmt.Errorf("migrate volume %s to %s: %w", id, pool, err)
	}
	return nil
}

// Reset gives a volume the status available, whatever it is in, as an operator does: Cinder does not go on
// with a change of a volume that a crash interrupted.
func (c *Cinder) Reset(ctx context.Context, id string) error {
	err := volumes.ResetStatus(ctx, c.admin, id, volumes.ResetStatusOpts{Status: "available"}).Err
	if err != nil {
		return fmt.Errorf("reset volume %s: %w", id, err)
	}
	return nil
}

// ResetSnapshot gives a snapshot the status available, as Reset does for volumes.
func (c *Cinder) ResetSnapshot(ctx context.Context, id string) error {
	err := snapshots.ResetStatus(ctx, c.admin, id, snapshots.ResetStatusOpts{Status: "available"}).Err
	if err != nil {
		return fmt.Errorf("reset snapshot %s: %w", id, err)
	}
	return nil
}

// Settled waits until cinder-volume is not at work with a volume any more, and returns its status; "" when it
// is gone.
func (c *Cinder) Settled(ctx context.Context, id string) (status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	err = c.procs.wait(ctx, fmt.Sprintf("volume %s to be settled", id), func(ctx context.Context) error {
		v, err := c.Show(ctx, id)
		status = v.Status
		switch {
		case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			return nil
		case err == nil && slices.Contains([]string{"creating", "deleting", "downloading"}, status):
			return fmt.Errorf("it is %s", status)
		}
		return err
	})
	return status, err
}

// EndSnapshot deletes a snapshot whatever status it is in, as an operator does: Cinder does not go on with a
// deletion of a snapshot that a crash interrupted.
func (c *Cinder) EndSnapshot(ctx context.Context, id string) error {
	err := snapshots.ResetStatus(ctx, c.admin, id, snapshots.ResetStatusOpts{Status: "error"}).Err
	switch {
	case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("reset snapshot %s: %w", id, err)
	}
	return c.DeleteSnapshot(ctx, id)
}

// Calls counts the calls of the cluster's API that the services cinder-volume have begun so far, each for
// itself.
func (c *Cinder) Calls() (each []int, err error) {
	for _, service := range c.site.volumeServices() {
		text, err := os.ReadFile(filepath.Join(c.LogDir(), service+".log"))
		if err != nil {
			return nil, err
		}
		n := 0
		for _, endpoint := range strings.Split(c.site.Endpoints, ",") {
			began := "Starting new HTTP connection (1): " + strings.TrimPrefix(endpoint, "http://")
			n += bytes.Count(text, []byte(began))
		}
		each = append(each, n)
	}
	return each, nil
}
