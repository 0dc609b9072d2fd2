package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Disk is a device that can be lost: an anonymous file in memory which the test process holds and a daemon
// opens by its path, also after a restart. The kernel lets its owner seal it against growth; sealed and then
// cut to nothing, every read finds the end of the file and every write fails. That is how a dead disk looks
// to its user, and it takes neither privileges nor a kernel module.
type Disk struct {
	Name   string
	Device model.DeviceID // in the cluster, once it has been added

	file *os.File
	path string // a link, so that the disk can be pulled
}

// NewDisk makes a disk of size bytes with a path in a directory.
func NewDisk(dir, name string, size int64) (*Disk, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make disk %s: %w", name, err)
	}
	d := &Disk{Name: name, file: os.NewFile(uintptr(fd), name), path: filepath.Join(dir, name)}
	err = d.file.Truncate(size)
	if err == nil {
		err = d.Plug()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make disk %s: %w", name, err), d.file.Close())
	}
	return d, nil
}

// Path is where other processes of the same user open the disk while this process lives and it is plugged in.
func (d *Disk) Path() string { return d.path }

// Unplug makes the path lead nowhere, which matters to who opens it next; Plug mends that.
func (d *Disk) Unplug() error { return os.Remove(d.path) }

// Plug ends an Unplug.
func (d *Disk) Plug() error {
	return os.Symlink(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), d.file.Fd()), d.path)
}

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

// Save writes what is on the disk to a file beside its path, for whoever wants to know why a test failed.
func (d *Disk) Save() error {
	if err := d.file.Sync(); err != nil {
		return err
	}
	to, err := os.Create(d.path + ".saved")
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }() // what counts are the errors before
	end, err := d.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for from := int64(0); from < end; {
		if from, err = d.file.Seek(from, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			break // only a hole is left
		}
		until, err := d.file.Seek(from, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		part := io.NewSectionReader(d.file, from, until-from)
		if _, err := io.Copy(io.NewOffsetWriter(to, from), part); err != nil {
			return err
		}
		from = until
	}
	return to.Truncate(end)
}

// Close gives the memory back.
func (d *Disk) Close() error { return d.file.Close() }
