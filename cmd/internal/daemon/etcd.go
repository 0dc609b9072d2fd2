package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/embedetcd"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Times of the node's part in etcd.
const (
	joinAttempts  = 20                     // starts of a member whose list of peers changed under its hands
	settleJoining = 200 * time.Millisecond // between looks at the members while this node's member joins
	settleQuiet   = 15 * time.Second       // and later, by the leader
	settleBusy    = time.Second            // while someone joins
	syncTimeout   = 3 * time.Second        // for the members to say who they are
	saveEvery     = time.Minute            // how often new endpoints are looked for, to be kept on disk
)

// openEtcd starts the node's member if it has one, and makes the client.
func (d *daemon) openEtcd(ctx context.Context) error {
	endpoints := slices.Clone(d.state.EtcdEndpoints)
	if d.opt.external() {
		endpoints = slices.Clone(d.opt.Etcd.Endpoints)
	}
	if d.state.EncryptEtcd {
		var err error
		if d.cred, err = d.openCredentials(ctx); err != nil {
			return err
		}
		if d.estranged() {
			if err := d.rejoin(ctx); err != nil {
				return err
			}
		}
		d.memberTrusts = d.cred.trust.Pool()
	}
	if d.state.EtcdMember {
		if err := d.startMember(ctx, endpoints); err != nil {
			return err
		}
		if len(endpoints) == 0 { // the founder, before it knew of others
			endpoints = []string{d.member.ClientURL()}
		}
	}
	var err error
	d.client, err = embedetcd.Dial(endpoints, !d.opt.external(), d.etcdTLS(), d.log)
	return err
}

// startMember starts the node's etcd member: on its data, as the founder of a new cluster, or as a learner
// of the cluster behind seeds.
func (d *daemon) startMember(ctx context.Context, seeds []string) error {
	cfg := d.memberConfig()
	_, err := os.Stat(filepath.Join(cfg.DataDir, "member", "wal"))
	switch {
	case err == nil || d.state.Stage == Founding && !d.state.EtcdStarted:
		d.member, err = embedetcd.Start(cfg)
		return err
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("etcd data directory: %w", err)
	case d.state.EtcdStarted:
		return fmt.Errorf("the data of this node's etcd member is gone from %s: restore the directory, or "+
			"remove the node from the cluster and join it again with an empty data-dir", cfg.DataDir)
	}
	client, err := embedetcd.Dial(seeds, false, d.etcdTLS(), d.log)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	for attempt := 1; ; attempt++ {
		if cfg.Peers, err = embedetcd.AddLearner(ctx, client, cfg.Name, cfg.AdvertisePeer); err != nil {
			return err
		}
		if d.member, err = embedetcd.Start(cfg); err == nil || attempt == joinAttempts {
			return err
		}
		// Another member was added between the two calls, most likely: the next list has it.
		if perr := pause(ctx, settleJoining); perr != nil {
			return fmt.Errorf("%w: %w", perr, err)
		}
	}
}

func (d *daemon) memberConfig() embedetcd.Config {
	at := d.etcdScheme()
	c := embedetcd.Config{
		Name: d.state.NodeName, DataDir: filepath.Join(d.opt.DataDir, etcdDir),
		ListenClient: at + d.opt.Listen.EtcdClient, ListenPeer: at + d.opt.Listen.EtcdPeer,
		AdvertiseClient: at + d.opt.Advertise.EtcdClient, AdvertisePeer: at + d.opt.Advertise.EtcdPeer,
		ClusterToken: d.state.ClusterID.String(),
		Heartbeat:    d.opt.Etcd.Heartbeat, Election: d.opt.Etcd.Election, Log: d.log,
	}
	if d.state.EncryptEtcd {
		c.TLS = &embedetcd.Files{Certificate: d.cred.path(nodeFile), Authorities: d.cred.path(authorityFile)}
	}
	return c
}

