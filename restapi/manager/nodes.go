package manager

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// maxEtcdMembers is how many nodes run a member of the embedded etcd; more would only make writes slower.
const maxEtcdMembers = 5

// SecretSize is the length of the cluster secret in bytes.
const SecretSize = 32

// Bootstrap is the birth of a cluster. The node draws ClusterID, Secret and AdminToken and keeps them on its
// disk before it asks, so that it can ask again after a crash.
type Bootstrap struct {
	ClusterID   cluster.UUID
	ClusterName string
	// EncryptNodes: nodes are to talk to each other over TLS, for as long as the cluster exists.
	EncryptNodes bool
	Secret       []byte
	AdminToken   auth.Secret
	Node         wire.JoinRequest // Token is not looked at
	// Authority is that of a cluster whose embedded etcd is encrypted, drawn by the node, too; else nil.
	Authority *cluster.Authority
}

// Bootstrap makes the cluster with its first node. Repeating it for the same cluster and node succeeds;
// another cluster in the same etcd is refused.
func (m *Manager) Bootstrap(ctx context.Context, b Bootstrap) (cluster.NodeID, error) {
	if b.ClusterID.IsZero() || len(b.Secret) != SecretSize {
		return 0, refuse(wire.InvalidField, "cluster", "needs an id and a secret of %d bytes", SecretSize)
	}
	if err := validateNode(&b.Node); err != nil {
		return 0, err
	}
	const first = cluster.NodeID(1)
	node := cluster.Node{
		Number: first, Name: b.Node.Name, UUID: b.Node.UUID, Domain: b.Node.Domain,
		Addresses: b.Node.Addresses, EtcdMember: b.Node.EtcdPeerURL != "", Joined: m.stamp(),
	}
	token := auth.Record{ID: b.AdminToken.ID(), Name: "bootstrap", Role: auth.Admin,
		Hash: b.AdminToken.Hash(), Created: m.stamp()}
	puts := []store.Put{
		put(cluster.KeyCluster, cluster.ClusterInfo{ID: b.ClusterID, Name: b.ClusterName, Created: m.stamp(),
			EncryptNodes: b.EncryptNodes, EncryptEtcd: b.Authority != nil}),
		put(cluster.KeySecret, cluster.Secret{Secret: b.Secret}),
		put(cluster.KeyMapEpoch, cluster.Epoch(1)),
		put(cluster.KeyCounterNode, first),
		put(cluster.KeyNode(first), node),
		put(cluster.KeyToken(token.ID), token),
	}
	if b.Authority != nil {
		puts = append(puts, put(cluster.KeyAuthority, b.Authority))
	}
	txn := store.Txn{Put: puts}
	for _, p := range puts {
		txn.If = append(txn.If, store.Cond{Key: p.Key})
	}
	_, err := m.store.Commit(ctx, txn)
	if !errors.Is(err, cluster.ErrConflict) {
		return first, err
	}
	v, err := m.readMap(ctx)
	if err != nil {
		return 0, err
	}
	if n := v.Nodes[first]; v.Cluster.ID != b.ClusterID || n == nil || n.UUID != b.Node.UUID {
		return 0, refuse(wire.Conflict, "cluster", "this etcd holds cluster %s already", v.Cluster.ID)
	}
	return first, nil
}

// validateNode checks what a node says of itself.
func validateNode(r *wire.JoinRequest) error {
	if err := cluster.ValidateName("name", r.Name); err != nil {
		return invalid(err)
	}
	if r.UUID.IsZero() {
		return refuse(wire.InvalidField, "uuid", "must be set")
	}
	if err := validateDomain(r.Domain); err != nil {
		return err
	}
	if r.EtcdPeerURL != "" {
		if err := validateURL("etcd_peer_url", r.EtcdPeerURL); err != nil {
			return err
		}
	}
	return validateAddresses(r.Addresses)
}

func validateDomain(path string) error {
	if path == "" {
		return nil
	}
	parts := strings.Split(path, "/")
	if len(parts) != 2 {
		return refuse(wire.InvalidField, "domain", "%q is no path of the form az/rack", path)
	}
	for _, p := range parts {
		if err := cluster.ValidateName("domain", p); err != nil {
			return invalid(err)
		}
	}
	return nil
}

func validateAddresses(a cluster.Addresses) error {
	for _, x := range []struct{ field, value string }{
		{"addresses.host", a.Host}, {"addresses.discovery", a.Discovery}, {"addresses.peer", a.Peer},
	} {
		host, port, err := net.SplitHostPort(x.value)
		n, err2 := strconv.ParseUint(port, 10, 16)
		if err != nil || err2 != nil || n == 0 || host == "" {
			return refuse(wire.InvalidField, x.field, "%q is no address:port that others can reach", x.value)
		}
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			return refuse(wire.InvalidField, x.field, "%q is no address that others can reach", x.value)
		}
	}
	if err := validateURL("addresses.rest", a.REST); err != nil {
		return err
	}
	if a.Etcd == "" {
		return nil
	}
	return validateURL("addresses.etcd", a.Etcd)
}

