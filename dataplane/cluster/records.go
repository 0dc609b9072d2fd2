package cluster

import (
	"bytes"
	"encoding/json"
	"slices"
)

// ClusterInfo is written once, at bootstrap.
type ClusterInfo struct {
	ID      UUID   `json:"id"`
	Name    string `json:"name"`
	Created string `json:"created"` // RFC 3339, UTC
	// EncryptNodes: nodes talk to each other over TLS.
	EncryptNodes bool `json:"encrypt_nodes,omitempty"`
	// EncryptEtcd: the embedded etcd is spoken to over TLS.
	EncryptEtcd bool `json:"encrypt_etcd,omitempty"`
}

// Secret admits a node to the listeners between nodes. Written once, at bootstrap, read by nodes only.
type Secret struct {
	Secret []byte `json:"secret"` // 32 random bytes, base64 in JSON
}

// VoterList names the nodes that grant leases and keep fences. It is fixed when the first pool is made,
// while no volume and so no lease exists; docs/decisions says why it does not change yet.
type VoterList struct {
	Version uint32   `json:"version"`
	Nodes   []NodeID `json:"nodes"` // odd count
}

// Majority is how many voters must agree.
func (v VoterList) Majority() int { return len(v.Nodes)/2 + 1 }

// Has reports whether n is a voter.
func (v VoterList) Has(n NodeID) bool { return slices.Contains(v.Nodes, n) }

// Node is a server that runs ashlard.
type Node struct {
	Number NodeID `json:"number"`
	Name   string `json:"name"`
	UUID   UUID   `json:"uuid"`
	// Domain is the failure domain path above the node, "az/rack"; the node itself is the last element and
	// is not repeated here. Empty means "default/default".
	Domain string `json:"domain,omitempty"`
	// Addresses are "host:port" as others reach them (the advertised ones).
	Addresses Addresses `json:"addresses"`
	// EtcdMember tells whether the node runs a member of the embedded etcd cluster.
	EtcdMember bool   `json:"etcd_member"`
	Joined     string `json:"joined"` // RFC 3339, UTC
}

// Addresses are the advertised "host:port" of a node's services.
type Addresses struct {
	Host      string `json:"host"`      // NVMe/TCP for hosts
	Discovery string `json:"discovery"` // NVMe/TCP discovery for hosts
	Peer      string `json:"peer"`      // NVMe/TCP between nodes
	REST      string `json:"rest"`      // base URL, http://host:port
	Etcd      string `json:"etcd,omitempty"`
}

// DeviceState is the administrative state of a device. Whether it answers right now is not kept here: who
// needs to know asks it.
type DeviceState string

// The states of DESIGN section 2 that exist so far.
const (
	DeviceOnline  DeviceState = "online"
	DeviceFailed  DeviceState = "failed"  // declared lost; its data is not expected back
	DeviceRemoved DeviceState = "removed" // tombstone
)

// Device is one disk or file that a node manages.
type Device struct {
	Number DeviceID    `json:"number"`
	UUID   UUID        `json:"uuid"` // also in the superblock: the wrong disk at a path is noticed
	Node   NodeID      `json:"node"`
	Path   string      `json:"path"`   // on its node
	Size   uint64      `json:"size"`   // usable bytes, a multiple of BlockSize
	Weight uint32      `json:"weight"` // share of data, in units of 64 MiB, at least 1
	State  DeviceState `json:"state"`
	// Scrub is what operators want of its scrubbing; nil: nothing in particular.
	Scrub *DeviceScrub `json:"scrub,omitempty"`
}

// DeviceScrub is what operators want of the scrubbing of a device.
type DeviceScrub struct {
	Paused bool  `json:"paused,omitempty"`
	Wanted int64 `json:"wanted,omitempty"` // when a pass was asked for last, in seconds since 1970
	// Rate is in bytes a second, Interval in seconds from the beginning of a pass to that of the next, 0: no
	// pass begins by itself. nil: DefaultScrubRate and DefaultScrubInterval.
	Rate     *uint64 `json:"rate,omitempty"`
	Interval *uint64 `json:"interval,omitempty"`
}

// How a device is scrubbed of which nobody wants anything else: one of 8 TB is read within three days, for 1
// % of what an NVMe device can do.
const (
	DefaultScrubRate     = 32 << 20
	DefaultScrubInterval = 7 * 24 * 3600
	// MaxScrubInterval bounds Interval: ten years.
	MaxScrubInterval = 10 * 365 * 24 * 3600
)

