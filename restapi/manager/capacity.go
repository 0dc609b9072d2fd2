package manager

import (
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

// capacity adds up the devices of a pool per failure domain. Failed and removed devices hold nothing.
func (v *view) capacity(p *cluster.Pool, stats map[cluster.NodeID]cluster.NodeStats) wire.Capacity {
	total, free := make(map[string]uint64), make(map[string]uint64)
	for _, id := range p.Devices {
		d := v.Devices[id]
		if d == nil || d.State != cluster.DeviceOnline {
			continue
		}
		t, f := d.Size, d.Size
		for _, st := range stats[d.Node].Devices {
			if st.Device == id {
				t, f = st.Total, min(st.Free, st.Total)
			}
		}
		domain := v.DomainPath(d, p.Domain)
		total[domain] += t
		free[domain] += f
	}
	values := func(m map[string]uint64) (out []uint64) {
		for _, x := range m {
			out = append(out, x)
		}
		return out
	}
	c := wire.Capacity{Total: usable(values(total), p.Data, p.Width()),
		Free: usable(values(free), p.Data, p.Width())}
	c.Free = min(c.Free, c.Total)
	c.Used = c.Total - c.Free
	return c
}
