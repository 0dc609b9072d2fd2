package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"reflect"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/keyring"
	"github.com/ashlar-storage/ashlar/dataplane/node"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/watch"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// DataPlane is the part of a node that moves data, as the daemon sees it.
type DataPlane interface {
	// Run serves until ctx is done, then hands the node's volumes over and closes its devices. It returns nil
	// after that, or an error when the node cannot go on.
	Run(ctx context.Context) error
	// Stats says how devices and volumes are. Any time, from any goroutine.
	Stats() cluster.NodeStats
	// Purged says how far the devices of this node are with what was deleted.
	Purged(ctx context.Context, purges []cluster.PurgeAt) map[cluster.DeviceID]*cluster.Purged
	Observable
}

// Observable is the part of it that people look at. Any time, from any goroutine.
type Observable interface {
	// Figures says what was counted.
	Figures() node.Figures
	// Associations says which hosts are connected.
	Associations() []nvmet.Association
	// Space counts what devices of this node keep of a volume, for those who look at it by the view list of that
	// version.
	Space(ctx context.Context, vol cluster.VolumeKey, view uint32) ([]node.DeviceSpace, error)
}

// DataPlaneOptions are what a data plane gets from its daemon. Maps has a first state.
type DataPlaneOptions struct {
	Node      cluster.NodeID
	ClusterID cluster.UUID
	Secret    []byte
	PeerTLS   *tls.Config // nil: nodes talk in clear
	DataDir   string
	Listen    Services // Hosts, Discovery, Nodes
	Advertise Services
	Maps      *watch.Watcher
	Arbiter   *store.Arbiter
	Sampling  gateway.Sampling
	Keys      *keyring.Ring
	Log       logrus.FieldLogger
}

const (
	statsLook    = time.Second
	statsEvery   = 3  // looks
	statsAgain   = 60 // looks: that long what was published is believed to be there
	statsTimeout = 10 * time.Second
)

// startPlane waits for the first map and makes the data plane.
func (d *daemon) startPlane(ctx context.Context) (DataPlane, error) {
	first, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for pause(first, waitNotice) == nil {
			d.log.WithField("reason", d.watcher.Status().LastError).Warn("waiting for etcd to show the cluster map " +
				"(a majority of its members must be up)")
		}
	}()
	now, err := d.watcher.Next(ctx, 0)
	if err != nil {
		return nil, err
	}
	encryption, err := d.peerTLS(ctx, &now.Map.Cluster)
	if err != nil {
		return nil, fmt.Errorf("TLS between nodes: %w", err)
	}
	arbiter, err := d.arbiter()
	if err != nil {
		return nil, err
	}
	return d.opt.NewDataPlane(DataPlaneOptions{
		PeerTLS: encryption,
		Node:    d.state.Node, ClusterID: d.state.ClusterID, Secret: d.state.Secret, DataDir: d.opt.DataDir,
		Listen: d.opt.Listen, Advertise: d.opt.Advertise, Maps: d.watcher,
		Arbiter: arbiter, Sampling: d.sampling, Keys: d.keys, Log: d.log,
	})
}

// arbiter reaches etcd through this node's own member first, if it has one.
func (d *daemon) arbiter() (*store.Arbiter, error) {
	if d.member == nil {
		return store.NewArbiter(store.NewEtcd(d.client)), nil
	}
	own, err := embedetcd.Dial([]string{d.member.ClientURL()}, false, d.etcdTLS(), d.log)
	if err != nil {
		return nil, err
	}
	d.own = own
	return store.NewArbiter(store.NewEtcd(own), store.NewEtcd(d.client)), nil
}

// publish tells the cluster how this node is: figures every few seconds when something changed, a change of
// what is well and what is not at the next look, so that nobody takes a volume for healthy for long that is
// not.
func (d *daemon) publish(ctx context.Context, plane DataPlane) {
	var told, published cluster.NodeStats
	for n := 1; pause(ctx, statsLook) == nil; n++ {
		st := plane.Stats()
		st.Keys, st.Authority = d.keys.Held(), d.authorityFollowed.Load()
		d.addPurged(&st)
		st.Node = d.state.Node
		if n%statsAgain != 0 && reflect.DeepEqual(st, published) {
			continue
		}
		now := alarms(st)
		if n%statsEvery != 0 && reflect.DeepEqual(now, told) {
			continue
		}
		once, cancel := context.WithTimeout(ctx, statsTimeout)
		err := d.manager.PublishStats(once, st)
		cancel()
		if err == nil {
			told, published = now, st
		} else if ctx.Err() == nil {
			d.log.WithError(err).Debug("figures not published")
		}
	}
}

// alarms is what of stats says that something is well or not; figures that count on are left out.
func alarms(st cluster.NodeStats) cluster.NodeStats {
	out := cluster.NodeStats{Keys: st.Keys, Authority: st.Authority}
	for _, d := range st.Devices {
		out.Devices = append(out.Devices, cluster.DeviceStats{Device: d.Device, Healthy: d.Healthy,
			Purged: d.Purged})
	}
	for _, v := range st.Volumes {
		out.Volumes = append(out.Volumes, cluster.VolumeStats{Key: v.Key, Epoch: v.Epoch, State: v.State,
			Down: v.Down, Away: min(v.Away, 1), Stale: min(v.Stale, 1), MovingTo: v.MovingTo,
			Unrepaired: min(v.Unrepaired, 1), Reason: v.Reason})
	}
	return out
}

// announce records where this node is reached now, until etcd has taken it.
func (d *daemon) announce(ctx context.Context) {
	addr := d.opt.addresses(d.etcdURL(d.state.EtcdMember))
	for {
		err := d.manager.UpdateAddresses(ctx, d.state.Node, addr)
		if err == nil || ctx.Err() != nil {
			return
		}
		if final(err) {
			d.log.WithError(err).Error("the cluster refuses this node's addresses")
			return
		}
		if pause(ctx, birthRetryMax) != nil {
			return
		}
	}
}

const (
	lookAroundEvery = 5 * time.Second
	trimEvery       = 120 // looks
)

// lookAround notes what no node notes of itself, until ctx is done. Every node does; what one noted is no
// news for the others. When etcd does not answer, the next look finds the same.
func (d *daemon) lookAround(ctx context.Context) {
	for n := 1; pause(ctx, lookAroundEvery) == nil; n++ {
		if err := d.manager.LookAtNodes(ctx); err != nil {
			d.log.WithError(err).Debug("nodes not looked at")
		}
		if err := d.manager.Sweep(ctx); err != nil {
			d.log.WithError(err).Debug("what clones leave behind is not swept")
		}
		if n%trimEvery == 0 {
			if err := d.manager.TrimEvents(ctx); err != nil {
				d.log.WithError(err).Debug("events not trimmed")
			}
		}
	}
}
