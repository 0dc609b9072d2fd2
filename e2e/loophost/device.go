package loophost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
)

// giveUp is how long an I/O waits for a path that is usable before it is an I/O error: as long as a kernel
// told to wait for its paths (ctrl_loss_tmo), 10 minutes.
const giveUp = 10 * time.Minute

// Portal is an address of a volume: address, port and transport, as in Cinder's connection information.
type Portal [3]string

// Target says where a volume is, in the words of Cinder's connection information for nvmeof.
type Target struct {
	NQN     string   `json:"target_nqn"`
	HostNQN string   `json:"host_nqn"`
	Portals []Portal `json:"portals"`
}

// Path is one way to a volume.
type Path struct {
	Address string `json:"address"` // host:port
	Up      bool   `json:"up"`
	ANA     string `json:"ana"`
	Error   string `json:"error,omitempty"` // why it is down
}

// Device is an attached volume.
type Device struct {
	Path  string `json:"path"` // /dev/loopN
	Size  int64  `json:"size"` // of the device, in bytes
	Paths []Path `json:"paths"`
}

// device holds what an attached volume is made of.
type device struct {
	volume *initiator.Volume
	mount  *fuse.Server
	dir    string
	loop   *loop
}

// attach connects to a volume, below a directory that it makes, and returns when one path shows it.
func attach(ctx context.Context, id uuid.UUID, t Target, base string) (d *device, err error) {
	d = &device{dir: filepath.Join(base, id.String())}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.volume, err = initiator.Open(ctx, t.config()); err != nil {
		return d, fmt.Errorf("connect to %s: %w", t.NQN, err)
	}
	if got := uuid.UUID(d.volume.UUID()); got != id {
		return d, fmt.Errorf("%s has namespace %s, not %s", t.NQN, got, id)
	}
	if err = os.Mkdir(d.dir, 0o700); err != nil {
		return d, err
	}
	if d.mount, err = mount(d.dir, d.volume); err != nil {
		return d, err
	}
	f, err := d.open()
	if err != nil {
		return d, err
	}
	defer func() { _ = f.Close() }() // the loop device has its own hold of it
	d.loop, err = newLoop(f)
	return d, err
}

func (t Target) config() initiator.VolumeConfig {
	c := initiator.VolumeConfig{GiveUp: giveUp, Config: initiator.Config{
		SubNQN: t.NQN, HostNQN: t.HostNQN, HostID: uuid.NewSHA1(uuid.NameSpaceURL, []byte(t.HostNQN)),
	}}
	for _, p := range t.Portals {
		c.Portals = append(c.Portals, net.JoinHostPort(p[0], p[1]))
	}
	return c
}

func (d *device) open() (*os.File, error) {
	return os.OpenFile(filepath.Join(d.dir, fileName), os.O_RDWR, 0)
}

// show describes the device.
func (d *device) show() (Device, error) {
	size, err := d.loop.size()
	out := Device{Path: d.loop.path(), Size: size}
	for _, p := range d.volume.Paths() {
		path := Path{Address: p.Addr, Up: p.Up, ANA: p.ANA.String()}
		if p.Err != nil {
			path.Error = p.Err.Error()
		}
		out.Paths = append(out.Paths, path)
	}
	return out, err
}

// resize gives the device the size that the volume has told its host.
func (d *device) resize() error {
	// The kernel asks for the file's size now: a loop device goes by what it knows.
	if _, err := os.Stat(filepath.Join(d.dir, fileName)); err != nil {
		return err
	}
	return d.loop.resize()
}

// close ends all there is of a device, from the top down. While the device is in use it stays as it is.
func (d *device) close() error {
	if d.loop != nil {
		if err := d.loop.detach(); err != nil {
			return err
		}
	}
	if d.mount != nil {
		if err := d.mount.Unmount(); err != nil {
			return fmt.Errorf("unmount: %w", err)
		}
	}
	if d.volume == nil {
		return nil
	}
	err := os.Remove(d.dir)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, d.volume.Close())
}
