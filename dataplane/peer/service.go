package peer

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// Chunks carries out chunk requests on local devices: a chunkd.Server.
type Chunks interface {
	Submit(*chunk.Request)
}

// Voter stores fences and answers renewals: a voter.Voter.
type Voter interface {
	Fence(f lease.Fence, about cluster.NodeID) (lease.Fenced, error)
	Renew(gateway cluster.NodeID, since lease.Position) lease.Reply
}

// Owner gives volumes up to newer owners, repairs what devices say is bad, reads for clones, and takes part
// in group snapshots: a gateway.Gateway.
type Owner interface {
	Yield(lease.Fence)
	Suspect(cluster.VolumeKey, cluster.DeviceID)
	Inherit(*chunk.Request) // as Chunks.Submit
	GroupStep(cluster.VolumeKey, uint64, cluster.GroupStep) (cluster.Pinned, error)
}

// Service is the namespace that other nodes see: chunks, votes and the gateway of this node.
type Service struct {
	chunks Chunks
	voter  Voter
	owner  Owner
	id     nvmet.Identity
	served sync.Pool
}

// NewService serves chunks, votes and the gateway's word. The identity only has to differ between nodes.
func NewService(chunks Chunks, voter Voter, owner Owner, id nvmet.Identity) *Service {
	s := &Service{chunks: chunks, voter: voter, owner: owner, id: id}
	s.served.New = func() any { return &served{service: s} }
	return s
}

// Identity implements nvmet.Namespace.
func (s *Service) Identity() nvmet.Identity { return s.id }

// Blocks implements nvmet.Namespace: there are none, only vendor commands.
func (s *Service) Blocks() uint64 { return 0 }

// ANAState implements nvmet.Namespace.
func (s *Service) ANAState() nvme.ANAState { return nvme.ANAOptimized }

// served is a chunk request that came in, with its buffers.
type served struct {
	chunk.Request
	service *Service
	req     *nvmet.Request
	records []byte
}

// Submit implements nvmet.Namespace.
func (s *Service) Submit(req *nvmet.Request) {
	switch req.Cmd.Opcode() {
	case opFence:
		go s.fence(req) // waits for a disk
	case opYield:
		go s.yield(req) // answers hosts on its way
	case opRenew:
		s.renew(req)
	case opSuspect:
		s.suspect(req)
	case opGroup:
		s.groupStep(req)
	default:
		s.submitChunk(req)
	}
}

func (s *Service) submitChunk(req *nvmet.Request) {
	c := s.served.Get().(*served)
	c.req = req
	if c.receive() != nil {
		c.Complete(chunk.Invalid)
		return
	}
	if c.Op == chunk.OpInherit {
		s.owner.Inherit(&c.Request)
		return
	}
	s.chunks.Submit(&c.Request)
}

// receive makes the request of a command and its data. Slices are used again.
func (c *served) receive() error {
	blocks, entries, journal, holes := c.Blocks[:0], c.Entries[:0], c.Journal[:0], c.Holes[:0]
	c.Request = chunk.Request{Completer: c, Result: chunk.Result{Entries: entries},
		Control: chunk.Control{Journal: journal, Holes: holes}}
	c.records = c.req.Data
	err := chunk.DecodeCommand(&c.req.Cmd, len(c.req.Data), &c.Request)
	c.Blocks = blocks
	if err != nil {
		return err
	}
	switch {
	case c.Op.Moves():
		n := c.Bytes()
		c.Data, c.records = c.req.Data[:n:n], c.req.Data[n:]
		c.Blocks = grow(blocks, int(c.Count))
	case c.Op == chunk.OpHead, c.Op == chunk.OpTombstone:
		c.Blocks = grow(blocks, int(c.Count))
	}
	return chunk.GetRequest(c.records, &c.Request)
}

func grow(blocks []chunk.BlockInfo, n int) []chunk.BlockInfo {
	blocks = slices.Grow(blocks, n)[:n]
	clear(blocks)
	return blocks
}

