package manager

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Defaults of a pool, in bytes where they are sizes.
const (
	defaultChunkSize  = 256 << 10
	defaultStripeUnit = 16 << 10
	maxDescription    = 255
)

// poolFrom fills the defaults in and checks everything that needs no map.
func poolFrom(r wire.PoolCreate) (cluster.Pool, error) {
	p := cluster.Pool{
		Name: r.Name, Code: r.Code, Data: r.Data, Domain: r.Domain, ChunkSize: r.ChunkSize,
		StripeUnit: r.StripeUnit, Devices: r.Devices, Description: r.Description,
	}
	if r.Parity == nil {
		return p, refuse(wire.InvalidField, "parity", "must be given: how many losses the pool is to survive")
	}
	p.Parity = *r.Parity
	if p.Code == "" {
		p.Code = cluster.CodeReplica
	}
	if p.Data == 0 {
		p.Data = 1
	}
	if p.Domain == "" {
		p.Domain = cluster.DomainNode
	}
	if p.ChunkSize == 0 {
		p.ChunkSize = defaultChunkSize
	}
	if p.StripeUnit == 0 {
		p.StripeUnit = min(defaultStripeUnit, p.ChunkSize)
	}
	switch {
	case p.Code == "rs" || p.Code == "rdp":
		return p, refuse(wire.NotSupported, "code",
			"%q is not supported yet; supported: %q with data 1, parity 0 to 2",
			p.Code, cluster.CodeReplica)
	case len(p.Description) > maxDescription:
		return p, refuse(wire.InvalidField, "description", "is longer than %d bytes", maxDescription)
	}
	if err := p.Validate(); err != nil {
		return p, invalid(err)
	}
	slices.Sort(p.Devices)
	if len(slices.Compact(slices.Clone(p.Devices))) != len(p.Devices) {
		return p, refuse(wire.InvalidField, "devices", "names a device twice")
	}
	return p, nil
}

// CreatePool makes a pool; created is false when the same pool exists. The pool is placed on the given
// devices, or on all that are online, for good. The first pool also fixes the list of voters.
func (m *Manager) CreatePool(ctx context.Context,
	r wire.PoolCreate) (pool wire.Pool, created bool, err error) {
	want, err := poolFrom(r)
	if err != nil {
		return pool, false, err
	}
	err = m.decide(ctx, func() error {
		v, err := m.readMap(ctx, store.Key(cluster.KeyCounterPool), store.All(cluster.PrefixStats),
			store.All(cluster.PrefixVolumes))
		if err != nil {
			return err
		}
		p := want
		if old := v.Pools[p.Name]; old != nil {
			if !samePool(old, &p) {
				return refuse(wire.Conflict, "name", "a pool of that name but with other properties exists")
			}
			created = false
			pool, err = v.pool(old, v.extra[1], v.extra[2])
			return err
		}
		if err := v.choosePlacement(&p); err != nil {
			return err
		}
		count := store.Snapshot{Results: v.extra}.One(0)
		last, err := counter(count)
		if err != nil {
			return err
		}
		p.ID, p.Created = cluster.PoolID(last+1), m.stamp()
		txn := v.change()
		v.set(txn, cluster.KeyPool(p.Name), p)
		txn.If = append(txn.If, store.Cond{Key: cluster.KeyCounterPool, Rev: count.Rev})
		txn.Put = append(txn.Put, put(cluster.KeyCounterPool, p.ID))
		if len(v.Voters.Nodes) == 0 {
			v.set(txn, cluster.KeyVoters, v.electVoters())
		}
		if _, err := m.store.Commit(ctx, *txn); err != nil {
			return err
		}
		created = true
		pool, err = v.pool(&p, v.extra[1], store.Result{})
		return err
	})
	return pool, created, err
}

// samePool reports whether a request (defaults filled in) describes an existing pool.
func samePool(have, want *cluster.Pool) bool {
	return have.Code == want.Code && have.Data == want.Data && have.Parity == want.Parity &&
		have.Domain == want.Domain && have.ChunkSize == want.ChunkSize && have.StripeUnit == want.StripeUnit &&
		have.Description == want.Description && (len(want.Devices) == 0 || slices.Equal(have.Devices, want.Devices))
}

// choosePlacement fixes the devices of a new pool and checks that they are enough.
func (v *view) choosePlacement(p *cluster.Pool) error {
	if len(p.Devices) == 0 {
		for _, d := range v.SortedDevices() {
			if d.State == cluster.DeviceOnline {
				p.Devices = append(p.Devices, d.Number)
			}
		}
	}
	for _, id := range p.Devices {
		if d := v.Devices[id]; d == nil || d.State != cluster.DeviceOnline {
			return refuse(wire.InvalidField, "devices", "device %d does not exist or is not online", id)
		}
	}
	err := p.ValidateIn(v.Map)
	var fe *cluster.FieldError
	if errors.As(err, &fe) && fe.Field == "domain" {
		return refuse(wire.NotEnoughDomains, "domain", "%s", fe.Reason)
	}
	return invalid(err)
}

// electVoters names the first five, three or one storage nodes: always an odd number.
func (v *view) electVoters() cluster.VoterList {
	nodes := v.storageNodes()
	count := 1
	for _, n := range []int{3, 5} {
		if len(nodes) >= n {
			count = n
		}
	}
	list := cluster.VoterList{Version: 1}
	for _, n := range nodes[:count] {
		list.Nodes = append(list.Nodes, n.Number)
	}
	return list
}

// Pools lists pools by name, only the one called name when that is not empty.
func (m *Manager) Pools(ctx context.Context, p Page, name string) (wire.Page[wire.Pool], error) {
	none := wire.Page[wire.Pool]{}
	after, limit, err := p.after("pools")
	if err != nil {
		return none, err
	}
	v, err := m.readMap(ctx, store.All(cluster.PrefixStats), store.All(cluster.PrefixVolumes))
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
		w, err := v.pool(pool, v.extra[0], v.extra[1])
		if err != nil {
			return none, err
		}
		out.Items = append(out.Items, w)
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
	v, err := m.readMap(ctx, store.All(cluster.PrefixStats), store.All(cluster.PrefixVolumes))
	if err != nil {
		return wire.Pool{}, err
	}
	p := v.Pools[name]
	if p == nil {
		return wire.Pool{}, notFound("pool", name)
	}
	return v.pool(p, v.extra[0], v.extra[1])
}

// pool draws a pool with its capacity from what the nodes published and the volumes there are.
func (v *view) pool(p *cluster.Pool, published, volumes store.Result) (wire.Pool, error) {
	w := wire.Pool{
		ID: p.ID, Name: p.Name, Code: p.Code, Data: p.Data, Parity: p.Parity, Domain: p.Domain,
		ChunkSize: p.ChunkSize, StripeUnit: p.StripeUnit, Devices: p.Devices, Description: p.Description,
		Created: p.Created,
	}
	stats, err := readStats(published)
	if err != nil {
		return w, err
	}
	w.Capacity = v.capacity(p, stats)
	for _, it := range volumes.Items {
		vol, err := decode[cluster.Volume](it)
		if err != nil {
			return w, err
		}
		if vol.Pool == p.Name {
			w.Volumes++
			w.Capacity.Provisioned += vol.Size
		}
	}
	return w, nil
}
