package cluster

import (
	"fmt"
	"math/bits"
	"strings"
	"unicode"
)

// Limits of records, in bytes where nothing else is said.
const (
	MinChunkSize   = 64 << 10
	MaxChunkSize   = 1 << 20
	MinStripeUnit  = BlockSize
	MaxParity      = 3
	MaxData        = 16
	MaxNameLength  = 128
	MaxVolumeSize  = 1 << 50 // 1 PiB
	MaxNQNLength   = 223     // NVMe base specification, NVMe Qualified Names
	MaxHosts       = 64      // hosts allowed on one volume
	MaxMetadata    = 64      // pairs
	MaxMetaBytes   = 255     // of each key and value
	MaxDescription = 255
)

// FieldError says which field of a record is wrong, and why, in words for people.
type FieldError struct {
	Field  string
	Reason string
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

func bad(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// ValidateName checks the name of a node, pool or volume: letters, digits and ". _ - :", starting with a
// letter or digit, at most MaxNameLength bytes. (OpenStack's "volume-<uuid>" passes.)
func ValidateName(field, s string) error {
	if s == "" {
		return bad(field, "must not be empty")
	}
	if len(s) > MaxNameLength {
		return bad(field, "is %d bytes long, at most %d are allowed", len(s), MaxNameLength)
	}
	for i, r := range s {
		alnum := r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r))
		if !alnum && (i == 0 || !strings.ContainsRune("._-:", r)) {
			return bad(field, "has %q at byte %d; allowed are letters, digits and . _ - : (first a letter or digit)",
				r, i)
		}
	}
	return nil
}

// ValidateNQN checks the form of an NVMe qualified name.
func ValidateNQN(field, s string) error {
	if len(s) > MaxNQNLength {
		return bad(field, "is %d bytes long, an NQN has at most %d", len(s), MaxNQNLength)
	}
	if !strings.HasPrefix(s, "nqn.") || len(s) < len("nqn.yyyy-mm.x") {
		return bad(field, "%q is no NVMe qualified name (nqn.yyyy-mm.reverse.domain:...)", s)
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return bad(field, "has a blank or control character at byte %d", i)
		}
	}
	return nil
}

// ValidateSize checks the size of a volume in bytes.
func ValidateSize(field string, size uint64) error {
	switch {
	case size == 0:
		return bad(field, "must be larger than 0")
	case size%BlockSize != 0:
		return bad(field, "%d is not a multiple of %d", size, BlockSize)
	case size > MaxVolumeSize:
		return bad(field, "%d is larger than the limit of %d (1 PiB)", size, uint64(MaxVolumeSize))
	}
	return nil
}

// Validate checks the fields of a volume record.
func (v *Volume) Validate() error {
	if err := ValidateName("name", v.Name); err != nil {
		return err
	}
	if v.Project != "" {
		if err := ValidateName("project", v.Project); err != nil {
			return err
		}
	}
	if err := ValidateSize("size", v.Size); err != nil {
		return err
	}
	if len(v.Description) > MaxDescription {
		return bad("description", "is %d bytes long, at most %d are allowed", len(v.Description), MaxDescription)
	}
	if v.UUID.IsZero() {
		return bad("uuid", "must be set")
	}
	if !v.Key.Valid() {
		return bad("key", "%v is out of range", v.Key)
	}
	if len(v.Hosts) > MaxHosts {
		return bad("hosts", "%d hosts, at most %d are allowed", len(v.Hosts), MaxHosts)
	}
	for _, h := range v.Hosts {
		if err := ValidateNQN("hosts", h); err != nil {
			return err
		}
	}
	if v.Hidden && len(v.Hosts) > 0 {
		return bad("hosts", "%d hosts may use a volume that is only kept for its clones", len(v.Hosts))
	}
	if err := v.Parent.validate(v); err != nil {
		return err
	}
	if err := v.Cut.validate(v); err != nil {
		return err
	}
	if err := v.Encryption.Validate(); err != nil {
		return err
	}
	if err := ValidateCompression("compression", v.Compression); err != nil {
		return err
	}
	if err := v.QoS.Validate("qos"); err != nil {
		return err
	}
	if v.Home != nil {
		if err := ValidateHome("home", *v.Home); err != nil {
			return err
		}
	}
	return v.Metadata.Validate()
}

