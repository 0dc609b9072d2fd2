package gateway

import (
	"context"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
)

// renewTimeout bounds one renewal; the answer to a later one counts more anyway.
const renewTimeout = time.Second

// followVoters starts renewing with the voters of the list. The list is made once, before there are volumes.
// g.mu is held.
func (g *Gateway) followVoters(list cluster.VoterList) {
	if len(list.Nodes) == 0 || g.mu.holder != nil {
		return
	}
	g.mu.holder = lease.NewHolder(g.now(), list.Nodes)
	for _, n := range list.Nodes {
		g.wg.Add(1)
		go g.renewWith(n)
	}
}

// renewWith renews the lease with one voter at a steady pace.
func (g *Gateway) renewWith(voter cluster.NodeID) {
	defer g.wg.Done()
	t := time.NewTicker(time.Duration(lease.RenewEvery))
	defer t.Stop()
	for g.ctx.Err() == nil {
		if !g.renew(voter) {
			continue // there is more to read
		}
		select {
		case <-g.ctx.Done():
		case <-t.C:
		}
	}
}

// renew is one renewal; false when the voter has more fences to tell. Volumes that the fences take away are
// given up before the renewal counts: see package lease for why.
func (g *Gateway) renew(voter cluster.NodeID) bool {
	ctx, cancel := context.WithTimeout(g.ctx, renewTimeout)
	defer cancel()
	g.mu.Lock()
	since := g.mu.holder.Since(voter)
	g.mu.Unlock()
	sent := g.now()
	r, err := g.o.Votes.Renew(ctx, voter, since)
	if err != nil {
		g.counts.unrenewed.Add(1)
		return true
	}
	g.counts.renewed.Add(1)
	for _, f := range r.Fences {
		if v := g.Volume(f.Vol); v != nil {
			if s := v.session.Load(); s != nil && s.epoch < f.Epoch {
				s.end("a voter's fence names a newer owner")
			}
		}
	}
	before := g.leased()
	g.mu.Lock()
	complete := g.mu.holder.Granted(voter, sent, g.now(), r)
	g.validUntil.Store(g.mu.holder.ValidUntil())
	g.mu.Unlock()
	if g.leased() && !before { // what was kept back since, ticks release, too
		for _, v := range g.volumes() {
			if s := v.session.Load(); s != nil {
				s.releaseHeld()
			}
		}
	}
	return complete
}

// confirm renews with all voters at once, and tells whether a majority has answered. Whoever hears nobody any
// more, and is heard, finds the devices of all others missing; it must not write that into the owner record,
// for the next owner would have to go by it.
func (g *Gateway) confirm(ctx context.Context) bool {
	since := g.now()
	confirmed := func() bool { return g.validUntil.Load() >= since+lease.Duration-lease.Margin }
	g.mu.Lock()
	voters := g.mu.holder.Voters()
	g.mu.Unlock()
	answered := make(chan struct{}, len(voters))
	for _, v := range voters {
		go func() {
			for ctx.Err() == nil && !g.renew(v) { // there is more to read
			}
			answered <- struct{}{}
		}()
	}
	for range voters {
		select {
		case <-ctx.Done():
			return false
		case <-answered:
		}
		if confirmed() {
			return true
		}
	}
	return confirmed()
}
