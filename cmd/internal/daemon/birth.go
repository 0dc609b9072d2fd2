package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/watch"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const (
	birthRetryMin = 100 * time.Millisecond
	birthRetryMax = 3 * time.Second
)

// ErrNoCluster says that the node belongs to no cluster and was not told of one.
var ErrNoCluster = errors.New("this node belongs to no cluster yet: start it with --bootstrap to found " +
	"one, or with --join http://NODE:7443 --token TOKEN (`ashlar node join-token` makes the token)")

// conceive makes the state of a first start, or checks that a half-born node is started as before.
func (d *daemon) conceive() error {
	first := d.opt.First
	if s := d.state; s != nil {
		switch {
		case s.Stage == Founding && len(first.JoinURLs) > 0:
			return errors.New("this node was about to found a cluster: start it with --bootstrap again, or with an " +
				"empty data-dir to join another one")
		case s.Stage == Joining && first.Bootstrap:
			return errors.New("this node was about to join a cluster: start it with --join again, or with an empty " +
				"data-dir to found one")
		case s.Stage == Joining && len(first.JoinURLs) == 0:
			return ErrNoCluster
		case s.NodeName != d.opt.Name:
			d.log.Warnf("the node keeps the name %q it joined with; the setting name=%q is ignored", s.NodeName,
				d.opt.Name)
		}
		return nil
	}
	s := &State{NodeUUID: cluster.UUID(uuid.New()), NodeName: d.opt.Name, Stage: Joining}
	switch {
	case first.Bootstrap:
		secret, err := auth.NewSecret(nil)
		if err != nil {
			return err
		}
		s.Stage, s.ClusterID, s.ClusterName = Founding, cluster.UUID(uuid.New()), first.ClusterName
		s.AdminToken = secret.Reveal()
		s.Secret = make([]byte, manager.SecretSize)
		_, _ = rand.Read(s.Secret) // never fails
		s.EtcdMember = !d.opt.external()
		if s.EtcdMember && !d.opt.Etcd.Member {
			return errors.New("a new cluster needs an etcd: set etcd-member, or give etcd-endpoints")
		}
		if s.EncryptEtcd = s.EtcdMember && first.EncryptNodes; s.EncryptEtcd {
			if err := d.draw(s); err != nil {
				return err
			}
		}
	case len(first.JoinURLs) == 0:
		return ErrNoCluster
	}
	if err := s.save(d.opt.DataDir); err != nil {
		return err
	}
	d.state = s
	return nil
}

// birth brings the node to stage Member, with etcd open.
func (d *daemon) birth(ctx context.Context) error {
	if d.state.Stage == Joining {
		if err := d.join(ctx); err != nil {
			return err
		}
		if err := d.opt.validateOpenness(d.state); err != nil {
			return err
		}
	}
	if err := d.openEtcd(ctx); err != nil {
		return err
	}
	var err error
	if d.watcher, err = watch.New(watch.Options{Client: d.client, Log: d.log}); err != nil {
		return err
	}
	d.manager = manager.New(manager.Options{Store: store.NewEtcd(d.client), States: d.watcher, Keys: d.keys,
		Members: members{client: d.client, external: d.opt.Etcd.Endpoints}})
	if d.state.Stage == Founding {
		return d.found(ctx)
	}
	return nil
}

