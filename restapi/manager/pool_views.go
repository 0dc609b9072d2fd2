package manager

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Pools lists pools by name, only the one called name when that is not empty.
func (m *Manager) Pools(ctx context.Context, p Page, name string) (wire.Page[wire.Pool], error) {
	none := wire.Page[wire.Pool]{}
	after, limit, err := p.after("pools")
	if err != nil {
		return none, err
	}
	v, c, err := m.readPools(ctx)
	if err != nil {
		return none, err
	}
	out := wire.Page[wire.Pool]{Items: []wire.Pool{}}
	for _, pool := range v.sortedPools() {
		if pool.Name <= after || name != "" && pool.Name != name {
			continue
		}
		if len(out.Items) == limit {
			out.Next = cursorAfter("pools", out.Items[limit-1].Name)
			break
		}
		out.Items = append(out.Items, v.pool(pool, c))
	}
	return out, nil
}

func (v *view) sortedPools() []*cluster.Pool {
	var out []*cluster.Pool
	for _, p := range v.Pools {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *cluster.Pool) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Pool shows one pool.
func (m *Manager) Pool(ctx context.Context, name string) (wire.Pool, error) {
	v, c, err := m.readPools(ctx)
	if err != nil {
		return wire.Pool{}, err
	}
	p := v.Pools[name]
	if p == nil {
		return wire.Pool{}, notFound("pool", name)
	}
	return v.pool(p, c), nil
}

// census is what all nodes and volumes say, for drawing pools.
type census struct {
	stats   map[cluster.NodeID]cluster.NodeStats
	owners  store.Result                   // owner records of all volumes
	volumes map[string][]judged            // by pool, those that the caller sees
	asked   map[string]cluster.Provisioned // as volumes, and of hidden ones, too
}

// readPools reads the map and the census, and extra.
func (m *Manager) readPools(ctx context.Context, extra ...store.Query) (*view, *census, error) {
	n := len(extra)
	v, err := m.readMap(ctx, append(extra, store.All(cluster.PrefixStats), store.All(cluster.PrefixAlive),
		store.All(cluster.PrefixVolumes), store.All(cluster.PrefixOwners), store.All(cluster.PrefixVolumeStats))...)
	if err != nil {
		return nil, nil, err
	}
	stats, err := readStats(v.extra[n])
	if err != nil {
		return nil, nil, err
	}
	s, err := newSituation(v.extra[n+4], v.extra[n+1])
	if err != nil {
		return nil, nil, err
	}
	s.pools = v.Pools
	volumes, err := s.judgeAll(v.extra[n+2], v.extra[n+3])
	if err != nil {
		return nil, nil, err
	}
	c := &census{stats, v.extra[n+3], make(map[string][]judged), make(map[string]cluster.Provisioned)}
	for _, x := range volumes {
		pool := x.rec.Pool
		if !sees(ctx, x.rec.Project) {
			continue
		}
		c.asked[pool] = c.asked[pool].Plus(x.rec.Provisioned())
		if !x.rec.Hidden {
			c.volumes[pool] = append(c.volumes[pool], x)
		}
	}
	return v, c, nil
}

// pool draws a pool with its capacity from what the nodes published and the volumes there are.
func (v *view) pool(p *cluster.Pool, c *census) wire.Pool {
	members := p.Present()
	w := wire.Pool{
		Versioned: v.version(cluster.KeyPool(p.Name)),
		ID:        p.ID, Name: p.Name, Code: p.Code, Data: p.Data, Parity: p.Parity, Domain: p.Domain,
		ChunkSize: p.ChunkSize, StripeUnit: p.StripeUnit,
		PoolPolicy: wire.PoolPolicy{Relax: p.Relax, MinColumns: p.MinColumns,
			Encryption: cmp.Or(p.Encryption, cluster.EncryptionNone), QoS: drawPoolQoS(p.QoS),
			Compression:  cmp.Or(p.Compression, cluster.CompressionNone),
			Provisioning: provisioning(p.Thick), Overcommit: p.Overcommit,
			Home: p.HomeOf(&cluster.Volume{}), Balance: p.Balances()},
		Usable: float64(p.Data) / float64(p.Width()), Domains: domainsOf(p, members), Devices: p.Devices(),
		Table: uint32(len(p.Changes)), Description: p.Description,
		Volumes: len(c.volumes[p.Name]),
		Healing: sumUp(c.volumes[p.Name]), Capacity: v.capacity(p, c.stats), Created: p.Created,
	}
	asked := c.asked[p.Name]
	w.Capacity.Provisioned, w.Capacity.Reserved = asked.Thin+asked.Thick, asked.Thick
	return w
}

func sumUp(volumes []judged) wire.PoolHealing {
	h := wire.PoolHealing{Down: []cluster.DeviceID{}}
	for _, x := range volumes {
		switch x.health {
		case wire.OnTheWay:
			h.Moving++
		case wire.Degraded:
			h.Degraded++
		case wire.Unknown:
			h.Unknown++
		}
		if x.healing == nil {
			continue
		}
		h.Down = append(h.Down, x.healing.Down...)
		h.Copied += x.healing.Copied
		if m := x.healing.Moving; m != nil {
			h.Moved += uint64(m.Moved)
			h.Groups += uint64(m.Groups)
		}
	}
	slices.Sort(h.Down)
	h.Down = slices.Compact(h.Down)
	return h
}
