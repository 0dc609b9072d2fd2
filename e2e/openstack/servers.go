package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"
)

// Server is a server of Nova.
type Server struct{ ID, Name string }

// Boot starts a server with a disk made of an image, without a network, and waits until it runs.
func (n *Nova) Boot(ctx context.Context, name, image string) (Server, error) {
	return n.start(ctx, servers.CreateOpts{Name: name, ImageRef: image})
}

// BootFromVolume is Boot with a volume as the disk, which stays when the server is deleted.
func (n *Nova) BootFromVolume(ctx context.Context, name, volume string) (Server, error) {
	return n.start(ctx, servers.CreateOpts{Name: name, BlockDevice: []servers.BlockDevice{{
		UUID: volume, SourceType: servers.SourceVolume, DestinationType: servers.DestinationVolume}}})
}

func (n *Nova) start(ctx context.Context, o servers.CreateOpts) (Server, error) {
	o.FlavorRef, o.Networks = n.flavor, "none"
	made, err := servers.Create(ctx, n.compute, o, nil).Extract()
	if err != nil {
		return Server{}, fmt.Errorf("create server %s: %w", o.Name, err)
	}
	s := Server{ID: made.ID, Name: o.Name}
	return s, n.until(ctx, "server "+s.Name+" to be active", func(ctx context.Context) error {
		got, err := servers.Get(ctx, n.compute, s.ID).Extract()
		switch {
		case err != nil:
			return err
		case got.Status == "ERROR":
			return &brokenError{s, got.Fault.Message}
		case got.Status != "ACTIVE":
			return fmt.Errorf("it is %s", got.Status)
		}
		return nil
	})
}

// brokenError says that Nova has given something up; its log says why.
type brokenError struct {
	server Server
	fault  string
}

func (e *brokenError) Error() string { return fmt.Sprintf("server %s: %s", e.server.Name, e.fault) }

// until waits, within Patience, and no longer when ready says that it is in vain.
func (n *Nova) until(ctx context.Context, what string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	var broken *brokenError
	err := n.c.procs.wait(ctx, what, func(ctx context.Context) error {
		if err := ready(ctx); !errors.As(err, &broken) {
			return err
		}
		return nil
	})
	if broken != nil {
		return broken
	}
	return err
}

// End deletes a server and waits until it is gone. Its volumes are detached by that.
func (n *Nova) End(ctx context.Context, s Server) error {
	if err := servers.Delete(ctx, n.compute, s.ID).ExtractErr(); err != nil {
		return fmt.Errorf("delete server %s: %w", s.Name, err)
	}
	return n.until(ctx, "server "+s.Name+" to be gone", func(ctx context.Context) error {
		_, err := servers.Get(ctx, n.compute, s.ID).Extract()
		if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
			return nil
		}
		if err == nil {
			err = errors.New("it is there")
		}
		return err
	})
}

// Plug attaches a volume to a server that runs, and waits until Cinder says so.
func (n *Nova) Plug(ctx context.Context, s Server, volume string) error {
	opts := volumeattach.CreateOpts{VolumeID: volume}
	if err := volumeattach.Create(ctx, n.compute, s.ID, opts).Err; err != nil {
		return fmt.Errorf("attach %s to server %s: %w", volume, s.Name, err)
	}
	return n.until(ctx, "volume "+volume+" to be attached", func(ctx context.Context) error {
		v, err := n.c.Show(ctx, volume)
		switch {
		case err != nil:
			return err
		case v.Status == "available" || strings.HasPrefix(v.Status, "error"): // given up
			return &brokenError{s, "attach " + volume + ": it is " + v.Status}
		case v.Status != "in-use":
			return fmt.Errorf("it is %q", v.Status)
		}
		return nil
	})
}

// Unplug detaches a volume from a server that runs, and waits until Nova and Cinder say so. No other server
// has it.
func (n *Nova) Unplug(ctx context.Context, s Server, volume string) error {
	if err := n.UnplugShared(ctx, s, volume); err != nil {
		return err
	}
	return n.Free(ctx, volume)
}

// UnplugShared is Unplug of a volume that other servers may have, too.
func (n *Nova) UnplugShared(ctx context.Context, s Server, volume string) error {
	if err := volumeattach.Delete(ctx, n.compute, s.ID, volume).ExtractErr(); err != nil {
		return fmt.Errorf("detach %s from server %s: %w", volume, s.Name, err)
	}
	what := fmt.Sprintf("volume %s to be detached from server %s", volume, s.Name)
	return n.until(ctx, what, func(ctx context.Context) error {
		err := volumeattach.Get(ctx, n.compute, s.ID, volume).Err
		switch {
		case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			return nil
		case err == nil:
			err = errors.New("it is attached")
		}
		return err
	})
}

// Free waits until a volume is attached to no server.
func (n *Nova) Free(ctx context.Context, volume string) error {
	return n.until(ctx, "volume "+volume+" to be free", func(ctx context.Context) error {
		v, err := n.c.Show(ctx, volume)
		if err == nil && v.Status != "available" {
			err = fmt.Errorf("it is %q", v.Status)
		}
		return err
	})
}

// Says waits until a server's guest has said something after the first skip bytes of what it said, and
// returns all that it has said.
func (n *Nova) Says(ctx context.Context, s Server, skip int, what string) (string, error) {
	var said string
	err := n.until(ctx, fmt.Sprintf("server %s to say %q", s.Name, what), func(context.Context) (err error) {
		if said, err = n.Console(s.ID); err == nil && !strings.Contains(said[min(skip, len(said)):], what) {
			err = fmt.Errorf("it says %q", said[max(0, len(said)-400):])
		}
		return err
	})
	return said, err
}
