package blockdev

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// The errors of a Device. Test with errors.Is.
var (
	// ErrClosed is returned by operations submitted after Close.
	ErrClosed = errors.New("device closed")
	// ErrRange is returned by operations outside the device, unaligned or of no known kind.
	ErrRange = errors.New("operation outside the device or unaligned")
	// ErrIO is wrapped by every failure of the device: of one place (a sector that cannot be read), or, with one
	// of the next two, of more.
	ErrIO = errors.New("device I/O error")
	// ErrGone is returned when the device is not there any more: every operation fails from now on. It may come
	// back at another path.
	ErrGone = errors.New("device is gone")
	// ErrNoSpace is returned by writes to a file or thin disk that what lies below has no room for.
	ErrNoSpace = errors.New("no space below the device")
	// ErrInUse is returned when another process, or this one, has the device open, or it is mounted.
	ErrInUse = errors.New("device in use")
)

// isGone tells the errors that only a device that is not there has.
func isGone(err error) bool {
	for _, gone := range [...]error{unix.ENODEV, unix.ENXIO, unix.ENOMEDIUM, unix.ESTALE} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// failure makes one of this package's errors of what the kernel said of an operation. Nil stays nil.
func (d *File) failure(o *Op, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%w: %v of %d bytes at %d of %s: %w", ErrIO, o.Kind, o.length(), o.Off, d.path, err)
	switch {
	case isGone(err) || d.unplugged(sysfs):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// unplugged tells whether the disk has left since it was opened: the kernel answers EIO then, as it does for
// a bad sector.
func (d *File) unplugged(sys string) bool {
	if d.disk.number == 0 {
		return false
	}
	now, err := identify(sys, d.disk.number)
	return err != nil || now != d.disk
}
