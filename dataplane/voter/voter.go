// Package voter is the shell around a lease.Voter: it makes fences durable before they count, in a small file
// of the node's data directory.
//
// File "fences", records of 20 bytes, little endian, appended and synced; at open it is rewritten without
// what later records replaced. A torn record at the end was never answered and is dropped; a broken one
// before the end means that the file is damaged, and the voter refuses to start rather than forget a fence.
//
//	0       4            8        12         16      20
//	+-------+------------+--------+----------+-------+
//	| VUID  | generation | epoch  | version 1| CRC32C|   of the first 16 bytes
//	+-------+------------+--------+----------+-------+
package voter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/lease"
)

const (
	recordSize    = 20
	recordVersion = 1
	fileName      = "fences"
)

// ErrDamaged means that the file of fences cannot be trusted.
var ErrDamaged = errors.New("file of fences is damaged")

// Voter is safe for concurrent use.
type Voter struct {
	mu   sync.Mutex
	core *lease.Voter
	file *os.File
	base time.Time
	err  error // of a failed write: nothing is promised any more
}

// Open reads the fences of dir, which must exist, and starts the voter.
func Open(dir string) (*Voter, error) {
	path := filepath.Join(dir, fileName)
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open voter: %w", err)
	}
	fences, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("open voter: %s: %w", path, err)
	}
	v := &Voter{base: time.Now()}
	v.core = lease.NewVoter(uint64(v.base.UnixNano()), 0, fences)
	if v.file, err = rewrite(dir, v.core.All()); err != nil {
		return nil, fmt.Errorf("open voter: %w", err)
	}
	return v, nil
}

func decode(raw []byte) ([]lease.Fence, error) {
	var out []lease.Fence
	for ; len(raw) >= recordSize; raw = raw[recordSize:] {
		le := binary.LittleEndian
		if checksum(raw[:16]) != le.Uint32(raw[16:]) {
			if len(raw) < 2*recordSize {
				return out, nil // torn: never answered
			}
			return nil, ErrDamaged
		}
		if v := le.Uint32(raw[12:]); v != recordVersion {
			return nil, fmt.Errorf("%w: record version %d", ErrDamaged, v)
		}
		f := lease.Fence{Vol: cluster.VolumeKey{VUID: le.Uint32(raw), Generation: le.Uint32(raw[4:])},
			Epoch: le.Uint32(raw[8:])}
		if !f.Vol.Valid() || f.Epoch == 0 {
			return nil, fmt.Errorf("%w: volume %v epoch %d", ErrDamaged, f.Vol, f.Epoch)
		}
		out = append(out, f)
	}
	return out, nil
}

func encode(b []byte, f lease.Fence) []byte {
	le := binary.LittleEndian
	n := len(b)
	b = le.AppendUint32(b, f.Vol.VUID)
	b = le.AppendUint32(b, f.Vol.Generation)
	b = le.AppendUint32(b, f.Epoch)
	b = le.AppendUint32(b, recordVersion)
	return le.AppendUint32(b, checksum(b[n:]))
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// rewrite replaces the file by one that holds just these fences and opens it for appending.
func rewrite(dir string, fences []lease.Fence) (*os.File, error) {
	var b []byte
	for _, f := range fences {
		b = encode(b, f)
	}
	tmp := filepath.Join(dir, fileName+".new")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, filepath.Join(dir, fileName))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Fence stores a fence durably and tells how long the voter has not heard of a gateway. A lower epoch than
// the stored one changes nothing; the answer names the stored one.
func (v *Voter) Fence(f lease.Fence, about cluster.NodeID) (lease.Fenced, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.core.Epoch(f.Vol) < f.Epoch {
		if err := v.store(f); err != nil {
			return lease.Fenced{}, err
		}
	}
	return lease.Fenced{Known: v.core.Epoch(f.Vol), Silent: v.core.Age(int64(time.Since(v.base)), about)}, nil
}

// store makes a fence durable. v.mu is held: nobody renews between that and the look at the age.
func (v *Voter) store(f lease.Fence) error {
	if v.err != nil {
		return v.err
	}
	_, err := v.file.Write(encode(nil, f))
	if err == nil {
		err = v.file.Sync()
	}
	if err != nil {
		v.err = fmt.Errorf("store fence: %w", err)
		return v.err
	}
	v.core.Stored(f)
	return nil
}

// Renew answers a gateway's renewal.
func (v *Voter) Renew(gateway cluster.NodeID, since lease.Position) lease.Reply {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.core.Renew(int64(time.Since(v.base)), gateway, since)
}

// Forget drops fences of volumes that no longer exist; the file follows at the next open.
func (v *Voter) Forget(gone func(cluster.VolumeKey) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.core.Forget(gone)
}

// Close ends the voter.
func (v *Voter) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err == nil {
		v.err = os.ErrClosed
	}
	return v.file.Close()
}
