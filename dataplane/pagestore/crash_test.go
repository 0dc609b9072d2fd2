package pagestore

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

var (
	crashPoints = flag.Int("crash.points", 100_000, "power cuts that TestPowerCuts makes")
	crashSeed   = flag.Uint64("crash.seed", 1, "first seed of TestPowerCuts")
)

// crashWorld is a store over a device that loses power again and again, and the oracle beside it. One
// goroutine decides everything: the order in which the device ends operations, what is asked, when the power
// goes.
type crashWorld struct {
	rng     *rand.Rand
	dev     *blockdev.Mem
	slow    slowSupers
	s       *Store
	vols    []*volModel
	nextVol uint32
	meta    map[string]*metaModel
	life    int // mounts; answers of an earlier life do not count
	pages   uint64
	rotten  int // the area that rots
	mutant  mutant.Set
	stats   crashStats

	entries   []pagemap.Entry // buffers
	want, got []byte
}

type crashStats struct {
	cuts, mountCuts, bads, acks, groups, checkpoints, laps, fulls, begins, drops, views, rots, repairs uint64
}

func (s *crashStats) add(o crashStats) {
	s.cuts, s.mountCuts, s.bads, s.acks = s.cuts+o.cuts, s.mountCuts+o.mountCuts, s.bads+o.bads, s.acks+o.acks
	s.groups, s.checkpoints, s.laps = s.groups+o.groups, s.checkpoints+o.checkpoints, s.laps+o.laps
	s.fulls, s.begins, s.drops, s.views = s.fulls+o.fulls, s.begins+o.begins, s.drops+o.drops, s.views+o.views
	s.rots, s.repairs = s.rots+o.rots, s.repairs+o.repairs
}

// metaModel is the history of one metadata key: the values since the last that is known to be durable.
type metaModel struct{ values []string }

func newCrashWorld(seed uint64, m mutant.Set) (*crashWorld, error) {
	rng := rand.New(rand.NewPCG(seed, 100))
	w := &crashWorld{rng: rng, mutant: m, meta: map[string]*metaModel{}, pages: 2 + seed%3*4,
		rotten: int(seed / 2 % 2), entries: make([]pagemap.Entry, 4096), want: make([]byte, BlockSize),
		got: make([]byte, BlockSize)}
	blocks := 150 + rng.IntN(150)
	if seed%8 == 0 { // checkpoints take several writes, between which the map changes
		blocks, w.pages = 1500, 200
	}
	w.dev = blockdev.NewMem(blockdev.MemOptions{Size: int64(blocks) * BlockSize,
		LogicalBlock: []int{512, BlockSize}[seed/3%2], VolatileCache: rng.IntN(3) > 0})
	w.slow.Mem = w.dev
	o := formatOptions()
	o.LogBlocks = 16
	if seed/3%2 == 1 { // every log block takes one
		o.LogBlocks += uint64(rng.IntN(20))
	}
	if err := Format(context.Background(), w.dev, o); err != nil {
		return nil, err
	}
	for range 2 {
		w.addVolume()
	}
	return w, nil
}

func (w *crashWorld) large() bool { return w.pages > 100 }

func (w *crashWorld) addVolume() {
	w.nextVol++
	w.vols = append(w.vols, newVolModel(vol(w.nextVol)))
}

// cycle is one life: mount, judge, work, power cut.
func (w *crashWorld) cycle() error {
	if err := w.mount(); err != nil {
		return err
	}
	if err := w.judge(); err != nil {
		return fmt.Errorf("life %d: %w", w.life, err)
	}
	w.dev.Manual(true)
	w.slow.hold = w.rng.IntN(2) == 0
	steps := w.rng.IntN(60)
	if w.large() {
		steps *= 4
	}
	if w.rng.IntN(20) == 0 {
		steps = 600 // several laps of the log in one life
	}
	for range steps {
		w.step()
	}
	w.note()
	if w.rng.IntN(10) == 0 {
		w.drain()
		w.dev.Manual(false)
		if err := w.s.Close(); err != nil {
			return err
		}
		rep, err := Check(context.Background(), w.dev, CheckOptions{Data: true})
		if err != nil || slices.ContainsFunc(rep.Warnings, func(s string) bool {
			return !strings.HasPrefix(s, fmt.Sprintf("checkpoint area %d", w.rotten)) // not its turn yet
		}) {
			return fmt.Errorf("life %d: check after Close: %v, %+v", w.life, err, rep)
		}
	}
	w.dev.Manual(true)
	w.cut()
	return nil
}

