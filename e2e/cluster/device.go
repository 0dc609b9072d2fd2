package cluster

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Disk is a device that can be lost: an anonymous file in memory which the test process holds and a daemon
// opens by its path, also after a restart. The kernel lets its owner seal it against growth; sealed and then
// cut to nothing, every read finds the end of the file and every write fails. That is how a dead disk looks
// to its user, and it takes neither privileges nor a kernel module.
type Disk struct {
	file *os.File
}

// NewDisk makes a disk of size bytes.
func NewDisk(name string, size int64) (*Disk, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make disk %s: %w", name, err)
	}
	d := &Disk{os.NewFile(uintptr(fd), name)}
	if err := d.file.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("make disk %s: %w", name, err), d.file.Close())
	}
	return d, nil
}

// Path is where other processes of the same user open the disk while this process lives.
func (d *Disk) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), d.file.Fd()) }

// Lose takes the disk away, for good: what was on it is gone, and all I/O fails from now on.
func (d *Disk) Lose() error {
	if _, err := unix.FcntlInt(d.file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW); err != nil {
		return fmt.Errorf("seal disk: %w", err)
	}
	if err := d.file.Truncate(0); err != nil {
		return fmt.Errorf("cut disk: %w", err)
	}
	return nil
}

// Close gives the memory back.
func (d *Disk) Close() error { return d.file.Close() }
