package cluster

// QoS bounds what hosts may do; 0 is no bound.
type QoS struct {
	IOPS      uint64 `json:"iops,omitempty"`             // commands a second
	Bandwidth uint64 `json:"bytes_per_second,omitempty"` // read and written
	BurstMS   uint32 `json:"burst_ms,omitempty"`         // how much of it may come at once; 0: DefaultBurst
}

// PoolQoS bounds the volumes of a pool.
type PoolQoS struct {
	Total  *QoS `json:"total,omitempty"`      // of all its volumes together
	Volume *QoS `json:"per_volume,omitempty"` // of each volume that has no bound of its own
}

// Bounds of QoS. A limit far below what a host has under way would make it wait for longer than hosts wait
// for an answer (30 s with Linux), and a burst far below the resolution of timers would cost rate.
const (
	MinIOPS      = 10
	MaxIOPS      = 100_000_000
	MinBandwidth = 1 << 20
	MaxBandwidth = 1 << 40
	DefaultBurst = 100 // milliseconds
	MinBurst     = 10
	MaxBurst     = 60_000
)

// None reports that nothing is bounded.
func (q *QoS) None() bool { return q == nil || q.IOPS == 0 && q.Bandwidth == 0 }

// Validate checks the bounds.
func (q *QoS) Validate(field string) error {
	switch {
	case q == nil:
	case q.IOPS != 0 && (q.IOPS < MinIOPS || q.IOPS > MaxIOPS):
		return bad(field, "iops is %d, allowed are 0 (no bound) and %d to %d", q.IOPS, MinIOPS, MaxIOPS)
	case q.Bandwidth != 0 && (q.Bandwidth < MinBandwidth || q.Bandwidth > MaxBandwidth):
		return bad(field, "bytes_per_second is %d, allowed are 0 (no bound) and %d to %d", q.Bandwidth,
			MinBandwidth, uint64(MaxBandwidth))
	case q.BurstMS != 0 && (q.BurstMS < MinBurst || q.BurstMS > MaxBurst):
		return bad(field, "burst_ms is %d, allowed are %d to %d", q.BurstMS, MinBurst, MaxBurst)
	}
	return nil
}

// Validate checks both.
func (q *PoolQoS) Validate() error {
	if q == nil {
		return nil
	}
	if err := q.Total.Validate("total"); err != nil {
		return err
	}
	return q.Volume.Validate("per_volume")
}

// VolumeQoS is what bounds a volume of the pool by itself: its own bounds, else those of the pool.
func (p *Pool) VolumeQoS(v *Volume) *QoS {
	if v.QoS != nil || p.QoS == nil {
		return v.QoS
	}
	return p.QoS.Volume
}

// TotalQoS is what bounds all volumes of the pool together.
func (p *Pool) TotalQoS() *QoS {
	if p.QoS == nil {
		return nil
	}
	return p.QoS.Total
}
