package placement

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

func BenchmarkLookup(b *testing.B) {
	table := mustNew(b, pool(3, cluster.DomainNode, members(1, 1000, 10, 4, 8)))
	vol, sum, page := cluster.VolumeKey{VUID: 9, Generation: 1}, cluster.DeviceID(0), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		page++
		sum += table.Row(Group(vol, page))[0]
	}
	_ = sum
}

// BenchmarkFold is one change at 1,000 devices.
func BenchmarkFold(b *testing.B) {
	table := mustNew(b, pool(6, cluster.DomainNode, members(1, 100, 10, 4, 8)))
	for name, c := range map[string]cluster.Change{
		"add-node":     join(members(101, 1, 10, 4, 8)...),
		"fail-device":  leave(cluster.ChangeFail, 5003),
		"reweight":     reweight(5003, 16),
		"fail-oldest":  leave(cluster.ChangeFail, 100),
		"add-device":   join(cluster.Member{Device: 90_000, Weight: 8, Domain: domainOf(50)}),
		"remove-node":  leave(cluster.ChangeRemove, 7000, 7001, 7002, 7003, 7004, 7005, 7006, 7007, 7008, 7009),
		"lighter-tail": reweight(10_009, 1),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				mustFold(b, table, c)
			}
		})
	}
}

// BenchmarkFirstTable is a new pool on 10,000 devices.
func BenchmarkFirstTable(b *testing.B) {
	p := pool(3, cluster.DomainNode, members(1, 1000, 10, 4, 8))
	for b.Loop() {
		mustNew(b, p)
	}
}

func BenchmarkAlternate(b *testing.B) {
	table := mustNew(b, pool(3, cluster.DomainNode, members(1, 1000, 10, 4, 8)))
	g := 0
	for b.Loop() {
		g = (g + 1) % Groups
		table.Alternate(g, 1, nil, anyOf)
	}
}
