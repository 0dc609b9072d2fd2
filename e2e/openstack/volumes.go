package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/attachments"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/schedulerstats"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
)

// Volume is a volume as Cinder sees it. Its ID is also the id of the Ashlar volume (it was never migrated).
type Volume struct {
	ID     string
	Status string // "available", "in-use", "error", ...
	GiB    int
	Type   string // name of its volume type
}

// Connector is what a compute host says about itself (os-brick's connector properties, as far as needed).
type Connector struct {
	Host string // name
	IP   string
	NQN  string // host NQN; empty: the host has none
}

// Portal is one address of a volume.
type Portal struct {
	Address   string
	Port      string
	Transport string // "tcp"
}

// ConnectionInfo is what Cinder gives Nova to attach with.
type ConnectionInfo struct {
	Type      string // "nvmeof"; of another driver the rest is empty
	TargetNQN string // of the volume's subsystem
	VolUUID   string // of its namespace
	HostNQN   string // the host that may connect
	Portals   []Portal
}

// Attachment is a volume on a host.
type Attachment struct {
	ID       string
	VolumeID string
	Info     ConnectionInfo
}

// StatusError says that a volume went where it should not.
type StatusError struct {
	Volume   Volume
	Messages []string // what Cinder tells its user about it
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("volume %s is %q: %s", e.Volume.ID, e.Volume.Status, strings.Join(e.Messages, "; "))
}

// CreateVolume makes a volume and waits until it is available. A volume that fails comes back with its
// StatusError, and is still there to be deleted.
func (c *Cinder) CreateVolume(ctx context.Context, name string, gib int) (Volume, error) {
	return c.createVolume(ctx, volumes.CreateOpts{Name: name, Size: gib})
}

// CreateVolumeOfType is CreateVolume with a volume type.
func (c *Cinder) CreateVolumeOfType(ctx context.Context, name string, gib int, volumeType string) (Volume,
	error) {
	return c.createVolume(ctx, volumes.CreateOpts{Name: name, Size: gib, VolumeType: volumeType})
}

// CreateFromSnapshot makes a volume that begins as a snapshot.
func (c *Cinder) CreateFromSnapshot(ctx context.Context, name string, gib int, snapshot string) (Volume,
	error) {
	return c.createVolume(ctx, volumes.CreateOpts{Name: name, Size: gib, SnapshotID: snapshot})
}

// CreateFromVolume makes a volume that begins as another one is now.
func (c *Cinder) CreateFromVolume(ctx context.Context, name string, gib int, source string) (Volume, error) {
	return c.createVolume(ctx, volumes.CreateOpts{Name: name, Size: gib, SourceVolID: source})
}

func (c *Cinder) createVolume(ctx context.Context, o volumes.CreateOpts) (Volume, error) {
	made, err := volumes.Create(ctx, c.admin, o, nil).Extract()
	if err != nil {
		return Volume{}, fmt.Errorf("create volume %s: %w", o.Name, err)
	}
	return c.waitFor(ctx, made.ID, "available")
}

// Show returns a volume.
func (c *Cinder) Show(ctx context.Context, id string) (Volume, error) {
	v, err := volumes.Get(ctx, c.admin, id).Extract()
	if err != nil {
		return Volume{}, fmt.Errorf("show volume %s: %w", id, err)
	}
	return Volume{ID: v.ID, Status: v.Status, GiB: v.Size, Type: v.VolumeType}, nil
}

// Extend grows a volume, attached or not, and waits until Cinder is done.
func (c *Cinder) Extend(ctx context.Context, id string, gib int) (Volume, error) {
	before, err := c.Show(ctx, id)
	if err != nil {
		return Volume{}, err
	}
	if err := c.BeginExtend(ctx, id, gib); err != nil {
		return Volume{}, err
	}
	return c.waitFor(ctx, id, before.Status)
}