// etcdScheme begins the URLs of the embedded etcd.
func (d *daemon) etcdScheme() string {
	if d.state.EncryptEtcd {
		return "https://"
	}
	return "http://"
}

// etcdURL is where clients reach the node's member; empty without one.
func (d *daemon) etcdURL(member bool) string {
	if member {
		return d.etcdScheme() + d.opt.Advertise.EtcdClient
	}
	return ""
}

// tendMember brings a member that just joined into the cluster, then keeps an eye on the number of voters
// for as long as this member leads.
func (d *daemon) tendMember(ctx context.Context) {
	if err := d.member.WaitReady(ctx); err != nil {
		return // stopping, or Run sees that the member ended
	}
	if !d.state.EtcdStarted {
		d.update(func(s *State) { s.EtcdStarted = true })
		d.log.Info("the node's etcd member is ready")
		d.settleJoined(ctx)
	}
	for wait := settleBusy; pause(ctx, wait) == nil; {
		wait = settleQuiet
		if !d.member.IsLeader() {
			continue
		}
		n, err := embedetcd.Settle(ctx, d.client)
		if err != nil && ctx.Err() == nil {
			d.log.WithError(err).Warn("the etcd members could not be looked at")
		}
		if n.Unstarted+n.Learners > 0 {
			wait = settleBusy
		}
	}
}

// settleJoined promotes what can be promoted right after this node's member joined: it need not wait for
// the leader to notice.
func (d *daemon) settleJoined(ctx context.Context) {
	for {
		n, err := embedetcd.Settle(ctx, d.client)
		if err == nil && (n.Learners == 0 || n.Learners == 1 && n.Voters%2 == 1) {
			break
		}
		if pause(ctx, settleJoining) != nil {
			return
		}
	}
}

// keepEndpoints keeps the client's list of members up to date, and on disk, so that the next start finds etcd
// although the first members are gone.
func (d *daemon) keepEndpoints(ctx context.Context) {
	for wait := settleBusy; pause(ctx, wait) == nil; wait = min(2*wait, saveEvery) {
		if !d.opt.external() && !d.syncEndpoints(ctx) {
			wait = settleBusy
		}
		now := slices.Clone(d.client.Endpoints())
		slices.Sort(now)
		if len(now) > 0 && !slices.Equal(now, d.state.EtcdEndpoints) {
			d.update(func(s *State) { s.EtcdEndpoints = now })
		}
	}
}

// syncEndpoints asks the members that the client knows for all members, and says whether one answered. When
// none does, the node's own member is added: whoever joined through a node that died before it was asked
// knows no other, and that member, with the rest, may well be a majority.
func (d *daemon) syncEndpoints(ctx context.Context) bool {
	once, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if err := d.client.Sync(once); err == nil {
		return true
	}
	known := d.client.Endpoints()
	if d.member != nil && !slices.Contains(known, d.member.ClientURL()) {
		d.client.SetEndpoints(append(slices.Clone(known), d.member.ClientURL())...)
	}
	return false
}

// members is the embedded etcd cluster as the manager sees it.
type members struct {
	client   *embedetcd.Client
	external []string
}

// Add implements manager.Members.
func (m members) Add(ctx context.Context, name, peerURL string) ([]wire.EtcdPeer, error) {
	if len(m.external) > 0 {
		return nil, errors.New("this cluster uses an external etcd: nodes run no members")
	}
	peers, err := embedetcd.AddLearner(ctx, m.client, name, peerURL)
	if err != nil {
		return nil, err
	}
	out := make([]wire.EtcdPeer, len(peers))
	for i, p := range peers {
		out[i] = wire.EtcdPeer{Name: p.Name, URL: p.URL}
	}
	return out, nil
}

// Endpoints implements manager.Members.
func (m members) Endpoints(ctx context.Context) ([]string, error) {
	if len(m.external) > 0 {
		return m.external, nil
	}
	return embedetcd.Endpoints(ctx, m.client)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
