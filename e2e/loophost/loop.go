package loophost

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// attempts bounds how often a free loop device is asked for: another process may take it first.
const attempts = 32

// loop is a loop device of a file, cleared by the kernel when nobody has it open any more.
type loop struct{ dev *os.File }

// newLoop finds a free device and gives it to the file. The ioctls are made here and not by losetup: a
// child has the FUSE file open until it runs another program, and closing that asks this process.
func newLoop(f *os.File) (*loop, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("loop device: %w", err)
	}
	defer func() { _ = control.Close() }()
	for range attempts {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		dev, err := configure(fmt.Sprintf("/dev/loop%d", number), f)
		if err == nil {
			return &loop{dev}, nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no free loop device in %d attempts", attempts)
}

func configure(name string, f *os.File) (*os.File, error) {
	dev, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("loop device: %w", err)
	}
	config := unix.LoopConfig{Fd: uint32(f.Fd()), Size: 512}
	config.Info.Flags = unix.LO_FLAGS_DIRECT_IO | unix.LO_FLAGS_AUTOCLEAR
	copy(config.Info.File_name[:len(config.Info.File_name)-1], f.Name())
	if err := unix.IoctlLoopConfigure(int(dev.Fd()), &config); err != nil {
		_ = dev.Close()
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	return dev, nil
}

func (l *loop) path() string { return l.dev.Name() }

// resize has the device take the size of its file.
func (l *loop) resize() error {
	if err := unix.IoctlSetInt(int(l.dev.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("resize %s: %w", l.path(), err)
	}
	return nil
}

// size is the device's, in bytes.
func (l *loop) size() (int64, error) { return l.dev.Seek(0, io.SeekEnd) }

// errInUse is a device that somebody else has open.
var errInUse = errors.New("the device is in use")

// detach clears the device. While somebody else has it open it stays as it is: a mistake that a kernel's own
// device would answer with I/O errors.
func (l *loop) detach() error {
	if err := l.dev.Close(); err != nil {
		return fmt.Errorf("close %s: %w", l.path(), err)
	}
	if !l.bound() {
		return nil
	}
	dev, err := os.OpenFile(l.path(), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("loop device: %w", err)
	}
	l.dev = dev
	return fmt.Errorf("detach %s: %w", l.path(), errInUse)
}

// bound says whether the kernel's device has a file still.
func (l *loop) bound() bool {
	_, err := os.Stat("/sys/block/" + filepath.Base(l.path()) + "/loop/backing_file")
	return err == nil
}
