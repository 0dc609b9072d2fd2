package openstack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
)

// Snapshot is a snapshot as Cinder sees it. Its ID is also the id of the Ashlar snapshot, unless it was there
// before Cinder.
type Snapshot struct {
	ID       string
	VolumeID string
	Status   string // "available", "error", ...
	GiB      int
}

// ManageableSnapshot is a line of the list of snapshots that the backend has.
type ManageableSnapshot struct {
	Reference map[string]string `json:"reference"`
	GiB       int               `json:"size"`
	Safe      bool              `json:"safe_to_manage"`
	Reason    string            `json:"reason_not_safe"`
	CinderID  string            `json:"cinder_id"` // of the snapshot that it is in Cinder, or empty
}

// CreateSnapshot takes a snapshot of a volume, attached or not, and waits until it is available.
func (c *Cinder) CreateSnapshot(ctx context.Context, volumeID, name string) (Snapshot, error) {
	made, err := snapshots.Create(ctx, c.admin,
		snapshots.CreateOpts{VolumeID: volumeID, Name: name, Force: true}).Extract()
	if err != nil {
		return Snapshot{}, fmt.Errorf("create snapshot %s: %w", name, err)
	}
	return c.waitForSnapshot(ctx, made.ID, "available")
}

// Snapshots lists the snapshots of a volume.
func (c *Cinder) Snapshots(ctx context.Context, volumeID string) ([]Snapshot, error) {
	pages, err := snapshots.List(c.admin, snapshots.ListOpts{VolumeID: volumeID}).AllPages(ctx)
	if err != nil {
		return nil, fmt.Errorf("snapshots of %s: %w", volumeID, err)
	}
	list, err := snapshots.ExtractSnapshots(pages)
	if err != nil {
		return nil, fmt.Errorf("snapshots of %s: %w", volumeID, err)
	}
	var out []Snapshot
	for _, s := range list {
		out = append(out, Snapshot{ID: s.ID, VolumeID: s.VolumeID, Status: s.Status, GiB: s.Size})
	}
	return out, nil
}

// SettledSnapshots waits until none of the snapshots of a volume is being deleted, and lists them.
func (c *Cinder) SettledSnapshots(ctx context.Context, volumeID string) (all []Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	err = c.procs.wait(ctx, "snapshots of "+volumeID, func(ctx context.Context) (err error) {
		all, err = c.Snapshots(ctx, volumeID)
		for _, s := range all {
			if s.Status == "deleting" {
				err = fmt.Errorf("%s is being deleted", s.ID)
			}
		}
		return err
	})
	return all, err
}

// DeleteSnapshot deletes a snapshot and waits until it is gone, or available again because it is busy; then
// that is the error.
func (c *Cinder) DeleteSnapshot(ctx context.Context, id string) error {
	if err := snapshots.Delete(ctx, c.admin, id).Err; err != nil {
		return fmt.Errorf("delete snapshot %s: %w", id, err)
	}
	_, err := c.waitForSnapshot(ctx, id, "")
	return err
}

// Revert makes a volume again what its newest snapshot shows, and waits until it is available.
func (c *Cinder) Revert(ctx context.Context, volumeID, snapshotID string) error {
	if err := c.BeginRevert(ctx, volumeID, snapshotID); err != nil {
		return err
	}
	_, err := c.waitFor(ctx, volumeID, "available")
	return err
}

// ManageableSnapshots lists the snapshots that the backend has, of Cinder and others.
func (c *Cinder) ManageableSnapshots(ctx context.Context) ([]ManageableSnapshot, error) {
	var answer struct {
		List []ManageableSnapshot `json:"manageable-snapshots"`
	}
	query := "?" + url.Values{"host": {c.place()}}.Encode()
	resp, err := c.admin.Get(ctx, c.admin.ServiceURL("manageable_snapshots", "detail")+query, &answer, nil)
	if _, _, err = gophercloud.ParseResponse(resp, err); err != nil {
		return nil, fmt.Errorf("manageable snapshots: %w", err)
	}
	return answer.List, nil
}

// place is the backend as Cinder names it, the pool included.
func (c *Cinder) place() string {
	host := "vm"
	if c.site.Pair {
		host = "pair"
	}
	return host + "@" + c.site.Backend() + "#" + c.site.Pool
}

// ManageSnapshot takes over a snapshot that somebody took of a volume of Cinder, and waits for it.
func (c *Cinder) ManageSnapshot(ctx context.Context, volumeID, sourceID string) (Snapshot, error) {
	id, err := c.BeginManageSnapshot(ctx, volumeID, sourceID)
	if err != nil {
		return Snapshot{}, err
	}
	return c.waitForSnapshot(ctx, id, "available")
}

// UnmanageSnapshot lets go of a snapshot, and waits until Cinder has forgotten it.
func (c *Cinder) UnmanageSnapshot(ctx context.Context, id string) error {
	if err := c.BeginUnmanage(ctx, "snapshots", id); err != nil {
		return err
	}
	_, err := c.waitForSnapshot(ctx, id, "")
	return err
}

// waitForSnapshot waits until a snapshot has the status ("": is gone) and no longer something between.
func (c *Cinder) waitForSnapshot(ctx context.Context, id, status string) (Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var s Snapshot
	err := c.procs.wait(ctx, fmt.Sprintf("snapshot %s to be %q", id, status), func(ctx context.Context) error {
		found, err := snapshots.Get(ctx, c.admin, id).Extract()
		switch {
		case status == "" && gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			s = Snapshot{}
			return nil
		case err != nil:
			return fmt.Errorf("show snapshot %s: %w", id, err)
		}
		s = Snapshot{ID: found.ID, VolumeID: found.VolumeID, Status: found.Status, GiB: found.Size}
		if s.Status == "available" || strings.HasPrefix(s.Status, "error") {
			return nil
		}
		return fmt.Errorf("it is %q", s.Status)
	})
	if err == nil && s.Status != status {
		err = fmt.Errorf("snapshot %s is %q: %s", id, s.Status, strings.Join(c.messages(ctx, id), "; "))
	}
	return s, err
}
