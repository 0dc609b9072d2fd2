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
	// CertificateRequest (PEM, PKCS 10) is what the node wants a certificate for, should it need one to reach
	// etcd.
	CertificateRequest string `json:"certificate_request,omitempty"`
}

// JoinResult is what a node needs to take part.
type JoinResult struct {
	Node          cluster.NodeID `json:"node"`
	ClusterID     cluster.UUID   `json:"cluster_id"`
	ClusterSecret []byte         `json:"cluster_secret"`
	Etcd          JoinEtcd       `json:"etcd"`
	// Certificate (PEM, with its issuer's) and whom to trust (PEM) are there if etcd is encrypted.
	Certificate string `json:"certificate,omitempty"`
	Authorities string `json:"authorities,omitempty"`
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
	Versioned
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
	Versioned
	Number      cluster.DeviceID    `json:"number"`
	UUID        cluster.UUID        `json:"uuid"`
	Node        cluster.NodeID      `json:"node"`
	Path        string              `json:"path"`
	Size        uint64              `json:"size_bytes"`
	Weight      uint32              `json:"weight"`
	State       cluster.DeviceState `json:"state"`
	ScrubPolicy ScrubPolicy         `json:"scrub_policy"`
	Stats       *DeviceStats        `json:"stats,omitempty"`
}

// The actions of a ScrubRequest.
const (
	ScrubStart = "start" // begin a pass now, or go on with one that is paused
	ScrubPause = "pause" // no pass begins or goes on until the next start
)

// ScrubRequest asks for a pass over a device or pauses its scrubbing, or changes its pace. What is left out
// stays as it is.
type ScrubRequest struct {
	Action   string  `json:"action,omitempty"`
	Rate     *uint64 `json:"bytes_per_second,omitempty"` // at most; 0: no scrubbing
	Interval *uint64 `json:"interval_seconds,omitempty"` // from one pass to the next; 0: only when asked for
}

// ScrubPolicy is how a device is to be scrubbed.
type ScrubPolicy struct {
	Paused   bool   `json:"paused"`
	Rate     uint64 `json:"bytes_per_second"`
	Interval uint64 `json:"interval_seconds"`
}

// Scrub is how far the scrubbing of a device is: the reading of all it holds.
type Scrub struct {
	State   string `json:"state"`            // idle, running or paused
	Percent uint8  `json:"percent"`          // of the pass under way
	Rate    uint64 `json:"bytes_per_second"` // of the pass under way so far
	Began   string `json:"began,omitempty"`  // the last pass that began
	Ended   string `json:"ended,omitempty"`  // the last one that ended
	Read    uint64 `json:"read_bytes"`       // by the last pass that began
	Bad     uint64 `json:"bad_blocks"`       // that it found bad, known ones too
	Found   uint64 `json:"found_blocks"`     // that were found bad, ever
	Passes  uint64 `json:"passes"`           // that ended
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
	// Bad are the blocks known to be bad now: until they are repaired, or nobody needs them.
	Bad   uint64 `json:"bad_blocks,omitempty"`
	Scrub *Scrub `json:"scrub,omitempty"` // while the device is served
}