func (w *crashWorld) note() {
	st := w.s.Stats()
	w.stats.groups += st.Traffic.Commits
	w.stats.checkpoints += st.Traffic.Checkpoints
	w.stats.laps += st.Traffic.LogBytes / st.Log.Bytes
}

func (w *crashWorld) cut() {
	w.slow.hold, w.slow.held = false, nil
	w.dev.Crash(w.rng.Uint64())
	w.dev.Manual(false)
	w.stats.cuts++
	w.life++
}

// mount opens the store. One time in three the power goes during recovery, perhaps several times.
func (w *crashWorld) mount() error {
	for tries := 0; ; tries++ {
		if w.rng.IntN(16) == 0 && (!w.large() || w.rng.IntN(8) == 0) {
			if _, err := Check(context.Background(), w.dev, CheckOptions{Data: true}); err != nil {
				return fmt.Errorf("life %d: offline check: %w", w.life, err)
			}
		}
		if w.rng.IntN(2) == 0 && tries < 10 {
			w.dev.PowerOffAfter(w.rng.IntN(20))
		}
		if w.rng.IntN(4) == 0 {
			if err := w.rot(); err != nil {
				return err
			}
		}
		o := Options{Groups: 1 + w.rng.IntN(3), piece: 1 + w.rng.IntN(20), Mutant: w.mutant}
		s, err := Open(context.Background(), &w.slow, o)
		w.dev.PowerOffAfter(-1)
		if err == nil {
			w.s = s
			w.stats.repairs += s.Stats().Repaired
			if int(s.incarnation-1)%2 == w.rotten { // that area was read, and is whole again
				w.rotten = w.rng.IntN(2)
			}
			return nil
		}
		if !errors.Is(err, ErrIO) { // only a device without power fails
			return fmt.Errorf("life %d: %w", w.life, err)
		}
		w.stats.mountCuts++
		w.cut()
	}
}

// drain lets the device end everything.
func (w *crashWorld) drain() {
	w.slow.hold = false
	w.slow.release()
	for w.dev.Pending() > 0 || w.s.mu.ckpt.busy() {
		if n := w.dev.Pending(); n > 0 {
			w.dev.Step(w.rng.IntN(n))
			continue
		}
		w.s.locked(func(*box) {}) // the checkpoint goes on with whatever happens
	}
}

// step is one event: mostly the device ends an operation, in any order, or somebody asks for something.
func (w *crashWorld) step() {
	if len(w.slow.held) > 0 && w.rng.IntN(60) == 0 {
		w.slow.release()
	}
	if n := w.dev.Pending(); n > 0 && w.rng.IntN(100) < 55 {
		w.dev.Step(w.rng.IntN(n))
		return
	}
	v := w.vols[w.rng.IntN(len(w.vols))]
	switch p := w.rng.IntN(100); {
	case v.dropping:
	case p < 55:
		w.send(v, w.newOp(v, w.rng.IntN(6) == 0))
	case p < 70:
		v.counter++ // marks may name a sequence that touched other devices only
		if m := v.mark(); w.rng.IntN(2) == 0 {
			w.s.SetStable(v.key, v.tell(pagemap.Mark{W: m}), w.mayBeFull)
		} else {
			w.s.SetStable(v.key, v.tell(v.holey()), w.mayBeFull)
		}
	case p < 84:
		w.decide(v)
	case p < 88:
		w.putMeta()
	case p < 90:
		w.setView(v)
	case p < 92:
		v.epoch, v.counter = v.epoch+1, 0
	case p < 98:
		w.settle(v)
	case p < 99 && len(w.vols) > 1:
		w.drop(v)
	default:
		w.leave(v)
	}
}

