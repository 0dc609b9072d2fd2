package daemon

import "github.com/ashlar-storage/ashlar/dataplane/node"

// NewNode makes the real data plane: package node.
func NewNode(o DataPlaneOptions) (DataPlane, error) {
	return node.New(node.Options{
		Self: o.Node, ClusterID: o.ClusterID, Secret: o.Secret, PeerTLS: o.PeerTLS, DataDir: o.DataDir,
		Hosts: o.Listen.Hosts, Discovery: o.Listen.Discovery, Peers: o.Listen.Nodes,
		Sampling: o.Sampling, States: o.Maps, Arbiter: o.Arbiter, Keys: o.Keys, Log: o.Log,
	})
}
