package blockdev_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/blockdev/blockdevtest"
)

// TestFileConforms runs the suite on files and disks with each engine, with and without the page cache, in
// logical blocks of either size.
func TestFileConforms(t *testing.T) {
	for _, e := range []blockdev.Engine{blockdev.EnginePlain, blockdev.EngineURing} {
		for _, buffered := range []bool{false, true} {
			for _, lb := range []int{512, 4096} {
				o := blockdev.FileOptions{Create: blockdevtest.Size, Engine: e, Buffered: buffered, Punch: true}
				t.Run(fmt.Sprintf("%v, buffered %v, file, %d bytes", e, buffered, lb), func(t *testing.T) {
					o.LogicalBlock = lb
					blockdevtest.Run(t, func(t *testing.T) blockdev.Device {
						return openOrSkip(t, filepath.Join(t.TempDir(), "disk"), o)
					})
				})
				t.Run(fmt.Sprintf("%v, buffered %v, loop device, %d bytes", e, buffered, lb), func(t *testing.T) {
					o.LogicalBlock = 0
					blockdevtest.Run(t, func(t *testing.T) blockdev.Device {
						dev := openOrSkip(t, blockdevtest.Loop(t, blockdevtest.Size, lb), o)
						if g := dev.Geometry(); g.LogicalBlock != lb || g.Kind != blockdev.KindDisk {
							t.Fatalf("geometry %+v", g)
						}
						return dev
					})
				})
			}
		}
	}
}

// openOrSkip opens a device as it is asked to; where the system cannot, the test is skipped.
func openOrSkip(tb testing.TB, path string, o blockdev.FileOptions) *blockdev.File {
	tb.Helper()
	dev, err := blockdev.OpenFile(path, o)
	if err != nil && o.Engine == blockdev.EngineURing {
		tb.Skipf("this kernel has no io_uring: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if g := dev.Geometry(); g.Direct == o.Buffered {
		_ = dev.Close()
		tb.Skip("the file system of the temporary directory does not take O_DIRECT")
	}
	return dev
}