// ChunkDone implements chunk.Completer: it writes the answer into the command's data and completes it.
func (c *served) ChunkDone(r *chunk.Request) {
	if r.Status == chunk.OK {
		if r.Op == chunk.OpRead {
			for i := range r.Blocks {
				if r.Blocks[i].State != chunk.Data { // the buffer holds old bytes: not for others
					clear(r.Data[i*cluster.BlockSize : (i+1)*cluster.BlockSize])
				}
			}
		}
		chunk.PutAnswer(c.records, r)
	}
	st, dw0, dw1 := chunk.EncodeResult(r)
	req := c.req
	c.req, c.records, c.Data = nil, nil, nil
	c.service.served.Put(c)
	req.CompleteResult(st, dw0, dw1)
}

// fenceOf reads the fields of a Fence or Yield command.
func fenceOf(cmd *nvme.Command) (f lease.Fence, ok bool) {
	f = lease.Fence{Vol: cluster.VolumeKey{VUID: cmd.CDW10(), Generation: cmd.CDW11()}, Epoch: cmd.CDW12()}
	return f, f.Vol.Valid() && f.Epoch > 0 && f.Epoch <= cluster.MaxOwnerEpoch
}

func (s *Service) yield(req *nvmet.Request) {
	f, ok := fenceOf(&req.Cmd)
	if !ok {
		req.Complete(nvme.InvalidField.NoRetry())
		return
	}
	s.owner.Yield(f)
	req.Complete(nvme.Success)
}

func (s *Service) suspect(req *nvmet.Request) {
	vol := cluster.VolumeKey{VUID: req.Cmd.CDW10(), Generation: req.Cmd.CDW11()}
	if !vol.Valid() {
		req.Complete(nvme.InvalidField.NoRetry())
		return
	}
	s.owner.Suspect(vol, cluster.DeviceID(req.Cmd.CDW12()))
	req.Complete(nvme.Success)
}

func (s *Service) groupStep(req *nvmet.Request) {
	vol := cluster.VolumeKey{VUID: req.Cmd.CDW10(), Generation: req.Cmd.CDW11()}
	round := uint64(req.Cmd.CDW12()) | uint64(req.Cmd.CDW13())<<32
	if !vol.Valid() || round == 0 || len(req.Data) != groupAnswer {
		req.Complete(nvme.InvalidField.NoRetry())
		return
	}
	p, err := s.owner.GroupStep(vol, round, cluster.GroupStep(req.Cmd.CDW14()))
	if err != nil {
		req.Complete(nvme.AsymmetricAccessInaccessible)
		return
	}
	binary.LittleEndian.PutUint64(req.Data, uint64(p.Pin))
	binary.LittleEndian.PutUint64(req.Data[8:], uint64(p.Revision))
	req.Complete(nvme.Success)
}

func (s *Service) fence(req *nvmet.Request) {
	f, ok := fenceOf(&req.Cmd)
	if !ok {
		req.Complete(nvme.InvalidField.NoRetry())
		return
	}
	a, err := s.voter.Fence(f, cluster.NodeID(req.Cmd.CDW13()))
	if err != nil {
		req.Complete(nvme.InternalError)
		return
	}
	req.CompleteResult(nvme.Success, a.Known, uint32(min(a.Silent/1e6, 1<<32-1)))
}

func (s *Service) renew(req *nvmet.Request) {
	gateway := cluster.NodeID(req.Cmd.CDW14())
	if len(req.Data) != lease.ReplySize || gateway == 0 {
		req.Complete(nvme.InvalidField.NoRetry())
		return
	}
	since := lease.Position{
		Boot: uint64(req.Cmd.CDW10()) | uint64(req.Cmd.CDW11())<<32,
		Seq:  uint64(req.Cmd.CDW12()) | uint64(req.Cmd.CDW13())<<32,
	}
	r := s.voter.Renew(gateway, since)
	lease.EncodeReply(&r, req.Data)
	req.Complete(nvme.Success)
}
