package embedetcd

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// BenchmarkIdleMembers measures what members cost that have nothing to do, in per cent of one core per member
// (metric core-%/member; promise P7 allows a whole idle node 3). Every member has one client with one watch,
// as a node has. One iteration is one second of idling: run it with -benchtime=20x.
func BenchmarkIdleMembers(b *testing.B) {
	for _, count := range []int{1, 3} {
		for _, heartbeat := range []time.Duration{100 * time.Millisecond, 250 * time.Millisecond} {
			b.Run(fmt.Sprintf("members=%d/heartbeat_ms=%d", count, heartbeat.Milliseconds()), func(b *testing.B) {
				benchmarkIdle(b, count, heartbeat)
			})
		}
	}
}

func benchmarkIdle(b *testing.B, count int, heartbeat time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var client *clientv3.Client
	for i := range count {
		cfg := memberConfig(b, fmt.Sprintf("m%d", i))
		cfg.Heartbeat, cfg.Election = heartbeat, 10*heartbeat
		if i > 0 {
			peers, err := AddLearner(ctx, client, cfg.Name, cfg.ListenPeer)
			if err != nil {
				b.Fatal(err)
			}
			cfg.Peers = peers
		}
		m := start(b, cfg)
		if err := m.WaitReady(ctx); err != nil {
			b.Fatal(err)
		}
		c := dial(b, m.ClientURL())
		c.Watch(clientv3.WithRequireLeader(ctx), "/", clientv3.WithPrefix())
		if client == nil {
			client = c
		}
	}
	eventually(b, ctx, "all members vote", func() error {
		return wantCounts(ctx, client, Counts{Voters: count})
	})
	before := cpuTime(b)
	b.ResetTimer()
	for b.Loop() {
		_ = pause(ctx, time.Second)
	}
	b.StopTimer()
	used := cpuTime(b) - before
	b.ReportMetric(100*used.Seconds()/b.Elapsed().Seconds()/float64(count), "core-%/member")
}

func cpuTime(b *testing.B) time.Duration {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
