package manager

import (
	"context"
	"slices"

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

// poolFrom fills the defaults in and checks everything that needs no map. The devices asked for come sorted,
// none means all.
func poolFrom(r wire.PoolCreate) (p cluster.Pool, devices []cluster.DeviceID, err error) {
	if p, err = policyFrom(r); err != nil {
		return p, nil, err
	}
	devices = slices.Clone(r.Devices)
	slices.Sort(devices)
	if len(slices.Compact(slices.Clone(devices))) != len(devices) {
		return p, nil, refuse(wire.InvalidField, "devices", "names a device twice")
	}
	return p, devices, nil
}

func policyFrom(r wire.PoolCreate) (cluster.Pool, error) {
	p := cluster.Pool{
		Name: r.Name, Code: r.Code, Data: r.Data, Domain: r.Domain, ChunkSize: r.ChunkSize,
		StripeUnit: r.StripeUnit, Relax: r.Relax, MinColumns: r.MinColumns, Description: r.Description,
		Encryption: r.Encryption, Thick: r.Provisioning == wire.Thick, Overcommit: r.Overcommit,
		Compression: orNone(r.Compression), Locality: &cluster.Locality{Balance: true},
	}
	if p.Code == "" {
		p.Code = cluster.CodeReplica
	}
	data, parity := 1, 1 // two copies,
	if p.Code != cluster.CodeReplica {
		data, parity = 4, 2 // or 4+2, whatever the cluster has room for: a shape is a decision, not a guess
	}
	if p.Data == 0 {
		p.Data = data
	}
	if p.Parity = parity; r.Parity != nil {
		p.Parity = *r.Parity
	}
	if p.MinColumns == 0 {
		p.MinColumns = p.Data
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
	if p.Encryption == cluster.EncryptionNone {
		p.Encryption = ""
	}
	if len(p.Description) > maxDescription {
		return p, refuse(wire.InvalidField, "description", "is longer than %d bytes", maxDescription)
	}
	if err := validProvisioning(r.Provisioning); err != nil {
		return p, err
	}
	return p, invalid(p.ValidatePolicy(), "overcommit", "overcommit_ratio")
}

// CreatePool makes a pool; created is false when the same pool exists. The pool is placed on the given
// devices, or on all that are online. The first pool also fixes the list of voters.
func (m *Manager) CreatePool(ctx context.Context,
	r wire.PoolCreate) (pool wire.Pool, created bool, err error) {
	want, devices, err := poolFrom(r)
	if err != nil {
		return pool, false, err
	}
	err = m.decide(ctx, func() error {
		v, c, err := m.readPools(ctx, store.Key(cluster.KeyCounterPool))
		if err != nil {
			return err
		}
		p := want
		if old := v.Pools[p.Name]; old != nil {
			if !samePool(old, &p, devices) {
				return refuse(wire.Conflict, "name", "a pool of that name but with other properties exists")
			}
			created = false
			pool = v.pool(old, c)
			return nil
		}
		if err := v.choosePlacement(&p, devices); err != nil {
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
		m.note(txn, wire.Info, "pool.created", about("pool", p.Name), "",
			"pool %s (%s %d+%d) created on %d devices", p.Name, p.Code, p.Data, p.Parity, len(p.Members))
		if err := v.commit(ctx, m.store, txn); err != nil {
			return err
		}
		created = true
		pool = v.pool(&p, c)
		return nil
	})
	return pool, created, err
}

// samePool reports whether a request (defaults filled in) describes an existing pool.
func samePool(have, want *cluster.Pool, devices []cluster.DeviceID) bool {
	return have.Code == want.Code && have.Data == want.Data && have.Parity == want.Parity &&
		have.Domain == want.Domain && have.ChunkSize == want.ChunkSize && have.StripeUnit == want.StripeUnit &&
		have.Relax == want.Relax && have.MinColumns == want.MinColumns && have.Description == want.Description &&
		have.Encryption == want.Encryption && have.Compression == want.Compression &&
		(len(devices) == 0 || slices.Equal(have.FirstDevices(), devices))
}

// choosePlacement makes devices (all that are online if there are none) the members of a new pool and checks
// that they are enough.
func (v *view) choosePlacement(p *cluster.Pool, devices []cluster.DeviceID) (err error) {
	if len(devices) == 0 {
		for _, d := range v.SortedDevices() {
			if d.State == cluster.DeviceOnline {
				devices = append(devices, d.Number)
			}
		}
	}
	for _, id := range devices {
		if d := v.Devices[id]; d == nil || d.State != cluster.DeviceOnline {
			return refuse(wire.InvalidField, "devices", "device %d does not exist or is not online", id)
		}
	}
	if p.Members, err = v.Members(devices); err != nil {
		return invalid(err)
	}
	return enoughDomains(p, p.Members)
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
