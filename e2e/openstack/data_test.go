//go:build e2e

package openstack_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

// hostUsesVolume lets an NVMe/TCP host do what the connection information says: data survives a detach, an
// extension reaches the host by itself, and access is the attached host's alone and ends with the attachment.
func (c cloud) hostUsesVolume(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), openstack.Patience)
	defer cancel()
	v := c.create(t, "used", 1)
	first := c.attach(t, v.ID)
	host := open(t, first.Info, first.Info.HostNQN)
	if got := uuid.UUID(host.UUID()).String(); got != v.ID || host.Size() != gib {
		t.Fatalf("the host sees namespace %s of %d bytes, the volume is %s of 1 GiB", got, host.Size(), v.ID)
	}
	data := random(1 << 20)
	for _, off := range []int64{0, gib - int64(len(data))} {
		if err := host.Write(ctx, data, off); err != nil {
			t.Fatalf("write at %d: %v", off, err)
		}
	}
	c.refuses(t, first.Info, "nqn.2014-08.org.nvmexpress:uuid:0b0b0b0b-0000-4000-8000-00000000000b")

	if _, err := c.Extend(ctx, v.ID, 2); err != nil {
		t.Fatal(err)
	}
	c.cluster.Eventually("the host sees 2 GiB", func() error {
		if size := host.Size(); size != 2*gib {
			return fmt.Errorf("it sees %d bytes", size)
		}
		return nil
	})
	if err := host.Write(ctx, data, 2*gib-int64(len(data))); err != nil {
		t.Fatalf("write to what was added: %v", err)
	}

	if err := c.Detach(ctx, first); err != nil {
		t.Fatal(err)
	}
	c.cluster.Eventually("the host has lost all its paths", func() error {
		for _, p := range host.Paths() {
			if p.Up {
				return fmt.Errorf("path %s is up", p.Addr)
			}
		}
		return nil
	})
	c.refuses(t, first.Info, first.Info.HostNQN)

	second := c.attach(t, v.ID)
	host = open(t, second.Info, second.Info.HostNQN)
	for _, off := range []int64{0, gib - int64(len(data)), 2*gib - int64(len(data))} {
		got := make([]byte, len(data))
		if err := host.Read(ctx, got, off); err != nil || !bytes.Equal(got, data) {
			t.Errorf("read at %d: %v, as written: %v", off, err, bytes.Equal(got, data))
		}
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Detach(ctx, second); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
}

func (c cloud) attach(t *testing.T, id string) openstack.Attachment {
	t.Helper()
	a, err := c.Attach(t.Context(), id, hostA())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refuses checks that no portal lets a host in.
func (c cloud) refuses(t *testing.T, info openstack.ConnectionInfo, nqn string) {
	t.Helper()
	for _, addr := range portals(info) {
		config := hostConfig(info, nqn)
		config.Addr = addr
		client, err := initiator.Dial(t.Context(), config)
		if err == nil {
			_ = client.Close()
			t.Errorf("host %s was let in at %s", nqn, addr)
		}
	}
}

// open connects a host to all portals of a volume, until the test ends at the latest.
func open(t *testing.T, info openstack.ConnectionInfo, nqn string) *initiator.Volume {
	t.Helper()
	v, err := initiator.Open(t.Context(), initiator.VolumeConfig{
		Config: hostConfig(info, nqn), Portals: portals(info), GiveUp: openstack.Patience,
	})
	if err != nil {
		t.Fatalf("connect to %s: %v", info.TargetNQN, err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func hostConfig(info openstack.ConnectionInfo, nqn string) initiator.Config {
	return initiator.Config{
		SubNQN: info.TargetNQN, HostNQN: nqn, HostID: uuid.NewSHA1(uuid.NameSpaceURL, []byte(nqn)),
		Timeout: time.Minute, // the machine may be busy; nothing here is about speed
	}
}

func portals(info openstack.ConnectionInfo) []string {
	var out []string
	for _, p := range info.Portals {
		out = append(out, net.JoinHostPort(p.Address, p.Port))
	}
	return out
}

// random is data that no other test, and no zeroing, leaves behind.
func random(n int) []byte {
	data := make([]byte, n)
	source := rand.NewChaCha8([32]byte{'c', 'i', 'n', 'd', 'e', 'r'})
	_, _ = source.Read(data)
	return data
}
