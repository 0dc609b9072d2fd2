package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// PoolCreate asks for a pool. Zero values (and a nil Devices) mean the defaults; Parity has none.
type PoolCreate struct {
	Name        string              `json:"name"`
	Code        cluster.Code        `json:"code,omitempty"`
	Data        int                 `json:"data,omitempty"`
	Parity      *int                `json:"parity"`
	Domain      cluster.DomainLevel `json:"domain,omitempty"`
	ChunkSize   uint32              `json:"chunk_size,omitempty"`
	StripeUnit  uint32              `json:"stripe_unit,omitempty"`
	Devices     []cluster.DeviceID  `json:"devices,omitempty"`
	Description string              `json:"description,omitempty"`
}

// Pool is a policy for volumes and the devices they live on.
type Pool struct {
	ID          cluster.PoolID      `json:"id"`
	Name        string              `json:"name"`
	Code        cluster.Code        `json:"code"`
	Data        int                 `json:"data"`
	Parity      int                 `json:"parity"`
	Domain      cluster.DomainLevel `json:"domain"`
	ChunkSize   uint32              `json:"chunk_size"`
	StripeUnit  uint32              `json:"stripe_unit"`
	Devices     []cluster.DeviceID  `json:"devices"`
	Description string              `json:"description,omitempty"`
	Volumes     int                 `json:"volumes"`
	Capacity    Capacity            `json:"capacity"`
	Created     string              `json:"created"`
}

// Capacity is in bytes of user data: redundancy is taken off already.
type Capacity struct {
	Total       uint64 `json:"total_bytes"`
	Used        uint64 `json:"used_bytes"`
	Free        uint64 `json:"free_bytes"`
	Provisioned uint64 `json:"provisioned_bytes"`
}

// VolumeCreate asks for a volume. ID is the identity by which a repetition is recognised.
type VolumeCreate struct {
	ID       cluster.UUID     `json:"id,omitzero"`
	Name     string           `json:"name"`
	Pool     string           `json:"pool"`
	Size     uint64           `json:"size_bytes"`
	Metadata cluster.Metadata `json:"metadata,omitempty"`
}

// VolumeUpdate grows a volume.
type VolumeUpdate struct {
	Size uint64 `json:"size_bytes"`
}

// Volume is a block device shown to hosts.
type Volume struct {
	ID         cluster.UUID     `json:"id"`
	Name       string           `json:"name"`
	Pool       string           `json:"pool"`
	Size       uint64           `json:"size_bytes"`
	VUID       uint32           `json:"vuid"`
	Generation uint32           `json:"generation"`
	NQN        string           `json:"nqn"`
	Health     Status           `json:"health"`
	State      string           `json:"state,omitempty"`
	Owner      *Owner           `json:"owner,omitempty"`
	Out        []Out            `json:"out"`
	Hosts      []string         `json:"hosts"`
	Metadata   cluster.Metadata `json:"metadata"`
	Created    string           `json:"created"`
}

// Owner is the gateway that serves a volume, and its owner epoch.
type Owner struct {
	Gateway cluster.NodeID `json:"gateway"`
	Epoch   uint32         `json:"epoch"`
}

// Out is a device that lacks writes of the volume.
type Out struct {
	Device cluster.DeviceID `json:"device"`
	Since  string           `json:"since,omitempty"`
	Resync *Resync          `json:"resync,omitempty"`
}

// Resync is how far the copying back is.
type Resync struct {
	Done  uint64 `json:"done_bytes"`
	Total uint64 `json:"total_bytes"`
}

// Export is how one host reaches a volume.
type Export struct {
	Volume  cluster.UUID `json:"volume"`
	Host    string       `json:"host"`
	NQN     string       `json:"nqn"`
	UUID    cluster.UUID `json:"uuid"`
	Portals []Portal     `json:"portals"`
}

// Portal is one address of a subsystem.
type Portal struct {
	Transport string         `json:"transport"` // "tcp"
	Address   string         `json:"address"`
	Port      int            `json:"port"`
	Node      cluster.NodeID `json:"node"`
}
