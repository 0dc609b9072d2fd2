package blockdevtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Loop makes a real disk of a file: a loop device full of zeros, size bytes in logical blocks of 512 or 4096
// bytes. It is gone after the test. The test is skipped where it may not make one.
func Loop(tb testing.TB, size int64, logicalBlock int) (path string) {
	tb.Helper()
	backing, err := os.Create(filepath.Join(tb.TempDir(), "backing"))
	if err != nil {
		tb.Fatal(err)
	}
	defer backing.Close()
	if err := backing.Truncate(size); err != nil {
		tb.Fatal(err)
	}
	for range 20 { // another test may take the free one first
		disk, err := attach(backing, logicalBlock)
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		if err != nil {
			tb.Skipf("no loop device (only root may make one): %v", err)
		}
		tb.Cleanup(func() { _ = disk.Close() })
		return disk.Name()
	}
	tb.Skip("no free loop device")
	return ""
}

// attach makes the loop device, which goes away when the last file descriptor is closed.
func attach(backing *os.File, logicalBlock int) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("find a free loop device: %w", err)
	}
	disk, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Size: uint32(logicalBlock),
		Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	if err := unix.IoctlLoopConfigure(int(disk.Fd()), &config); err != nil {
		return nil, errors.Join(fmt.Errorf("attach a loop device: %w", err), disk.Close())
	}
	return disk, nil
}
