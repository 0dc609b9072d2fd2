package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const (
	joinTokenLife = time.Hour
	maxTokenLife  = 10 * 365 * 24 * time.Hour
	maxTokenName  = 255
)

// Token implements auth.Records.
func (m *Manager) Token(ctx context.Context, id cluster.UUID) (auth.Record, error) {
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyToken(id)))
	if err != nil {
		return auth.Record{}, err
	}
	if snap.One(0).Rev == 0 {
		return auth.Record{}, fmt.Errorf("token %s: %w", id, cluster.ErrNoRecord)
	}
	return decode[auth.Record](snap.One(0))
}

// CreateToken makes a token. The answer is the only place that ever holds its secret.
func (m *Manager) CreateToken(ctx context.Context, r wire.TokenCreate) (wire.Token, error) {
	if err := validateToken(r); err != nil {
		return wire.Token{}, err
	}
	life := time.Duration(r.ExpiresSeconds) * time.Second
	if life == 0 && r.Role == string(auth.Join) {
		life = joinTokenLife
	}
	secret, err := auth.NewSecret(m.chance(ctx))
	if err != nil {
		return wire.Token{}, err
	}
	rec := auth.Record{ID: secret.ID(), Name: r.Name, Role: auth.Role(r.Role), Project: r.Project,
		Hash: secret.Hash(), Created: m.stamp()}
	if life > 0 {
		rec.Expires = m.now().Add(life).UTC().Format(time.RFC3339)
	}
	key := cluster.KeyToken(rec.ID)
	rev, err := m.store.Commit(ctx, store.Txn{If: []store.Cond{{Key: key}}, Put: []store.Put{put(key, rec)}})
	if errors.Is(err, cluster.ErrConflict) {
		rec, rev, err = m.sameToken(ctx, rec)
	}
	if err != nil {
		return wire.Token{}, err
	}
	t := drawToken(rec, rev)
	t.Secret = secret.Reveal()
	return t, nil
}

func validateToken(r wire.TokenCreate) error {
	role := auth.Role(r.Role)
	must, may := role.TakesProject()
	switch {
	case r.Name == "" || len(r.Name) > maxTokenName:
		return refuse(wire.InvalidField, "name", "must have 1 to %d bytes", maxTokenName)
	case !role.Known():
		return refuse(wire.InvalidField, "role", "%q is none of %v, %s", r.Role, auth.Roles(), auth.Join)
	case r.ExpiresSeconds < 0 || r.ExpiresSeconds > int64(maxTokenLife/time.Second):
		return refuse(wire.InvalidField, "expires_in_seconds", "%d is not in 1..%d", r.ExpiresSeconds,
			int64(maxTokenLife/time.Second))
	case must && r.Project == "":
		return refuse(wire.InvalidField, "project", "role %q needs one", r.Role)
	case !may && r.Project != "":
		return refuse(wire.InvalidField, "project", "role %q is not confined to one", r.Role)
	case r.Project != "":
		return invalid(cluster.ValidateName("project", r.Project))
	}
	return nil
}

// sameToken finds the token that an attempt with the same chance made before it was cut off.
func (m *Manager) sameToken(ctx context.Context, rec auth.Record) (auth.Record, int64, error) {
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyToken(rec.ID)))
	if err != nil {
		return rec, 0, err
	}
	made, err := decode[auth.Record](snap.One(0))
	if err != nil {
		return rec, 0, err
	}
	if made.Hash != rec.Hash || made.Role != rec.Role || made.Project != rec.Project {
		return rec, 0, refuse(wire.Conflict, "", "token %s exists, and is another one", rec.ID)
	}
	return made, snap.One(0).Rev, nil
}

func drawToken(r auth.Record, rev int64) wire.Token {
	return wire.Token{Versioned: wire.Versioned{ETag: etag(rev)}, ID: r.ID, Name: r.Name,
		Role: string(r.Role), Project: r.Project, Created: r.Created, Expires: r.Expires, LastUsed: r.LastUsed,
		UsedBy: r.UsedBy}
}

