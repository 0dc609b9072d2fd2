package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lockGrace is how long OpenFile waits for a device that is in use.
const lockGrace = time.Second

// FileOptions describe how to open a regular file or a block device. The zero value opens what is there, with
// what the kernel says of it and the best engine that works.
type FileOptions struct {
	// Create makes a regular file of this many bytes, fully allocated, when there is none; 0: it must exist.
	Create int64
	// Engine carries the operations out; EngineAuto: io_uring where the kernel has it and the device takes
	// O_DIRECT, else plain.
	Engine Engine
	// Buffered goes through the page cache. Without it O_DIRECT is used where it works.
	Buffered bool
	// Cache overrides what is detected of a volatile write cache.
	Cache Cache
	// LogicalBlock overrides what is detected, in bytes; a power of two that is not smaller.
	LogicalBlock int
	// Pinned is memory that callers take buffers from, page aligned. It must stay mapped, and its pages must not
	// be given back with madvise, until the File is closed: an engine may have the kernel pin it, once instead
	// of for each operation. A buffer lies inside one piece of it, or outside of all.
	Pinned [][]byte
	// Punch gives discarded ranges of a regular file back to the file system. A later write there needs space
	// again and may fail with ErrNoSpace.
	Punch bool
}

// File is a regular file or a block device. A lock keeps every other File, of this process or another, away
// from the same path; a disk that is mounted or part of another device cannot be opened.
type File struct {
	geo    Geometry
	path   string
	f      *os.File
	fd     int // of f, which stays referenced
	disk   diskID
	punch  bool
	pinned [][]byte
	align  uintptr // bytes: what O_DIRECT wants of the address of a buffer; 1: nothing
	eng    engine
	closed atomic.Bool
	meter  meter
}

// engine carries out the operations of a File.
type engine interface {
	// submit never waits for the device and never calls Done itself. After close it fails operations with
	// ErrClosed.
	submit(ops []*Op)
	// close waits for everything submitted.
	close()
}

// OpenFile opens, or creates, the device at path. ErrInUse when it is open elsewhere, mounted, or part of
// another device.
func OpenFile(path string, o FileOptions) (*File, error) {
	f, err := openLocked(path, o.Create)
	if err != nil {
		return nil, fmt.Errorf("open device: %w", err)
	}
	d := &File{path: path, f: f, fd: int(f.Fd()), align: 1, punch: o.Punch, pinned: o.Pinned,
		meter: meter{base: time.Now()}}
	err = d.prepare(&o)
	if err == nil {
		err = d.startEngine(o.Engine)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open device %s: %w", path, err), f.Close())
	}
	return d, nil
}

// openLocked opens a device so that nobody else can. The lock of a process that was killed lasts until its
// operations in flight have ended, which is what keeps them from overwriting its successor's: so a device in
// use is asked again for a moment.
func openLocked(path string, create int64) (*os.File, error) {
	for deadline := time.Now().Add(lockGrace); ; time.Sleep(lockGrace / 100) {
		f, err := openOrCreate(path, create)
		if err == nil {
			if err = lock(f); err == nil {
				return f, nil
			}
			err = errors.Join(err, f.Close())
		}
		if !errors.Is(err, ErrInUse) || time.Now().After(deadline) {
			return nil, err
		}
	}
}

// openOrCreate opens a disk so that nobody else can, a file system on it included.
func openOrCreate(path string, create int64) (*os.File, error) {
	flags := os.O_RDWR
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create > 0:
		// Another process may create it at the same time: both get the same file and one gets the lock.
		flags |= os.O_CREATE
	case err == nil && isDisk(st):
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(path, flags, 0o600)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("%w: mounted, part of another device, or open elsewhere: %w", ErrInUse, err)
	case isGone(err):
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return f, err
}

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s", ErrInUse, f.Name())
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

func isDisk(st fs.FileInfo) bool {
	return st.Mode()&fs.ModeDevice != 0 && st.Mode()&fs.ModeCharDevice == 0
}