// mayBeFull takes the answer to what a full device may refuse.
func (w *crashWorld) mayBeFull(err error) {
	if err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, ErrIO) {
		panic(err)
	}
}

func (w *crashWorld) newOp(v *volModel, tomb bool) *opModel {
	v.counter++
	o := &opModel{w: cluster.MakeSeq(v.epoch, v.counter), tomb: tomb}
	o.e = pagemap.Extent{Vol: v.key, Page: w.rng.Uint64N(w.pages), First: uint16(w.rng.IntN(10))}
	o.e.N = 1 + uint16(w.rng.IntN(4))
	if w.large() {
		o.e.First, o.e.N = uint16(w.rng.IntN(4)), 1+uint16(w.rng.IntN(8))
	}
	o.e.Residency = v.residency(o.e.Page)
	v.ops = append(v.ops, o)
	return o
}

// send submits a write, for the first time or again.
func (w *crashWorld) send(v *volModel, o *opModel) {
	life := w.life
	o.flying = true
	again := false
	v.each(o, func(_ blockKey, f *fate) { again, f.lost = again || f.held, false })
	req := &Write{Extent: o.e, W: o.w, Tombstone: o.tomb, Columns: columnsOf(o.w, o.e.N)}
	if !o.tomb {
		req.Data = make([]byte, int(o.e.N)*BlockSize)
		for i := range o.e.N {
			b := req.Data[int(i)*BlockSize:][:BlockSize]
			stampBlock(b, v.key, blockKey{o.e.Page, o.e.Residency, o.e.First + i}, o.w)
			req.CRC = append(req.CRC, checksum(b))
		}
	}
	if w.rng.IntN(4) == 0 {
		req.Stable = v.mark()
		v.tell(pagemap.Mark{W: req.Stable})
	}
	req.Done = func(_ *Write, err error) {
		if life != w.life {
			return
		}
		o.flying = false
		switch {
		case err == nil:
			o.resolved, v.exists = true, true
			v.each(o, func(_ blockKey, f *fate) { f.held, f.torn = true, false })
			v.begun[o.e.Page] = max(v.begun[o.e.Page], o.e.Residency)
			v.settleBegun()
			w.stats.acks++
		case errors.Is(err, ErrNotMine) && o.e.Residency < v.res[o.e.Page]:
			v.gone(o)
		case errors.Is(err, ErrFull):
			w.stats.fulls++
			o.resolved = !again
			v.each(o, func(_ blockKey, f *fate) { f.lost = !f.held })
		default:
			panic(fmt.Sprintf("write %v of %v: %v", o.w, o.e, err))
		}
	}
	w.s.Write(req)
}

// decide does what an owner does with a write whose fate is open: sends it again, or undoes it.
func (w *crashWorld) decide(v *volModel) {
	var open []*opModel
	for _, o := range v.ops {
		if o.undone && v.overtaken(o) {
			continue
		}
		if !o.flying && o.e.Residency == v.res[o.e.Page] && !v.mayBeStable(o.w) &&
			(!o.resolved || w.rng.IntN(10) == 0) {
			open = append(open, o)
		}
	}
	if len(open) == 0 {
		return
	}
	o := open[w.rng.IntN(len(open))]
	if !o.resolved && w.rng.IntN(2) == 0 || o.undone { // a later owner may complete what was undone
		o.resolved, o.undone = false, false
		w.send(v, o)
		return
	}
	life := w.life
	o.flying, o.resolved = true, false
	v.each(o, func(_ blockKey, f *fate) { f.undoing = true })
	w.s.Undo(o.e, o.w, func(err error) {
		if life != w.life {
			return
		}
		if err != nil && !errors.Is(err, ErrNotMine) {
			panic(err)
		}
		o.flying = false
		v.gone(o)
	})
}

