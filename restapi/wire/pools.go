package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// PoolCreate asks for a pool. Zero values (nil for Parity and Devices) mean the defaults.
type PoolCreate struct {
	Name       string              `json:"name"`
	Code       cluster.Code        `json:"code,omitempty"`
	Data       int                 `json:"data,omitempty"`
	Parity     *int                `json:"parity,omitempty"`
	Domain     cluster.DomainLevel `json:"domain,omitempty"`
	ChunkSize  uint32              `json:"chunk_size,omitempty"`
	StripeUnit uint32              `json:"stripe_unit,omitempty"`
	Relax      bool                `json:"relax,omitempty"`
	MinColumns int                 `json:"min_columns,omitempty"`
	Encryption string              `json:"encryption,omitempty"`
	// Compression, "s2" or "none", is of volumes that do not say otherwise.
	Compression string `json:"compression,omitempty"`
	// Provisioning, Thin or Thick, is of volumes that do not say otherwise.
	Provisioning string             `json:"provisioning,omitempty"`
	Overcommit   float64            `json:"overcommit_ratio,omitempty"`
	Devices      []cluster.DeviceID `json:"devices,omitempty"`
	Description  string             `json:"description,omitempty"`
}

// PoolChange changes who belongs to a pool.
type PoolChange struct {
	Kind    cluster.ChangeKind `json:"kind"` // "add", "remove" or "reweight"
	Devices []cluster.DeviceID `json:"devices"`
	Weight  uint32             `json:"weight,omitempty"` // of each, for "reweight"
}

// Pool is a policy for volumes and the devices they live on.
type Pool struct {
	Versioned
	ID         cluster.PoolID      `json:"id"`
	Name       string              `json:"name"`
	Code       cluster.Code        `json:"code"`
	Data       int                 `json:"data"`
	Parity     int                 `json:"parity"`
	Domain     cluster.DomainLevel `json:"domain"`
	ChunkSize  uint32              `json:"chunk_size"`
	StripeUnit uint32              `json:"stripe_unit"`
	PoolPolicy
	Usable      float64            `json:"usable_fraction"`
	Domains     PoolDomains        `json:"domains"`
	Devices     []cluster.DeviceID `json:"devices"`
	Table       uint32             `json:"table"` // newest group table: how often its devices changed
	Description string             `json:"description,omitempty"`
	Volumes     int                `json:"volumes"`
	Healing     PoolHealing        `json:"healing"`
	Capacity    Capacity           `json:"capacity"`
	Created     string             `json:"created"`
}

// PoolPolicy is what a pool asks for beside its code.
type PoolPolicy struct {
	Relax      bool     `json:"relax"`
	MinColumns int      `json:"min_columns"`
	Encryption string   `json:"encryption"` // of volumes that do not say otherwise: "none" or "aes-256-xts"
	QoS        *PoolQoS `json:"qos,omitempty"`
	// Home is the failure domain whose nodes serve its volumes; empty: none. Balance: they are spread evenly
	// over nodes that are equally near.
	Home    string `json:"home"`
	Balance bool   `json:"balance"`
	// Compression is of volumes that do not say otherwise: "none" or "s2".
	Compression string `json:"compression"`
	// Provisioning, Thin or Thick, is of volumes that do not say otherwise.
	Provisioning string  `json:"provisioning"`
	Overcommit   float64 `json:"overcommit_ratio"` // 0: not bounded
}

// PoolUpdate changes what it names of a pool, as a JSON merge patch (RFC 7396): the rest stays.
type PoolUpdate struct {
	Compression  string   `json:"compression,omitempty"`
	Provisioning string   `json:"provisioning,omitempty"`
	Overcommit   *float64 `json:"overcommit_ratio,omitempty"`
	Home         *string  `json:"home,omitempty"` // empty: none
	Balance      *bool    `json:"balance,omitempty"`
}

// PoolDomains is the failure domains of a pool's level: how many it has, how many it needs, and how many
// chunks of a page may meet in one.
type PoolDomains struct {
	Present   int `json:"present"`
	Needed    int `json:"needed"`
	PerDomain int `json:"chunks_per_domain"`
}

// PoolHealing sums up what the owners of a pool's volumes published.
type PoolHealing struct {
	Moving   int                `json:"moving"` // volumes
	Degraded int                `json:"degraded"`
	Unknown  int                `json:"unknown"`
	Down     []cluster.DeviceID `json:"down"`         // devices that do not answer some owner
	Moved    uint64             `json:"moved_groups"` // of all volumes that are moving
	Groups   uint64             `json:"groups"`
	Copied   uint64             `json:"copied_bytes"`
}

// Capacity is in bytes of user data: redundancy is taken off already.
type Capacity struct {
	Total       uint64 `json:"total_bytes"`
	Used        uint64 `json:"used_bytes"`
	Returning   uint64 `json:"returning_bytes"` // of Used, what deleted volumes held and devices are giving back
	Free        uint64 `json:"free_bytes"`
	Provisioned uint64 `json:"provisioned_bytes"`
	Reserved    uint64 `json:"reserved_bytes"` // of Provisioned, what is set aside for thick volumes
	// Rebuild is the room that the loss of the largest failure domain costs; 0 where too few would be left to
	// rebuild on.
	Rebuild uint64 `json:"rebuild_reserve_bytes"`
}

// PoolBalance is what the newest group table of a pool gives to its devices.
type PoolBalance struct {
	Table      uint32       `json:"table"`
	Devices    []DeviceFill `json:"devices"`
	LastChange *PoolMove    `json:"last_change,omitempty"` // absent while nothing changed
}

// DeviceFill is the share of one device in all chunks of a pool, 0 to 1.
type DeviceFill struct {
	Device cluster.DeviceID `json:"device"`
	Weight uint32           `json:"weight"`
	Share  float64          `json:"share"`  // that it has
	Wanted float64          `json:"wanted"` // that its weight asks for
	Cap    float64          `json:"cap"`    // that the failure domains let it have
}

// PoolMove is what a change of a pool's devices moves, in slots (one chunk of every page of one group).
type PoolMove struct {
	Moved   int `json:"moved_slots"`
	Minimum int `json:"minimum_slots"` // that any scheme would have to move
	Slots   int `json:"slots"`         // that there are
}
