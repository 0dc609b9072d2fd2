package manager

import (
	"context"
	"fmt"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// DefaultOverlap is how long a new authority is announced at least, for whom people have to tell of it.
const DefaultOverlap = 24 * time.Hour

// maxOverlap bounds it; a certificate does not last longer.
const maxOverlap = pki.LeafLife

// trustees is the authority's record with who follows it.
type trustees struct {
	*view
	item         store.Item
	key          cluster.ClusterKeys
	rec          cluster.Authority
	confirmed    map[cluster.NodeID]uint64
	up           map[cluster.NodeID]bool // every node is in it
	waited, left []cluster.NodeID        // see cluster.Authority.Unconfirmed
}

func (m *Manager) readTrustees(ctx context.Context) (*trustees, error) {
	v, err := m.readMap(ctx, store.Key(cluster.KeyAuthority), store.All(cluster.PrefixStats),
		store.All(cluster.PrefixAlive), store.Key(cluster.KeyClusterKeys))
	if err != nil {
		return nil, err
	}
	t := &trustees{view: v, item: store.Snapshot{Results: v.extra}.One(0), up: map[cluster.NodeID]bool{},
		confirmed: map[cluster.NodeID]uint64{}}
	if t.item.Rev == 0 {
		return nil, refuse(wire.NotFound, "", "the cluster has no authority of its own: nothing is encrypted by it")
	}
	if t.key, err = currentKey(store.Snapshot{Results: v.extra}.One(3)); err != nil {
		return nil, err
	}
	if t.rec, err = decode[cluster.Authority](t.item); err != nil {
		return nil, err
	}
	stats, err := readStats(v.extra[1])
	if err != nil {
		return nil, err
	}
	for node, st := range stats {
		t.confirmed[node] = st.Authority
	}
	alive := present(v.extra[2])
	for node := range v.Nodes {
		t.up[node] = alive[cluster.KeyNodeAlive(node)]
	}
	t.waited, t.left = t.rec.Unconfirmed(t.confirmed, t.up)
	return t, nil
}

// replace writes the record, if it is still the one that was read.
func (m *Manager) replace(ctx context.Context, t *trustees, txn *store.Txn) error {
	txn.If = append(txn.If, store.Cond{Key: t.item.Key, Rev: t.item.Rev})
	txn.Put = append(txn.Put, put(t.item.Key, t.rec))
	_, err := m.store.Commit(ctx, *txn)
	return err
}

// ShowAuthority tells who issues certificates and who is trusted, never a key.
func (m *Manager) ShowAuthority(ctx context.Context) (wire.Authority, error) {
	t, err := m.readTrustees(ctx)
	if err != nil {
		return wire.Authority{}, err
	}
	return t.show()
}

func (t *trustees) show() (wire.Authority, error) {
	out := wire.Authority{Stage: t.rec.Stage(), Since: t.rec.Since, Waiting: []wire.AuthorityWait{},
		Left: append([]cluster.NodeID{}, t.left...)}
	out.ETag = etag(t.item.Rev)
	roles := []struct{ role, text string }{{wire.AuthorityIssues, t.rec.Certificate},
		{wire.AuthorityFormer, t.rec.Former}}
	if t.rec.Next != nil {
		roles = append(roles, struct{ role, text string }{wire.AuthorityNext, t.rec.Next.Certificate})
	}
	for _, r := range roles {
		if r.text == "" {
			continue
		}
		c, err := pki.Describe(r.text)
		if err != nil {
			return out, fmt.Errorf("record %s: %w", t.item.Key, err)
		}
		out.Authorities = append(out.Authorities, wire.AuthorityCertificate{Role: r.role, Certificate: r.text,
			Fingerprint: c.Fingerprint, Expires: c.Expires.UTC().Format(time.RFC3339)})
	}
	if at, err := t.earliest(); err == nil && !at.IsZero() {
		out.NotBefore = at.UTC().Format(time.RFC3339)
	}
	for _, node := range t.waited {
		out.Waiting = append(out.Waiting, wire.AuthorityWait{Node: node, Online: t.up[node]})
	}
	return out, nil
}

// earliest is when an announced authority may issue; zero in other stages.
func (t *trustees) earliest() (time.Time, error) {
	if t.rec.Stage() != cluster.AuthorityAnnounced {
		return time.Time{}, nil
	}
	since, err := time.Parse(time.RFC3339, t.rec.Since)
	return since.Add(time.Duration(t.rec.Overlap) * time.Second), err
}

// RotateAuthority announces a new authority, drawn here; what follows is done by AdvanceAuthority, whoever
// calls that. While a replacement is under way it changes how that goes on. ifMatch, when not empty, is the
// ETag that the record must still have.
func (m *Manager) RotateAuthority(ctx context.Context, r wire.AuthorityRotation, ifMatch string) (
	out wire.Authority, err error,
) {
	if r.Overlap != nil && *r.Overlap > uint64(maxOverlap/time.Second) {
		return out, refuse(wire.InvalidField, "overlap_seconds", "must be at most %d", maxOverlap/time.Second)
	}
	err = m.decide(ctx, func() error {
		t, err := m.readTrustees(ctx)
		if err != nil {
			return err
		}
		if err := matches(ifMatch, t.item.Rev); err != nil {
			return err
		}
		txn := new(store.Txn)
		if t.rec.Stage() == cluster.AuthoritySettled {
			if err := m.announce(ctx, t, txn); err != nil {
				return err
			}
		}
		if r.Overlap != nil {
			t.rec.Overlap = *r.Overlap
		}
		if r.LeaveAbsent != nil {
			t.rec.LeaveAbsent = *r.LeaveAbsent
		}
		return m.replace(ctx, t, txn)
	})
	if err != nil {
		return out, err
	}
	return m.ShowAuthority(ctx)
}

// announce draws the next authority, once all that are there trust the present one.
func (m *Manager) announce(ctx context.Context, t *trustees, txn *store.Txn) error {
	for _, node := range t.waited {
		if t.up[node] {
			return refuse(wire.Conflict, "", "node %d has not followed the last change of the authority yet", node)
		}
	}
	next, err := m.draw(ctx, t.Cluster.ID, t.key)
	if err != nil {
		return err
	}
	fingerprint, err := pki.Fingerprint(next.Certificate)
	if err != nil {
		return err
	}
	t.rec.Overlap, t.rec.LeaveAbsent = uint64(DefaultOverlap/time.Second), false
	t.rec.Announce(next, m.stamp())
	m.note(txn, wire.Info, "authority.announced", about("cluster", t.Cluster.ID), "",
		"authority %s will replace the present one", fingerprint)
	return nil
}

// AdvanceAuthority takes a replacement one stage on, if all that is needed for that has happened. Every node
// calls it now and then while one is under way; no node is needed for it.
func (m *Manager) AdvanceAuthority(ctx context.Context) error {
	return m.decide(ctx, func() error {
		t, err := m.readTrustees(ctx)
		if err != nil {
			return err
		}
		at, err := t.earliest()
		if err != nil {
			return fmt.Errorf("record %s: %w", t.item.Key, err)
		}
		stage := t.rec.Stage()
		if stage == cluster.AuthoritySettled || len(t.waited) > 0 || m.now().Before(at) {
			return nil
		}
		t.rec.Advance(m.stamp())
		txn := new(store.Txn)
		kind, text, severity := "authority.issuing", "the new authority issues certificates", wire.Info
		if stage == cluster.AuthorityIssuing {
			kind, text = "authority.replaced", "the former authority is not trusted any more"
		}
		if len(t.left) > 0 {
			severity = wire.Warning
			text += fmt.Sprintf("; nodes %v are down and were not waited for", t.left)
		}
		m.note(txn, severity, kind, about("cluster", t.Cluster.ID), "", "%s", text)
		return m.replace(ctx, t, txn)
	})
}

// RestoreAuthority writes a record that a node follows back if etcd has an older one, from a backup: nodes
// trust each other by the newer one.
func (m *Manager) RestoreAuthority(ctx context.Context, rec cluster.Authority) error {
	return m.decide(ctx, func() error {
		t, err := m.readTrustees(ctx)
		if err != nil || t.rec.Generation >= rec.Generation {
			return err
		}
		t.rec = rec
		txn := new(store.Txn)
		m.note(txn, wire.Warning, "authority.restored", about("cluster", t.Cluster.ID), "",
			"the authority in etcd was older than what nodes follow, and was replaced by that")
		return m.replace(ctx, t, txn)
	})
}

// MayRestartMember says whether it is a node's turn to restart its etcd member to follow the authority: all
// members of smaller numbers that are up have done so, so never two are away at the same time.
func (m *Manager) MayRestartMember(ctx context.Context, self cluster.NodeID) (bool, error) {
	t, err := m.readTrustees(ctx)
	if err != nil {
		return false, err
	}
	for number, n := range t.Nodes {
		if number < self && n.EtcdMember && t.up[number] && t.confirmed[number] < t.rec.Generation {
			return false, nil
		}
	}
	return true, nil
}
