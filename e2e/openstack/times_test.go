//go:build e2e && full

package openstack_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

// rounds is how often every operation is timed.
const rounds = 10

// stopwatch collects how long operations took, by name, in the order of their first end.
type stopwatch struct {
	names []string
	took  map[string][]time.Duration
}

func (s *stopwatch) time(t *testing.T, name string, operation func() error) {
	t.Helper()
	began := time.Now()
	if err := operation(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if _, known := s.took[name]; !known {
		s.names = append(s.names, name)
	}
	s.took[name] = append(s.took[name], time.Since(began))
}

func (s *stopwatch) median(name string) time.Duration {
	sorted := slices.Sorted(slices.Values(s.took[name]))
	return sorted[len(sorted)/2]
}

// TestTimes says how long operations of Cinder's API take, from the call until the status says that it is
// done, and how long they take with a driver that does nothing: what is between is the driver's and the
// cluster's.
func TestTimes(t *testing.T) {
	storage := cluster.Start(t, cluster.Options{DiskSize: 2 * gib})
	var endpoints []string
	for _, n := range storage.Nodes {
		endpoints = append(endpoints, n.REST)
	}
	c := openstack.Start(t, openstack.Options{Endpoints: endpoints, Token: storage.Token,
		Pool: cluster.PoolName, Idle: true, Poll: 10 * time.Millisecond})
	ctx := t.Context()
	pools := []string{cluster.PoolName, openstack.Idle}
	watches := map[string]*stopwatch{}
	for _, pool := range pools {
		watches[pool] = &stopwatch{took: map[string][]time.Duration{}}
		if err := c.CreateTypeWith(ctx, pool, map[string]string{"pool_name": pool}); err != nil {
			t.Fatal(err)
		}
		liveOnce(ctx, t, c, pool, &stopwatch{took: map[string][]time.Duration{}}) // who begins is slow
	}
	for range rounds {
		for _, pool := range pools {
			liveOnce(ctx, t, c, pool, watches[pool])
		}
	}
	var out strings.Builder
	ours, idle := watches[pools[0]], watches[pools[1]]
	for _, name := range ours.names {
		a, b := ours.median(name), idle.median(name)
		fmt.Fprintf(&out, "| %s | %d | %d | %.1f |\n", name, a.Milliseconds(), b.Milliseconds(),
			float64(a)/float64(b))
	}
	t.Logf("\n| operation | Ashlar, ms | no-op driver, ms | ratio |\n|---|---|---|---|\n%s", out.String())
}

// liveOnce times the operations in the life of a volume of a type.
func liveOnce(ctx context.Context, t *testing.T, c *openstack.Cinder, volumeType string, s *stopwatch) {
	t.Helper()
	var source, clone, second openstack.Volume
	var snap openstack.Snapshot
	var attached openstack.Attachment
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"create", func() (err error) {
			source, err = c.CreateVolumeOfType(ctx, "timed", 1, volumeType)
			return err
		}},
		{"extend", func() error { _, err := c.Extend(ctx, source.ID, 2); return err }},
		{"snapshot", func() (err error) { snap, err = c.CreateSnapshot(ctx, source.ID, "timed"); return err }},
		{"volume from snapshot", func() (err error) {
			clone, err = c.CreateFromSnapshot(ctx, "timed", 2, snap.ID)
			return err
		}},
		{"volume from volume", func() (err error) {
			second, err = c.CreateFromVolume(ctx, "timed", 2, source.ID)
			return err
		}},
		{"attach", func() (err error) { attached, err = c.Attach(ctx, source.ID, hostA()); return err }},
		{"detach", func() error { return c.Detach(ctx, attached) }},
		{"delete a snapshot", func() error { return c.DeleteSnapshot(ctx, snap.ID) }},
		{"delete", func() error { return c.Delete(ctx, clone.ID) }},
	} {
		s.time(t, step.name, step.run)
	}
	for _, id := range []string{source.ID, second.ID} {
		if err := c.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
}
