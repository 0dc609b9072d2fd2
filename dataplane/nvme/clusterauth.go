package nvme

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
)

// Cluster-secret authentication, between nodes. Right after Connect, on every queue, the host runs one
// transaction of Authentication Receive and Authentication Send with SECP = SECPCluster:
//
//	host                                             controller
//	 |-- Receive, AL >= 32 ------------------------------>|
//	 |<-- challenge: 32 random bytes ---------------------|
//	 |-- Send, TL = 64: nonce(32) | HostProof(32) ------->|  wrong proof: fails with OperationDenied + DNR and
//	 |<-- success ----------------------------------------|  the connection ends
//	 |-- Receive, AL >= 32 ------------------------------>|
//	 |<-- ControllerProof(32) ----------------------------|  the host checks it, so neither side trusts blindly
//
// Both proofs cover both random values, the two names and the queue, so that none can be replayed or moved to
// another queue. The two labels keep a proof of one side from serving as a proof of the other. What follows
// is not encrypted: that is what TLS is for.
const (
	SECPCluster     uint8 = 0xf0 // vendor specific security protocol
	ChallengeSize         = 32
	NonceSize             = 32
	ProofSize             = sha256.Size
	ClusterSendSize       = NonceSize + ProofSize
)

// ClusterAuth is one authentication transaction: all that the proofs cover except the secret.
type ClusterAuth struct {
	Challenge [ChallengeSize]byte // made by the controller for this queue, from a cryptographic source
	Nonce     [NonceSize]byte     // made by the host for this queue, from a cryptographic source
	HostNQN   string
	SubNQN    string
	QID       uint16
}

// HostProof is what the host sends after its nonce: HMAC-SHA256(secret, "ashlar-host" | transaction).
func (a *ClusterAuth) HostProof(secret []byte) [ProofSize]byte { return a.proof("ashlar-host", secret) }

// ControllerProof is what the controller answers: HMAC-SHA256(secret, "ashlar-ctrl" | transaction).
func (a *ClusterAuth) ControllerProof(secret []byte) [ProofSize]byte {
	return a.proof("ashlar-ctrl", secret)
}

// proof hashes label | challenge | nonce | len(HOSTNQN) HOSTNQN | len(SUBNQN) SUBNQN | QID; lengths and QID
// are 16 bit little endian. The lengths make the names unambiguous.
func (a *ClusterAuth) proof(label string, secret []byte) (p [ProofSize]byte) {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(label))
	m.Write(a.Challenge[:])
	m.Write(a.Nonce[:])
	var n [2]byte
	for _, s := range []string{a.HostNQN, a.SubNQN} {
		put16(n[:], uint16(len(s)))
		m.Write(n[:])
		m.Write([]byte(s))
	}
	put16(n[:], a.QID)
	m.Write(n[:])
	m.Sum(p[:0])
	return p
}

// EncodeClusterSend writes the data of the Send: the nonce and the host's proof, ClusterSendSize bytes.
func (a *ClusterAuth) EncodeClusterSend(b, secret []byte) {
	p := a.HostProof(secret)
	copy(b[:NonceSize], a.Nonce[:])
	copy(b[NonceSize:ClusterSendSize], p[:])
}

// AcceptClusterSend is the controller's side: it takes over the nonce and reports whether the proof in b (the
// data of the Send) is right. An empty secret proves nothing and is never accepted.
func (a *ClusterAuth) AcceptClusterSend(b, secret []byte) bool {
	if len(b) != ClusterSendSize || len(secret) == 0 {
		return false
	}
	copy(a.Nonce[:], b)
	p := a.HostProof(secret)
	return subtle.ConstantTimeCompare(p[:], b[NonceSize:]) == 1
}

// AcceptController is the host's side: it reports whether b is the controller's proof.
func (a *ClusterAuth) AcceptController(b, secret []byte) bool {
	if len(secret) == 0 {
		return false
	}
	p := a.ControllerProof(secret)
	return subtle.ConstantTimeCompare(p[:], b) == 1
}
