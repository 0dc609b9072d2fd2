package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// PrepareDevice implements api.Runtime. A device that this node serves already is known from the map;
// everything else is looked at and, when it is empty, formatted. What holds anything else is refused, never
// overwritten.
func (d *daemon) PrepareDevice(ctx context.Context, path string, size uint64) (cluster.UUID, uint64, error) {
	path = filepath.Clean(path)
	state := d.watcher.Newest()
	if state == nil {
		return cluster.UUID{}, 0, &manager.Error{Code: wire.Unavailable,
			Detail: "this node has not seen the cluster map yet"}
	}
	for _, dev := range state.Map.Devices {
		if dev.Node == d.state.Node && dev.Path == path && dev.State != cluster.DeviceRemoved {
			return dev.UUID, dev.Size, nil
		}
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && size == 0 {
		return cluster.UUID{}, 0, &manager.Error{Code: wire.InvalidField, Field: "path",
			Detail: fmt.Sprintf("there is nothing at %s on this node; give size_bytes to make a file there", path)}
	}
	size -= size % cluster.BlockSize
	dev, err := blockdev.OpenFile(path, blockdev.FileOptions{Create: int64(size)})
	if err != nil {
		return cluster.UUID{}, 0, err
	}
	defer func() { _ = dev.Close() }()
	return adopt(ctx, dev, d.state.ClusterID)
}

// adopt makes an empty device one of the cluster's, or recognises one that is; it returns uuid and usable
// bytes.
func adopt(ctx context.Context, dev blockdev.Device, id cluster.UUID) (cluster.UUID, uint64, error) {
	rep, err := pagestore.Check(ctx, dev, pagestore.CheckOptions{})
	if rep == nil || rep.ClusterID != id {
		fresh := pagestore.FormatOptions{ClusterID: id, DeviceUUID: cluster.UUID(uuid.New())}
		if err := pagestore.Format(ctx, dev, fresh); err != nil {
			return cluster.UUID{}, 0, err
		}
		rep, err = pagestore.Check(ctx, dev, pagestore.CheckOptions{})
	}
	if err != nil {
		return cluster.UUID{}, 0, err
	}
	return rep.DeviceUUID, rep.Regions.DataBlocks * cluster.BlockSize, nil
}
