package cluster

// Parent is where a clone reads what was never written in it: another volume as it was at a pin. It is part
// of the record of the clone, made with it and dropped by nothing but a flatten.
type Parent struct {
	Volume UUID      `json:"volume"`
	Key    VolumeKey `json:"key"` // of that volume
	// Snapshot has the pin: it is kept, with its volume, until the last clone of it lets go.
	Snapshot UUID   `json:"snapshot"`
	Pin      Seq    `json:"pin"`
	Size     uint64 `json:"size"` // of the volume then, in bytes; what is behind it began empty
	// Flatten asks the owner of the clone to copy what the parent shows. When it has, and no pin is left that
	// may see the parent (Owner.Independent), the link goes.
	Flatten bool `json:"flatten,omitempty"`
}

// Flattened is how far a flatten is, as the owner of the clone has recorded it.
type Flattened struct {
	Rows uint64 `json:"rows,omitempty"` // block rows, from the first page on, that show nothing of the parent
	At   Seq    `json:"at,omitempty"`   // since it is complete: pins from before may see the parent
}

// Independent reports that a clone needs its parent no more: its flatten is complete, and all its pins are
// later.
func (o *Owner) Independent() bool {
	return o.Flattened.At != 0 && (len(o.View.Pins) == 0 || o.View.Pins[0] > o.Flattened.At)
}

// validate checks the form of the parent of v; nil is none.
func (p *Parent) validate(v *Volume) error {
	if p == nil {
		return nil
	}
	switch {
	case p.Volume.IsZero() || p.Snapshot.IsZero() || !p.Key.Valid() || p.Pin == 0:
		return bad("parent", "snapshot %v of volume %v (%v) at %v is not complete", p.Snapshot, p.Volume, p.Key,
			p.Pin)
	case p.Volume == v.UUID || p.Key == v.Key:
		return bad("parent", "volume %v (%v) is its own parent", p.Volume, p.Key)
	case p.Size > v.Size:
		return bad("parent", "has %d bytes, its clone must not be smaller: %d", p.Size, v.Size)
	}
	return ValidateSize("parent", p.Size)
}
