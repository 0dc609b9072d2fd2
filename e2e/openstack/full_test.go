//go:build e2e && full

package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/loophost"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestFullPool writes a pool full while an image is copied to a volume of it, and has Cinder ask for more.
// The other pool has disks of its own.
func TestFullPool(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*openstack.Patience)
	defer cancel()
	host := loophost.Start(t)
	parity := 1
	storage := cluster.Start(t, cluster.Options{Disks: 2, DiskSize: gib, Pools: []wire.PoolCreate{
		{Name: cluster.PoolName, Parity: &parity, Devices: []model.DeviceID{1, 3, 5}},
		{Name: otherPool, Parity: &parity, Devices: []model.DeviceID{2, 4, 6}}}})
	var endpoints []string
	for _, n := range storage.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	plan := openstack.NewPlan(t)
	l := library{host: host, cloud: cloud{cluster: storage, plan: plan, Cinder: openstack.Start(t,
		openstack.Options{Plan: plan, Endpoints: endpoints, Token: storage.Token, Pool: cluster.PoolName,
			Host: host, Second: otherPool, Watched: true})}}
	l.Glance = openstack.StartGlance(t, l.Cinder)
	l.must(t, l.Specify(ctx, inFirst()))
	l.must(t, l.CreateType(ctx, "anywhere", nil))
	image, err := l.Upload(ctx, "large", "raw", nil, bytes.NewReader(random(64<<20)))
	l.must(t, err)
	first, second := l.create(t, "first", 1), l.create(t, "second", 1)

	l.Hold("before copy_image_to_volume")
	copied, err := l.BeginFromImage(ctx, "copied", 1, image)
	l.must(t, err)
	l.must(t, l.AllHeld(ctx))
	a, b := l.attach(t, first.ID), l.attach(t, second.ID)
	one, two := open(t, a.Info, a.Info.HostNQN), open(t, b.Info, b.Info.HostNQN)
	if n, err := fill(ctx, one); err != nil {
		t.Fatalf("the first volume was written up to %d: %v", n, err)
	}
	l.offers(t, false) // what a rebuild needs is left
	written, err := fill(ctx, two)
	t.Logf("full at %d + %d bytes: %v", gib, written, err)
	if err == nil || !strings.Contains(err.Error(), "capacity exceeded") {
		t.Errorf("a write to a full pool: %v, should be a capacity error", err)
	}
	l.Release()
	if status, err := l.Settled(ctx, copied); err != nil || status != "error" {
		t.Errorf("the volume of the image is %q, %v; should be in status error", status, err)
	}
	l.expectHosts(t, copied)
	l.must(t, l.Delete(ctx, copied))
	l.expectGone(t, copied)

	l.isRefused(ctx, t, second)
	elsewhere, err := l.CreateVolumeOfType(ctx, "elsewhere", 1, "anywhere")
	l.must(t, err)
	if v := l.cluster.Volume(parse(t, elsewhere.ID)); v.Pool != otherPool {
		t.Errorf("the volume is in pool %s, should be in the other one", v.Pool)
	}

	expectPieces(ctx, t, one, gib)
	expectPieces(ctx, t, two, written)
	l.must(t, errors.Join(one.Close(), l.Detach(ctx, a), l.Delete(ctx, first.ID)))
	l.offers(t, true)
	again := l.create(t, "again", 1)
	if n, err := fill(ctx, two); err != nil {
		t.Errorf("with room again, the second volume was written up to %d: %v", n, err)
	}
	l.must(t, errors.Join(two.Close(), l.Detach(ctx, b)))
	for _, id := range []string{second.ID, again.ID, elsewhere.ID} {
		l.must(t, l.Delete(ctx, id))
	}
	l.audit(ctx, t)
}

// isRefused has the scheduler refuse a volume, a clone and an extension.
func (l library) isRefused(ctx context.Context, t *testing.T, v openstack.Volume) {
	t.Helper()
	refused, err := l.CreateVolume(ctx, "refused", 1)
	var status *openstack.StatusError
	if !errors.As(err, &status) || status.Volume.Status != "error" || len(status.Messages) == 0 {
		t.Errorf("a volume in a full pool: %v, should be in status error with a message", err)
	}
	t.Log(err)
	clone, err := l.CreateFromVolume(ctx, "refused-clone", 1, v.ID)
	if !errors.As(err, &status) {
		t.Errorf("a clone in a full pool: %v, should be in status error", err)
	}
	if _, err := l.Extend(ctx, v.ID, 2); err != nil {
		t.Error(err)
	}
	l.expectSize(t, v.ID, 1)
	log, err := os.ReadFile(filepath.Join(l.LogDir(), "cinder-scheduler.log"))
	if err != nil || !bytes.Contains(log, []byte("Insufficient free space for volume creation")) {
		t.Errorf("the scheduler does not say why (%v)", err)
	}
	for _, id := range []string{refused.ID, clone.ID} {
		l.expectGone(t, id)
		l.must(t, l.Delete(ctx, id))
	}
}

// offers waits until the scheduler knows whether the pool has room.
func (l library) offers(t *testing.T, room bool) {
	t.Helper()
	l.cluster.Eventually("the scheduler knows how full the pool is", func() error {
		pool, err := l.Pool(t.Context())
		if err == nil && pool.ThinProvisioningSupport != room {
			err = errors.New("it does not yet")
		}
		return err
	})
}

const pieceSize = 1 << 20

// piece is what fill writes at a piece's number.
func piece(n int64) []byte {
	data := random(pieceSize)
	data[0] = byte(n)
	return data
}

// fill writes a volume from its beginning to its end, and returns how far it came.
func fill(ctx context.Context, v *initiator.Volume) (int64, error) {
	data := piece(0)
	for n := range v.Size() / pieceSize {
		data[0] = byte(n)
		if err := v.Write(ctx, data, int64(n)*pieceSize); err != nil {
			return int64(n) * pieceSize, err
		}
	}
	return int64(v.Size()), nil
}

// expectPieces reads what fill wrote.
func expectPieces(ctx context.Context, t *testing.T, v *initiator.Volume, size int64) {
	t.Helper()
	got, want := make([]byte, pieceSize), piece(0)
	for n := range size / pieceSize {
		want[0] = byte(n)
		if err := v.Read(ctx, got, n*pieceSize); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("piece %d of a full pool: %v, as written: %v", n, err, bytes.Equal(got, want))
		}
	}
}