// Delete deletes a volume and waits until it is gone.
func (c *Cinder) Delete(ctx context.Context, id string) error {
	if err := volumes.Delete(ctx, c.admin, id, nil).Err; err != nil {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	_, err := c.waitFor(ctx, id, "")
	return err
}

// Migrate moves a detached volume to a pool (host@backend#pool), and waits until it is there.
func (c *Cinder) Migrate(ctx context.Context, id, pool string) error {
	if err := c.BeginMigrate(ctx, id, pool); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	return c.procs.wait(ctx, fmt.Sprintf("volume %s to be in %s", id, pool), func(ctx context.Context) error {
		v, err := volumes.Get(ctx, c.admin, id).Extract()
		if err == nil && (v.Host != pool || v.Status != "available") {
			err = fmt.Errorf("it is %s, in %s", v.Status, v.Host)
		}
		return err
	})
}

// Attach gives a volume to a host, in the three steps of Nova: reserve, connect, complete.
func (c *Cinder) Attach(ctx context.Context, volumeID string, to Connector) (Attachment, error) {
	a, err := c.Reserve(ctx, volumeID)
	if err != nil {
		return a, err
	}
	if a, err = c.Connect(ctx, a, to); err != nil {
		return a, err
	}
	if err := attachments.Complete(ctx, c.nova, a.ID).Err; err != nil {
		return a, fmt.Errorf("complete attachment %s: %w", a.ID, err)
	}
	_, err = c.waitFor(ctx, volumeID, "in-use")
	return a, err
}

// Reserve begins to attach a volume. The instance is invented: Cinder asks nobody about it.
func (c *Cinder) Reserve(ctx context.Context, volumeID string) (Attachment, error) {
	reserved, err := attachments.Create(ctx, c.nova,
		attachments.CreateOpts{VolumeUUID: volumeID, InstanceUUID: uuid.NewString()}).Extract()
	if err != nil {
		return Attachment{}, fmt.Errorf("reserve volume %s: %w", volumeID, err)
	}
	return Attachment{ID: reserved.ID, VolumeID: volumeID}, nil
}

// Connect lets a host use a volume that was reserved; Cinder's API answers when cinder-volume is done.
func (c *Cinder) Connect(ctx context.Context, a Attachment, to Connector) (Attachment, error) {
	connector := map[string]any{
		"host": to.Host, "ip": to.IP, "mountpoint": "/dev/vdb", "os_type": "linux", "platform": "x86_64",
		"multipath": true, "do_local_attach": false,
	}
	if to.NQN != "" {
		connector["nqn"] = to.NQN
	}
	updated, err := attachments.Update(ctx, c.nova, a.ID, attachments.UpdateOpts{Connector: connector}).Extract()
	if err != nil {
		return a, fmt.Errorf("attach volume %s to %s: %w", a.VolumeID, to.Host, err)
	}
	a.Info, err = connectionInfo(updated.ConnectionInfo)
	return a, err
}

// Detach takes a volume from a host: when it returns, the host can no longer use it.
func (c *Cinder) Detach(ctx context.Context, a Attachment) error {
	if err := attachments.Delete(ctx, c.nova, a.ID).Err; err != nil {
		return fmt.Errorf("detach volume %s: %w", a.VolumeID, err)
	}
	return nil
}

// Pool is the pool's capacity as the scheduler knows it.
func (c *Cinder) Pool(ctx context.Context) (schedulerstats.Capabilities, error) {
	pools, err := c.pools(ctx)
	for _, pool := range pools {
		if pool.Name == c.place() {
			return pool.Capabilities, nil
		}
	}
	return schedulerstats.Capabilities{}, errors.Join(err, errors.New("the scheduler does not know "+c.place()))
}

func (c *Cinder) pools(ctx context.Context) ([]schedulerstats.StoragePool, error) {
	pages, err := schedulerstats.List(c.admin, schedulerstats.ListOpts{Detail: true}).AllPages(ctx)
	if err != nil {
		return nil, fmt.Errorf("pools: %w", err)
	}
	pools, err := schedulerstats.ExtractStoragePools(pages)
	if err != nil {
		return nil, fmt.Errorf("pools: %w", err)
	}
	return pools, nil
}

// waitFor waits until a volume has the status ("": is gone) and no longer something between.
func (c *Cinder) waitFor(ctx context.Context, id, status string) (Volume, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var v Volume
	err := c.procs.wait(ctx, fmt.Sprintf("volume %s to be %q", id, status), func(ctx context.Context) error {
		var err error
		v, err = c.Show(ctx, id)
		switch {
		case status == "" && gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			return nil
		case err != nil:
			return err
		case v.Status == status || strings.HasPrefix(v.Status, "error"):
			return nil
		case status == "" && v.Status == "available": // Cinder's way to say that it is busy
			return nil
		}
		return fmt.Errorf("it is %q", v.Status)
	})
	if err != nil || v.Status == status {
		return v, err
	}
	return v, &StatusError{Volume: v, Messages: c.messages(ctx, id)}
}

// messages returns what Cinder tells the user about a volume (GET /messages, which gophercloud has not).
func (c *Cinder) messages(ctx context.Context, id string) []string {
	var answer struct {
		Messages []struct {
			Text string `json:"user_message"`
		} `json:"messages"`
	}
	query := c.admin.ServiceURL("messages") + "?" + url.Values{"resource_uuid": {id}}.Encode()
	resp, err := c.admin.Get(ctx, query, &answer, nil)
	if _, _, err = gophercloud.ParseResponse(resp, err); err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, m := range answer.Messages {
		out = append(out, m.Text)
	}
	return out
}

// connectionInfo reads what the driver's initialize_connection returned, as it reaches Nova.
func connectionInfo(raw map[string]any) (ConnectionInfo, error) {
	data, err := json.Marshal(raw)
	if err != nil {
		return ConnectionInfo{}, fmt.Errorf("connection info: %w", err)
	}
	var wire struct {
		Type      string      `json:"driver_volume_type"`
		TargetNQN string      `json:"target_nqn"`
		VolUUID   string      `json:"vol_uuid"`
		HostNQN   string      `json:"host_nqn"`
		Portals   [][3]string `json:"portals"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return ConnectionInfo{}, fmt.Errorf("connection info: %w", err)
	}
	info := ConnectionInfo{
		Type: wire.Type, TargetNQN: wire.TargetNQN, VolUUID: wire.VolUUID, HostNQN: wire.HostNQN,
	}
	for _, p := range wire.Portals {
		info.Portals = append(info.Portals, Portal{Address: p[0], Port: p[1], Transport: p[2]})
	}
	if info.Type == "nvmeof" && (info.TargetNQN == "" || info.VolUUID == "" || len(info.Portals) == 0) {
		return info, errors.New("connection info: too little for nvmeof: " + string(data))
	}
	return info, nil
}