func (w *crashWorld) settle(v *volModel) {
	for _, o := range v.ops {
		if o.w.Epoch() < v.epoch && !o.resolved {
			return // not judged yet
		}
	}
	life := w.life
	v.settled = max(v.settled, v.epoch)
	w.s.Settle(v.key, v.epoch, func(err error) {
		if life == w.life && err == nil {
			v.exists = true
		} else if life == w.life && !errors.Is(err, ErrFull) {
			panic(err)
		}
	})
}

// drop removes a volume that has nothing in flight; another one takes its place.
func (w *crashWorld) drop(v *volModel) {
	if slices.ContainsFunc(v.ops, func(o *opModel) bool { return o.flying }) {
		return
	}
	life := w.life
	v.dropping = true
	w.s.DropVolume(v.key, func(err error) {
		if life != w.life {
			return
		}
		if err != nil {
			panic(err)
		}
		w.vols = slices.DeleteFunc(w.vols, func(x *volModel) bool { return x == v })
		w.addVolume()
	})
}

func (w *crashWorld) putMeta() {
	key := fmt.Sprintf("key%d", w.rng.IntN(4))
	m := w.meta[key]
	if m == nil {
		m = &metaModel{values: []string{""}}
		w.meta[key] = m
	}
	value := ""
	if w.rng.IntN(4) > 0 {
		value = fmt.Sprintf("value %d of %s", w.rng.Uint32(), key)
	}
	m.values = append(m.values, value)
	var raw []byte
	if value != "" {
		raw = []byte(value)
	}
	life := w.life
	w.s.PutMeta(key, raw, func(err error) {
		if life != w.life {
			return
		}
		if err != nil {
			panic(err)
		}
		// Everything before the answered value is history.
		m.values = m.values[slices.Index(m.values, value):]
	})
}

// judge compares the store after a mount with the oracle, and then lets the oracle learn what it saw.
func (w *crashWorld) judge() error {
	if err := w.s.Check(); err != nil {
		return err
	}
	known := w.s.Volumes()
	for _, key := range known {
		if !slices.ContainsFunc(w.vols, func(v *volModel) bool { return v.key == key }) {
			return fmt.Errorf("volume %v was dropped and is back", key)
		}
	}
	for _, v := range slices.Clone(w.vols) {
		if !slices.Contains(known, v.key) && v.dropping {
			w.vols = slices.DeleteFunc(w.vols, func(x *volModel) bool { return x == v })
			w.addVolume()
			continue
		}
		v.dropping = false
		if !slices.Contains(known, v.key) && v.exists {
			return fmt.Errorf("volume %v is gone", v.key)
		}
		if err := w.judgeVolume(v); err != nil {
			return fmt.Errorf("volume %v: %w", v.key, err)
		}
		v.exists = slices.Contains(known, v.key)
	}
	return w.judgeMeta()
}

func (w *crashWorld) judgeVolume(v *volModel) error {
	held, under := map[blockKey][]pagemap.Entry{}, map[uint64]chunk.Residency{}
	buf := w.entries
	n, _, more := w.s.List(v.key, ListVersions, pagemap.Cursor{}, buf)
	if more {
		return errors.New("more versions than blocks")
	}
	slices.Reverse(buf[:n])
	for _, e := range buf[:n] {
		at := blockKey{e.Page, e.Residency, e.Block}
		under[e.Page] = e.Residency
		held[at] = append(held[at], e)
		if e.State == pagemap.Torn {
			w.stats.bads++
		}
		if e.Mask != uint16(e.W) {
			return fmt.Errorf("page %d block %d version %v has mask %d", e.Page, e.Block, e.W, e.Mask)
		}
	}
	info, _ := w.s.Volume(v.key)
	if err := v.learnView(info.View); err != nil {
		return err
	}
	for at, present := range held {
		if v.blocks[at] == nil {
			return fmt.Errorf("%v: never written, and holds %v", at, present)
		}
	}
	for at := range v.blocks {
		ended, err := v.judgeResidency(at.page, under[at.page])
		if err == nil {
			err = v.judge(at, held[at], ended)
		}
		if err != nil {
			return fmt.Errorf("page %d block %d: %w", at.page, at.block, err)
		}
		if err := w.judgeData(v, at, held[at]); err != nil {
			return fmt.Errorf("page %d block %d: %w", at.page, at.block, err)
		}
	}
	v.learn(held)
	return nil
}

