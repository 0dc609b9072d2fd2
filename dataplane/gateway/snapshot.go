package gateway

import (
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// Snapshot is a snapshot as the hosts of this node see it: a namespace that is only read, by the same owner
// and on the same paths as its volume. Values are equal when they show the same.
type Snapshot struct {
	v      *Volume
	uuid   cluster.UUID
	pin    cluster.Seq
	blocks uint64 // of 512 B
}

// Snapshot shows a snapshot of a volume; false when its volume is not here, or it is not pinned yet.
func (g *Gateway) Snapshot(rec *cluster.Snapshot) (Snapshot, bool) {
	v := g.Volume(rec.Key)
	s := Snapshot{v: v, uuid: rec.UUID, pin: rec.Pin, blocks: rec.Size / cluster.LBASize}
	return s, v != nil && rec.Pin != 0
}

// Identity implements nvmet.Namespace.
func (s Snapshot) Identity() nvmet.Identity {
	return nvmet.Identity{UUID: s.uuid, NGUID: s.uuid, ReadOnly: true}
}

// Blocks implements nvmet.Namespace.
func (s Snapshot) Blocks() uint64 { return s.blocks }

// ANAState implements nvmet.Namespace: that of the volume.
func (s Snapshot) ANAState() nvme.ANAState { return s.v.ANAState() }

// Submit implements nvmet.Namespace.
func (s Snapshot) Submit(r *nvmet.Request) {
	switch r.Cmd.Opcode() {
	case nvme.OpRead, nvme.OpFlush:
		s.v.submit(r, s.pin)
	default: // nvmet lets nothing through that writes
		r.Complete(nvme.NamespaceWriteProtected.NoRetry())
	}
}

var _ nvmet.Namespace = Snapshot{}
