package openstack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
)

// Groups and their snapshots, of which gophercloud knows nothing.

// Member is a volume in a group.
type Member struct {
	ID         string `json:"id"`
	SnapshotID string `json:"snapshot_id"`  // that it began as, or ""
	SourceID   string `json:"source_volid"` // volume that it began as, or ""
}

// CreateGroupType makes a type of groups whose snapshots are consistent.
func (c *Cinder) CreateGroupType(ctx context.Context, name string) (id string, err error) {
	return c.begin(ctx, "group_types", "group_type", map[string]any{
		"name": name, "group_specs": map[string]string{"consistent_group_snapshot_enabled": "<is> True"},
	})
}

// CreateGroup makes a group for volumes of one type, and waits for it.
func (c *Cinder) CreateGroup(ctx context.Context, name, groupType, volumeType string) (id string, err error) {
	if id, err = c.BeginGroup(ctx, name, groupType, volumeType); err == nil {
		err = c.waitForGroup(ctx, "groups", id, "available")
	}
	return id, err
}

// BeginGroup asks for a group. As with all that begins, nobody waits.
func (c *Cinder) BeginGroup(ctx context.Context, name, groupType, volumeType string) (id string, err error) {
	return c.begin(ctx, "groups", "group", map[string]any{
		"name": name, "group_type": groupType, "volume_types": []string{volumeType}})
}

// CreateInGroup makes a volume in a group, and waits for it.
func (c *Cinder) CreateInGroup(ctx context.Context, name, volumeType, group string) (Volume, error) {
	id, err := c.begin(ctx, "volumes", "volume", map[string]any{
		"name": name, "size": 1, "volume_type": volumeType, "group_id": group})
	if err != nil {
		return Volume{}, err
	}
	return c.waitFor(ctx, id, "available")
}

// UpdateGroup puts volumes into a group and takes others out (ids, separated by commas), and waits.
func (c *Cinder) UpdateGroup(ctx context.Context, id, add, remove string) error {
	if err := c.BeginUpdateGroup(ctx, id, add, remove); err != nil {
		return err
	}
	return c.waitForGroup(ctx, "groups", id, "available")
}

// BeginUpdateGroup asks for other volumes in a group.
func (c *Cinder) BeginUpdateGroup(ctx context.Context, id, add, remove string) error {
	change := map[string]string{}
	for key, volumes := range map[string]string{"add_volumes": add, "remove_volumes": remove} {
		if volumes != "" {
			change[key] = volumes
		}
	}
	resp, err := c.admin.Put(ctx, c.admin.ServiceURL("groups", id), map[string]any{"group": change}, nil,
		&gophercloud.RequestOpts{OkCodes: []int{http.StatusAccepted}})
	if _, _, err = gophercloud.ParseResponse(resp, err); err != nil {
		return fmt.Errorf("update group %s: %w", id, err)
	}
	return nil
}

// Members lists the volumes of a group.
func (c *Cinder) Members(ctx context.Context, group string) ([]Member, error) {
	var answer struct {
		Volumes []Member `json:"volumes"`
	}
	query := "?" + url.Values{"group_id": {group}}.Encode()
	resp, err := c.admin.Get(ctx, c.admin.ServiceURL("volumes", "detail")+query, &answer, nil)
	if _, _, err = gophercloud.ParseResponse(resp, err); err != nil {
		return nil, fmt.Errorf("volumes of group %s: %w", group, err)
	}
	return answer.Volumes, nil
}

// CreateGroupSnapshot takes a snapshot of all volumes of a group, and waits for it.
func (c *Cinder) CreateGroupSnapshot(ctx context.Context, group, name string) (id string, err error) {
	if id, err = c.BeginGroupSnapshot(ctx, group, name); err == nil {
		err = c.waitForGroup(ctx, "group_snapshots", id, "available")
	}
	return id, err
}

// BeginGroupSnapshot asks for a group snapshot.
func (c *Cinder) BeginGroupSnapshot(ctx context.Context, group, name string) (id string, err error) {
	return c.begin(ctx, "group_snapshots", "group_snapshot", map[string]any{"group_id": group, "name": name})
}

// CreateGroupFrom makes a group of volumes that begin as those of a group snapshot or of another group (key
// group_snapshot_id or source_group_id), and waits for it.
func (c *Cinder) CreateGroupFrom(ctx context.Context, name, key, source string) (id string, err error) {
	if id, err = c.BeginGroupFrom(ctx, name, key, source); err == nil {
		err = c.waitForGroup(ctx, "groups", id, "available")
	}
	return id, err
}

