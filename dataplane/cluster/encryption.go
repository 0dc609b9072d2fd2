package cluster

// Encryption algorithms of pools and volumes.
const (
	EncryptionNone = "none"
	AES256XTS      = "aes-256-xts"
)

// Encryption is how a volume is encrypted. It is made with the volume and stays, but for how the data key is
// wrapped. A clone has its parent's.
type Encryption struct {
	Algorithm string `json:"algorithm"`
	// DataKey names the key that the blocks are encrypted with, Wrapped is that key encrypted with the cluster
	// key of the id ClusterKey (package seal). Without Wrapped the data key was destroyed: nothing opens the
	// volume any more.
	DataKey    UUID   `json:"data_key"`
	Wrapped    []byte `json:"wrapped,omitempty"`
	ClusterKey string `json:"cluster_key,omitempty"`
}

// ClusterKeys says which cluster key wraps data keys from now on. The keys themselves are kept elsewhere.
type ClusterKeys struct {
	Current string `json:"current,omitempty"` // empty: none yet, no volume can be encrypted
	Since   string `json:"since,omitempty"`   // RFC 3339, UTC
}

// ValidateEncryption checks the name of an algorithm; the empty name stands for none.
func ValidateEncryption(field, algorithm string) error {
	switch algorithm {
	case "", EncryptionNone, AES256XTS:
		return nil
	}
	return bad(field, "%q is neither %s nor %s", algorithm, AES256XTS, EncryptionNone)
}

// Validate checks the form of a volume's encryption.
func (e *Encryption) Validate() error {
	if e == nil {
		return nil
	}
	switch {
	case e.Algorithm != AES256XTS:
		return bad("encryption", "%q is not %s", e.Algorithm, AES256XTS)
	case e.DataKey.IsZero():
		return bad("encryption", "names no data key")
	case len(e.Wrapped) > 0 && e.ClusterKey == "":
		return bad("encryption", "names no cluster key")
	}
	return nil
}