// Pace gives rate and interval.
func (s *DeviceScrub) Pace() (rate, interval uint64) {
	rate, interval = DefaultScrubRate, DefaultScrubInterval
	if s != nil && s.Rate != nil {
		rate = *s.Rate
	}
	if s != nil && s.Interval != nil {
		interval = min(*s.Interval, MaxScrubInterval)
	}
	return rate, interval
}

// Code names how a pool makes its data redundant.
type Code string

// The codes. Package stripe defines their bytes.
const (
	CodeReplica Code = "replica" // p+1 full copies (n = 1)
	CodeRS      Code = "rs"      // Reed-Solomon
	CodeRDP     Code = "rdp"     // row-diagonal parity, p = 2
)

// DomainLevel is the level of the path az/rack/node/device at which no two chunks of a page may meet.
type DomainLevel string

// The levels, from wide to narrow.
const (
	DomainAZ     DomainLevel = "az"
	DomainRack   DomainLevel = "rack"
	DomainNode   DomainLevel = "node"
	DomainDevice DomainLevel = "device"
)

// Pool is a policy for volumes, the devices they live on and the history of these.
type Pool struct {
	ID         PoolID      `json:"id"`
	Name       string      `json:"name"`
	Code       Code        `json:"code"`
	Data       int         `json:"data"`   // n, data chunks
	Parity     int         `json:"parity"` // p, further copies or parity chunks
	Domain     DomainLevel `json:"domain"`
	ChunkSize  uint32      `json:"chunk_size"`  // bytes, power of two, 64 KiB..1 MiB
	StripeUnit uint32      `json:"stripe_unit"` // bytes, power of two, 4 KiB..ChunkSize
	// Relax lets chunks meet in a domain while there are too few of them, in different domains of the
	// level below.
	Relax bool `json:"relax,omitempty"`
	// MinColumns is the least number of columns of a row that must be writable for a host's write to begin; 0
	// stands for Data, the least with which the row can be read back.
	MinColumns int `json:"min_columns,omitempty"`
	// Encryption of volumes that do not say otherwise; empty: none.
	Encryption string `json:"encryption,omitempty"`
	// Compression of volumes that do not say otherwise; empty: none.
	Compression string `json:"compression,omitempty"`
	// QoS bounds the hosts of its volumes.
	QoS *PoolQoS `json:"qos,omitempty"`
	// Locality is who serves its volumes; nil: whoever does.
	Locality *Locality `json:"locality,omitempty"`
	// Thick are volumes that do not say otherwise.
	Thick bool `json:"thick,omitempty"`
	// Overcommit is how much larger than what the pool can hold its thin volumes may be; 0: not bounded.
	Overcommit float64 `json:"overcommit,omitempty"`
	// Members and Changes are all that the group tables are computed from: who was there when the pool
	// was made, and what happened since. Changes are only ever appended.
	Members     []Member `json:"members"`
	Changes     []Change `json:"changes,omitempty"`
	Description string   `json:"description,omitempty"`
	Created     string   `json:"created"`
}

// Width is the number of chunks of a page, n + p.
func (p *Pool) Width() int { return p.Data + p.Parity }

// PageSize is the number of user bytes of a page.
func (p *Pool) PageSize() uint64 { return uint64(p.ChunkSize) * uint64(p.Data) }

// Volume is a linear array of blocks, shown to hosts as one NVMe namespace.
type Volume struct {
	UUID     UUID      `json:"uuid"` // also the namespace UUID and, byte for byte, its NGUID
	Name     string    `json:"name"`
	Project  string    `json:"project,omitempty"` // that owns it; empty: the cluster itself
	Pool     string    `json:"pool"`
	Key      VolumeKey `json:"key"`
	Size     uint64    `json:"size"` // bytes, a multiple of BlockSize
	Hosts    []string  `json:"hosts,omitempty"`
	Created  string    `json:"created"`
	Metadata Metadata  `json:"metadata,omitempty"`

	Description string `json:"description,omitempty"`
	// Parent is what a clone began as; nil: the volume began empty.
	Parent *Parent `json:"parent,omitempty"`
	// Hidden: for people it does not exist, it is kept for clones of its snapshots. No host may use it.
	Hidden bool `json:"hidden,omitempty"`
	// Encryption of its blocks; nil: none.
	Encryption *Encryption `json:"encryption,omitempty"`
	Storing
	// ReadOnly: hosts may not write. Whoever manages it may still revert, resize and flatten it.
	ReadOnly bool `json:"read_only,omitempty"`
	Serving
	// Revert is what it was asked last to become again; nil: nothing ever.
	Revert *Revert `json:"revert,omitempty"`
	// Cut is what a shrink cuts off; nil: none is under way.
	Cut *Cut `json:"cut,omitempty"`
	// Group that it is in; zero: none.
	Group UUID `json:"group,omitzero"`
	// Request is a digest of the request that created the volume, by which its repetition is recognised
	// even after a resize.
	Request string `json:"request,omitempty"`
}

