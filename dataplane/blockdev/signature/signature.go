// Package signature tells what is on a device before somebody overwrites it: nothing, or the traces of
// partition tables, file systems, volume managers, RAID, encryption and other storage systems. It knows where
// each of them puts its magic bytes, at the start of a device and at its end, and trusts nothing else there.
//
// What it does not know still counts: a device is blank only if its first MiB holds nothing but zeros, too.
package signature

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
)

const (
	// headSize and tailSize are how many bytes at both ends of a device are looked at. The farthest signature
	// from the start is VMFS at 1 MiB, the farthest from the end ZFS at 512 KiB.
	headSize = 2 << 20
	tailSize = 1 << 20
	// blankSize is how many bytes at the start of a device must be zero for it to count as blank.
	blankSize = 1 << 20
)

// Found is a trace of something on a device.
type Found struct {
	Name string // "ext2, ext3 or ext4 file system"
	Off  int64  // bytes from the start of the device
}

// Content is what is on a device.
type Content struct {
	Found []Found // in the order of their places
	Data  bool    // the first MiB is not zero
}

// Blank tells that nothing would be lost.
func (c Content) Blank() bool { return len(c.Found) == 0 && !c.Data }

// String says what it is.
func (c Content) String() string {
	switch {
	case c.Blank():
		return "nothing"
	case len(c.Found) == 0:
		return "data of a kind that is not known"
	}
	var parts []string
	for _, f := range c.Found {
		if part := fmt.Sprintf("%s (at byte %d)", f.Name, f.Off); len(parts) < 4 {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}

// Inspect reads both ends of a device and looks for signatures.
func Inspect(ctx context.Context, dev blockdev.Device) (Content, error) {
	g := dev.Geometry()
	head := make([]byte, min(headSize, g.Size))
	tail := make([]byte, min(tailSize, g.Size))
	tailAt := g.Size - int64(len(tail))
	for _, op := range [...]*blockdev.Op{{Kind: blockdev.Read, Buf: head},
		{Kind: blockdev.Read, Buf: tail, Off: tailAt}} {
		ended := make(chan error, 1)
		op.Done = func(_ *blockdev.Op, err error) { ended <- err }
		dev.Submit(op)
		select {
		case err := <-ended:
			if err != nil {
				return Content{}, fmt.Errorf("look for data on the device: %w", err)
			}
		case <-ctx.Done():
			return Content{}, fmt.Errorf("look for data on the device: %w", ctx.Err())
		}
	}
	return Find(g.Size, head, tail), nil
}

// Find looks for signatures in the first and the last bytes of a device of size bytes. Either may be shorter
// than what Inspect reads: what is not there is not found.
func Find(size int64, head, tail []byte) Content {
	c := Content{Data: !zero(head[:min(blankSize, len(head))])}
	for i := range magics {
		c.Found = append(c.Found, magics[i].find(head, 0)...)
	}
	tailAt := size - int64(len(tail))
	for _, m := range tailMagics {
		at := m.at(size) - tailAt
		if at >= 0 && at <= int64(len(tail)) {
			c.Found = append(c.Found, m.find(tail[at:], tailAt+at)...)
		}
	}
	return c
}

func zero(b []byte) bool {
	for ; len(b) >= 4096; b = b[4096:] {
		if [4096]byte(b) != [4096]byte{} {
			return false
		}
	}
	return bytes.Count(b, []byte{0}) == len(b)
}
