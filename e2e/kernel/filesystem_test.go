//go:build e2e

package kernel

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/guest"
)

// fio writes and verifies a file, or a device, and fails when a byte is wrong.
func fio(g *guest.Guest, file, size string, more string) {
	g.Must("cd /tmp && fio --name=verify --filename=" + file + " --size=" + size +
		" --direct=1 --verify=crc32c --verify_fatal=1 --randrepeat=0 --group_reporting " +
		"--output-format=terse --terse-version=3 " + more)
}

// TestFileSystem makes ext4 on the volume, has fio verify what it writes in several shapes, and grows volume
// and file system while it is mounted.
func TestFileSystem(t *testing.T) {
	s := serve(t, 2, 64<<20)
	g := guest.Start(t, guest.Options{})
	dev := s.attach(g, "-g -G")
	fio(g, dev, "8M", "--rw=randwrite --bs=4k --iodepth=16 --ioengine=libaio")
	fio(g, dev, "32M", "--rw=write --bs=1M --iodepth=4 --ioengine=libaio")
	fio(g, dev, "4M", "--rw=randrw --bsrange=512-16k --blockalign=512 --verify_interval=512 --ioengine=psync")

	g.Must("mkfs.ext4 -q " + dev + " && mkdir -p /mnt/v && mount " + dev + " /mnt/v")
	fio(g, "/mnt/v/file", "16M", "--rw=randwrite --bs=4k --iodepth=8 --ioengine=libaio --end_fsync=1")

	g.Must("truncate -s 1M /mnt/v/steady")
	io := g.Go("exec iotest steady -dev /mnt/v/steady -size 1M")
	io.WaitOutput("@ 1 ")
	s.resize(96 << 20)
	sectors := fmt.Sprint(96 << 11)
	g.Until("[ $(cat /sys/block/" + strings.TrimPrefix(dev, "/dev/") + "/size) = " + sectors + " ]")
	g.Must("resize2fs " + dev + " 2>&1")
	out := strings.Fields(g.Must("df -m /mnt/v | tail -1"))
	if mib, err := strconv.Atoi(out[1]); err != nil || mib <= 64 {
		t.Errorf("after growing, df says %s", out)
	}
	fio(g, "/mnt/v/more", "30M", "--rw=write --bs=256k --iodepth=4 --ioengine=libaio --end_fsync=1")
	io.Interrupt()
	t.Logf("steady: %+v", io.Wait().Clean(g))
	g.Must("umount /mnt/v && e2fsck -fn " + dev + " 2>&1")
	detach(g, t)
}
