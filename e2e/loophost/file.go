package loophost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/initiator"
)

// fileName is the only file of each mount.
const fileName = "volume"

// maxTransfer is the most that one FUSE request moves, in bytes: the kernel's own limit.
const maxTransfer = 1 << 20

// file is a volume as a file. Its size is the volume's, whatever anybody truncates it to; it is not cached
// (FOPEN_DIRECT_IO), and takes reads and writes of whole blocks.
type file struct {
	fs.Inode
	volume *initiator.Volume
}

var (
	_ fs.NodeGetattrer = (*file)(nil)
	_ fs.NodeSetattrer = (*file)(nil)
	_ fs.NodeOpener    = (*file)(nil)
	_ fs.NodeReader    = (*file)(nil)
	_ fs.NodeWriter    = (*file)(nil)
	_ fs.NodeFsyncer   = (*file)(nil)
	_ fs.NodeAllocater = (*file)(nil)
)

// mount shows the volume as a file below dir. The kernel keeps no attributes: a new size is seen at once.
func mount(dir string, v *initiator.Volume) (*fuse.Server, error) {
	root := &directory{file: &file{volume: v}}
	server, err := fs.Mount(dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "ashlar", Name: "ashlar", DirectMountStrict: true, DisableXAttrs: true,
		DisableSplice: true, // whose pipes are as large as a request without its header
		MaxWrite:      maxTransfer, MaxBackground: 128,
	}})
	if err != nil {
		return nil, fmt.Errorf("mount volume: %w", err)
	}
	return server, nil
}

// directory is the root of the mount.
type directory struct {
	fs.Inode
	file *file
}

var _ fs.NodeOnAdder = (*directory)(nil)

func (d *directory) OnAdd(ctx context.Context) {
	d.AddChild(fileName, d.NewPersistentInode(ctx, d.file, fs.StableAttr{Mode: syscall.S_IFREG}), false)
}

func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = 0o600
	out.Size = uint64(f.volume.Size())
	out.Blocks = out.Size / 512
	out.Blksize = 4096
	return 0
}

// Setattr changes nothing: qemu-img truncates what it writes an image to, and a block device stays as it is.
func (f *file) Setattr(ctx context.Context, h fs.FileHandle, _ *fuse.SetAttrIn,
	out *fuse.AttrOut) syscall.Errno {
	return f.Getattr(ctx, h, out)
}

func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (f *file) Read(ctx context.Context, _ fs.FileHandle, p []byte, off int64) (fuse.ReadResult,
	syscall.Errno) {
	n := max(0, min(int64(len(p)), f.volume.Size()-off))
	return fuse.ReadResultData(p[:n]), f.done("read", off, n, f.volume.Read(ctx, p[:n], off))
}

func (f *file) Write(ctx context.Context, _ fs.FileHandle, p []byte, off int64) (uint32, syscall.Errno) {
	return uint32(len(p)), f.done("write", off, int64(len(p)), f.volume.Write(ctx, p, off))
}

func (f *file) Fsync(ctx context.Context, _ fs.FileHandle, _ uint32) syscall.Errno {
	return f.done("flush", 0, 0, f.volume.Flush(ctx))
}

// Allocate makes what is punched out or zeroed read as zeroes, which is how a loop device discards.
func (f *file) Allocate(ctx context.Context, _ fs.FileHandle, off, n uint64, mode uint32) syscall.Errno {
	if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) == 0 {
		return syscall.EOPNOTSUPP
	}
	return f.done("write zeroes", int64(off), int64(n), f.volume.WriteZeroes(ctx, int64(off), int64(n)))
}

// done is the answer to the kernel; what is not understood by its number is said in the log.
func (f *file) done(what string, off, n int64, err error) syscall.Errno {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled): // the kernel has lost interest
		return syscall.EINTR
	case errors.Is(err, initiator.ErrRange):
		return syscall.EINVAL
	}
	fmt.Fprintf(os.Stderr, "%s %d bytes at %d: %v\n", what, n, off, err)
	return syscall.EIO
}
