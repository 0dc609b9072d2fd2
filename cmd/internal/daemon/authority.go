package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	authorityLook   = 2 * time.Second
	memberBack      = 30 * time.Second       // for a member that was restarted to serve again
	strangersFirst  = 3 * time.Second        // without etcd, before other members are asked who they are
	greetingTimeout = 2 * time.Second        // for one of them to answer
	refusalTimeout  = 300 * time.Millisecond // for one of them to refuse this node's certificate
)

// alertUnknownCA is what a server says to a certificate of an authority that it does not trust (RFC 8446,
// section 6).
const alertUnknownCA = tls.AlertError(48)

// ErrLeftBehind says that the cluster's authority was replaced without this node.
var ErrLeftBehind = errors.New("the other etcd members trust another authority: the cluster's was replaced " +
	"while this node was away. Start it once more with --join https://NODE:7443 --token TOKEN " +
	"--ca-fingerprint FINGERPRINT, as `ashlar node join-token` prints them; it keeps its data and its place " +
	"in the cluster")

// tendAuthority follows the record of the cluster's authority, and takes a replacement that is under way one
// step further when it can, until ctx is done.
func (d *daemon) tendAuthority(ctx context.Context) {
	for pause(ctx, authorityLook) == nil {
		s := d.watcher.Newest()
		if s == nil {
			continue
		}
		var err error
		switch followed := d.authorityFollowed.Load(); {
		case s.Authority.Generation > followed:
			err = d.followAuthority(ctx)
		case s.Authority.Generation < followed && d.state.EncryptEtcd:
			err = d.manager.RestoreAuthority(ctx, d.cred.known()) // etcd was restored from a backup
		}
		if err != nil && ctx.Err() == nil {
			d.log.WithError(err).Warn("the cluster's certificate authority changed, and cannot be followed yet")
		}
		if s.Authority.Since != "" {
			if err := d.manager.AdvanceAuthority(ctx); err != nil {
				d.log.WithError(err).Debug("replacing the authority: not yet")
			}
		}
	}
}

// followAuthority trusts whom the record says, shows a certificate of who issues now, and confirms that. It
// returns without that while it is not this node's turn to restart its etcd member.
func (d *daemon) followAuthority(ctx context.Context) error {
	rec, err := d.manager.Authority(ctx)
	if err != nil {
		return err
	}
	d.credMu.Lock()
	c := d.cred
	if c != nil {
		err = c.adopt(ctx, rec)
	}
	d.credMu.Unlock()
	if err != nil {
		return err
	}
	if ok, err := d.refreshMember(ctx); err != nil || !ok {
		return err
	}
	d.authorityFollowed.Store(rec.Generation)
	d.log.Infof("follows change %d of the cluster's certificate authority, which is %s", rec.Generation,
		rec.Stage())
	return nil
}

// refreshMember restarts the node's etcd member if that trusts others than the node does; ok is false while
// another member is to do so first.
func (d *daemon) refreshMember(ctx context.Context) (ok bool, err error) {
	if d.member == nil || !d.state.EncryptEtcd || d.cred.trust.Pool().Equal(d.memberTrusts) {
		return true, nil
	}
	if ok, err := d.manager.MayRestartMember(ctx, d.state.Node); err != nil || !ok {
		return false, err
	}
	trusted := d.cred.trust.Pool()
	once, cancel := context.WithTimeout(ctx, memberBack)
	defer cancel()
	if err := d.member.Restart(once); err != nil {
		return false, err
	}
	d.memberTrusts = trusted
	return true, nil
}

// noticeStrangers ends with ErrLeftBehind when etcd is not reached because its members trust another
// authority; it ends without an error when there is a cluster map.
func (d *daemon) noticeStrangers(ctx context.Context) error {
	if !d.state.EncryptEtcd {
		return nil
	}
	for wait := strangersFirst; pause(ctx, wait) == nil; wait = waitNotice {
		if d.watcher.Newest() != nil {
			return nil
		}
		if d.amongStrangers(ctx) {
			return ErrLeftBehind
		}
	}
	return nil
}

// amongStrangers asks the members that were last known: at least one refuses this node or is refused, and
// none is on good terms with it.
func (d *daemon) amongStrangers(ctx context.Context) bool {
	var strangers, friends int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, at := range slices.Clone(d.state.EtcdEndpoints) {
		u, err := url.Parse(at)
		if err != nil || d.member != nil && at == d.member.ClientURL() {
			continue
		}
		wg.Go(func() {
			stranger, reached := meets(ctx, u.Host, d.etcdTLS()())
			mu.Lock()
			defer mu.Unlock()
			switch {
			case stranger:
				strangers++
			case reached:
				friends++
			}
		})
	}
	wg.Wait()
	return strangers > 0 && friends == 0
}

// meets shakes hands with a member: whether one of the two does not trust the other, and whether it answered.
func meets(ctx context.Context, addr string, c *tls.Config) (stranger, reached bool) {
	ctx, cancel := context.WithTimeout(ctx, greetingTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", addr)
	if err != nil {
		var unknown x509.UnknownAuthorityError // not: a clock that is wrong, or a name
		return errors.As(err, &unknown), false
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(refusalTimeout)); err != nil {
		return false, false
	}
	// With TLS 1.3 a server looks at the certificate after the client has gone on, and then sends an alert.
	_, err = conn.Read(make([]byte, 1))
	var alert *net.OpError
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return alert.Err.Error() == alertUnknownCA.Error(), true
	}
	return false, err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// estranged says that the operator wants this member of the cluster to trust an authority that it does not
// know.
func (d *daemon) estranged() bool {
	f := d.opt.First
	return d.state.Stage == Member && d.state.EncryptEtcd && len(f.JoinURLs) > 0 && f.CAFingerprint != "" &&
		!d.cred.trust.Knows(f.CAFingerprint)
}

// rejoin gets a certificate of the present authority for a node that was left behind. All else it keeps.
func (d *daemon) rejoin(ctx context.Context) error {
	req := d.introduction()
	req.EtcdPeerURL = "" // its member is one already
	key, res, err := d.askToJoin(ctx, req)
	if err != nil {
		return err
	}
	if res.Node != d.state.Node || res.ClusterID != d.state.ClusterID {
		return errors.New("the cluster that answered takes this node for another one")
	}
	if err := d.cred.accept(ctx, key, &res); err != nil {
		return err
	}
	d.log.Info("the node has a certificate of the cluster's present authority")
	return nil
}
