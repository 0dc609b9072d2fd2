//go:build e2e

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/initiator"
	"github.com/ashlar-storage/ashlar/dataplane/sim/history"
	"github.com/ashlar-storage/ashlar/dataplane/stripe"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const (
	volumeSize    = 8 << 20
	volumeSectors = volumeSize / sectorSize
	// hotSectors is where most operations go, so that they meet: the end of the first page and the beginning of
	// the second.
	hotFirst, hotSectors = 256, 512
	maxSectors           = 256 << 10 / sectorSize
	// witnessSectors at the end of a volume, more than a page, are written by witnesses only.
	witnessFirst, witnessSectors = volumeSectors - witnessSectors, 2048
	// patience bounds every operation of a writer. Nothing asserts how long a pause is; but it must end.
	patience = 5 * time.Minute
)

// volume is a volume under test: what its hosts saw, and how long they waited.
type volume struct {
	wire.Volume
	t        *testing.T
	policy   policy
	geometry stripe.Geometry

	mu    sync.Mutex
	story *history.History
	busy  []span     // writes under way
	ended *sync.Cond // one of them is over

	host *initiator.Volume
	ends chan struct{} // closed: the writers stop
	wg   sync.WaitGroup

	reads, writes atomic.Int64 // that the host's writers carried out; zeroing counts as a write
	pause         pause
}

// span is a range of sectors.
type span struct{ from, to int }

// pause is what the writers felt since the last reset.
type pause struct {
	sync.Mutex
	felt
}

type felt struct {
	began   time.Time // of the measurement
	last    time.Time // completion
	gap     time.Duration
	gapAt   time.Time // when the longest gap ended
	slowest time.Duration
	marked  time.Time
	fresh   int // completions of operations that began after the mark
	ended   int
}

func (p *pause) reset() {
	p.Lock()
	defer p.Unlock()
	now := time.Now()
	p.felt = felt{began: now, last: now, marked: now}
}

// mark is where progressed counts from.
func (p *pause) mark() {
	p.Lock()
	defer p.Unlock()
	p.marked, p.fresh = time.Now(), 0
}

// completed counts an operation that began then.
func (p *pause) completed(then time.Time) {
	p.Lock()
	defer p.Unlock()
	now := time.Now()
	if gap := now.Sub(p.last); gap > p.gap {
		p.gap, p.gapAt = gap, now
	}
	p.last, p.slowest = now, max(p.slowest, now.Sub(then))
	if p.ended++; then.After(p.marked) {
		p.fresh++
	}
}

// progressed reports whether n operations that began after the mark have ended.
func (p *pause) progressed(n int) error {
	p.Lock()
	defer p.Unlock()
	if p.fresh < n {
		return fmt.Errorf("%d of %d operations have ended, the last %v ago", p.fresh, n, time.Since(p.last))
	}
	return nil
}

// longest is the longest time without a completion, and when it ended.
func (p *pause) longest() (gap time.Duration, at time.Time) {
	p.Lock()
	defer p.Unlock()
	if open := time.Since(p.last); open > p.gap {
		return open, time.Now()
	}
	return p.gap, p.gapAt
}

func (p *pause) String() string {
	gap, at := p.longest()
	p.Lock()
	defer p.Unlock()
	return fmt.Sprintf("pause %4d ms, ended at +%4d ms; slowest %4d ms; %d operations", gap.Milliseconds(),
		at.Sub(p.began).Milliseconds(), p.slowest.Milliseconds(), p.ended)
}

func newVolume(t *testing.T, v wire.Volume, p policy, pool wire.Pool) *volume {
	g := stripe.Geometry{Data: p.data, Parity: p.parity, ChunkBlocks: uint64(pool.ChunkSize) / model.BlockSize,
		UnitBlocks: uint64(pool.StripeUnit) / model.BlockSize}
	x := &volume{Volume: v, t: t, policy: p, geometry: g, story: history.New(volumeSectors),
		ends: make(chan struct{})}
	x.ended = sync.NewCond(&x.mu)
	return x
}

// reserve keeps other writers off a range. A host sends a write again when its path is lost; if another write
// to the same place could come between, no order would explain what is read, and no storage could prevent it.
// Witnesses send nothing again, and have a range of their own.
func (v *volume) reserve(from, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	meets := func(s span) bool { return s.from < from+n && from < s.to }
	for slices.ContainsFunc(v.busy, meets) {
		v.ended.Wait()
	}
	v.busy = append(v.busy, span{from, from + n})
}

func (v *volume) release(from, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.busy = slices.DeleteFunc(v.busy, func(s span) bool { return s == span{from, from + n} })
	v.ended.Broadcast()
}

func (v *volume) key() model.VolumeKey {
	return model.VolumeKey{VUID: v.VUID, Generation: v.Generation}
}

