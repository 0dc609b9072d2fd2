package manager

import (
	"context"
	"errors"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// OpenAuthority makes of a record what issues certificates. An error with the code wire.KeyMissing says that
// the cluster key which the authority's own is wrapped with is not to be had now.
func OpenAuthority(ctx context.Context, keys Keys, rec *cluster.Authority) (*pki.Authority, error) {
	text, err := reveal(ctx, keys, rec.Certificate, rec.AuthorityKey)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return pki.ParseAuthority(rec.Certificate, text)
}

// IsKeyMissing says whether an error is about a cluster key that may be had later.
func IsKeyMissing(err error) bool { return hasCode(err, wire.KeyMissing) }

func hasCode(err error, code wire.Code) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Code == code
}

// reveal is the key of an authority as it is.
func reveal(ctx context.Context, keys Keys, certificate string, k cluster.AuthorityKey) (string, error) {
	if k.ClusterKey == "" {
		return k.Key, nil
	}
	by, err := keyOf(ctx, keys, "", k.ClusterKey)
	if err != nil {
		return "", err
	}
	text, err := by.UnwrapSecret(k.Wrapped, certificate)
	if err != nil {
		return "", fmt.Errorf("cluster key %q: %w", k.ClusterKey, err)
	}
	return string(text), nil
}

// conceal is a key of an authority as it is kept: wrapped with the current cluster key, if there is one.
func (m *Manager) conceal(ctx context.Context, current cluster.ClusterKeys, certificate, key string) (
	cluster.AuthorityKey, error,
) {
	if current.Current == "" {
		return cluster.AuthorityKey{Key: key}, nil
	}
	by, err := m.keyOf(ctx, "", current.Current)
	if err != nil {
		return cluster.AuthorityKey{}, err
	}
	wrapped, err := by.WrapSecret([]byte(key), certificate, m.random)
	return cluster.AuthorityKey{Wrapped: wrapped, ClusterKey: current.Current}, err
}

// draw makes an authority for the cluster of that id.
func (m *Manager) draw(ctx context.Context, id cluster.UUID, current cluster.ClusterKeys) (
	out cluster.AuthorityPair, err error,
) {
	a, err := pki.NewAuthority(id.String(), m.now())
	if err != nil {
		return out, err
	}
	var key string
	if out.Certificate, key, err = a.PEM(); err != nil {
		return out, err
	}
	out.AuthorityKey, err = m.conceal(ctx, current, out.Certificate, key)
	return out, err
}

// RewrapAuthority wraps the keys in the authority's record with the current cluster key, which every node
// that is alive must have: those that were drawn when there was none, and those that a former one wraps.
// Nodes follow that as they follow a replacement. changed is false when there is nothing to do.
func (m *Manager) RewrapAuthority(ctx context.Context) (changed bool, err error) {
	current, err := m.keyOfAll(ctx)
	if err != nil {
		return false, err
	}
	err = m.decide(ctx, func() error {
		changed = false
		t, err := m.readTrustees(ctx)
		if hasCode(err, wire.NotFound) {
			return nil // no node has needed one so far
		} else if err != nil {
			return err
		}
		if changed, err = m.rewrap(ctx, current, &t.rec); err != nil || !changed {
			return err
		}
		t.rec.Generation++
		txn := new(store.Txn)
		m.note(txn, wire.Info, "authority.wrapped", about("cluster", t.Cluster.ID), "",
			"the key of the certificate authority is wrapped with cluster key %q now", current.Current)
		err = m.replace(ctx, t, txn)
		changed = err == nil
		return err
	})
	return changed, err
}

// rewrap changes what is not wrapped with the current cluster key.
func (m *Manager) rewrap(ctx context.Context, current cluster.ClusterKeys, rec *cluster.Authority) (
	changed bool, err error,
) {
	one := func(certificate string, k *cluster.AuthorityKey) {
		if err != nil || k.ClusterKey == current.Current {
			return
		}
		var text string
		if text, err = reveal(ctx, m.keys, certificate, *k); err == nil {
			*k, err = m.conceal(ctx, current, certificate, text)
			changed = true
		}
	}
	one(rec.Certificate, &rec.AuthorityKey)
	if rec.Next != nil {
		one(rec.Next.Certificate, &rec.Next.AuthorityKey)
	}
	return changed, err
}

// authorityKeys lists the cluster keys that wrap keys in the authority's record.
func authorityKeys(it store.Item) (out []string, err error) {
	if it.Rev == 0 {
		return nil, nil
	}
	rec, err := decode[cluster.Authority](it)
	if err != nil {
		return nil, err
	}
	pairs := []cluster.AuthorityKey{rec.AuthorityKey}
	if rec.Next != nil {
		pairs = append(pairs, rec.Next.AuthorityKey)
	}
	for _, k := range pairs {
		if k.ClusterKey != "" {
			out = append(out, k.ClusterKey)
		}
	}
	return out, nil
}
