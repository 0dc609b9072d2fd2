package signature

import "strings"

// magic is what something writes to a known place.
type magic struct {
	name   string
	off    int // bytes, from the start of what is looked at
	bytes  string
	stride int // places repeat after so many bytes
	places int // how many there are; 0: one
}

// find returns the first place that holds the magic. base is where b begins on the device.
func (m *magic) find(b []byte, base int64) []Found {
	for i := range max(m.places, 1) {
		at := m.off + i*m.stride
		if at <= len(b) && strings.HasPrefix(string(b[at:min(len(b), at+len(m.bytes))]), m.bytes) {
			return []Found{{m.name, base + int64(at)}}
		}
	}
	return nil
}

// magics are found at the start of a device. Names of the same thing in several places are the same.
var magics = [...]magic{
	// Partition tables. A FAT file system without one has the mark of a boot sector, too.
	{name: gpt, off: 512, bytes: "EFI PART"},
	{name: gpt, off: 4096, bytes: "EFI PART"},
	{name: "partition table or boot sector (MBR)", off: 510, bytes: "\x55\xaa"},
	{name: "Apple partition map", off: 512, bytes: "PM\x00\x00"},
	{name: "BSD disk label", off: 512, bytes: "\x57\x45\x56\x82"},
	// Volume managers, RAID, caches, encryption.
	{name: "LVM physical volume", bytes: "LABELONE", stride: 512, places: 4},
	{name: mdRAID, bytes: "\xfc\x4e\x2b\xa9"},
	{name: mdRAID, off: 4096, bytes: "\xfc\x4e\x2b\xa9"},
	{name: luks, bytes: "LUKS\xba\xbe"},
	{name: luks, off: 16 << 10, bytes: "SKUL\xba\xbe", stride: 16 << 10, places: 2},
	{name: "BitLocker", off: 3, bytes: "-FVE-FS-"},
	{name: "bcache", off: 4096 + 24, bytes: "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
	{name: "VDO", bytes: "dmvdo001"},
	{name: "Stratis", off: 512 + 4, bytes: "!Stra0tis\x86\xff\x02^\x41rh"},
	{name: "snapshot of the device mapper", bytes: "SnAp\x01\x00\x00\x00"},
	// Other storage systems.
	{name: "Ceph BlueStore", bytes: "bluestore block device"},
	{name: zfs, off: 128 << 10, bytes: zfsMagic, stride: 1 << 10, places: 128},
	{name: zfs, off: 384 << 10, bytes: zfsMagic, stride: 1 << 10, places: 128},
	{name: "SPDK blobstore", bytes: "SPDKBLOB"},
	{name: "Oracle ASM", off: 32, bytes: "ORCLDISK"},
	{name: "VMFS volume", off: 1 << 20, bytes: "\x0d\xd0\x01\xc0"},
	// File systems.
	{name: "ext2, ext3 or ext4 file system", off: 1024 + 56, bytes: "\x53\xef"},
	{name: "XFS file system", bytes: "XFSB"},
	{name: "Btrfs file system", off: 64<<10 + 64, bytes: "_BHRfS_M"},
	{name: "F2FS file system", off: 1024, bytes: "\x10\x20\xf5\xf2"},
	{name: "NTFS file system", off: 3, bytes: "NTFS    "},
	{name: "exFAT file system", off: 3, bytes: "EXFAT   "},
	{name: "ReFS file system", off: 3, bytes: "ReFS\x00\x00\x00\x00"},
	{name: "FAT file system", off: 54, bytes: "FAT"},
	{name: "FAT file system", off: 82, bytes: "FAT32   "},
	{name: "JFS file system", off: 32 << 10, bytes: "JFS1"},
	{name: "ReiserFS file system", off: 64<<10 + 52, bytes: "ReIsEr"},
	{name: "GFS2 file system", off: 64 << 10, bytes: "\x01\x16\x19\x70"},
	{name: "OCFS2 file system", off: 1024, bytes: "OCFSV2", stride: 1024, places: 8},
	{name: "NILFS2 file system", off: 1024 + 6, bytes: "\x34\x34"},
	{name: "SquashFS file system", bytes: "hsqs"},
	{name: "EROFS file system", off: 1024, bytes: "\xe2\xe1\xf5\xe0"},
	{name: "ISO 9660 file system", off: 32<<10 + 1, bytes: "CD001"},
	{name: "UDF file system", off: 32<<10 + 1, bytes: "BEA01"},
	{name: "HFS+ file system", off: 1024, bytes: "H+\x00"},
	{name: "APFS container", off: 32, bytes: "NXSB"},
	{name: "bcachefs file system", off: 4096 + 24,
		bytes: "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"},
	{name: "swap space", off: 4096 - 10, bytes: "SWAPSPACE2"},
	{name: "swap space", off: 64<<10 - 10, bytes: "SWAPSPACE2"},
	{name: "hibernated system", off: 4096 - 10, bytes: "S1SUSPEND"},
}

// tailMagics are found from a place on that the size of the device says.
var tailMagics = [...]struct {
	magic
	at func(size int64) int64
}{
	{magic{name: gpt, bytes: "EFI PART"}, fromEnd512},
	{magic{name: gpt, bytes: "EFI PART"}, fromEnd4K},
	{magic{name: mdRAID, bytes: "\xfc\x4e\x2b\xa9"}, md10},
	{magic{name: mdRAID, bytes: "\xfc\x4e\x2b\xa9"}, md090},
	{magic{name: zfs, bytes: zfsMagic, off: 128 << 10, stride: 1 << 10, places: 128}, zfsLabel2},
	{magic{name: zfs, bytes: zfsMagic, off: 384 << 10, stride: 1 << 10, places: 128}, zfsLabel2},
	{magic{name: "DDF RAID member", bytes: "\xde\x11\xde\x11"}, fromEnd512},
	{magic{name: "Intel RAID member", bytes: "Intel Raid ISM Cfg Sig. "}, fromEnd1K},
}

const (
	gpt      = "partition table (GPT)"
	mdRAID   = "Linux software RAID member (md)"
	luks     = "LUKS encrypted volume"
	zfs      = "ZFS pool member"
	zfsMagic = "\x0c\xb1\xba\x00\x00\x00\x00\x00" // of an uberblock, as little-endian machines write it
)

func fromEnd512(size int64) int64 { return size - 512 }

func fromEnd1K(size int64) int64 { return size - 1024 }

func fromEnd4K(size int64) int64 { return size - 4096 }

// md10 is where the superblock 1.0 lies: 8 KiB from the end, on a boundary of 4 KiB.
func md10(size int64) int64 { return (size&^511 - 8<<10) &^ 4095 }

// md090 is where the superblock 0.90 lies: in the last whole 64 KiB.
func md090(size int64) int64 { return size&^(64<<10-1) - 64<<10 }

// zfsLabel2 is where the labels at the end begin; the other two are at the start.
func zfsLabel2(size int64) int64 { return size&^(256<<10-1) - 512<<10 }