// prepare allocates an empty file and finds out what the device is.
func (d *File) prepare(o *FileOptions) error {
	st, err := d.f.Stat()
	if err != nil {
		return err
	}
	if st.Mode().IsRegular() && st.Size() == 0 && o.Create > 0 {
		if err := d.allocate(o.Create - o.Create%SectorSize); err != nil {
			return err
		}
	}
	offsetAlign := 0
	if !o.Buffered {
		if offsetAlign, err = d.goDirect(); err != nil {
			return err
		}
	}
	if d.geo, err = d.detect(offsetAlign); err != nil {
		return err
	}
	return d.override(o)
}

// allocate reserves the space, so that a write never finds the file system full; one without fallocate gets a
// sparse file.
func (d *File) allocate(size int64) error {
	err := unix.Fallocate(d.fd, 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = unix.Ftruncate(d.fd, size)
	}
	if err != nil {
		return fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	if err := d.f.Sync(); err != nil {
		return fmt.Errorf("sync the new file: %w", err)
	}
	return nil
}

// goDirect switches to O_DIRECT if the kernel says how it wants it, and returns the alignment of offsets and
// lengths, in bytes; 0: it does not, and the page cache is used. Linux says so from 6.1 on; tmpfs never does.
func (d *File) goDirect() (offsetAlign int, err error) {
	var st unix.Statx_t
	err = unix.Statx(d.fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_mem_align == 0 || st.Dio_offset_align == 0 {
		return 0, nil
	}
	flags, err := unix.FcntlInt(uintptr(d.fd), unix.F_GETFL, 0)
	if err != nil {
		return 0, fmt.Errorf("flags of the open file: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(d.fd), unix.F_SETFL, flags|unix.O_DIRECT); err != nil {
		return 0, nil // refused after all
	}
	d.align = uintptr(st.Dio_mem_align)
	return int(st.Dio_offset_align), nil
}

// override applies what the options know better.
func (d *File) override(o *FileOptions) error {
	g := &d.geo
	if lb := o.LogicalBlock; lb != 0 {
		if lb < g.LogicalBlock || lb&(lb-1) != 0 {
			return fmt.Errorf("%w: logical block of %d bytes, the device has %d", ErrRange, lb, g.LogicalBlock)
		}
		g.LogicalBlock = lb
	}
	switch o.Cache {
	case CacheVolatile:
		g.VolatileCache = true
	case CacheNone:
		g.VolatileCache = false
	}
	g.Size -= g.Size % int64(g.LogicalBlock)
	if g.Size == 0 {
		return fmt.Errorf("%w: it is empty, or smaller than a block", ErrRange)
	}
	return nil
}

// startEngine starts the engine that is wanted, or the best that works.
func (d *File) startEngine(want Engine) (err error) {
	if want == EngineURing || want == EngineAuto && d.geo.Direct {
		if d.eng, err = newRing(d); err == nil {
			d.geo.Engine = EngineURing
			return nil
		}
		if want == EngineURing {
			return err
		}
	}
	d.geo.Engine = EnginePlain
	d.eng = newPlain(d, plainWorkers)
	return nil
}

// Geometry implements Device.
func (d *File) Geometry() Geometry { return d.geo }

// Submit implements Device.
func (d *File) Submit(ops ...*Op) {
	if len(ops) == 0 {
		return
	}
	d.meter.begin(ops)
	d.eng.submit(ops)
}

// fits tells whether the device takes a buffer as it is.
func (d *File) fits(buf []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(buf)))&(d.align-1) == 0
}

// discard gives a range back. On a regular file it does nothing unless the options say so: the space would
// have to be allocated again, and the file system may be full by then.
func (d *File) discard(off, n int64) error {
	switch {
	case d.geo.Discard.Granularity == 0:
		return nil
	case d.geo.Kind == KindDisk:
		return d.discardDisk(off, n)
	}
	return retry(func() error {
		return unix.Fallocate(d.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// discardDisk asks the disk to forget a range; it may not want to.
func (d *File) discardDisk(off, n int64) error {
	span := [2]uint64{uint64(off), uint64(n)}
	err := retry(func() error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), unix.BLKDISCARD,
			uintptr(unsafe.Pointer(&span)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// Close implements Device: it waits for everything submitted, then releases the lock. Operations submitted
// later fail with ErrClosed. It must not be called from a Done.
func (d *File) Close() error {
	if d.closed.Swap(true) {
		return ErrClosed
	}
	d.eng.close()
	if err := d.f.Close(); err != nil {
		return fmt.Errorf("close device: %w", err)
	}
	return nil
}
