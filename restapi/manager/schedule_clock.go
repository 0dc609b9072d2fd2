package manager

import (
	"context"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/schedule"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// agreedTime is the time by which a node runs schedules, in seconds. The node tells the others its own, and
// people that it is ahead of all of them, once.
func (m *Manager) agreedTime(ctx context.Context, node cluster.NodeID) (time.Time, error) {
	read, err := m.store.Read(ctx, store.All(cluster.PrefixClocks), store.All(cluster.PrefixAlive))
	if err != nil {
		return time.Time{}, err
	}
	alive := revisions(read.Results[1])
	var told []time.Time
	var before cluster.NodeClock
	for _, it := range read.Results[0].Items {
		rec, err := decode[cluster.NodeClock](it)
		if err != nil {
			return time.Time{}, err
		}
		if rec.Node == node {
			before = rec
		} else if alive[cluster.KeyNodeAlive(rec.Node)] != 0 {
			told = append(told, time.Unix(rec.Time, 0).UTC())
		}
	}
	own := m.now().UTC().Truncate(time.Second)
	now, ahead := schedule.Clock(own, told)
	age := own.Sub(time.Unix(before.Time, 0))
	if before.Node == node && before.Ahead == ahead && age >= 0 && age < schedule.TellEvery {
		return now, nil
	}
	key := cluster.KeyNodeClock(node)
	t := store.Txn{Blind: []string{key}, // the node's alone
		Put: []store.Put{put(key, cluster.NodeClock{Node: node, Time: own.Unix(), Ahead: ahead})}}
	switch {
	case ahead && !before.Ahead:
		m.note(&t, wire.Alarm, "node.clock_ahead", about("node", node), "", "the clock of node %d says %s, which "+
			"is more than %v ahead of all others that are up; schedules wait for these", node, stampOf(own),
			schedule.MaxAhead)
	case !ahead && before.Ahead:
		m.note(&t, wire.Info, "node.clock_agrees", about("node", node), "",
			"the clock of node %d agrees with those of others again", node)
	}
	_, err = m.store.Commit(ctx, t)
	return now, err
}
