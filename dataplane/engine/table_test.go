package engine

import (
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

// benchTable is the group table of a pool on so many nodes with one device each.
func benchTable(tb testing.TB, pool *cluster.Pool, devices int) *placement.Table {
	tb.Helper()
	for i := range devices {
		pool.Members = append(pool.Members, cluster.Member{Device: cluster.DeviceID(i + 1), Weight: 1,
			Domain: fmt.Sprintf("default/default/%d", i+1)})
	}
	t, err := placement.New(pool)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}
