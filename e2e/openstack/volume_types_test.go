//go:build e2e

package openstack_test

import (
	"errors"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// boundsFollowType gives volumes types with QoS specs for the back end.
func (c cloud) boundsFollowType(t *testing.T) {
	ctx := t.Context()
	for name, bounds := range map[string]map[string]string{
		"plain":  nil,
		"fast":   {"total_iops_sec_per_gb": "500", "total_bytes_sec": "100000000"},
		"slow":   {"total_iops_sec": "100"},
		"unkept": {"read_iops_sec": "100"},
	} {
		if err := c.CreateType(ctx, name, bounds); err != nil {
			t.Fatal(err)
		}
	}
	v, err := c.CreateVolumeOfType(ctx, "bounded", 1, "fast")
	if err != nil {
		t.Fatal(err)
	}
	c.expectBounds(t, v.ID, &wire.QoS{IOPS: 500, Bandwidth: 100_000_000})
	if _, err := c.Extend(ctx, v.ID, 2); err != nil {
		t.Fatal(err)
	}
	c.expectBounds(t, v.ID, &wire.QoS{IOPS: 1000, Bandwidth: 100_000_000})
	a := c.attach(t, v.ID)
	for name, want := range map[string]*wire.QoS{"slow": {IOPS: 100}, "plain": nil} {
		if err := c.Retype(ctx, v.ID, name); err != nil {
			t.Fatal(err)
		}
		c.expectBounds(t, v.ID, want)
	}
	if err := c.Detach(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, v.ID); err != nil {
		t.Fatal(err)
	}

	refused, err := c.CreateVolumeOfType(ctx, "unbounded", 1, "unkept")
	var status *openstack.StatusError
	if !errors.As(err, &status) || status.Volume.Status != "error" {
		t.Fatalf("a volume whose bounds cannot be kept: %v, should be in status error", err)
	}
	c.expectGone(t, refused.ID)
	if err := c.Delete(ctx, refused.ID); err != nil {
		t.Fatal(err)
	}
}

func (c cloud) expectBounds(t *testing.T, id string, want *wire.QoS) {
	t.Helper()
	got := c.cluster.Volume(parse(t, id)).QoS
	if (got == nil) != (want == nil) || got != nil && *got != *want {
		t.Errorf("bounds are %+v, should be %+v", got, want)
	}
}
