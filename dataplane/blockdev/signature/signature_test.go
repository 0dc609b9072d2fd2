package signature

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
)

const size = 8 << 20 // bytes

func inspect(t *testing.T, m *blockdev.Mem) Content {
	t.Helper()
	c, err := Inspect(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEverySignatureIsFound plants the magic bytes of each thing where that thing documents them.
func TestEverySignatureIsFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		off   int64
		bytes string
	}{
		{"partition table (GPT)", 512, "EFI PART"},
		{"partition table (GPT)", 4096, "EFI PART"},
		{"partition table (GPT)", size - 512, "EFI PART"},
		{"partition table (GPT)", size - 4096, "EFI PART"},
		{"partition table or boot sector (MBR)", 510, "\x55\xaa"},
		{"LVM physical volume", 512, "LABELONE"},
		{"LVM physical volume", 1536, "LABELONE"},
		{"Linux software RAID member (md)", 4096, "\xfc\x4e\x2b\xa9"},
		{"Linux software RAID member (md)", size - 8192, "\xfc\x4e\x2b\xa9"},
		{"Linux software RAID member (md)", size - 65536, "\xfc\x4e\x2b\xa9"},
		{"LUKS encrypted volume", 0, "LUKS\xba\xbe\x00\x02"},
		{"Ceph BlueStore", 0, "bluestore block device\n"},
		{"ZFS pool member", 128<<10 + 7<<10, "\x0c\xb1\xba\x00\x00\x00\x00\x00"},
		{"ZFS pool member", size - 256<<10 + 128<<10, "\x0c\xb1\xba\x00\x00\x00\x00\x00"},
		{"ext2, ext3 or ext4 file system", 1080, "\x53\xef"},
		{"XFS file system", 0, "XFSB"},
		{"Btrfs file system", 65600, "_BHRfS_M"},
		{"FAT file system", 82, "FAT32   "},
		{"NTFS file system", 3, "NTFS    "},
		{"swap space", 4086, "SWAPSPACE2"},
		{"VMFS volume", 1 << 20, "\x0d\xd0\x01\xc0"},
		{"DDF RAID member", size - 512, "\xde\x11\xde\x11"},
	} {
		m := blockdev.NewMem(blockdev.MemOptions{Size: size})
		m.Poke(c.off, []byte(c.bytes))
		got := inspect(t, m)
		if got.Blank() || !slices.Equal(got.Found, []Found{{c.name, c.off}}) {
			t.Errorf("%s at %d: found %+v", c.name, c.off, got)
		}
		if !strings.Contains(got.String(), c.name) {
			t.Errorf("%s: called %q", c.name, got)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBlankAndUnknown(t *testing.T) {
	for _, size := range []int64{4096, 1 << 20, 3 << 20} {
		m := blockdev.NewMem(blockdev.MemOptions{Size: size})
		if c := inspect(t, m); !c.Blank() || c.String() != "nothing" {
			t.Errorf("%d bytes of zeros: %+v", size, c)
		}
		m.Poke(min(size, 1<<20)-1, []byte{1})
		if c := inspect(t, m); c.Blank() || len(c.Found) > 0 {
			t.Errorf("one byte that is not zero: %+v", c)
		}
		m.Inject(blockdev.Fault{Kind: blockdev.ReadError})
		if _, err := Inspect(t.Context(), m); !errors.Is(err, blockdev.ErrIO) {
			t.Errorf("a device that cannot be read: %v", err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatToolsWrite lets the tools of the system make what they make.
func TestWhatToolsWrite(t *testing.T) {
	for _, c := range []struct{ want, command string }{
		{"ext2, ext3 or ext4 file system", "mkfs.ext4 -q -F $DISK"},
		{"swap space", "mkswap $DISK"},
		{"XFS file system", "mkfs.xfs -q $DISK"},
		{"Btrfs file system", "mkfs.btrfs -q $DISK"},
		{"FAT file system", "mkfs.vfat $DISK"},
		{"LUKS encrypted volume", "echo secret | cryptsetup luksFormat -q --pbkdf pbkdf2 " +
			"--pbkdf-force-iterations 1000 $DISK -"},
		{"partition table (GPT)", "echo label: gpt | sfdisk -q $DISK"},
		{"partition table or boot sector (MBR)", "echo label: dos | sfdisk -q $DISK"},
	} {
		t.Run(c.want, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 512<<20)); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", c.command)
			cmd.Env = append(os.Environ(), "DISK="+path, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Skipf("the tool is not here, or cannot do it: %v\n%s", err, out)
			}
			dev, err := blockdev.OpenFile(path, blockdev.FileOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := Inspect(t.Context(), dev)
			if err := errors.Join(err, dev.Close()); err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(got.Found, func(f Found) bool { return f.Name == c.want }) {
				t.Fatalf("found %v", got)
			}
		})
	}
}

func FuzzFind(f *testing.F) {
	f.Add(int64(4096), make([]byte, 4096), make([]byte, 512))
	f.Add(int64(size), []byte("LABELONE"), []byte("EFI PART"))
	f.Add(int64(0), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, size int64, head, tail []byte) {
		c := Find(size, head, tail)
		if c.Blank() != (c.String() == "nothing") {
			t.Fatalf("%+v", c)
		}
	})
}
