package nvmet

import (
	"crypto/rand"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// clusterAuth is the cluster-secret transaction of one queue (nvme.ClusterAuth draws it). It belongs to the
// reader.
type clusterAuth struct {
	nvme.ClusterAuth
	secret   []byte
	step     authStep
	passed   bool // the whole transaction is done
	verified bool // the host's proof was right
}

// authStep is what comes next in the transaction.
type authStep uint8

const (
	authChallenge authStep = iota // Receive: the challenge goes to the host
	authProof                     // Send: the host's proof
	authAnswer                    // Receive: our proof
	authOver
)

// newAuth begins a transaction for a queue, or returns nil when the target has no secret.
func (t *Target) newAuth(d nvme.ConnectData, qid uint16) *clusterAuth {
	if len(t.options.Secret) == 0 {
		return nil
	}
	a := &clusterAuth{secret: t.options.Secret}
	a.HostNQN, a.SubNQN, a.QID = d.HostNQN, d.SubNQN, qid
	rand.Read(a.Challenge[:]) // never fails: crypto/rand ends the program instead
	return a
}

// receive carries out Authentication Receive; r.Data is cleared.
func (a *clusterAuth) receive(r *Request) nvme.Status {
	f := r.Cmd.AuthFields()
	if f.SECP != nvme.SECPCluster || len(r.Data) < nvme.ProofSize || f.Length < nvme.ProofSize {
		return nvme.InvalidField.NoRetry()
	}
	switch a.step {
	case authChallenge:
		copy(r.Data, a.Challenge[:])
		a.step = authProof
	case authAnswer:
		proof := a.ControllerProof(a.secret)
		copy(r.Data, proof[:])
		a.step, a.passed = authOver, a.verified
	default:
		return nvme.CommandSequenceError.NoRetry()
	}
	return nvme.Success
}

// send carries out Authentication Send. After a wrong proof the connection ends: there is no second guess.
func (a *clusterAuth) send(r *Request) nvme.Status {
	f := r.Cmd.AuthFields()
	if f.SECP != nvme.SECPCluster || int(f.Length) != len(r.Data) {
		return nvme.InvalidField.NoRetry()
	}
	if a.step != authProof {
		return nvme.CommandSequenceError.NoRetry()
	}
	if !a.AcceptClusterSend(r.Data, a.secret) {
		a.step = authOver
		return nvme.OperationDenied.NoRetry()
	}
	a.step, a.verified = authAnswer, true
	return nvme.Success
}
