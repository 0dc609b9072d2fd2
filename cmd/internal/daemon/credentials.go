package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Names in the data directory. Where etcd is encrypted, a node needs its certificate before etcd can tell it
// anything: then all three are there. Else only authorityFile is, for clients of the API.
const (
	authorityFile = "ca.pem"         // the authorities that are trusted
	issuerFile    = "authority.json" // the record as last seen: cluster.Authority
	nodeFile      = "node.pem"       // the node's key, its certificate and the issuer's
)

// credentials are the node's certificate, which the node issues itself, and the authorities that it trusts.
type credentials struct {
	dir   string
	kept  bool // in dir, for etcd
	name  string
	hosts func() []string // at which the node is reached now
	log   logrus.FieldLogger

	trust  *pki.Trust
	source *pki.Source

	keys   manager.Keys
	issuer atomic.Pointer[pki.Authority]     // nil: not at hand, see issue
	record atomic.Pointer[cluster.Authority] // nil: there is only what the cluster gave when the node joined

	mu sync.Mutex // over changes of the record
}

// openCredentials reads what a former start, or joining, left in the data directory; the certificate is
// renewed until ctx is done.
func (d *daemon) openCredentials(ctx context.Context) (*credentials, error) {
	c := d.newCredentials(true)
	var rec cluster.Authority
	raw, err := os.ReadFile(filepath.Join(c.dir, issuerFile))
	switch {
	case err == nil:
		if err = json.Unmarshal(raw, &rec); err == nil {
			err = d.untilUnlocked(ctx, func() error { return c.adopt(ctx, rec) })
		}
	case errors.Is(err, fs.ErrNotExist):
		err = c.given(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("the node's certificate in %s: %w", c.dir, err)
	}
	return c, nil
}

func (d *daemon) newCredentials(kept bool) *credentials {
	return &credentials{dir: d.opt.DataDir, kept: kept, name: d.state.NodeName, hosts: d.hosts, log: d.log,
		keys: d.keys}
}

// given takes the certificate that the cluster gave when the node joined.
func (c *credentials) given(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(c.dir, authorityFile))
	if err != nil {
		return err
	}
	return c.begin(ctx, string(text))
}

func (c *credentials) begin(ctx context.Context, trusted string) (err error) {
	if c.trust, err = pki.NewTrust(trusted); err != nil {
		return err
	}
	c.source, err = pki.NewSource(ctx, c.issue, func(err error) { c.log.WithError(err).Error("TLS") })
	if err == nil {
		go c.source.Run(ctx)
	}
	return err
}

// issue makes a certificate by the authority of the record. A node that starts while the cluster key which
// opens that cannot be had goes on with the certificate of a former start, as long as that is good.
func (c *credentials) issue(ctx context.Context) (*tls.Certificate, error) {
	issuer := c.issuer.Load()
	if rec := c.record.Load(); issuer == nil && rec != nil {
		var err error
		if issuer, err = manager.OpenAuthority(ctx, c.keys, rec); err != nil {
			return c.former(rec, err)
		}
		c.issuer.Store(issuer)
	}
	if issuer == nil {
		pair, err := tls.LoadX509KeyPair(c.path(nodeFile), c.path(nodeFile))
		return &pair, err
	}
	pair, err := issuer.Issue(c.name, c.hosts(), time.Now())
	if err != nil || !c.kept {
		return pair, err
	}
	text, err := pki.Bundle(pair)
	if err != nil {
		return nil, err
	}
	return pair, writeFile(c.path(nodeFile), []byte(text))
}

// former is the certificate of a former start, if it is one of the record's authorities and not over; else
// why no other can be issued.
func (c *credentials) former(rec *cluster.Authority, why error) (*tls.Certificate, error) {
	if !c.kept || c.source != nil || !manager.IsKeyMissing(why) {
		return nil, why
	}
	pair, err := tls.LoadX509KeyPair(c.path(nodeFile), c.path(nodeFile))
	if err != nil {
		return nil, why
	}
	trust, err := pki.NewTrust(rec.Trusted())
	if err != nil {
		return nil, err
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: trust.Pool()}); err != nil {
		return nil, fmt.Errorf("%w; and the certificate that the node had: %w", why, err)
	}
	c.log.WithError(why).Warnf("goes on with the certificate that it had, which ends at %v", pair.Leaf.NotAfter)
	return &pair, nil
}

