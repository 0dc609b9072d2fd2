package pagestore

import (
	"context"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
)

// slowSupers is a device on which the writes of superblocks take long, so that much happens between them.
type slowSupers struct {
	*blockdev.Mem
	hold bool
	held []*blockdev.Op
}

// Submit implements blockdev.Device.
func (d *slowSupers) Submit(ops ...*blockdev.Op) {
	pass := make([]*blockdev.Op, 0, len(ops))
	for _, o := range ops {
		if d.hold && o.Kind == blockdev.Write && (o.Off == 0 || o.Off == d.Geometry().Size-BlockSize) {
			d.held = append(d.held, o)
		} else {
			pass = append(pass, o)
		}
	}
	d.Mem.Submit(pass...)
}

// release lets them go on.
func (d *slowSupers) release() {
	held := d.held
	d.held = nil
	d.Mem.Submit(held...)
}

// rot spoils one superblock, if the power cut left both good, or segments in one copy of the checkpoint ring:
// the other must do at any time.
func (w *crashWorld) rot() error {
	sb, bad, err := readSupers(context.Background(), w.dev)
	if err != nil || bad[0] != nil || bad[1] != nil {
		return err
	}
	if w.rng.IntN(2) == 0 {
		at := int64(sb[0].lay.superAt(w.rng.IntN(2))) * BlockSize
		w.dev.Corrupt(at+w.rng.Int64N(BlockSize), 1<<w.rng.IntN(8))
		return nil
	}
	// One area until it was looked at: mounts take turns.
	for range 1 + w.rng.IntN(3) {
		c := sb[0].ckpt
		if sb[1].seq > sb[0].seq {
			c = sb[1].ckpt
		}
		r := sb[0].lay.area(w.rotten)
		w.dev.Corrupt(r.offset(c.tail+w.rng.Uint64N(c.head-c.tail))+w.rng.Int64N(int64(r.unit)), 1<<w.rng.IntN(8))
		w.stats.rots++
	}
	return nil
}