func validateURL(field, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(text) > 512 {
		return refuse(wire.InvalidField, field, "%q is no http(s)://address:port", text)
	}
	return nil
}

// Join adds a node with a join token and says what it needs to take part; created is false when it had joined
// before. A node that crashed asks again, with the same token or a new one.
func (m *Manager) Join(ctx context.Context,
	r wire.JoinRequest) (res wire.JoinResult, created bool, err error) {
	secret, err := auth.ParseSecret(r.Token)
	if err != nil {
		return res, false, err
	}
	var node cluster.Node
	var v *view
	err = m.decide(ctx, func() error {
		created = false
		v, err = m.readMap(ctx, store.Key(cluster.KeyToken(secret.ID())), store.Key(cluster.KeyCounterNode),
			store.Key(cluster.KeySecret))
		if err != nil {
			return err
		}
		r = encrypted(v.Cluster, r)
		node, created, err = m.admit(ctx, v, secret, &r)
		return err
	})
	if err != nil {
		return res, false, err
	}
	sec, err := decode[cluster.Secret](v.extra[2].Items[0])
	if err != nil {
		return res, false, err
	}
	res = wire.JoinResult{Node: node.Number, ClusterID: v.Cluster.ID, ClusterSecret: sec.Secret}
	if v.Cluster.EncryptEtcd {
		if err := m.certify(ctx, &r, &res); err != nil {
			return res, false, err
		}
	}
	if node.EtcdMember && r.EtcdPeerURL != "" {
		peers, err := m.members.Add(ctx, node.Name, r.EtcdPeerURL)
		if err != nil {
			return res, false, fmt.Errorf("%w: node %d is registered but its etcd member could not be added, "+
				"join again: %w", store.ErrUnavailable, node.Number, err)
		}
		res.Etcd.Member = &wire.EtcdMember{Name: node.Name, Peers: peers}
	}
	if res.Etcd.Endpoints, err = m.members.Endpoints(ctx); err != nil {
		return res, false, fmt.Errorf("%w: list etcd endpoints: %w", store.ErrUnavailable, err)
	}
	return res, created, nil
}

// admit checks the token, then registers the node or finds it registered.
func (m *Manager) admit(ctx context.Context, v *view, s auth.Secret, r *wire.JoinRequest) (
	cluster.Node, bool, error,
) {
	if len(v.extra[0].Items) == 0 {
		return cluster.Node{}, false, auth.ErrRefused
	}
	item := v.extra[0].Items[0]
	token, err := decode[auth.Record](item)
	if err != nil {
		return cluster.Node{}, false, err
	}
	if err := s.Check(token, m.now()); err != nil {
		return cluster.Node{}, false, err
	}
	if token.Role != auth.Join || !token.UsedUUID.IsZero() && token.UsedUUID != r.UUID {
		return cluster.Node{}, false, fmt.Errorf("%w: it is no unused join token", auth.ErrRefused)
	}
	if err := validateNode(r); err != nil {
		return cluster.Node{}, false, err
	}
	known, members, err := v.findNode(r)
	if err != nil {
		return cluster.Node{}, false, err
	}
	last := uint64(0)
	counterItem := store.Item{}
	if len(v.extra[1].Items) > 0 {
		counterItem = v.extra[1].Items[0]
	}
	if last, err = counter(counterItem); err != nil {
		return cluster.Node{}, false, err
	}
	node := cluster.Node{Number: cluster.NodeID(last + 1), UUID: r.UUID, Joined: m.stamp(),
		EtcdMember: r.EtcdPeerURL != "" && members < maxEtcdMembers}
	if known != nil {
		node = *known
	}
	node.Name, node.Domain, node.Addresses = r.Name, r.Domain, r.Addresses
	if known != nil && *known == node && token.UsedUUID == r.UUID {
		return node, false, nil
	}
	txn := v.change()
	v.set(txn, cluster.KeyNode(node.Number), node)
	if known == nil {
		txn.If = append(txn.If, store.Cond{Key: cluster.KeyCounterNode, Rev: counterItem.Rev})
		txn.Put = append(txn.Put, put(cluster.KeyCounterNode, node.Number))
	}
	token.UsedBy, token.UsedUUID = node.Number, r.UUID
	txn.If = append(txn.If, store.Cond{Key: item.Key, Rev: item.Rev})
	txn.Put = append(txn.Put, put(item.Key, token))
	m.note(txn, wire.Info, "node.joined", about("node", node.Number), "", "node %d (%s) joined", node.Number,
		node.Name)
	_, err = m.store.Commit(ctx, *txn)
	return node, known == nil, err
}