// Revert is a request to make a volume what a snapshot of it shows. It is done unless that snapshot is still
// reverting.
type Revert struct {
	Request  UUID   `json:"request"` // by which its repetition is recognised
	Snapshot UUID   `json:"snapshot"`
	Asked    string `json:"asked"` // RFC 3339, UTC
}

// Metadata are free key-value pairs of the user.
type Metadata map[string]string

// Allows reports whether the host with that NQN may connect.
func (v *Volume) Allows(hostNQN string) bool { return slices.Contains(v.Hosts, hostNQN) }

// Owner is the one record that decides who serves a volume, where its placement journal is kept, and which
// group table places which of its pages. It is changed only by compare-and-swap on its revision, so a former
// owner can neither name itself again nor change what its successor relies on.
type Owner struct {
	Gateway NodeID `json:"gateway"` // preferred gateway while Epoch is 0
	Epoch   uint32 `json:"epoch"`   // 0: nobody has served the volume yet
	// Served equals Epoch once this owner has begun to answer hosts. Until then the lease of an earlier owner
	// may still run, and a take-over must not count on this owner alone being gone; and nothing that this owner
	// decided about unfinished writes counts yet.
	Served uint32 `json:"served"`
	// Released: the owner has stopped answering hosts for good and hands the volume to Gateway.
	Released bool       `json:"released,omitempty"`
	Journal  Journal    `json:"journal"`
	Layout   []Boundary `json:"layout,omitempty"`
	// View is what of the volume's past is to be kept: the pins of its snapshots, and what reverts have hidden.
	View View `json:"view,omitzero"`
	// Flattened is how far the flatten of a clone is. A revert sets it back.
	Flattened Flattened `json:"flattened,omitzero"`
	// Cleared is how far the cut of a shrink is, the last one that there was.
	Cleared Cleared `json:"cleared,omitzero"`
}

// Journal names the devices that keep a volume's placement journal.
type Journal struct {
	Version uint32     `json:"version"` // counts the changes of the list
	Members []DeviceID `json:"members,omitempty"`
}

// Groups is the number of groups that the pages of every pool hash to.
const Groups = 1 << 16

// Boundary says that the groups below Cursor, and not below the cursor of the boundary before, are placed by
// the pool's table of that number. The last boundary of a layout covers all groups.
type Boundary struct {
	Table  uint32 `json:"table"`
	Cursor uint32 `json:"cursor"`
}

// Clone is a deep copy.
func (o *Owner) Clone() Owner {
	c := *o
	c.Journal.Members = slices.Clone(o.Journal.Members)
	c.Layout = slices.Clone(o.Layout)
	c.View = o.View.Clone()
	return c
}

// Equal reports that two records say the same, as they are stored.
func (o *Owner) Equal(p *Owner) bool {
	a, err := json.Marshal(o)
	b, err2 := json.Marshal(p)
	return err == nil && err2 == nil && bytes.Equal(a, b)
}

// DeviceStats is what a node says of one of its devices.
type DeviceStats struct {
	Device DeviceID `json:"device"`
	Total  uint64   `json:"total"` // bytes for user data
	Free   uint64   `json:"free"`
	Kept   uint64   `json:"kept,omitempty"` // of Free, for what has begun: new writes of hosts get none
	// Engine carries its I/O out: io_uring or plain. With a VolatileCache every write waits for a flush, too.
	Engine        string `json:"engine,omitempty"`
	VolatileCache bool   `json:"volatile_cache,omitempty"`

	Healthy bool   `json:"healthy"`
	Error   string `json:"error,omitempty"`
	// Bad are the blocks known to be bad now: until their owner has repaired them, or nobody needs them.
	Bad   uint64      `json:"bad,omitempty"`
	Scrub *ScrubStats `json:"scrub,omitempty"` // while the device is served
	// Returning is what deleted volumes still take, in bytes; Purged is how far the device is with them and with
	// snapshots.
	Returning uint64  `json:"returning,omitempty"`
	Purged    *Purged `json:"purged,omitempty"`
}

