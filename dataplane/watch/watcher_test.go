package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd/etcdtest"
)

// patience bounds every wait; nothing here takes this long on a healthy machine.
const patience = 60 * time.Second

type world struct {
	t      *testing.T
	ctx    context.Context
	etcd   *etcdtest.Server
	client *clientv3.Client
	w      *Watcher
	stop   func() // ends Run and waits for it
}

func newWorld(t *testing.T) *world {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	etcd := etcdtest.Run(t)
	log := logrus.New()
	log.SetOutput(io.Discard)
	w, err := New(Options{Client: etcd.Client(), Log: log, Proof: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	world := &world{t: t, ctx: ctx, etcd: etcd, client: etcd.Client(), w: w}
	world.run()
	t.Cleanup(func() { world.stop() })
	return world
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.w.Run(ctx)
	}()
	w.stop = func() { cancel(); <-done }
}

// commit writes keys in one transaction ("" deletes) and returns its revision.
func (w *world) commit(kv map[string]string) int64 {
	w.t.Helper()
	var ops []clientv3.Op
	for k, v := range kv {
		if v == "" {
			ops = append(ops, clientv3.OpDelete(k))
		} else {
			ops = append(ops, clientv3.OpPut(k, v))
		}
	}
	r, err := w.client.Txn(w.ctx).Then(ops...).Commit()
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Header.Revision
}

// at waits for a state of at least this revision.
func (w *world) at(revision int64) *cluster.State {
	w.t.Helper()
	s, err := w.w.Next(w.ctx, revision-1)
	if err != nil {
		w.t.Fatalf("no state of revision %d: %v; status %+v", revision, err, w.w.Status())
	}
	return s
}

// until waits for a condition of the stream itself, which nothing announces.
func (w *world) until(what string, ok func(Status) bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok(w.w.Status()) {
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			w.t.Fatalf("%s: status %+v", what, w.w.Status())
		}
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func volume(i int) *cluster.Volume {
	id := cluster.UUID{15: byte(i), 14: byte(i >> 8), 0: 1}
	return &cluster.Volume{UUID: id, Name: fmt.Sprintf("v%d", i), Pool: "p",
		Key: cluster.VolumeKey{VUID: uint32(i), Generation: 1}, Size: cluster.BlockSize}
}

// TestAt: who waits for a revision gets the state of then, also when nothing of it shows in a state; not
// before that, and not while etcd is away.
func TestAt(t *testing.T) {
	w := newWorld(t)
	w.commit(map[string]string{cluster.KeyMapEpoch: "1"})
	now := w.commit(map[string]string{cluster.KeyNodeStats(1): "{}"})
	s, err := w.w.At(w.ctx, now)
	if err != nil || s.Map.Epoch != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	over, cancel := context.WithCancel(w.ctx)
	cancel()
	if s, err := w.w.At(over, now+1); err == nil {
		t.Errorf("at a revision to come: %+v", s)
	}
	w.stop()
	w.w.interrupted(errCompacted)
	if s, err := w.w.At(over, now); err == nil {
		t.Errorf("while the stream is interrupted: %+v", s)
	}
}

// TestTransactionsAreSeenWhole commits volume, owner, counter and epoch together, many times, while a reader
// checks every state it gets: all four must tell the same number.
func TestTransactionsAreSeenWhole(t *testing.T) {
	w := newWorld(t)
	const count = 300
	torn := make(chan string, 1)
	go func() {
		defer close(torn)
		var after int64
		for {
			s, err := w.w.Next(w.ctx, after)
			if err != nil {
				torn <- err.Error()
				return
			}
			after = s.Revision
			n := int(s.LastSerial)
			if len(s.Volumes) != n || len(s.Owners) != n || int(s.Map.Epoch) != n {
				torn <- fmt.Sprintf("revision %d: counter %d, %d volumes, %d owners, epoch %d",
					after, n, len(s.Volumes), len(s.Owners), s.Map.Epoch)
				return
			}
			if n == count {
				return
			}
		}
	}()
	for i := 1; i <= count; i++ {
		v := volume(i)
		w.commit(map[string]string{cluster.KeyVolume(v.UUID): text(v),
			cluster.KeyOwner(v.Key): text(cluster.Owner{Epoch: 1}),
			cluster.KeyCounterVUID:  fmt.Sprint(i), cluster.KeyMapEpoch: fmt.Sprint(i)})
	}
	if what := <-torn; what != "" {
		t.Fatal(what)
	}
}

func TestAMapOfAllRecords(t *testing.T) {
	w := newWorld(t)
	v := volume(7)
	w.commit(map[string]string{
		cluster.KeyCluster:      text(cluster.ClusterInfo{Name: "c"}),
		cluster.KeyVoters:       text(cluster.VoterList{Version: 1, Nodes: []cluster.NodeID{1, 2, 3}}),
		cluster.KeyNode(1):      text(cluster.Node{Number: 1, Name: "n1"}),
		cluster.KeyDevice(4):    text(cluster.Device{Number: 4, Node: 1, State: cluster.DeviceOnline}),
		cluster.KeyPool("p"):    text(pool("p")),
		cluster.KeyMapEpoch:     "9",
		cluster.PrefixStats:     "not JSON and nobody's business",
		cluster.KeyOwner(v.Key): text(cluster.Owner{Gateway: 1}),
	})
	first := w.at(w.commit(map[string]string{cluster.KeyVolume(v.UUID): text(v)}))
	m := first.Map
	if m.Cluster.Name != "c" || m.Voters.Majority() != 2 || m.Nodes[1].Name != "n1" || m.Devices[4].Node != 1 ||
		m.Pools["p"] == nil || m.Epoch != 9 || first.Volumes[v.Key].Name != "v7" ||
		first.Owners[v.Key].Revision == 0 {
		t.Fatalf("state %s", text(first))
	}
	second := w.at(w.commit(map[string]string{cluster.KeyVolume(v.UUID): "", cluster.KeyOwner(v.Key): "",
		cluster.KeyPool("p"): "", cluster.KeyNode(1): "", cluster.KeyDevice(4): "", cluster.KeyMapEpoch: "10"}))
	if n := len(second.Volumes) + len(second.Owners) + len(second.Map.Pools) + len(second.Map.Nodes) +
		len(second.Map.Devices); n != 0 || second.Map.Epoch != 10 {
		t.Fatalf("state after the deletions %s", text(second))
	}
	if first.Volumes[v.Key] == nil || first.Map.Pools["p"] == nil || first.Map.Epoch != 9 {
		t.Fatal("the first state changed after it was given out")
	}
}

func pool(name string) *cluster.Pool {
	return &cluster.Pool{ID: 1, Name: name, Code: cluster.CodeReplica, Data: 1, Parity: 1,
		Domain: cluster.DomainNode, ChunkSize: cluster.MinChunkSize, StripeUnit: cluster.MinStripeUnit,
		Members: []cluster.Member{{Device: 4, Weight: 1, Domain: "az/rack/1"}}}
}

// TestReadsEverythingAfterCompaction lets the watcher sleep while what it would go on from is compacted away.
func TestReadsEverythingAfterCompaction(t *testing.T) {
	w := newWorld(t)
	gone, kept := volume(1), volume(2)
	w.at(w.commit(map[string]string{cluster.KeyVolume(gone.UUID): text(gone),
		cluster.KeyVolume(kept.UUID): text(kept)}))
	w.stop()
	w.commit(map[string]string{cluster.KeyVolume(gone.UUID): ""})
	rev := w.commit(map[string]string{cluster.KeyMapEpoch: "5"})
	if _, err := w.client.Compact(w.ctx, rev); err != nil {
		t.Fatal(err)
	}
	w.run()
	s := w.at(rev)
	if s.Map.Epoch != 5 || s.Volumes[gone.Key] != nil || s.Volumes[kept.Key] == nil {
		t.Fatalf("state %s", text(s))
	}
	if n := w.w.Status().Resyncs; n != 2 {
		t.Fatalf("everything was read %d times, want 2", n)
	}
	rev = w.commit(map[string]string{cluster.KeyMapEpoch: "6"})
	if s := w.at(rev); s.Map.Epoch != 6 {
		t.Fatalf("epoch %d after the resync, want 6", s.Map.Epoch)
	}
}

func TestGoesOnWhereItStoppedWithoutReadingEverything(t *testing.T) {
	w := newWorld(t)
	w.at(w.commit(map[string]string{cluster.KeyMapEpoch: "1"}))
	w.stop()
	w.commit(map[string]string{cluster.KeyMapEpoch: "2"})
	rev := w.commit(map[string]string{cluster.KeyMapEpoch: "3"})
	w.run()
	if s := w.at(rev); s.Map.Epoch != 3 || w.w.Status().Resyncs != 1 {
		t.Fatalf("epoch %d after %d reads of everything", s.Map.Epoch, w.w.Status().Resyncs)
	}
}

func TestTheLastMapStaysWhileEtcdIsAway(t *testing.T) {
	w := newWorld(t)
	rev := w.commit(map[string]string{cluster.KeyMapEpoch: "1"})
	before := w.at(rev)
	w.etcd.Stop()
	w.until("noticed that etcd is away", func(s Status) bool { return !s.Connected && s.LastError != "" })
	if w.w.Newest() != before {
		t.Fatal("the map changed while etcd was away")
	}
	w.etcd.Start()
	rev = w.commit(map[string]string{cluster.KeyMapEpoch: "2"})
	if s := w.at(rev); s.Map.Epoch != 2 {
		t.Fatalf("epoch %d, want 2", s.Map.Epoch)
	}
	w.until("connected again", func(s Status) bool { return s.Connected && s.LastError == "" })
}

func TestAnOlderEtcdIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.commit(map[string]string{cluster.KeyMapEpoch: "7"})
	}
	before := w.at(w.commit(map[string]string{cluster.KeyMapEpoch: "8"}))
	w.etcd.Stop()
	w.etcd.Wipe()
	w.etcd.Start()
	w.commit(map[string]string{cluster.KeyMapEpoch: "1"})
	w.until("noticed", func(s Status) bool { return strings.Contains(s.LastError, ErrRewound.Error()) })
	if w.w.Newest() != before {
		t.Fatal("a state of the older etcd was published")
	}
}

