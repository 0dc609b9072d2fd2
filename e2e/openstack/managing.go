package openstack

import (
	"context"
	"fmt"
	"net/url"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
)

// ManageableVolumes counts the volumes that the backend has, of Cinder and others.
func (c *Cinder) ManageableVolumes(ctx context.Context) (int, error) {
	var answer struct {
		List []map[string]any `json:"manageable-volumes"`
	}
	query := "?" + url.Values{"host": {c.place()}}.Encode()
	resp, err := c.admin.Get(ctx, c.admin.ServiceURL("manageable_volumes")+query, &answer, nil)
	if _, _, err = gophercloud.ParseResponse(resp, err); err != nil {
		return 0, fmt.Errorf("manageable volumes: %w", err)
	}
	return len(answer.List), nil
}

// BeginManage asks for a volume of the cluster to be taken over, and returns the id that it will have.
func (c *Cinder) BeginManage(ctx context.Context, sourceID string) (string, error) {
	return c.begin(ctx, "manageable_volumes", "volume", map[string]any{
		"host": c.place(), "ref": map[string]string{"source-id": sourceID}, "name": "managed"})
}

// Manage is BeginManage, and waits until the volume is available.
func (c *Cinder) Manage(ctx context.Context, sourceID string) (Volume, error) {
	id, err := c.BeginManage(ctx, sourceID)
	if err != nil {
		return Volume{}, err
	}
	return c.waitFor(ctx, id, "available")
}

// BeginManageSnapshot asks for a snapshot of a volume of Cinder to be taken over, and returns the id that it
// will have.
func (c *Cinder) BeginManageSnapshot(ctx context.Context, volumeID, sourceID string) (string, error) {
	return c.begin(ctx, "manageable_snapshots", "snapshot", map[string]any{
		"volume_id": volumeID, "ref": map[string]string{"source-id": sourceID}, "name": "managed"})
}

// BeginUnmanage asks Cinder to let go of a volume ("volumes") or snapshot ("snapshots").
func (c *Cinder) BeginUnmanage(ctx context.Context, collection, id string) error {
	err := c.post(ctx, map[string]any{"os-unmanage": map[string]any{}}, nil, collection, id, "action")
	if err != nil {
		return fmt.Errorf("unmanage %s/%s: %w", collection, id, err)
	}
	return nil
}

// Unmanage lets go of a volume, and waits until Cinder has forgotten it.
func (c *Cinder) Unmanage(ctx context.Context, id string) error {
	if err := c.BeginUnmanage(ctx, "volumes", id); err != nil {
		return err
	}
	_, err := c.waitFor(ctx, id, "")
	return err
}

// ResetTo gives a volume a status, and says that it does not migrate, as an operator does after a crash.
func (c *Cinder) ResetTo(ctx context.Context, id, status string) error {
	err := volumes.ResetStatus(ctx, c.admin, id,
		volumes.ResetStatusOpts{Status: status, MigrationStatus: "none"}).Err
	if err != nil {
		return fmt.Errorf("reset volume %s: %w", id, err)
	}
	return nil
}

// CopyOf finds the volume to which Cinder copies one that migrates; "": there is none.
func (c *Cinder) CopyOf(ctx context.Context, id string) (string, error) {
	pages, err := volumes.List(c.admin, volumes.ListOpts{AllTenants: true}).AllPages(ctx)
	if err != nil {
		return "", fmt.Errorf("the copy of %s: %w", id, err)
	}
	var found []struct {
		ID     string `json:"id"`
		Status string `json:"os-vol-mig-status-attr:migstat"`
	}
	if err := volumes.ExtractVolumesInto(pages, &found); err != nil {
		return "", fmt.Errorf("the copy of %s: %w", id, err)
	}
	for _, v := range found {
		if v.Status == "target:"+id {
			return v.ID, nil
		}
	}
	return "", nil
}