// Validate checks count and length of the pairs.
func (m Metadata) Validate() error {
	if len(m) > MaxMetadata {
		return bad("metadata", "%d pairs, at most %d are allowed", len(m), MaxMetadata)
	}
	for k, v := range m {
		if k == "" || len(k) > MaxMetaBytes || len(v) > MaxMetaBytes {
			return bad("metadata", "key %q or its value is empty or longer than %d bytes", k, MaxMetaBytes)
		}
	}
	return nil
}

// Validate checks a pool record; whether its devices are in enough domains is [Pool.ChunksPerDomain].
func (p *Pool) Validate() error {
	if err := p.ValidatePolicy(); err != nil {
		return err
	}
	_, err := p.Roster()
	return err
}

// ValidatePolicy checks what a pool asks for, not what it is on.
func (p *Pool) ValidatePolicy() error {
	if err := ValidateName("name", p.Name); err != nil {
		return err
	}
	if err := p.Code.Validate(p.Data, p.Parity); err != nil {
		return err
	}
	switch p.Domain {
	case DomainAZ, DomainRack, DomainNode, DomainDevice:
	default:
		return bad("domain", "%q is none of az, rack, node, device", p.Domain)
	}
	if !powerOfTwo(p.ChunkSize) || p.ChunkSize < MinChunkSize || p.ChunkSize > MaxChunkSize {
		return bad("chunk_size", "%d is not a power of two from %d to %d", p.ChunkSize, MinChunkSize, MaxChunkSize)
	}
	if !powerOfTwo(p.StripeUnit) || p.StripeUnit < MinStripeUnit || p.StripeUnit > p.ChunkSize {
		return bad("stripe_unit", "%d is not a power of two from %d to the chunk size", p.StripeUnit, MinStripeUnit)
	}
	if p.MinColumns != 0 && (p.MinColumns < p.Data || p.MinColumns > p.Width()) {
		return bad("min_columns", "is %d, a row of %d+%d has %d (what is needed to read it) to %d columns",
			p.MinColumns, p.Data, p.Parity, p.Data, p.Width())
	}
	if err := p.QoS.Validate(); err != nil {
		return err
	}
	if p.Locality != nil {
		if err := ValidateHome("locality", p.Locality.Home); err != nil {
			return err
		}
	}
	if err := ValidateOvercommit("overcommit", p.Overcommit); err != nil {
		return err
	}
	if err := p.Compressible("compression", p.Compression); err != nil {
		return err
	}
	return ValidateEncryption("encryption", p.Encryption)
}

// Validate checks that the code exists and takes n data and p parity chunks.
func (c Code) Validate(n, p int) error {
	switch c {
	case CodeReplica:
		if n != 1 {
			return bad("data", "is %d, but code %q keeps whole copies: data must be 1", n, c)
		}
	case CodeRS, CodeRDP:
		if n < 1 || n > MaxData {
			return bad("data", "is %d, code %q takes 1 to %d data chunks", n, c, MaxData)
		}
	default:
		return bad("code", "%q is none of %s, %s, %s", c, CodeReplica, CodeRS, CodeRDP)
	}
	switch {
	case c == CodeRDP && p != 2:
		return bad("parity", "is %d, code %q always has 2 parity chunks", p, c)
	case p < 0 || p > MaxParity:
		return bad("parity", "is %d, code %q takes 0 to %d", p, c, MaxParity)
	}
	return nil
}

func powerOfTwo(x uint32) bool { return bits.OnesCount32(x) == 1 }