// found makes the cluster's first records, shows the admin token to its owner and forgets it.
func (d *daemon) found(ctx context.Context) error {
	if d.member != nil {
		if err := d.member.WaitReady(ctx); err != nil {
			return err
		}
		d.update(func(s *State) { s.EtcdStarted = true })
	}
	token, err := auth.ParseSecret(d.state.AdminToken)
	if err != nil {
		return fmt.Errorf("admin token in %s: %w", stateFile, err)
	}
	var authority *cluster.Authority
	if d.state.EncryptEtcd {
		known := d.cred.known()
		authority = &known
	}
	var node cluster.NodeID
	err = d.persist(ctx, "found the cluster", func() error {
		node, err = d.manager.Bootstrap(ctx, manager.Bootstrap{ClusterID: d.state.ClusterID,
			ClusterName: d.state.ClusterName, EncryptNodes: d.opt.First.EncryptNodes,
			Secret: d.state.Secret, AdminToken: token, Node: d.introduction(), Authority: authority})
		return err
	})
	if err != nil {
		return fmt.Errorf("found the cluster: %w", err)
	}
	path := filepath.Join(d.opt.DataDir, tokenFile)
	if err := writeFile(path, []byte(token.Reveal()+"\n")); err != nil {
		return err
	}
	d.log.Infof("founded cluster %s; the administrator's token is in %s", d.state.ClusterID, path)
	if err := d.update(func(s *State) { s.Stage, s.Node, s.AdminToken = Member, node, "" }); err != nil {
		return err
	}
	if d.cred != nil {
		return d.cred.source.Renew(ctx) // now that the node has a number
	}
	return nil
}

// join makes the node a member of the cluster.
func (d *daemon) join(ctx context.Context) error {
	key, res, err := d.askToJoin(ctx, d.introduction())
	if err != nil {
		return err
	}
	encrypted := res.Certificate != ""
	if encrypted {
		if err := receive(d.opt.DataDir, key, &res); err != nil {
			return err
		}
	}
	d.log.Infof("joined cluster %s as node %d", res.ClusterID, res.Node)
	return d.update(func(s *State) {
		s.Stage, s.Node, s.ClusterID, s.Secret = Member, res.Node, res.ClusterID, res.ClusterSecret
		s.EtcdMember, s.EtcdEndpoints = res.Etcd.Member != nil, res.Etcd.Endpoints
		s.EncryptEtcd = encrypted
	})
}

// askToJoin asks the cluster to take the node in, until it answers; key belongs to the certificate that may
// come with the answer.
func (d *daemon) askToJoin(ctx context.Context, req wire.JoinRequest) (key string, res wire.JoinResult,
	err error) {
	c, err := d.joinClient(ctx)
	if err != nil {
		return "", res, fmt.Errorf("join: %w", err)
	}
	req.Token = d.opt.First.JoinToken
	if req.CertificateRequest, key, err = pki.Request(); err != nil {
		return "", res, err
	}
	err = d.persist(ctx, "join the cluster", func() error {
		res, err = c.JoinNode(ctx, req)
		return err
	})
	if err != nil {
		return "", res, fmt.Errorf("join the cluster at %v: %w", d.opt.First.JoinURLs, err)
	}
	return key, res, nil
}

// introduction is what the node says of itself.
func (d *daemon) introduction() wire.JoinRequest {
	member := d.opt.Etcd.Member && !d.opt.external()
	r := wire.JoinRequest{UUID: d.state.NodeUUID, Name: d.state.NodeName, Domain: d.opt.Domain,
		Addresses: d.opt.addresses(d.etcdURL(member))}
	if member {
		r.EtcdPeerURL = d.etcdScheme() + d.opt.Advertise.EtcdPeer
	}
	return r
}

// persist repeats try until it succeeds, ctx is done, or it fails in a way that repeating cannot cure.
func (d *daemon) persist(ctx context.Context, what string, try func() error) error {
	for wait := birthRetryMin; ; wait = min(2*wait, birthRetryMax) {
		err := try()
		if err == nil || final(err) {
			return err
		}
		d.log.WithError(err).Warnf("cannot %s yet, trying again", what)
		if perr := pause(ctx, wait); perr != nil {
			return fmt.Errorf("%w: %w", perr, err)
		}
	}
}

// final says whether an error is a refusal: the same request would be refused again.
func final(err error) bool {
	var refused *manager.Error
	var answer *client.Error
	switch {
	case errors.Is(err, pki.ErrStranger):
		return true
	case errors.As(err, &refused):
		return refused.Code != wire.KeyMissing // the key source may come back
	case errors.As(err, &answer):
		return answer.Code != wire.Unavailable && answer.Code != wire.Internal && answer.Code != wire.KeyMissing
	}
	return false
}
