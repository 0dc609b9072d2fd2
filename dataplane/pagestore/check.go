package pagestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// CheckOptions say how far an offline check goes.
type CheckOptions struct {
	Data bool // also read every data block and verify its checksum
}

// Report is what an offline check found.
type Report struct {
	ClusterID   cluster.UUID
	DeviceUUID  cluster.UUID
	Incarnation uint64
	Checkpoint  uint64 // number
	LogFirst    uint64 // the tail of the log: what recovery would replay
	LogNext     uint64
	LogRecords  uint64
	Regions     Regions
	Usage       pagemap.Usage
	Volumes     []pagemap.VolumeState
	Metadata    int // records
	// Warnings are things that a power cut leaves behind and the next Open repairs, or that redundancy repairs.
	Warnings []string
	// BadData are versions whose data fails its checksum, marked or not.
	BadData []string
}

// Regions says where things are, in blocks of 4 KiB.
type Regions struct {
	Total, Log, LogBlocks, CheckpointA, CheckpointB, CheckpointBlocks, Data, DataBlocks uint64
}

// Check verifies a store offline and changes nothing: superblocks, checkpoint, log tail, and every invariant
// of the map they give. The error, if any, joins all that is wrong: ErrDamaged, ErrForeign, ErrIO.
func Check(ctx context.Context, dev blockdev.Device, o CheckOptions) (*Report, error) {
	sb, err := newestSuper(ctx, dev)
	if err != nil {
		return nil, fmt.Errorf("check: %w", err)
	}
	rep := &Report{ClusterID: sb.id.cluster, DeviceUUID: sb.id.device, Incarnation: sb.incarnation,
		Checkpoint: sb.ckpt.number, LogFirst: sb.ckpt.logNext, Regions: regions(&sb.lay)}
	if err := rep.supers(ctx, dev); err != nil {
		return rep, err
	}
	r, err := recoverMap(ctx, dev, sb, Options{}, true)
	if err != nil {
		return rep, fmt.Errorf("check: %w", err)
	}
	defer r.mem.close()
	for _, x := range r.rotten {
		rep.Warnings = append(rep.Warnings, fmt.Sprintf("checkpoint area %d at %d: %v", x.copy, x.pos, x.err))
	}
	rep.LogNext, rep.LogRecords, rep.Usage, rep.Metadata = r.next, r.records, r.m.Usage(), len(r.meta.list)
	for _, key := range r.m.Volumes() {
		st, _ := r.m.Volume(key)
		st.Marks = slices.Clone(st.Marks)
		rep.Volumes = append(rep.Volumes, st)
	}
	var wrong []error
	if err := r.m.Check(); err != nil {
		wrong = append(wrong, fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	if rep.Usage.Pending != 0 {
		wrong = append(wrong, fmt.Errorf("%w: %d blocks belong to nobody", ErrDamaged, rep.Usage.Pending))
	}
	if o.Data {
		wrong = append(wrong, rep.data(r))
	}
	return rep, errors.Join(wrong...)
}

func regions(l *layout) Regions {
	return Regions{Total: l.total, Log: l.logStart, LogBlocks: l.logBlocks, CheckpointA: l.ckptStart[0],
		CheckpointB: l.ckptStart[1], CheckpointBlocks: l.ckptBlocks, Data: l.dataStart, DataBlocks: l.dataBlocks}
}

// supers notes superblocks that are not both good and equal.
func (rep *Report) supers(ctx context.Context, dev blockdev.Device) error {
	sb, bad, err := readSupers(ctx, dev)
	if err != nil {
		return err
	}
	for i, e := range bad {
		if e != nil {
			rep.Warnings = append(rep.Warnings, fmt.Sprintf("superblock %d: %v", i, e))
		}
	}
	if bad[0] == nil && bad[1] == nil && sb[0].seq != sb[1].seq {
		rep.Warnings = append(rep.Warnings,
			fmt.Sprintf("the superblocks differ: updates %d and %d", sb[0].seq, sb[1].seq))
	}
	return nil
}

// data reads every version's block. Bad data is no damage of the store: redundancy repairs it.
func (rep *Report) data(r *recovery) error {
	entries, one := make([]pagemap.Entry, 1024), make([]pagemap.Version, 1)
	for _, vol := range r.m.Volumes() {
		var after pagemap.Cursor
		for more := true; more; {
			var n int
			n, after, more = r.m.List(vol, ListVersions, after, entries)
			for _, e := range entries[:n] {
				ext := pagemap.Extent{Vol: vol, Page: e.Page, Residency: e.Residency, Column: e.Column,
					First: e.Block, N: 1}
				r.m.Exact(ext, e.W, one)
				if e.State == pagemap.Tombstone {
					continue
				}
				buf := r.buf
				op := &blockdev.Op{Kind: blockdev.Read, Off: r.sb.lay.dataOffset(one[0].Loc), Buf: buf}
				err := transfer(r.ctx, r.dev, op)
				if cerr := r.ctx.Err(); cerr != nil {
					return cerr
				}
				if err != nil || checksum(buf) != e.CRC {
					rep.BadData = append(rep.BadData, fmt.Sprintf("%v at %v in block %d", ext, e.W, one[0].Loc))
				}
			}
		}
	}
	return nil
}

// Describe writes a report for people.
func (rep *Report) Describe(w io.Writer) error {
	r, u := rep.Regions, rep.Usage
	_, err := fmt.Fprintf(w, `page store %v of cluster %v, format %d
  mounted %d times, checkpoint %d, log tail %d to %d (%d records), %d metadata records
  blocks of 4 KiB: %d in all; log at %d (%d); checkpoints at %d and %d (%d each); data at %d (%d)
  data blocks: %d free, %d live, %d pending; %d tombstones, %d bad
`, rep.DeviceUUID, rep.ClusterID, formatVersion, rep.Incarnation, rep.Checkpoint, rep.LogFirst, rep.LogNext,
		rep.LogRecords, rep.Metadata, r.Total, r.Log, r.LogBlocks, r.CheckpointA, r.CheckpointB, r.CheckpointBlocks,
		r.Data, r.DataBlocks, u.Free, u.Live, u.Pending, u.Tombstones, u.Bad)
	for _, v := range rep.Volumes {
		_, e := fmt.Fprintf(w, "  volume %v: %d versions, %d blocks, %d unstable, %d tombstones, %d bad; "+
			"settled %d, marks %v\n",
			v.Key, v.Versions, v.Blocks, v.Unstable, v.Tombstones, v.Bad, v.Settled, v.Marks)
		err = errors.Join(err, e)
	}
	for _, s := range rep.Warnings {
		_, e := fmt.Fprintf(w, "  warning: %s\n", s)
		err = errors.Join(err, e)
	}
	for _, s := range rep.BadData {
		_, e := fmt.Fprintf(w, "  bad data: %s\n", s)
		err = errors.Join(err, e)
	}
	return err
}