// judgeData reads every version of a block: exactly what was written under its sequence, never a mix.
func (w *crashWorld) judgeData(v *volModel, at blockKey, present []pagemap.Entry) error {
	want, got, version := w.want, w.got, make([]pagemap.Version, 1)
	for _, e := range present {
		if e.State != pagemap.Data {
			continue
		}
		ext := pagemap.Extent{Vol: v.key, Page: at.page, Residency: at.residency, First: at.block, N: 1}
		w.s.mu.m.Exact(ext, e.W, version)
		w.dev.Peek(w.s.lay.dataOffset(version[0].Loc), got)
		if stampBlock(want, v.key, at, e.W); !bytes.Equal(got, want) {
			return fmt.Errorf("version %v holds other data", e.W)
		}
	}
	return nil
}

func (w *crashWorld) judgeMeta() error {
	now := w.s.Meta("")
	for key := range now {
		if w.meta[key] == nil {
			return fmt.Errorf("metadata %q was never put", key)
		}
	}
	for key, m := range w.meta {
		if !slices.Contains(m.values, string(now[key])) {
			return fmt.Errorf("metadata %q is %q, want one of %q", key, now[key], m.values)
		}
		m.values = []string{string(now[key])}
	}
	return nil
}

// TestPowerCuts cuts the power at random points of random work, of recovery and of checkpoints. After each
// cut every acknowledged version is there, nothing else is, and the device passes its check; before one mount
// in four a superblock or a part of one checkpoint area rots. What it notices is listed in
// docs/formats.md.
func TestPowerCuts(t *testing.T) {
	points := *crashPoints
	if raceEnabled || testing.Short() {
		points /= 100
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	const perWorld = 200
	var total crashStats
	var mu sync.Mutex
	t.Run("worlds", func(t *testing.T) {
		var next atomic.Int64
		for shard := range 4 {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					i := next.Add(1) - 1
					if i*perWorld >= int64(points) {
						return
					}
					st, err := powerCuts(*crashSeed+uint64(i), perWorld, mutant.Set{})
					if err != nil {
						t.Fatalf("%v\nagain: go test -run TestPowerCuts -crash.points 1 -crash.seed %d", err,
							*crashSeed+uint64(i))
					}
					mu.Lock()
					total.add(st)
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%d power cuts (%d during recovery), %d acknowledged writes, %d groups, %d laps of the log, "+
		"%d checkpoints, %d bad versions, %d refused for space, %d residencies left, %d chunks dropped, "+
		"%d view lists, %d segments rotten, %d repaired", total.cuts, total.mountCuts, total.acks, total.groups,
		total.laps, total.checkpoints, total.bads, total.fulls, total.begins, total.drops, total.views, total.rots,
		total.repairs)
	if total.mountCuts == 0 || total.bads == 0 || total.checkpoints < total.cuts/2 || total.fulls == 0 ||
		total.drops == 0 || total.views == 0 || total.repairs == 0 {
		t.Errorf("the test does not reach what it is for: %+v", total)
	}
}

// powerCuts runs one world.
func powerCuts(seed uint64, cuts uint64, m mutant.Set) (crashStats, error) {
	w, err := newCrashWorld(seed, m)
	if err != nil {
		return crashStats{}, fmt.Errorf("seed %d: %w", seed, err)
	}
	for w.stats.cuts < cuts {
		if err := w.cycle(); err != nil {
			return w.stats, fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	w.dev.Manual(false)
	return w.stats, w.dev.Close()
}
