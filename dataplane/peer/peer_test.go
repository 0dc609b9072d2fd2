package peer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd/chunkdtest"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
	"github.com/ashlar-storage/ashlar/dataplane/peer"
	"github.com/ashlar-storage/ashlar/dataplane/voter"
)

// remote is a server at node 2 as node 1 sees it, over a real connection.
type remote struct {
	*peer.Manager
	target *nvmet.Target
	given  givenUp
}

// givenUp is a gateway that remembers what it was asked to give up, and what it was told of.
type givenUp struct {
	fences   chan lease.Fence
	suspects chan suspect
	inherits chan *chunk.Request
}

type suspect struct {
	vol    cluster.VolumeKey
	device cluster.DeviceID
}

func (g givenUp) Yield(f lease.Fence) { g.fences <- f }

func (g givenUp) Suspect(vol cluster.VolumeKey, d cluster.DeviceID) { g.suspects <- suspect{vol, d} }

func (g givenUp) Inherit(r *chunk.Request) { g.inherits <- r }

// GroupStep pins volume 7, at revision 9, and refuses everything else.
func (g givenUp) GroupStep(vol cluster.VolumeKey, round uint64, step cluster.GroupStep) (cluster.Pinned,
	error) {
	if vol.VUID != 7 || step != cluster.GroupPin {
		return cluster.Pinned{}, errors.New("not so")
	}
	return cluster.Pinned{Pin: cluster.Seq(round), Revision: 9}, nil
}

// Submit implements chunkdtest.Submitter.
func (r remote) Submit(q *chunk.Request) { r.Manager.Submit(2, q) }

const secret = "secret of a cluster of thirtytwo"

func newRemote(t testing.TB, hostSecret string) remote {
	t.Helper()
	return newRemoteOver(t, hostSecret, nil, nil)
}