// fail ends the test with the first thing that is wrong; what comes after that is its end.
func (v *volume) fail(err error) {
	if err != nil && !v.t.Failed() {
		v.t.Errorf("%s at %s: %v", v.Name, time.Now().Format("15:04:05.000"), err)
	}
}

// write begins a write and stamps its data.
func (v *volume) write(from int, data []byte) *history.Op {
	to := from + len(data)/sectorSize
	v.mu.Lock()
	op := v.story.Write(from, to)
	v.mu.Unlock()
	for s := from; s < to; s++ {
		fill(data[(s-from)*sectorSize:][:sectorSize], v.VUID, s, op.Stamp())
	}
	return op
}

func (v *volume) zero(from, n int) *history.Op {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.story.Zero(from, from+n)
}

func (v *volume) read(from, n int) *history.Op {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.story.Read(from, from+n)
}

// abandon ends an operation that was not carried out, as far as one knows.
func (v *volume) abandon(op *history.Op) {
	v.mu.Lock()
	defer v.mu.Unlock()
	op.Abandon()
}

// done ends an operation; data is what a read returned.
func (v *volume) done(op *history.Op, from int, data []byte) error {
	var stamps []uint64
	for i := 0; i*sectorSize < len(data); i++ {
		s, err := stampOf(data[i*sectorSize:][:sectorSize], v.VUID, from+i)
		if err != nil {
			v.abandon(op)
			return err
		}
		stamps = append(stamps, s)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return op.Done(stamps)
}

// start lets writers loose.
func (v *volume) start(writers int, seed uint64) {
	v.pause.reset()
	for w := range writers {
		v.wg.Add(1)
		go func() {
			defer v.wg.Done()
			rng := rand.New(rand.NewPCG(seed, uint64(v.VUID)<<8|uint64(w)))
			data := make([]byte, maxSectors*sectorSize)
			tick := time.NewTicker(3 * time.Millisecond) // two cores have to carry the cluster as well
			defer tick.Stop()
			for {
				select {
				case <-v.ends:
					return
				case <-tick.C:
				}
				if err := v.operation(rng, data); err != nil {
					v.fail(err)
					return
				}
			}
		}()
	}
}

func (v *volume) stop() {
	close(v.ends)
	v.wg.Wait()
}

// operation carries out one random operation; any error is one that a host would see.
func (v *volume) operation(rng *rand.Rand, data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	from, n := place(rng)
	kind := rng.IntN(100)
	switch {
	case kind < 60:
		v.reserve(from, n)
		defer v.release(from, n)
	case kind < 65:
		from = min(witnessFirst+rng.IntN(witnessSectors), volumeSectors-n)
	}
	data = data[:n*sectorSize]
	off, size, began := int64(from)*sectorSize, int64(n)*sectorSize, time.Now()
	var name string
	var err error
	var op *history.Op
	var got []byte
	switch {
	case kind < 50:
		name, op = "write", v.write(from, data)
		err = v.host.Write(ctx, data, off)
	case kind < 55:
		name, op = "write zeroes", v.zero(from, n)
		err = v.host.WriteZeroes(ctx, off, size)
	case kind < 60:
		name, op = "deallocate", v.zero(from, n)
		err = v.host.Deallocate(ctx, off, size)
	default:
		name, op, got = "read", v.read(from, n), data
		err = v.host.Read(ctx, data, off)
	}
	if err == nil {
		if got != nil {
			v.reads.Add(1)
		} else {
			v.writes.Add(1)
		}
		v.pause.completed(began)
		err = v.done(op, from, got)
	}
	if err != nil {
		return fmt.Errorf("%s of %d sectors at %d, begun %v ago: %w", name, n, from, time.Since(began), err)
	}
	return nil
}

// place chooses where an operation goes: sizes from one sector to the largest transfer, aligned and not.
func place(rng *rand.Rand) (from, n int) {
	switch r := rng.IntN(10); {
	case r < 4:
		n = 8
	case r < 7:
		n = 1 + rng.IntN(24)
	case r < 9:
		n = 8 * (1 + rng.IntN(16))
	default:
		n = 1 + rng.IntN(maxSectors)
	}
	if rng.IntN(10) < 7 {
		from = hotFirst + rng.IntN(hotSectors)
	} else {
		from = rng.IntN(witnessFirst)
	}
	if n%8 == 0 {
		from &^= 7
	}
	return min(from, witnessFirst-n), n
}

// verify reads the whole volume through a host.
func (v *volume) verify(host *initiator.Volume) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	buf := make([]byte, maxSectors*sectorSize)
	for from := 0; from < volumeSectors; from += maxSectors {
		op := v.read(from, maxSectors)
		if err := host.Read(ctx, buf, int64(from)*sectorSize); err != nil {
			return fmt.Errorf("read at %d: %w", from, err)
		}
		if err := v.done(op, from, buf); err != nil {
			return err
		}
	}
	return nil
}