// findNode finds the node that calls itself by this uuid and counts the etcd members. The error refuses a
// name that another node has, and a move of a node with devices to another failure domain.
func (v *view) findNode(r *wire.JoinRequest) (known *cluster.Node, members int, err error) {
	for _, n := range v.Nodes {
		if n.EtcdMember {
			members++
		}
		switch {
		case n.UUID == r.UUID:
			known = n
		case n.Name == r.Name:
			err = refuse(wire.Conflict, "name", "node %d is called %q already", n.Number, n.Name)
		}
	}
	if err != nil || known == nil {
		return nil, members, err
	}
	if known.Name != r.Name && known.EtcdMember {
		return nil, members, refuse(wire.Conflict, "name", "node %d runs an etcd member as %q", known.Number,
			known.Name)
	}
	if known.Domain != r.Domain {
		for _, d := range v.Devices {
			if d.Node == known.Number {
				return nil, members, refuse(wire.Conflict, "domain",
					"node %d has devices in %q; moving them is not supported yet", known.Number, known.Domain)
			}
		}
	}
	return known, members, nil
}

// UpdateAddresses records where a node is reached now; the node's daemon calls it when it starts. It changes
// the map only if something changed.
func (m *Manager) UpdateAddresses(ctx context.Context, number cluster.NodeID, a cluster.Addresses) error {
	if err := validateAddresses(a); err != nil {
		return err
	}
	return m.decide(ctx, func() error {
		v, err := m.readMap(ctx)
		if err != nil {
			return err
		}
		n := v.Nodes[number]
		if n == nil {
			return notFound("node", number)
		}
		if n.Addresses == a {
			return nil
		}
		next := *n
		next.Addresses = a
		txn := v.change()
		v.set(txn, cluster.KeyNode(number), next)
		_, err = m.store.Commit(ctx, *txn)
		return err
	})
}

const (
	aliveTTL   = 10 * time.Second
	aliveRetry = time.Second
)

// KeepAlive shows the node as online until ctx is done; when the process dies, that ends by itself after
// aliveTTL. Nothing is decided by it. It always returns ctx's error.
func (m *Manager) KeepAlive(ctx context.Context, number cluster.NodeID) error {
	for ctx.Err() == nil {
		_ = m.store.Hold(ctx, cluster.KeyNodeAlive(number), []byte(strconv.Quote(m.stamp())), aliveTTL)
		_ = pause(ctx, aliveRetry)
	}
	return ctx.Err()
}

// Node statuses.
const (
	NodeOnline      = "online"
	nodeUnavailable = "unavailable"
)

// Nodes lists nodes by number, only those called name when that is not empty.
func (m *Manager) Nodes(ctx context.Context, p Page, name string) (wire.Page[wire.Node], error) {
	v, err := m.readMap(ctx, store.All(cluster.PrefixAlive))
	if err != nil {
		return wire.Page[wire.Node]{}, err
	}
	var all []wire.Node
	for _, n := range v.SortedNodes() {
		if name == "" || n.Name == name {
			all = append(all, v.node(n))
		}
	}
	return cut("nodes", p, all, func(n wire.Node) uint32 { return uint32(n.Number) })
}

// AllNodes lists all nodes by number.
func (m *Manager) AllNodes(ctx context.Context) ([]wire.Node, error) {
	v, err := m.readMap(ctx, store.All(cluster.PrefixAlive))
	if err != nil {
		return nil, err
	}
	var all []wire.Node
	for _, n := range v.SortedNodes() {
		all = append(all, v.node(n))
	}
	return all, nil
}

// Node shows one node.
func (m *Manager) Node(ctx context.Context, number cluster.NodeID) (wire.Node, error) {
	v, err := m.readMap(ctx, store.All(cluster.PrefixAlive))
	if err != nil {
		return wire.Node{}, err
	}
	n := v.Nodes[number]
	if n == nil {
		return wire.Node{}, notFound("node", number)
	}
	return v.node(n), nil
}

// node draws a node; extra[0] of the view is the keys of the nodes that are alive.
func (v *view) node(n *cluster.Node) wire.Node {
	w := wire.Node{
		Versioned: v.version(cluster.KeyNode(n.Number)), Number: n.Number,
		UUID: n.UUID, Name: n.Name, NQN: cluster.NodeNQN(v.Cluster.ID, n.Number),
		Status: nodeUnavailable, Addresses: n.Addresses, Domain: n.Domain, Voter: v.Voters.Has(n.Number),
		EtcdMember: n.EtcdMember, Devices: []cluster.DeviceID{}, Joined: n.Joined,
	}
	for _, it := range v.extra[0].Items {
		if it.Key == cluster.KeyNodeAlive(n.Number) {
			w.Status = NodeOnline
		}
	}
	for _, d := range v.SortedDevices() {
		if d.Node == n.Number {
			w.Devices = append(w.Devices, d.Number)
		}
	}
	return w
}