func TestABrokenRecordIsIgnored(t *testing.T) {
	w := newWorld(t)
	v := volume(1)
	// Seen whole before anything breaks: a first reading that finds a broken record has no good version to keep.
	w.at(w.commit(map[string]string{cluster.KeyVolume(v.UUID): text(v),
		cluster.KeyOwner(v.Key): text(cluster.Owner{Epoch: 5})}))
	moved, empty := *v, *v
	moved.Key.VUID, empty.Size = 9, 0
	for name, kv := range map[string]map[string]string{
		"no JSON":              {cluster.KeyVolume(v.UUID): "{"},
		"another volume's key": {cluster.KeyVolume(volume(2).UUID): text(v)},
		"size 0":               {cluster.KeyVolume(v.UUID): text(&empty)},
		"the key changed":      {cluster.KeyVolume(v.UUID): text(&moved)},
		"epoch went back":      {cluster.KeyOwner(v.Key): text(cluster.Owner{Epoch: 4})},
		"a number that is not": {cluster.KeyMapEpoch: "many"},
		"a node elsewhere":     {cluster.KeyNode(3): text(cluster.Node{Number: 4})},
	} {
		s := w.at(w.commit(mergeMaps(kv, map[string]string{cluster.KeyCounterVUID: "9"})))
		if len(s.Volumes) != 1 || s.Volumes[v.Key].Size != v.Size || s.Owners[v.Key].Epoch != 5 ||
			len(s.Map.Nodes) != 0 {
			t.Errorf("%s: state %+v", name, s)
		}
	}
}

func mergeMaps(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// TestManyKeysAreReadInPages starts a watcher on more keys than one read returns.
func TestManyKeysAreReadInPages(t *testing.T) {
	w := newWorld(t)
	w.stop()
	const count = 2*pageKeys + 1
	for i := 1; i <= count; {
		kv := map[string]string{}
		for ; i <= count && len(kv) < 100; i++ {
			kv[cluster.KeyVolume(volume(i).UUID)] = text(volume(i))
		}
		w.commit(kv)
	}
	fresh, err := New(w.w.opt)
	if err != nil {
		t.Fatal(err)
	}
	w.w = fresh
	w.run()
	s, err := w.w.Next(w.ctx, 0)
	if err != nil || len(s.Volumes) != count {
		t.Fatalf("%d volumes, want %d; %v", len(s.Volumes), count, err)
	}
}
