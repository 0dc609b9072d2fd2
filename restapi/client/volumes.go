package client

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// VolumeListOpts narrows a list of volumes.
type VolumeListOpts struct {
	ListOpts
	Name    string
	Pool    string
	Project string
	// Snapshot that they began as and share blocks with; zero: any, and none.
	Snapshot cluster.UUID
	Hidden   bool
	Health   wire.Status
	Use
}

// Use narrows lists of volumes and of snapshots by what they are used for.
type Use struct {
	Host     string   // that may use it: its NQN
	Metadata []string // "key=value" or "key", all of which are there
}

func (u Use) pairs() []string {
	return []string{"host", u.Host, "metadata", strings.Join(u.Metadata, ",")}
}

// CreateVolume makes a volume. Without an id in opts one is drawn here, so that the call can be repeated at
// another endpoint and still makes one volume.
func (c *Client) CreateVolume(ctx context.Context, opts wire.VolumeCreate,
	more ...Option) (wire.Volume, error) {
	if opts.ID.IsZero() {
		opts.ID = newUUID()
	}
	return c.volume(ctx, call{method: http.MethodPost, path: "/v1/volumes", body: opts}, more...)
}

func (c *Client) volume(ctx context.Context, r call, opts ...Option) (out wire.Volume, err error) {
	r.repeatable = true
	return out, c.do(ctx, r, &out, opts...)
}

// ListVolumes lists one page of volumes.
func (c *Client) ListVolumes(ctx context.Context, opts VolumeListOpts) (wire.Page[wire.Volume], error) {
	return get[wire.Page[wire.Volume]](ctx, c, "/v1/volumes", opts.query(append(opts.pairs(), "name", opts.Name,
		"pool", opts.Pool, "project", opts.Project, "snapshot", given(opts.Snapshot), "hidden", flag(opts.Hidden),
		"health", string(opts.Health))...))
}

