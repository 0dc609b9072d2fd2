package manager_test

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestQoSOfPoolAndVolume: set, repeated, lifted, refused; what nodes see follows.
func TestQoSOfPoolAndVolume(t *testing.T) {
	c := apitest.New(t)
	c.Pool()
	v := c.Volume(1, "v")
	ctx := t.Context()
	all := wire.PoolQoS{Total: &wire.QoS{IOPS: 1000}, Volume: &wire.QoS{Bandwidth: 1 << 20, BurstMS: 500}}
	p, err := c.Manager.SetPoolQoS(ctx, "gold", all, "")
	if err != nil || p.QoS == nil || *p.QoS.Total != *all.Total || *p.QoS.Volume != *all.Volume {
		t.Fatalf("%+v, %v", p.QoS, err)
	}
	if again, err := c.Manager.SetPoolQoS(ctx, "gold", all, p.ETag); err != nil || again.ETag != p.ETag {
		t.Errorf("repeated: %v, %v", again.ETag, err)
	}
	if _, err := c.Manager.SetPoolQoS(ctx, "gold", all, `"1"`); code(err) != wire.PreconditionFailed {
		t.Errorf("an old ETag: %v", err)
	}
	if _, err := c.Manager.SetPoolQoS(ctx, "nickel", all, ""); code(err) != wire.NotFound {
		t.Errorf("no pool: %v", err)
	}
	lifted, err := c.Manager.SetPoolQoS(ctx, "gold", wire.PoolQoS{Total: &wire.QoS{}}, "")
	if err != nil || lifted.QoS != nil {
		t.Errorf("lifted: %+v, %v", lifted.QoS, err)
	}
	own, err := c.Manager.SetVolumeQoS(ctx, v.ID, &wire.QoS{IOPS: 50}, v.ETag)
	if err != nil || own.QoS == nil || own.QoS.IOPS != 50 {
		t.Errorf("%+v, %v", own.QoS, err)
	}
	if _, err := c.Manager.SetVolumeQoS(ctx, v.ID, nil, v.ETag); code(err) != wire.PreconditionFailed {
		t.Errorf("an old ETag: %v", err)
	}
	if own, err = c.Manager.SetVolumeQoS(ctx, v.ID, nil, ""); err != nil || own.QoS != nil {
		t.Errorf("as its pool: %+v, %v", own.QoS, err)
	}
	for _, q := range []wire.QoS{{IOPS: cluster.MinIOPS - 1}, {IOPS: cluster.MaxIOPS + 1},
		{Bandwidth: cluster.MinBandwidth - 1}, {Bandwidth: cluster.MaxBandwidth + 1},
		{IOPS: 100, BurstMS: cluster.MinBurst - 1}, {IOPS: 100, BurstMS: cluster.MaxBurst + 1}} {
		if _, err := c.Manager.SetVolumeQoS(ctx, v.ID, &q, ""); code(err) != wire.InvalidField {
			t.Errorf("%+v: %v", q, err)
		}
		_, err := c.Manager.SetPoolQoS(ctx, "gold", wire.PoolQoS{Volume: &q}, "")
		if code(err) != wire.InvalidField {
			t.Errorf("%+v of a pool: %v", q, err)
		}
	}
	c.Audit()
}

// TestOwnLimitsCountBeforeThoseOfThePool, even if they bound nothing.
func TestOwnLimitsCountBeforeThoseOfThePool(t *testing.T) {
	p := &cluster.Pool{QoS: &cluster.PoolQoS{Volume: &cluster.QoS{IOPS: 100}}}
	own := &cluster.QoS{}
	if q := p.VolumeQoS(&cluster.Volume{}); q == nil || q.IOPS != 100 {
		t.Errorf("a volume that says nothing: %+v", q)
	}
	if q := p.VolumeQoS(&cluster.Volume{Serving: cluster.Serving{QoS: own}}); q != own || !q.None() {
		t.Errorf("a volume that wants no bounds: %+v", q)
	}
	if q := p.TotalQoS(); !q.None() {
		t.Errorf("no total: %+v", q)
	}
}
