package manager

import (
	"context"
	"fmt"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// balances keeps the last answer for every pool: a table is computed from the pool's whole history, which
// takes up to seconds for a large one, and stays true until the next change.
type balances struct {
	mu    sync.Mutex
	pools map[cluster.PoolID]wire.PoolBalance
}

// PoolBalance computes how evenly the newest group table of a pool fills its devices, and what the last
// change moves.
func (m *Manager) PoolBalance(ctx context.Context, name string) (wire.PoolBalance, error) {
	v, err := m.readMap(ctx)
	if err != nil {
		return wire.PoolBalance{}, err
	}
	p := v.Pools[name]
	if p == nil {
		return wire.PoolBalance{}, notFound("pool", name)
	}
	m.balances.mu.Lock()
	defer m.balances.mu.Unlock()
	if b, ok := m.balances.pools[p.ID]; ok && b.Table == uint32(len(p.Changes)) {
		return b, nil
	}
	b, err := balance(p)
	if err != nil {
		return b, fmt.Errorf("balance of pool %q: %w", name, err)
	}
	m.balances.pools[p.ID] = b
	return b, nil
}

func balance(p *cluster.Pool) (wire.PoolBalance, error) {
	var b wire.PoolBalance
	early := *p
	early.Changes = p.Changes[:max(0, len(p.Changes)-1)]
	t, err := placement.New(&early)
	if err != nil {
		return b, err
	}
	if last := len(early.Changes); last < len(p.Changes) {
		before := t
		if t, err = t.Fold(p.Changes[last]); err != nil {
			return b, err
		}
		moved, minimum := placement.Moves(before, t)
		b.LastChange = &wire.PoolMove{Moved: moved, Minimum: minimum, Slots: placement.Groups * t.Width()}
	}
	b.Table = t.Number()
	for _, f := range t.Balance() {
		b.Devices = append(b.Devices, wire.DeviceFill{Device: f.Device, Weight: f.Weight, Share: f.Share,
			Wanted: f.Wanted, Cap: f.Cap})
	}
	return b, nil
}