// BeginGroupFrom asks for a group that is made from another one.
func (c *Cinder) BeginGroupFrom(ctx context.Context, name, key, source string) (id string, err error) {
	var answer struct {
		Group struct {
			ID string `json:"id"`
		} `json:"group"`
	}
	body := map[string]any{"create-from-src": map[string]string{"name": name, key: source}}
	if err = c.post(ctx, body, &answer, "groups", "action"); err != nil {
		return "", fmt.Errorf("create group %s: %w", name, err)
	}
	return answer.Group.ID, nil
}

// DeleteGroup deletes a group with its volumes, and waits until it is gone.
func (c *Cinder) DeleteGroup(ctx context.Context, id string) error {
	if err := c.BeginDeleteGroup(ctx, id); err != nil {
		return err
	}
	return c.waitForGroup(ctx, "groups", id, "")
}

// BeginDeleteGroup asks for the end of a group and its volumes, in whatever status it is.
func (c *Cinder) BeginDeleteGroup(ctx context.Context, id string) error {
	body := map[string]any{"delete": map[string]bool{"delete-volumes": true}}
	if err := c.post(ctx, body, nil, "groups", id, "action"); err != nil {
		return fmt.Errorf("delete group %s: %w", id, err)
	}
	return nil
}

// DeleteGroupSnapshot deletes a group snapshot, and waits until it is gone.
func (c *Cinder) DeleteGroupSnapshot(ctx context.Context, id string) error {
	if err := c.BeginDeleteGroupSnapshot(ctx, id); err != nil {
		return err
	}
	return c.waitForGroup(ctx, "group_snapshots", id, "")
}

// EndGroupSnapshot deletes a group snapshot whatever status it is in, as an operator does.
func (c *Cinder) EndGroupSnapshot(ctx context.Context, id string) error {
	body := map[string]any{"reset_status": map[string]string{"status": "error"}}
	if err := c.post(ctx, body, nil, "group_snapshots", id, "action"); err != nil {
		return fmt.Errorf("reset group snapshot %s: %w", id, err)
	}
	return c.DeleteGroupSnapshot(ctx, id)
}

// BeginDeleteGroupSnapshot asks for the end of a group snapshot.
func (c *Cinder) BeginDeleteGroupSnapshot(ctx context.Context, id string) error {
	resp, err := c.admin.Delete(ctx, c.admin.ServiceURL("group_snapshots", id), nil)
	if _, _, err = gophercloud.ParseResponse(resp, err); err != nil {
		return fmt.Errorf("delete group snapshot %s: %w", id, err)
	}
	return nil
}

// begin asks for a resource, and returns its id.
func (c *Cinder) begin(ctx context.Context, collection, kind string, of map[string]any) (string, error) {
	var answer map[string]struct {
		ID string `json:"id"`
	}
	if err := c.post(ctx, map[string]any{kind: of}, &answer, collection); err != nil {
		return "", fmt.Errorf("create %s %v: %w", kind, of["name"], err)
	}
	return answer[kind].ID, nil
}

func (c *Cinder) post(ctx context.Context, body map[string]any, answer any, path ...string) error {
	resp, err := c.admin.Post(ctx, c.admin.ServiceURL(path...), body, answer,
		&gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusAccepted}})
	_, _, err = gophercloud.ParseResponse(resp, err)
	return err
}

// waitForGroup waits until a group or group snapshot has the status ("": is gone).
func (c *Cinder) waitForGroup(ctx context.Context, collection, id, status string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var now string
	err := c.procs.wait(ctx, fmt.Sprintf("%s/%s to be %q", collection, id, status),
		func(ctx context.Context) error {
			var answer map[string]struct {
				Status string `json:"status"`
			}
			resp, err := c.admin.Get(ctx, c.admin.ServiceURL(collection, id), &answer, nil)
			_, _, err = gophercloud.ParseResponse(resp, err)
			if status == "" && gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
				now = ""
				return nil
			}
			now = answer[strings.TrimSuffix(collection, "s")].Status
			if err == nil && now != status && !strings.HasPrefix(now, "error") {
				err = fmt.Errorf("it is %q", now)
			}
			return err
		})
	if err == nil && now != status {
		err = fmt.Errorf("%s/%s is %q: %s", collection, id, now, strings.Join(c.messages(ctx, id), "; "))
	}
	return err
}
