//go:build e2e && full

package openstack_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

// serversShareVolume gives two servers of one host a volume that both write. One lets it go and the other one
// goes on, until it is deleted.
func (c compute) serversShareVolume(t *testing.T) {
	const far = 4096 // block
	ctx := t.Context()
	if err := c.CreateTypeWith(ctx, "shared", map[string]string{"multiattach": "<is> True"}); err != nil {
		t.Fatal(err)
	}
	v, err := c.CreateVolumeOfType(ctx, "shared", 1, "shared")
	if err != nil {
		t.Fatal(err)
	}
	one, two := c.boot(t, "one"), c.boot(t, "two", fmt.Sprintf("first=%d", far))
	if err := c.Plug(ctx, one, v.ID); err != nil {
		t.Fatal(err)
	}
	c.says(t, one, 0, "GUEST vdb wrote 1\n")
	if err := c.Plug(ctx, two, v.ID); err != nil {
		t.Fatal(err)
	}
	c.says(t, two, 0, "GUEST vdb wrote 1\n")
	c.says(t, one, 0, fmt.Sprintf("GUEST vdb wrote %d\n", c.writes(t, one, "vdb")+2))
	if err := c.UnplugShared(ctx, one, v.ID); err != nil {
		t.Fatal(err)
	}
	c.says(t, one, 0, "GUEST lost vdb")
	c.says(t, two, 0, fmt.Sprintf("GUEST vdb wrote %d\n", c.writes(t, two, "vdb")+3))
	if d, err := c.host.Show(ctx, uuid.MustParse(v.ID)); err != nil || len(d.Paths) != 3 {
		t.Errorf("device %+v, %v; the second server should have it still", d, err)
	}
	byOne, byTwo := c.writes(t, one, "vdb"), c.writes(t, two, "vdb")
	for _, s := range []openstack.Server{one, two} {
		if err := c.End(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Free(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	c.nobodyHas(t, v.ID)
	c.holds(t, v.ID, v.ID, byOne)
	c.holdsFrom(t, far, v.ID, v.ID, byTwo)
	c.delete(t, v)
}

// connectorAttaches lets nova-compute and cinder-backup attach with the connector of Ashlar from some moment
// on. What was attached before is detached as it was attached.
func (c compute) connectorAttaches(t *testing.T) {
	ctx := t.Context()
	s := c.boot(t, "changing")
	before, after := c.create(t, "before", 1), c.create(t, "after", 1)
	if err := c.Plug(ctx, s, before.ID); err != nil {
		t.Fatal(err)
	}
	c.says(t, s, 0, "GUEST vdb wrote 1\n")
	if err := c.UseConnector(); err != nil {
		t.Fatal(err)
	}
	if err := c.Plug(ctx, s, after.ID); err != nil {
		t.Fatal(err)
	}
	c.says(t, s, 0, "GUEST vdc wrote 1\n")
	c.attached(t, "nova-compute", "LoopConnector attaches "+before.ID)
	c.attached(t, "nova-compute", "AshlarConnector attaches "+after.ID)
	if _, err := c.Extend(ctx, after.ID, 2); err != nil {
		t.Fatal(err)
	}
	c.says(t, s, 0, fmt.Sprintf("GUEST vdc has %d sectors", 2*gib/512))
	written := c.writes(t, s, "vdc")
	backup, err := c.BackUp(ctx, after.ID)
	if err != nil {
		t.Fatal(err)
	}
	c.attached(t, "cinder-backup", "AshlarConnector attaches ")
	restored := c.create(t, "restored", 2)
	if err := c.Restore(ctx, backup, restored.ID); err != nil {
		t.Fatal(err)
	}
	c.attached(t, "cinder-backup", "AshlarConnector attaches "+restored.ID)
	c.holds(t, restored.ID, after.ID, written)
	for disk, v := range map[string]openstack.Volume{"vdb": before, "vdc": after} {
		if err := c.Unplug(ctx, s, v.ID); err != nil {
			t.Fatal(err)
		}
		c.says(t, s, 0, "GUEST lost "+disk)
		c.nobodyHas(t, v.ID)
		c.holds(t, v.ID, v.ID, c.writes(t, s, disk))
	}
	if err := c.End(ctx, s); err != nil {
		t.Fatal(err)
	}
	c.delete(t, before, after, restored)
}

// attached looks for what with_loophost.py says in the log of a service.
func (c compute) attached(t *testing.T, service, what string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.LogDir(), service+".log"))
	if err != nil || !bytes.Contains(text, []byte(what)) {
		t.Errorf("the log of %s does not say %q (%v)", service, what, err)
	}
}
