package blockdev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeSysfs lays out what the kernel says of disks, as files, and returns the root. Disk 8:0 has partition
// 8:1.
func fakeSysfs(t *testing.T, disk map[string]string) string {
	t.Helper()
	root := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
			os.WriteFile(path, []byte(content+"\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range disk {
		write("devices/sda/"+name, content)
	}
	write("devices/sda/sda1/partition", "1")
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "dev/block"), 0o700),
		os.Symlink("../../devices/sda", filepath.Join(root, "dev/block/8:0")),
		os.Symlink("../../devices/sda/sda1", filepath.Join(root, "dev/block/8:1"))); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestFactsOfDisks(t *testing.T) {
	nvme := map[string]string{"queue/logical_block_size": "512", "queue/physical_block_size": "4096",
		"queue/write_cache": "write through", "queue/fua": "0", "queue/rotational": "0",
		"queue/discard_granularity": "4096", "queue/discard_max_bytes": "2199023255040"}
	disk := map[string]string{"queue/logical_block_size": "4096", "queue/physical_block_size": "4096",
		"queue/write_cache": "write back", "queue/fua": "1", "queue/rotational": "1",
		"queue/discard_granularity": "0", "queue/discard_max_bytes": "0"}
	for _, c := range []struct {
		story string
		sysfs map[string]string
		want  queueFacts
	}{
		{"power-loss protected NVMe", nvme, queueFacts{logical: 512, physical: 4096,
			discard: DiscardLimits{Granularity: 4096, Max: 2199023255040}}},
		{"spinning disk", disk, queueFacts{logical: 4096, physical: 4096, volatileCache: true, fua: true,
			rotational: true}},
		{"a kernel that says little", map[string]string{"queue/logical_block_size": "512"},
			queueFacts{logical: 512, physical: 512, volatileCache: true}},
	} {
		root := fakeSysfs(t, c.sysfs)
		for minor := range uint32(2) { // a partition has the facts of its disk
			got, err := readFacts(root, unix.Mkdev(8, minor))
			if err != nil || got != c.want {
				t.Errorf("%s, minor %d: %+v, %v, want %+v", c.story, minor, got, err, c.want)
			}
		}
	}
	for _, size := range []string{"", "0", "300", "-512", "x"} {
		if _, err := readFacts(fakeSysfs(t, map[string]string{"queue/logical_block_size": size}),
			unix.Mkdev(8, 0)); err == nil {
			t.Errorf("accepted a logical block of %q bytes", size)
		}
	}
}

// TestAnUnpluggedDisk: the kernel answers EIO for a bad sector and for a disk that has left; sysfs tells
// which.
func TestAnUnpluggedDisk(t *testing.T) {
	root := fakeSysfs(t, map[string]string{"queue/logical_block_size": "512", "diskseq": "7"})
	id, err := identify(root, unix.Mkdev(8, 1))
	if err != nil {
		t.Fatal(err)
	}
	d := &File{disk: id}
	if d.unplugged(root) {
		t.Error("a disk that is there counts as gone")
	}
	if other := fakeSysfs(t, map[string]string{"diskseq": "8"}); !d.unplugged(other) {
		t.Error("another disk in its place is not noticed")
	}
	if !d.unplugged(t.TempDir()) {
		t.Error("a disk that has left is not noticed")
	}
	if (&File{}).unplugged(t.TempDir()) {
		t.Error("a regular file counts as unplugged")
	}
}

func TestFailures(t *testing.T) {
	d, o := &File{path: "disk"}, &Op{Kind: Read, Buf: make([]byte, 512)}
	for _, c := range []struct {
		errno unix.Errno
		want  error
	}{
		{unix.EIO, ErrIO}, {unix.ENODATA, ErrIO}, {unix.ENODEV, ErrGone}, {unix.ENXIO, ErrGone},
		{unix.ESTALE, ErrGone}, {unix.ENOSPC, ErrNoSpace}, {unix.EDQUOT, ErrNoSpace},
	} {
		err := d.failure(o, c.errno)
		if !errors.Is(err, ErrIO) || !errors.Is(err, c.want) || !errors.Is(err, c.errno) ||
			errors.Is(err, ErrGone) != (c.want == ErrGone) || errors.Is(err, ErrNoSpace) != (c.want == ErrNoSpace) {
			t.Errorf("%v became %v, want %v", c.errno, err, c.want)
		}
	}
	if d.failure(o, nil) != nil {
		t.Error("success became a failure")
	}
	want := fmt.Sprint(ErrIO, ": read of 512 bytes at 0 of disk: ", unix.EIO)
	if got := d.failure(o, unix.EIO).Error(); got != want {
		t.Errorf("says %q, want %q", got, want)
	}
}
