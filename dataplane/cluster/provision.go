package cluster

// MaxOvercommit bounds Pool.Overcommit.
const MaxOvercommit = 1000

// ValidateOvercommit checks the form of Pool.Overcommit.
func ValidateOvercommit(field string, ratio float64) error {
	if ratio != 0 && !(ratio >= 1 && ratio <= MaxOvercommit) {
		return bad(field, "is %g, allowed are 0 (no bound) and 1 to %d", ratio, MaxOvercommit)
	}
	return nil
}

// Provisioned is what the volumes of a pool ask for, in bytes as hosts see them: hidden ones too, for they
// take space; snapshots not, they take what is written over.
type Provisioned struct {
	Thin  uint64 `json:"thin,omitempty"`
	Thick uint64 `json:"thick,omitempty"`
}

// Provisioned is what one volume asks for; nothing without a volume.
func (v *Volume) Provisioned() Provisioned {
	switch {
	case v == nil:
		return Provisioned{}
	case v.Thick:
		return Provisioned{Thick: v.Size}
	}
	return Provisioned{Thin: v.Size}
}

// Plus is the sum.
func (p Provisioned) Plus(o Provisioned) Provisioned {
	return Provisioned{Thin: p.Thin + o.Thin, Thick: p.Thick + o.Thick}
}

// Minus is what is left. Nothing falls below 0.
func (p Provisioned) Minus(o Provisioned) Provisioned {
	return Provisioned{Thin: p.Thin - min(p.Thin, o.Thin), Thick: p.Thick - min(p.Thick, o.Thick)}
}

// Fits reports whether a pool that holds total bytes of user data takes so much: thick volumes have their
// space for themselves, thin ones share the rest, over-committed by the pool's ratio.
func (p *Pool) Fits(want Provisioned, total uint64) bool {
	switch {
	case want.Thick > total:
		return false
	case p.Overcommit == 0:
		return true
	}
	return float64(want.Thin) <= p.Overcommit*float64(total-want.Thick)
}