func (c *credentials) path(file string) string { return filepath.Join(c.dir, file) }

// adopt follows the record of the authority.
func (c *credentials) adopt(ctx context.Context, rec cluster.Authority) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	issuer, err := manager.OpenAuthority(ctx, c.keys, &rec)
	if err != nil && !manager.IsKeyMissing(err) {
		return err
	}
	if now := c.record.Load(); now != nil && rec.Generation == now.Generation && c.source != nil {
		if c.issuer.Load() == nil {
			c.issuer.Store(issuer)
		}
		return err
	}
	if err := writeFile(c.path(authorityFile), []byte(rec.Trusted())); err != nil {
		return err
	}
	if err := c.keep(rec); err != nil {
		return err
	}
	c.issuer.Store(issuer)
	c.record.Store(&rec)
	if c.source == nil {
		return c.begin(ctx, rec.Trusted())
	}
	return errors.Join(c.trust.Set(rec.Trusted()), c.source.Renew(ctx))
}

// accept takes a certificate that the cluster gave in place of what the node had.
func (c *credentials) accept(ctx context.Context, key string, res *wire.JoinResult) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := receive(c.dir, key, res); err != nil {
		return err
	}
	if err := os.Remove(c.path(issuerFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.issuer.Store(nil)
	c.record.Store(nil)
	return errors.Join(c.trust.Set(res.Authorities), c.source.Renew(ctx))
}

// receive keeps a certificate that the cluster gave, for etcd to be reached with.
func receive(dir, key string, res *wire.JoinResult) error {
	err := writeFile(filepath.Join(dir, nodeFile), []byte(key+res.Certificate))
	if err == nil {
		err = writeFile(filepath.Join(dir, authorityFile), []byte(res.Authorities))
	}
	return err
}

// known is the record that the node follows.
func (c *credentials) known() (rec cluster.Authority) {
	if now := c.record.Load(); now != nil {
		rec = *now
	}
	return rec
}

// keep writes the record for the next start.
func (c *credentials) keep(rec cluster.Authority) error {
	if !c.kept {
		return nil
	}
	raw, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(c.path(issuerFile), append(raw, '\n'))
}

// complete says whether the node has the record, and a certificate.
func (c *credentials) complete() bool { return c.record.Load() != nil && c.source != nil }

// untilUnlocked repeats try while the cluster key that it needs cannot be had.
func (d *daemon) untilUnlocked(ctx context.Context, try func() error) (err error) {
	waited := d.persist(ctx, "open the key of the cluster's certificate authority", func() error {
		if err = try(); manager.IsKeyMissing(err) {
			return err
		}
		return nil
	})
	return errors.Join(waited, err)
}

// draw makes the authority of a new cluster, for its founder.
func (d *daemon) draw(s *State) error {
	a, err := pki.NewAuthority(s.ClusterID.String(), time.Now())
	if err != nil {
		return err
	}
	var rec cluster.Authority
	if rec.Certificate, rec.Key, err = a.PEM(); err != nil {
		return err
	}
	return (&credentials{dir: d.opt.DataDir, kept: true}).keep(rec)
}

// certified gives the node's credentials as soon as it knows the authority: at the latest when etcd answers.
func (d *daemon) certified(ctx context.Context) (*credentials, error) {
	d.credMu.Lock()
	defer d.credMu.Unlock()
	if d.cred != nil && d.cred.complete() {
		return d.cred, nil
	}
	var rec cluster.Authority
	err := d.persist(ctx, "read the cluster's certificate authority", func() (err error) {
		rec, err = d.manager.Authority(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	c := d.cred
	if c == nil {
		c = d.newCredentials(false)
	}
	if err := d.untilUnlocked(ctx, func() error { return c.adopt(ctx, rec) }); err != nil {
		return nil, err
	}
	d.cred = c
	return c, nil
}