// given is an id in a query; zero: "", none.
func given(id cluster.UUID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// AllVolumes lists all volumes that have the name and are in the pool; empty ones do not narrow.
func (c *Client) AllVolumes(ctx context.Context, name, pool string) ([]wire.Volume, error) {
	return c.FindVolumes(ctx, VolumeListOpts{Name: name, Pool: pool})
}

// FindVolumes lists all volumes that opts do not leave out; the page in opts is not looked at.
func (c *Client) FindVolumes(ctx context.Context, opts VolumeListOpts) ([]wire.Volume, error) {
	return all(ctx, func(o ListOpts) (wire.Page[wire.Volume], error) {
		opts.ListOpts = o
		return c.ListVolumes(ctx, opts)
	})
}

// GetVolume shows a volume.
func (c *Client) GetVolume(ctx context.Context, id cluster.UUID) (wire.Volume, error) {
	return c.volume(ctx, call{method: http.MethodGet, path: "/v1/volumes/" + id.String()})
}

// ResizeVolume grows a volume to size bytes. ifMatch, when not empty, is the ETag it must still have.
func (c *Client) ResizeVolume(ctx context.Context, id cluster.UUID, size uint64,
	ifMatch string) (wire.Volume, error) {
	return c.volume(ctx, call{method: http.MethodPatch, path: "/v1/volumes/" + id.String(),
		body: wire.VolumeUpdate{Size: &size}}, IfMatch(ifMatch))
}

// ShrinkVolume cuts off what a volume has behind size bytes, for good; with discard also if there is data.
// While its owner is still looking for that, Shrink of the answer says so.
func (c *Client) ShrinkVolume(ctx context.Context, id cluster.UUID, size uint64, discard bool,
	opts ...Option) (wire.Volume, error) {
	u := wire.VolumeUpdate{Size: &size, AllowShrink: true, DiscardData: discard}
	return c.UpdateVolume(ctx, id, u, opts...)
}

// UpdateVolume changes what u names of a volume.
func (c *Client) UpdateVolume(ctx context.Context, id cluster.UUID, u wire.VolumeUpdate,
	opts ...Option) (wire.Volume, error) {
	return c.volume(ctx, call{method: http.MethodPatch, path: "/v1/volumes/" + id.String(), body: u}, opts...)
}

// RevertVolume makes a volume what a snapshot of it shows. When its owner cannot do that now, the state of
// the snapshot is "reverting" for a while. Within an idempotency key, which is drawn here unless opts give
// one, it is done once, however often it is sent.
func (c *Client) RevertVolume(ctx context.Context, id cluster.UUID, r wire.VolumeRevert,
	opts ...Option) (wire.Volume, error) {
	opts = append([]Option{IdempotencyKey(newUUID().String())}, opts...)
	return c.volume(ctx, call{method: http.MethodPost, path: "/v1/volumes/" + id.String() + "/revert", body: r},
		opts...)
}

// MoveVolume has a node take a volume over from the one that serves it, under the eyes of its hosts.
func (c *Client) MoveVolume(ctx context.Context, id cluster.UUID, to cluster.NodeID, opts ...Option) (
	wire.Volume, error,
) {
	return c.volume(ctx, call{method: http.MethodPut, path: "/v1/volumes/" + id.String() + "/owner",
		body: wire.VolumeMove{Node: to}}, opts...)
}

// SetVolumeHome says which failure domain's nodes are to serve a volume: az, az/rack or az/rack/node; empty,
// none.
func (c *Client) SetVolumeHome(ctx context.Context, id cluster.UUID, home string, opts ...Option) (
	wire.Volume, error,
) {
	return c.volume(ctx, call{method: http.MethodPut, path: "/v1/volumes/" + id.String() + "/home",
		body: wire.VolumeHome{Home: &home}}, opts...)
}

// ResetVolumeHome lets the home that its pool names count for a volume again.
func (c *Client) ResetVolumeHome(ctx context.Context, id cluster.UUID, opts ...Option) (wire.Volume, error) {
	return c.volume(ctx, call{method: http.MethodDelete, path: "/v1/volumes/" + id.String() + "/home"}, opts...)
}

// FlattenVolume has a clone made independent of its parent, in the background; the answer tells how far that
// is.
func (c *Client) FlattenVolume(ctx context.Context, id cluster.UUID, opts ...Option) (wire.Volume, error) {
	return c.volume(ctx, call{method: http.MethodPost, path: "/v1/volumes/" + id.String() + "/flatten"}, opts...)
}

// DeleteVolume deletes a volume. ifMatch, when not empty, is the ETag it must still have.
func (c *Client) DeleteVolume(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return c.delete(ctx, "/v1/volumes/"+id.String(), IfMatch(ifMatch))
}

// DeleteVolumeAndSnapshots deletes a volume with all its snapshots. When it fails, some of them may be gone.
func (c *Client) DeleteVolumeAndSnapshots(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return c.delete(ctx, "/v1/volumes/"+id.String()+"?cascade=true", IfMatch(ifMatch))
}

// EraseVolume deletes an encrypted volume and destroys its data key; the task erase-<id> tells which devices
// have confirmed that nothing is left.
func (c *Client) EraseVolume(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return c.delete(ctx, "/v1/volumes/"+id.String()+"?erase=true", IfMatch(ifMatch))
}

// flag is how a query says that something is wanted.
func flag(on bool) string {
	if on {
		return "true"
	}
	return ""
}

func newUUID() (u cluster.UUID) {
	_, _ = rand.Read(u[:])  // never fails
	u[6] = u[6]&0x0f | 0x40 // RFC 9562: version 4,
	u[8] = u[8]&0x3f | 0x80 // variant 10
	return u
}

// GetVolumeSpace tells for whom devices keep the blocks of a volume. They count when they are asked.
func (c *Client) GetVolumeSpace(ctx context.Context, id cluster.UUID) (wire.VolumeSpace, error) {
	return get[wire.VolumeSpace](ctx, c, "/v1/volumes/"+id.String()+"/space", nil)
}