// ScrubState is what the scrubbing of a device does.
type ScrubState string

// The states.
const (
	ScrubIdle    ScrubState = "idle" // between two passes
	ScrubRunning ScrubState = "running"
	ScrubPaused  ScrubState = "paused" // by an operator, or for good by a rate of 0
)

// ScrubStats is how far the scrubbing of a device is. Times are seconds since 1970, 0 for never; the figures
// change in steps of one percent of a pass.
type ScrubStats struct {
	State   ScrubState `json:"state"`
	Percent uint8      `json:"percent,omitempty"` // of the pass under way
	Rate    uint64     `json:"rate,omitempty"`    // bytes per second, of the pass under way so far
	Began   int64      `json:"began,omitempty"`   // the last pass that began
	Ended   int64      `json:"ended,omitempty"`   // the last one that ended
	Read    uint64     `json:"read,omitempty"`    // bytes, by the last pass that began
	Bad     uint64     `json:"bad,omitempty"`     // blocks that it found bad, known ones too
	Found   uint64     `json:"found,omitempty"`   // blocks that were found bad, ever
	Passes  uint64     `json:"passes,omitempty"`  // that ended
}

// VolumeStats is what the owner of a volume says of it.
type VolumeStats struct {
	Key VolumeKey `json:"key"`
	// Epoch is the owner epoch that speaks. What an earlier owner said tells nothing of the volume now.
	Epoch uint32 `json:"epoch"`
	State string `json:"state"` // opening, serving, waiting, refusing
	// Reason is why the node named in the owner record refuses to serve the volume, or what it lacks for that.
	Reason string `json:"reason,omitempty"`
	// Down are the devices that do not answer the owner. Away counts chunks that do not lie where the table
	// says: at alternates, or moved already; Stale those of them whose writes went nowhere.
	Down         []DeviceID `json:"down,omitempty"`
	Away         uint64     `json:"away,omitempty"`
	Stale        uint64     `json:"stale,omitempty"`
	MovingTo     uint32     `json:"moving_to,omitempty"`     // group table that it is moving to; 0 when at rest
	MovedGroups  uint32     `json:"moved_groups,omitempty"`  // of 65,536
	Copied       uint64     `json:"copied,omitempty"`        // bytes brought home or moved by this owner
	RepairedBad  uint64     `json:"repaired_bad,omitempty"`  // blocks repaired after a checksum error
	DegradedRead uint64     `json:"degraded_read,omitempty"` // reads that needed other columns
	Unrepaired   uint64     `json:"unrepaired,omitempty"`    // bad blocks that could not be repaired so far
	Compared     uint64     `json:"compared,omitempty"`      // times that this owner has compared all rows
	Disagreed    uint64     `json:"disagreed,omitempty"`     // rows with wrong parities, written anew
	// Packed is what is stored of the stripe units that were compressed by this owner, in percent of them; 0:
	// there are none.
	Packed uint8 `json:"packed,omitempty"`
}

// Slices of volumes. There is a fixed number of them, so that neither their checksums nor any of them grow
// large with the volumes that come and go. Volumes that were made one after the other are together: they
// change together.
const (
	Slices    = 512
	neighbors = 16
)

// SliceOf is the slice that a volume belongs to.
func SliceOf(k VolumeKey) uint32 { return k.VUID / neighbors % Slices }

// VolumeSlice is what a node publishes of the volumes of one slice, when that changes.
type VolumeSlice struct {
	Node    NodeID        `json:"node"`
	Volumes []VolumeStats `json:"volumes"`
}

// NodeStats is published by every node when it changes, at most every few seconds.
type NodeStats struct {
	Node    NodeID        `json:"node"`
	Updated string        `json:"updated"`
	Devices []DeviceStats `json:"devices,omitempty"`
	// Volumes are kept in slices: one record of all would be too large for etcd when there are many, and would
	// be written anew for each that changes. Slices has the checksums of those that there are; Down counts the
	// volumes that a device does not answer.
	Volumes []VolumeStats     `json:"-"`
	Slices  map[uint32]string `json:"slices,omitempty"`
	Down    map[DeviceID]int  `json:"down,omitempty"`
	// Keys are the ids of the cluster keys that the node has found.
	Keys []string `json:"keys,omitempty"`
	// Authority is the generation of the authority's record that the node follows.
	Authority uint64 `json:"authority,omitempty"`
}
