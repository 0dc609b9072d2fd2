package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// JoinRequest adds a node; Token is its credential.
type JoinRequest struct {
	Token       string            `json:"token"`
	UUID        cluster.UUID      `json:"uuid"`
	Name        string            `json:"name"`
	Addresses   cluster.Addresses `json:"addresses"`
	Domain      string            `json:"domain,omitempty"`
	EtcdPeerURL string            `json:"etcd_peer_url,omitempty"`
}

// JoinResult is what a node needs to take part.
type JoinResult struct {
	Node          cluster.NodeID `json:"node"`
	ClusterID     cluster.UUID   `json:"cluster_id"`
	ClusterSecret []byte         `json:"cluster_secret"`
	Etcd          JoinEtcd       `json:"etcd"`
}

// JoinEtcd says where etcd is and whether the node is to run a member.
type JoinEtcd struct {
	Endpoints []string    `json:"endpoints"`
	Member    *EtcdMember `json:"member,omitempty"`
}

// EtcdMember is how the node starts its member. It has been added as a learner already.
type EtcdMember struct {
	Name  string     `json:"name"`
	Peers []EtcdPeer `json:"peers"`
}

// EtcdPeer is one member as the others reach it; Name is empty while it has not started.
type EtcdPeer struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Node is a server that runs ashlard.
type Node struct {
	Number     cluster.NodeID     `json:"number"`
	UUID       cluster.UUID       `json:"uuid"`
	Name       string             `json:"name"`
	NQN        string             `json:"nqn"`
	Status     string             `json:"status"` // "online" or "unavailable"
	Addresses  cluster.Addresses  `json:"addresses"`
	Domain     string             `json:"domain"`
	Voter      bool               `json:"voter"`
	EtcdMember bool               `json:"etcd_member"`
	Devices    []cluster.DeviceID `json:"devices"`
	Joined     string             `json:"joined"`
}

// DeviceCreate adds the disk or file at a path of a node; Size makes a file when nothing is there.
type DeviceCreate struct {
	Node cluster.NodeID `json:"node"`
	Path string         `json:"path"`
	Size uint64         `json:"size_bytes,omitempty"`
}

// DeviceUpdate declares a device failed or removes it.
type DeviceUpdate struct {
	State cluster.DeviceState `json:"state"`
}

// Device is a disk or file managed by a node.
type Device struct {
	Number cluster.DeviceID    `json:"number"`
	UUID   cluster.UUID        `json:"uuid"`
	Node   cluster.NodeID      `json:"node"`
	Path   string              `json:"path"`
	Size   uint64              `json:"size_bytes"`
	Weight uint32              `json:"weight"`
	State  cluster.DeviceState `json:"state"`
	Stats  *DeviceStats        `json:"stats,omitempty"`
}

// DeviceStats is what the node last published of the device.
type DeviceStats struct {
	Total uint64 `json:"total_bytes"`
	Used  uint64 `json:"used_bytes"`
	Free  uint64 `json:"free_bytes"`
	// Engine carries its I/O out: io_uring or plain. With a volatile cache every write waits for a flush, too.
	Engine        string `json:"engine,omitempty"`
	VolatileCache bool   `json:"volatile_cache"`

	Healthy bool   `json:"healthy"`
	Error   string `json:"error,omitempty"`
	Updated string `json:"updated"`
}
