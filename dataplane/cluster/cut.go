package cluster

// Cut is a shrink of a volume: what lies in it, [From, To) in bytes, goes for good. The volume keeps its
// size, To, as long as its owner looks whether there is anything; after that, or at once if that does not
// matter, it has the size From, and its owner clears what is cut off. When that is done the cut goes from
// the record; the volume does not grow before. Nor has it snapshots meanwhile: they would see what is cut
// off.
type Cut struct {
	ID    UUID   `json:"id"`
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	Asked string `json:"asked"` // RFC 3339, UTC
}

// Cleared is how far a cut is, as the owner of the volume has recorded it.
type Cleared struct {
	Cut   UUID   `json:"cut"`             // that it is about
	Look  bool   `json:"look,omitempty"`  // nothing was cleared: it was looked for something
	Until uint64 `json:"until,omitempty"` // bytes: from the cut's From up to here it is done
	Found bool   `json:"found,omitempty"` // there is something
	End   bool   `json:"end,omitempty"`   // it is done
}

// Looking reports that it is not decided yet whether the volume shrinks.
func (v *Volume) Looking() bool { return v.Cut != nil && v.Size > v.Cut.From }

// validate checks the form of the cut of v; nil is none.
func (c *Cut) validate(v *Volume) error {
	switch {
	case c == nil:
		return nil
	case c.ID.IsZero() || c.From >= c.To:
		return bad("cut", "%v from %d to %d is not complete", c.ID, c.From, c.To)
	case v.Size != c.From && v.Size != c.To:
		return bad("cut", "from %d to %d is none of a volume of %d bytes", c.From, c.To, v.Size)
	case len(v.Hosts) > 0 && v.Looking():
		return bad("cut", "%d hosts may use the volume, of which it is not known yet what is cut off", len(v.Hosts))
	}
	if err := ValidateSize("cut", c.From); err != nil {
		return err
	}
	return ValidateSize("cut", c.To)
}
