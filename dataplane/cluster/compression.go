package cluster

// Compression algorithms of pools and volumes.
const (
	CompressionNone = "none"
	CompressionS2   = "s2"
)

// Storing is how much room a volume takes.
type Storing struct {
	// Thick: its whole size is set aside in the pool.
	Thick bool `json:"thick,omitempty"`
	// Compression of its stripe units; empty: none. It is made with the volume and stays.
	Compression string `json:"compression,omitempty"`
}

// ValidateCompression checks the name of an algorithm; the empty name stands for none.
func ValidateCompression(field, algorithm string) error {
	switch algorithm {
	case "", CompressionNone, CompressionS2:
		return nil
	}
	return bad(field, "%q is neither %s nor %s", algorithm, CompressionS2, CompressionNone)
}

// Compressible checks that a volume in the pool can have a compression: what is gained is whole blocks of a
// stripe unit.
func (p *Pool) Compressible(field, algorithm string) error {
	if err := ValidateCompression(field, algorithm); err != nil {
		return err
	}
	if algorithm == CompressionS2 && p.StripeUnit < 2*BlockSize {
		return bad(field, "needs stripe units of at least %d bytes, those of pool %q have %d", 2*BlockSize, p.Name,
			p.StripeUnit)
	}
	return nil
}