// TokenUsed implements auth.Records. The record is compared, so a token that was revoked meanwhile stays so;
// when anything else changed it, this use is not worth another try.
func (m *Manager) TokenUsed(ctx context.Context, id cluster.UUID, when time.Time) error {
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyToken(id)))
	if err != nil || snap.One(0).Rev == 0 {
		return err
	}
	rec, err := decode[auth.Record](snap.One(0))
	if err != nil {
		return err
	}
	rec.LastUsed = when.UTC().Format(time.RFC3339)
	_, err = m.store.Commit(ctx, store.Txn{If: []store.Cond{{Key: snap.One(0).Key, Rev: snap.One(0).Rev}},
		Put: []store.Put{put(snap.One(0).Key, rec)}})
	if errors.Is(err, cluster.ErrConflict) {
		return nil
	}
	return err
}

// Tokens lists tokens by id.
func (m *Manager) Tokens(ctx context.Context, p Page) (wire.Page[wire.Token], error) {
	none := wire.Page[wire.Token]{}
	after, limit, err := p.after("tokens")
	if err != nil {
		return none, err
	}
	q := store.Query{Prefix: cluster.PrefixTokens, Limit: limit}
	if after != "" {
		q.After = cluster.PrefixTokens + after
	}
	snap, err := m.store.Read(ctx, q)
	if err != nil {
		return none, err
	}
	out := wire.Page[wire.Token]{Items: []wire.Token{}}
	for _, it := range snap.Results[0].Items {
		r, err := decode[auth.Record](it)
		if err != nil {
			return none, err
		}
		out.Items = append(out.Items, drawToken(r, it.Rev))
	}
	if snap.Results[0].More {
		out.Next = cursorAfter("tokens", out.Items[len(out.Items)-1].ID.String())
	}
	return out, nil
}

// TokenInfo shows a token.
func (m *Manager) TokenInfo(ctx context.Context, id cluster.UUID) (wire.Token, error) {
	snap, err := m.store.Read(ctx, store.Key(cluster.KeyToken(id)))
	if err != nil {
		return wire.Token{}, err
	}
	if snap.One(0).Rev == 0 {
		return wire.Token{}, notFound("token", id)
	}
	r, err := decode[auth.Record](snap.One(0))
	return drawToken(r, snap.One(0).Rev), err
}

// RevokeToken takes a token away, but never the last one by which somebody can still administer the cluster.
// ifMatch, when not empty, is the ETag that it must still have.
func (m *Manager) RevokeToken(ctx context.Context, id cluster.UUID, ifMatch string) error {
	return m.decide(ctx, func() error {
		snap, err := m.store.Read(ctx, store.All(cluster.PrefixTokens))
		if err != nil {
			return err
		}
		key := cluster.KeyToken(id)
		txn := store.Txn{Delete: []string{key}}
		var other store.Item // an admin token that stays; its record must not change meanwhile
		admin := false
		for _, it := range snap.Results[0].Items {
			r, err := decode[auth.Record](it)
			if err != nil {
				return err
			}
			if it.Key == key {
				if err := matches(ifMatch, it.Rev); err != nil {
					return err
				}
				txn.If = append(txn.If, store.Cond{Key: key, Rev: it.Rev})
				admin = r.Role == auth.Admin
			} else if r.Role == auth.Admin && r.Expires == "" {
				other = it
			}
		}
		switch {
		case len(txn.If) == 0:
			return notFound("token", id)
		case admin && other.Rev == 0:
			return refuse(wire.LastAdminToken, "",
				"it is the last admin token that does not expire; create another one first")
		case admin:
			txn.If = append(txn.If, store.Cond{Key: other.Key, Rev: other.Rev})
		}
		_, err = m.store.Commit(ctx, txn)
		return err
	})
}