// newRemoteOver is newRemote with TLS on both sides; nil: none.
func newRemoteOver(t testing.TB, hostSecret string, listen, dial *tls.Config) remote {
	t.Helper()
	dev := blockdev.NewMem(blockdev.MemOptions{Size: 128 << 20, VolatileCache: true})
	if err := pagestore.Format(t.Context(), dev, pagestore.FormatOptions{ClusterID: [16]byte{4},
		DeviceUUID: [16]byte{1}}); err != nil {
		t.Fatal(err)
	}
	store, err := pagestore.Open(t.Context(), dev, pagestore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := chunkd.New()
	server.Attach(chunkdtest.Device, store)
	votes, err := voter.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id, given := cluster.UUID{4}, givenUp{make(chan lease.Fence, 1), make(chan suspect, 1),
		make(chan *chunk.Request, 1)}
	target, err := nvmet.New(nvmet.Options{Secret: []byte("secret of a cluster of thirtytwo"), QueueDepth: 1024,
		MDTS: cluster.MaxChunkSize})
	if err != nil {
		t.Fatal(err)
	}
	err = target.Put(nvmet.SubsystemConfig{NQN: cluster.NodeNQN(id, 2), Serial: "2", Vendor: true,
		Namespace:    peer.NewService(server, votes, given, nvmet.Identity{UUID: id, NGUID: id}),
		AllowedHosts: []string{cluster.NodeNQN(id, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := nvmet.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if listen != nil {
		ln = tls.NewListener(ln, listen)
	}
	go target.Serve(ln)
	log := logrus.New()
	log.SetOutput(io.Discard)
	m := peer.NewManager(peer.Options{Cluster: id, Self: 1, Secret: []byte(hostSecret), TLS: dial,
		Log: logrus.NewEntry(log)})
	err = m.Update(map[cluster.NodeID]*cluster.Node{2: {Number: 2,
		Addresses: cluster.Addresses{Peer: ln.Addr().String()}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		target.Close()
		store.Close()
		if _, err := pagestore.Check(context.Background(), dev, pagestore.CheckOptions{Data: true}); err != nil {
			t.Error(err)
		}
		votes.Close()
	})
	return remote{m, target, given}
}

func connected(t testing.TB, r remote) remote {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !r.Connected(2); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("not connected")
		}
	}
	return r
}

func TestRemote(t *testing.T) {
	chunkdtest.Run(t, func(t *testing.T) chunkdtest.Submitter {
		return connected(t, newRemote(t, "secret of a cluster of thirtytwo"))
	})
}

func TestAWrongSecretGetsNothing(t *testing.T) {
	r := newRemote(t, "another secret, just as long, so")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if r.Connected(2) {
		t.Fatal("a node with another secret was admitted")
	}
}

func TestVotes(t *testing.T) {
	r := connected(t, newRemote(t, "secret of a cluster of thirtytwo"))
	vol := cluster.VolumeKey{VUID: 3, Generation: 1}
	if a, err := r.Fence(t.Context(), 2, lease.Fence{Vol: vol, Epoch: 6}, 1); err != nil || a.Known != 6 {
		t.Fatalf("%+v, %v", a, err)
	}
	if a, err := r.Fence(t.Context(), 2, lease.Fence{Vol: vol, Epoch: 5}, 1); err != nil || a.Known != 6 {
		t.Fatalf("a lower fence: %+v, %v", a, err)
	}
	reply, err := r.Renew(t.Context(), 2, lease.Position{})
	if err != nil || len(reply.Fences) != 1 || reply.Fences[0].Epoch != 6 || len(reply.Seen) != 1 {
		t.Fatalf("%+v, %v", reply, err)
	}
	if err := r.Yield(t.Context(), 2, lease.Fence{Vol: vol, Epoch: 7}); err != nil {
		t.Fatal(err)
	}
	if f := <-r.given.fences; f != (lease.Fence{Vol: vol, Epoch: 7}) {
		t.Fatalf("asked to yield %v", f)
	}
	if r.Yield(t.Context(), 2, lease.Fence{Vol: vol}) == nil {
		t.Fatal("epoch 0 must be refused")
	}
	if err := r.Suspect(t.Context(), 2, vol, 12); err != nil {
		t.Fatal(err)
	}
	if s := <-r.given.suspects; s != (suspect{vol, 12}) {
		t.Fatalf("told of %v", s)
	}
	if r.Suspect(t.Context(), 2, cluster.VolumeKey{}, 12) == nil {
		t.Fatal("no volume must be refused")
	}
	group := cluster.VolumeKey{VUID: 7, Generation: 1}
	p, err := r.GroupStep(t.Context(), 2, group, 1<<40|3, cluster.GroupPin)
	if err != nil || p != (cluster.Pinned{Pin: 1<<40 | 3, Revision: 9}) {
		t.Fatalf("pinned %+v, %v", p, err)
	}
	if _, err := r.GroupStep(t.Context(), 2, group, 3, cluster.GroupHold); err == nil {
		t.Fatal("what the owner refuses must be an error")
	}
	if _, err := r.GroupStep(t.Context(), 2, group, 0, cluster.GroupPin); err == nil {
		t.Fatal("a step of no round must be refused")
	}
	if r.Refused(t.Context(), 2) {
		t.Fatal("a node that listens does not refuse")
	}
	r.target.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !r.Refused(t.Context(), 2); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("a closed listener must refuse")
		}
	}
}

type answered chan *chunk.Request

func (a answered) ChunkDone(r *chunk.Request) { a <- r }

// TestAnAnswerHoldsNobodyElsesBytes: what a server's buffer held before is not for others.
func TestAnAnswerHoldsNobodyElsesBytes(t *testing.T) {
	r, done := connected(t, newRemote(t, "secret of a cluster of thirtytwo")), make(answered, 1)
	for i := range uint64(20) {
		q := &chunk.Request{Op: chunk.OpWrite, Device: chunkdtest.Device, Vol: cluster.VolumeKey{VUID: 1,
			Generation: 1}, Epoch: 1, Count: 1, Residency: chunk.Home(0), W: cluster.MakeSeq(1, i+1),
			Data: bytes.Repeat([]byte{0xee}, cluster.BlockSize), Completer: done}
		q.Blocks = []chunk.BlockInfo{{CRC: crc32.Checksum(q.Data, crc32.MakeTable(crc32.Castagnoli))}}
		for _, op := range []chunk.Op{chunk.OpWrite, chunk.OpRead} {
			if r.Submit(q); (<-done).Status != chunk.OK {
				t.Fatalf("%#x: %v", op, q.Status)
			}
			q.Op, q.Page, q.W = chunk.OpRead, 99, 0
		}
		if q.Blocks[0].State != chunk.Absent || bytes.IndexByte(q.Data, 0xee) >= 0 {
			t.Fatalf("a block that is %v came with somebody's data", q.Blocks[0].State)
		}
	}
}

// TestAnOwnerLendsBlocks to the owner of a clone; what is spoiled on the way does not count.
func TestAnOwnerLendsBlocks(t *testing.T) {
	r, done := connected(t, newRemote(t, secret)), make(answered, 1)
	ask := func() (*chunk.Request, *chunk.Request) {
		q := &chunk.Request{Op: chunk.OpInherit, Vol: cluster.VolumeKey{VUID: 3, Generation: 1}, Epoch: 2,
			W: cluster.MakeSeq(4, 5), Page: 1 << 33, Count: 2, Data: make([]byte, 2*cluster.BlockSize),
			Blocks: make([]chunk.BlockInfo, 2), Completer: done}
		r.Submit(q)
		return q, <-r.given.inherits
	}
	q, got := ask()
	if err := got.ValidateInherit(); err != nil || got.Vol != q.Vol || got.W != q.W || got.Page != q.Page ||
		got.Count != 2 {
		t.Fatalf("asked for %+v: %v", got, err)
	}
	for i := range got.Blocks {
		b := got.Data[i*cluster.BlockSize : (i+1)*cluster.BlockSize]
		clear(b)
		b[0] = byte(i + 1)
		got.Blocks[i].State, got.Blocks[i].CRC = chunk.Data, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	}
	got.Blocks[1].CRC++
	got.Complete(chunk.OK)
	if <-done; q.Status != chunk.OK || q.Data[0] != 1 || q.Blocks[0].State != chunk.Data ||
		q.Blocks[1].State != chunk.Bad {
		t.Fatalf("lent %v, %+v", q.Status, q.Blocks)
	}
	for _, want := range []chunk.Status{chunk.NotMine, chunk.IOError} {
		q, got := ask()
		got.Complete(want)
		if <-done; q.Status != want {
			t.Errorf("refused as %v, want %v", q.Status, want)
		}
	}
}

// BenchmarkRequests sends requests one after the other over a real connection. Nothing is allocated for one,
// on either side.
func BenchmarkRequests(b *testing.B) {
	benchmarkRequests(b, newRemote(b, secret))
}

func benchmarkRequests(b *testing.B, far remote) {
	const n = 4
	r, done := connected(b, far), make(answered, 1)
	for name, op := range map[string]chunk.Op{"head": chunk.OpHead, "read": chunk.OpRead,
		"stable": chunk.OpStable, "fence": chunk.OpFence, "list": chunk.OpList} {
		b.Run(name, func(b *testing.B) {
			q := &chunk.Request{Op: op, Device: chunkdtest.Device, Vol: cluster.VolumeKey{VUID: 1, Generation: 1},
				Epoch: 1, Count: n, Residency: chunk.Home(0), Data: make([]byte, n*cluster.BlockSize),
				Blocks: make([]chunk.BlockInfo, n), Completer: done}
			if op == chunk.OpStable {
				q.W, q.Holes = cluster.MakeSeq(1, 9), []cluster.Seq{cluster.MakeSeq(1, 3)}
			}
			b.ReportAllocs()
			for b.Loop() {
				r.Submit(q)
				if <-done; q.Status != chunk.OK {
					b.Fatal(q.Status)
				}
			}
		})
	}
}
