package blockdev

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sysfs is where the kernel describes its disks.
const sysfs = "/sys"

// queueFacts is what the kernel knows of a disk: the files below queue/ of its directory in sysfs.
type queueFacts struct {
	logical, physical int // bytes
	volatileCache     bool
	fua               bool
	rotational        bool
	discard           DiscardLimits
}

// diskID tells a disk from any other that was ever in its place: sysfs counts them.
type diskID struct {
	number uint64 // device number; 0: not a disk
	seq    string
}

// diskDir is the directory of the disk with a device number; of a partition, that of the whole disk.
func diskDir(sys string, number uint64) (string, error) {
	link := fmt.Sprintf("%s/dev/block/%d:%d", sys, unix.Major(number), unix.Minor(number))
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return "", fmt.Errorf("disk in sysfs: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "partition")); err == nil {
		dir = filepath.Dir(dir)
	}
	return dir, nil
}

// identify names the disk that has a device number now. Kernels before 5.15 do not count disks; there any
// disk with the number is the same.
func identify(sys string, number uint64) (diskID, error) {
	dir, err := diskDir(sys, number)
	if err != nil {
		return diskID{}, err
	}
	return diskID{number: number, seq: attribute(dir, "diskseq")}, nil
}

// readFacts reads what sysfs says of a disk. What it does not say counts as the worst case.
func readFacts(sys string, number uint64) (queueFacts, error) {
	dir, err := diskDir(sys, number)
	if err != nil {
		return queueFacts{}, err
	}
	q := filepath.Join(dir, "queue")
	f := queueFacts{
		logical:       int(numeral(q, "logical_block_size")),
		physical:      int(numeral(q, "physical_block_size")),
		volatileCache: attribute(q, "write_cache") != "write through",
		fua:           numeral(q, "fua") == 1,
		rotational:    numeral(q, "rotational") == 1,
	}
	if limit := numeral(q, "discard_max_bytes"); limit > 0 {
		f.discard = DiscardLimits{Granularity: max(numeral(q, "discard_granularity"), int64(f.logical)), Max: limit}
	}
	if f.logical < SectorSize || f.logical&(f.logical-1) != 0 {
		return f, fmt.Errorf("%s: logical block of %d bytes", dir, f.logical)
	}
	f.physical = max(f.physical, f.logical)
	return f, nil
}

// attribute reads a file of sysfs; "" when it is not there.
func attribute(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// numeral reads a file of sysfs that holds a number; 0 when there is none.
func numeral(dir, name string) int64 {
	n, err := strconv.ParseInt(attribute(dir, name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// detect describes the open device. offsetAlign is what O_DIRECT wants; 0: it is not used.
func (d *File) detect(offsetAlign int) (Geometry, error) {
	st, err := d.f.Stat()
	if err != nil {
		return Geometry{}, err
	}
	var raw unix.Stat_t
	if err := unix.Fstat(d.fd, &raw); err != nil {
		return Geometry{}, fmt.Errorf("stat: %w", err)
	}
	switch {
	case isDisk(st):
		return d.detectDisk(raw.Rdev, offsetAlign)
	case st.Mode().IsRegular():
		return d.detectRegular(&raw, offsetAlign), nil
	}
	return Geometry{}, fmt.Errorf("neither a regular file nor a block device: %v", st.Mode())
}

// detectDisk asks sysfs. Through the page cache writes are volatile whatever the disk has.
func (d *File) detectDisk(number uint64, offsetAlign int) (g Geometry, err error) {
	if d.disk, err = identify(sysfs, number); err != nil {
		return g, err
	}
	facts, err := readFacts(sysfs, number)
	if err != nil {
		return g, err
	}
	size, err := d.f.Seek(0, io.SeekEnd)
	if err != nil {
		return g, fmt.Errorf("size: %w", err)
	}
	if ro, err := unix.IoctlGetInt(d.fd, unix.BLKROGET); err == nil && ro != 0 {
		return g, errors.New("the disk is write-protected")
	}
	return Geometry{Kind: KindDisk, Size: size, LogicalBlock: max(facts.logical, offsetAlign),
		PhysicalBlock: facts.physical, VolatileCache: facts.volatileCache || offsetAlign == 0, FUA: facts.fua,
		Rotational: facts.rotational, Discard: facts.discard, Direct: offsetAlign > 0}, nil
}

// detectRegular describes a file: its writes are volatile, since only fdatasync makes the file system's own
// records durable. Of the disk below only its rotation is seen, where the file system has one disk.
func (d *File) detectRegular(st *unix.Stat_t, offsetAlign int) Geometry {
	g := Geometry{Kind: KindRegular, Size: st.Size, LogicalBlock: max(SectorSize, offsetAlign),
		PhysicalBlock: max(SectorSize, offsetAlign, int(st.Blksize)), VolatileCache: true, Direct: offsetAlign > 0}
	if facts, err := readFacts(sysfs, st.Dev); err == nil {
		g.Rotational = facts.rotational
	}
	if d.punch {
		g.Discard = DiscardLimits{Granularity: int64(g.PhysicalBlock), Max: g.Size}
	}
	return g
}
