package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// FileOptions describe how to open a regular file or a block device.
type FileOptions struct {
	// Create makes a regular file of this many bytes, fully allocated, when there is none; 0: it must exist.
	Create int64
	// Workers bounds the operations that the device works on at once; 0: 16.
	Workers int
}

// File is a regular file or a block device, served by a bounded pool of goroutines that block in pread,
// pwrite and fdatasync. The page cache makes every write volatile until a Flush. A lock keeps every other
// File, of this process or another, away from the same path.
type File struct {
	geo  Geometry
	f    *os.File
	fd   int // of f, which stays referenced
	max  int
	disk bool // a block device
	wake *sync.Cond

	mu struct {
		sync.Mutex
		pending queue
		workers int // running
		idle    int // of them, waiting for work and not yet signalled
		closed  bool
	}
}

// OpenFile opens, or creates, the device at path. ErrInUse when it is open elsewhere.
func OpenFile(path string, o FileOptions) (*File, error) {
	if o.Workers <= 0 {
		o.Workers = 16
	}
	f, err := openOrCreate(path, o.Create)
	if err != nil {
		return nil, err
	}
	d := &File{f: f, fd: int(f.Fd()), max: o.Workers}
	d.wake = sync.NewCond(&d.mu)
	if err := d.lockAndSize(o.Create); err != nil {
		return nil, errors.Join(fmt.Errorf("open device %s: %w", path, err), f.Close())
	}
	return d, nil
}

func openOrCreate(path string, create int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) && create > 0 {
		// Another process may create it at the same time: both get the same file and one gets the lock.
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("open device: %w", err)
	}
	return f, nil
}

// lockAndSize takes the lock, then allocates an empty file, then finds out the geometry.
func (d *File) lockAndSize(create int64) error {
	if err := unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return ErrInUse
		}
		return fmt.Errorf("lock: %w", err)
	}
	st, err := d.f.Stat()
	if err != nil {
		return err
	}
	switch {
	case st.Mode()&fs.ModeDevice != 0 && st.Mode()&fs.ModeCharDevice == 0:
		return d.diskGeometry()
	case !st.Mode().IsRegular():
		return fmt.Errorf("neither a regular file nor a block device: %v", st.Mode())
	}
	size := st.Size()
	if size == 0 && create > 0 {
		size = create - create%SectorSize
		if err := allocate(d.fd, size); err != nil {
			return fmt.Errorf("allocate %d bytes: %w", size, err)
		}
		if err := d.f.Sync(); err != nil {
			return fmt.Errorf("sync the new file: %w", err)
		}
	}
	d.geo = Geometry{Size: size - size%SectorSize, LogicalBlock: SectorSize, VolatileCache: true}
	if d.geo.Size == 0 {
		return errors.New("the file is empty")
	}
	return nil
}

// allocate reserves the space, so that a write never finds the file system full; one without fallocate gets a
// sparse file.
func allocate(fd int, size int64) error {
	err := unix.Fallocate(fd, 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return unix.Ftruncate(fd, size)
	}
	return err
}

// diskGeometry asks the kernel. The disk is opened once more with O_EXCL, which fails when it is mounted or
// part of something else.
func (d *File) diskGeometry() error {
	d.disk = true
	excl, err := unix.Open(d.f.Name(), unix.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("%w: mounted, or part of another device", ErrInUse)
		}
		return err
	}
	old := d.f
	d.f, d.fd = os.NewFile(uintptr(excl), old.Name()), excl
	if err := old.Close(); err != nil {
		return err
	}
	if err := unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	}
	size, err := d.f.Seek(0, 2)
	if err != nil {
		return fmt.Errorf("size: %w", err)
	}
	lb, err := unix.IoctlGetInt(d.fd, unix.BLKSSZGET)
	if err != nil {
		return fmt.Errorf("logical block size: %w", err)
	}
	d.geo = Geometry{Size: size - size%int64(lb), LogicalBlock: lb, VolatileCache: true}
	return nil
}

// Geometry implements Device.
func (d *File) Geometry() Geometry { return d.geo }

// Submit implements Device.
func (d *File) Submit(ops ...*Op) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range ops {
		if d.mu.closed {
			go o.Done(o, ErrClosed)
			continue
		}
		d.mu.pending.push(o)
		switch {
		case d.mu.idle > 0:
			d.mu.idle--
			d.wake.Signal()
		case d.mu.workers < d.max:
			d.mu.workers++
			go d.work()
		}
	}
}

// work is one goroutine of the pool. It ends when the device is closed and nothing is pending.
func (d *File) work() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		o := d.mu.pending.pop()
		if o == nil {
			if d.mu.closed {
				d.mu.workers--
				d.wake.Broadcast()
				return
			}
			d.mu.idle++
			d.wake.Wait()
			continue
		}
		d.mu.Unlock()
		o.Done(o, d.execute(o))
		d.mu.Lock()
	}
}

func (d *File) execute(o *Op) error {
	if err := o.check(d.geo); err != nil {
		return err
	}
	switch o.Kind {
	case Read:
		return d.transfer(o, unix.Pread)
	case Write:
		return d.transfer(o, unix.Pwrite)
	case Flush:
		return d.flush()
	default:
		return d.discard(o)
	}
}

// transfer moves the whole buffer or fails.
func (d *File) transfer(o *Op, syscall func(fd int, p []byte, off int64) (int, error)) error {
	for at := 0; at < len(o.Buf); {
		n, err := syscall(d.fd, o.Buf[at:], o.Off+int64(at))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("%w: %v of %d bytes at %d: %w", ErrIO, o.Kind, len(o.Buf), o.Off, err)
		case n == 0:
			return fmt.Errorf("%w: %v at %d: the file ends early", ErrIO, o.Kind, o.Off+int64(at))
		}
		at += max(n, 0)
	}
	return nil
}

func (d *File) flush() error {
	for {
		err := unix.Fdatasync(d.fd)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("%w: flush: %w", ErrIO, err)
		}
	}
}

// discard gives the range back to the disk. On a regular file it does nothing: a hole would have to be
// allocated again, and the file system may be full by then.
func (d *File) discard(o *Op) error {
	if !d.disk {
		return nil
	}
	const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	err := unix.Fallocate(d.fd, punch, o.Off, o.Len)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w: discard of %d bytes at %d: %w", ErrIO, o.Len, o.Off, err)
	}
	return nil
}

// Close implements Device: it waits for everything submitted, then releases the lock. Operations submitted
// later fail with ErrClosed. It must not be called from a Done.
func (d *File) Close() error {
	d.mu.Lock()
	if d.mu.closed {
		d.mu.Unlock()
		return ErrClosed
	}
	d.mu.closed = true
	d.wake.Broadcast()
	for d.mu.workers > 0 {
		d.wake.Wait()
	}
	d.mu.Unlock()
	if err := d.f.Close(); err != nil {
		return fmt.Errorf("close device: %w", err)
	}
	return nil
}
