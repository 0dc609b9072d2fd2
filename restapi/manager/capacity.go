package manager

import (
	"maps"
	"math"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// usable is the user bytes that fit when every page puts width chunks, data of them user data, into different
// domains with these sizes. A domain larger than all others together cannot be filled: with T pages' worth
// per column, domain d holds at most min(size, T), so T is the largest with sum(min(size, T)) >= width * T.
func usable(domains []uint64, data, width int) uint64 {
	sizes := slices.Clone(domains)
	slices.SortFunc(sizes, func(a, b uint64) int { // largest first
		switch {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	if len(sizes) < width {
		return 0
	}
	var sum uint64
	for _, s := range sizes {
		sum += s
	}
	// The i largest domains are capped at T, the others are filled: T = (what the others hold) / (width - i).
	for i := range width {
		t := sum / uint64(width-i)
		if sizes[i] <= t {
			return t * uint64(data)
		}
		sum -= sizes[i]
	}
	return 0
}

// rebuildReserve is the user bytes that fit less when one of the domains is gone, whichever costs most.
// Volumes that leave so much unwritten can be rebuilt on the others. Where these are too few for a page,
// nothing is rebuilt before there is a new one, and room kept for it would be of no use: 0.
func rebuildReserve(domains []uint64, data, width int) uint64 {
	if len(domains) == 0 {
		return 0
	}
	// The largest domain holds the most, and the order of the others is the same without it.
	largest := slices.Index(domains, slices.Max(domains))
	rest := usable(slices.Delete(slices.Clone(domains), largest, largest+1), data, width)
	if rest == 0 {
		return 0
	}
	return usable(domains, data, width) - rest
}

// weightScale keeps fractions of small weights; all weights of a pool together stay below 2^39.
const weightScale = 20

// capacity adds up the devices of a pool. Failed and removed devices hold nothing. What is used is what lies
// on the devices; what is free is what can be written until the first device is full: the group table gives
// every device a fixed share, so space on the others does not help then. What devices keep for writes that
// have begun is in neither.
func (v *view) capacity(p *cluster.Pool, stats map[cluster.NodeID]cluster.NodeStats) wire.Capacity {
	total, free, weight := make(map[string]uint64), make(map[string]uint64), make(map[string]uint64)
	level := p.Domain
	members := p.Present()
	if limit, err := p.ChunksPerDomain(members); err == nil && limit > 1 {
		level = level.Below() // where a relaxed pool keeps its chunks apart
	}
	figures := make(map[cluster.DeviceID]cluster.DeviceStats)
	var used, returning uint64
	for _, m := range members {
		d := v.Devices[m.Device]
		if d == nil || d.State != cluster.DeviceOnline {
			continue
		}
		f := cluster.DeviceStats{Total: d.Size, Free: d.Size}
		for _, st := range stats[d.Node].Devices {
			if st.Device == d.Number {
				f.Total, f.Free, f.Returning = st.Total, min(st.Free, st.Total), st.Returning
				f.Kept = min(st.Kept, f.Total)
			}
		}
		used += f.Total - f.Free
		returning += min(f.Returning, f.Total-f.Free)
		f.Total, f.Free = f.Total-f.Kept, f.Free-min(f.Free, f.Kept)
		figures[m.Device] = f
		domain := m.Path(level)
		total[domain] += f.Total
		free[domain] += f.Free
		weight[domain] += uint64(m.Weight) << weightScale
	}
	values := func(m map[string]uint64) []uint64 { return slices.Collect(maps.Values(m)) }
	c := wire.Capacity{Total: usable(values(total), p.Data, p.Width()),
		Used:      used / uint64(p.Width()) * uint64(p.Data),
		Returning: returning / uint64(p.Width()) * uint64(p.Data),
		Rebuild:   rebuildReserve(values(total), p.Data, p.Width())}
	c.Free = min(c.Total, usable(values(free), p.Data, p.Width()))
	most := usable(values(weight), 1, p.Width()) // of a domain, by weight
	for _, m := range members {
		f, online := figures[m.Device]
		if !online || f.Free == f.Total { // an empty device is limited by its size, which total counts
			continue
		}
		domain := weight[m.Path(level)]
		// The device holds the part weight/domain of what its domain holds, which is at most one chunk of every
		// page.
		share := float64(uint64(m.Weight)<<weightScale) / float64(domain) * float64(min(domain, most)) /
			float64(max(most, 1))
		c.Free = min(c.Free, uint64(math.Round(float64(f.Free)/share*float64(p.Data))))
	}
	return c
}
