package blockdev_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

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

func TestFileIsLockedAndPersists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if _, err := blockdev.OpenFile(path, blockdev.FileOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("missing file: %v", err)
	}
	a, err := blockdev.OpenFile(path, blockdev.FileOptions{Create: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blockdev.OpenFile(path, blockdev.FileOptions{}); !errors.Is(err, blockdev.ErrInUse) {
		t.Fatalf("second open: %v, want ErrInUse", err)
	}
	want := bytes.Repeat([]byte{7}, 4096)
	err = blockdevtest.Do(a, &blockdev.Op{Kind: blockdev.Write, Off: 4096, Buf: want})
	if err := errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
	// A size asked for later changes nothing: the file is what it is.
	b, err := blockdev.OpenFile(path, blockdev.FileOptions{Create: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4096)
	err = blockdevtest.Do(b, &blockdev.Op{Kind: blockdev.Read, Off: 4096, Buf: got})
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	if b.Geometry().Size != 1<<20 || !bytes.Equal(got, want) {
		t.Fatalf("after reopening: %+v, data equal %v", b.Geometry(), bytes.Equal(got, want))
	}
	if _, err := blockdev.OpenFile(t.TempDir(), blockdev.FileOptions{}); err == nil {
		t.Fatal("a directory was opened as a device")
	}
}

// TestWhatIsDetected on a file and on a real disk, and what options override.
func TestWhatIsDetected(t *testing.T) {
	file := func(t *testing.T) string { return filepath.Join(t.TempDir(), "disk") }
	for _, c := range []struct {
		story string
		path  func(*testing.T) string
		o     blockdev.FileOptions
		ok    func(blockdev.Geometry) bool
	}{
		{"a file's writes are volatile, its discards do nothing", file, blockdev.FileOptions{},
			func(g blockdev.Geometry) bool {
				return g.Kind == blockdev.KindRegular && g.VolatileCache && g.Discard.Granularity == 0 && !g.FUA
			}},
		{"unless options say otherwise", file,
			blockdev.FileOptions{Cache: blockdev.CacheNone, Punch: true, LogicalBlock: 4096},
			func(g blockdev.Geometry) bool {
				return !g.VolatileCache && g.Discard.Granularity >= 512 && g.LogicalBlock == 4096
			}},
		{"a file through the page cache", file,
			blockdev.FileOptions{Buffered: true},
			func(g blockdev.Geometry) bool { return !g.Direct && g.Engine == blockdev.EnginePlain }},
		{"a disk with a cache", func(t *testing.T) string { return blockdevtest.Loop(t, 1<<20, 4096) },
			blockdev.FileOptions{},
			func(g blockdev.Geometry) bool {
				return g.Kind == blockdev.KindDisk && g.LogicalBlock == 4096 && g.VolatileCache && g.Direct &&
					g.Discard.Granularity >= 4096 && g.Discard.Max > 0 && g.Size == 1<<20
			}},
		{"a disk said to be protected", func(t *testing.T) string { return blockdevtest.Loop(t, 1<<20, 512) },
			blockdev.FileOptions{Cache: blockdev.CacheNone},
			func(g blockdev.Geometry) bool { return g.LogicalBlock == 512 && !g.VolatileCache }},
	} {
		t.Run(c.story, func(t *testing.T) {
			c.o.Create = 1 << 20
			dev := openOrSkip(t, c.path(t), c.o)
			g := dev.Geometry()
			if err := dev.Close(); err != nil || !c.ok(g) {
				t.Fatalf("%+v, %v", g, err)
			}
		})
	}
	for _, lb := range []int{1, 256, 1000, -4096} {
		o := blockdev.FileOptions{Create: 1 << 20, LogicalBlock: lb}
		if _, err := blockdev.OpenFile(file(t), o); err == nil {
			t.Errorf("opened with a logical block of %d bytes", lb)
		}
	}
}

// TestADiskInUseIsRefused: somebody has claimed it, as a mount does.
func TestADiskInUseIsRefused(t *testing.T) {
	path := blockdevtest.Loop(t, 1<<20, 512)
	claim, err := os.OpenFile(path, os.O_RDONLY|os.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blockdev.OpenFile(path, blockdev.FileOptions{}); !errors.Is(err, blockdev.ErrInUse) {
		t.Fatalf("open of a claimed disk: %v", err)
	}
	if err := claim.Close(); err != nil {
		t.Fatal(err)
	}
	dev, err := blockdev.OpenFile(path, blockdev.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDiscardGivesSpaceBack to the file system below, when options say so.
func TestDiscardGivesSpaceBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	for _, punch := range []bool{false, true} {
		o := blockdev.FileOptions{Create: 1 << 20, Punch: punch}
		dev, err := blockdev.OpenFile(path, o)
		if err != nil {
			t.Fatal(err)
		}
		before := allocated(t, path)
		err = blockdevtest.Do(dev, &blockdev.Op{Kind: blockdev.Discard, Len: 512 << 10})
		if err := errors.Join(err, dev.Close()); err != nil {
			t.Fatal(err)
		}
		if after := allocated(t, path); (after < before) != punch || punch && after > before-512<<10 {
			t.Errorf("punch %v: %d bytes allocated, before the discard %d", punch, after, before)
		}
	}
}

// TestDiscardReachesTheDisk: a loop device forgets what it is told to, and reads as zeros there.
func TestDiscardReachesTheDisk(t *testing.T) {
	dev := openOrSkip(t, blockdevtest.Loop(t, 1<<20, 4096), blockdev.FileOptions{})
	got := bytes.Repeat([]byte{1}, 64<<10)
	for _, o := range []*blockdev.Op{{Kind: blockdev.Write, Buf: got}, {Kind: blockdev.Discard, Len: 64 << 10},
		{Kind: blockdev.Read, Buf: got}} {
		if err := blockdevtest.Do(dev, o); err != nil {
			t.Fatal(err)
		}
	}
	if err := dev.Close(); err != nil || !bytes.Equal(got, make([]byte, len(got))) {
		t.Fatalf("what was discarded is still there, or %v", err)
	}
}

func allocated(t *testing.T, path string) int64 {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// TestAFileThatShrinks: what is not there any more cannot be read, with either engine.
func TestAFileThatShrinks(t *testing.T) {
	for _, e := range []blockdev.Engine{blockdev.EnginePlain, blockdev.EngineURing} {
		path := filepath.Join(t.TempDir(), "disk")
		dev := openOrSkip(t, path, blockdev.FileOptions{Create: 1 << 20, Engine: e})
		if err := os.Truncate(path, 4096); err != nil {
			t.Fatal(err)
		}
		var ops []*blockdev.Op // more than come alone
		for i := range int64(16) {
			ops = append(ops, &blockdev.Op{Kind: blockdev.Read, Off: (i + 1) * 4096, Buf: make([]byte, 4096)})
		}
		if err := blockdevtest.Do(dev, ops...); !errors.Is(err, blockdev.ErrIO) {
			t.Errorf("%v: read behind the end: %v", e, err)
		}
		if err := dev.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoDirectIO: a file system in memory has no use for O_DIRECT; the page cache and plain calls do.
func TestNoDirectIO(t *testing.T) {
	fd, err := unix.MemfdCreate("disk", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	dev, err := blockdev.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), blockdev.FileOptions{Create: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if g := dev.Geometry(); g.Direct || g.Engine != blockdev.EnginePlain {
		t.Errorf("geometry %+v", g)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
}

const sandboxEnv = "ASHLAR_BLOCKDEV_SANDBOX"

// TestNoIOURing: in a sandbox without io_uring, as containers have it, the plain engine serves the device by
// itself, and who insists on io_uring is told why there is none.
func TestNoIOURing(t *testing.T) {
	path := os.Getenv(sandboxEnv)
	if path == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoIOURing$", "-test.v")
		cmd.Env = append(os.Environ(), sandboxEnv+"="+filepath.Join(t.TempDir(), "disk"))
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestNoIOURing") {
			t.Fatalf("in the sandbox: %v\n%s", err, out)
		}
		return
	}
	forbid(t, unix.SYS_IO_URING_SETUP)
	dev, err := blockdev.OpenFile(path, blockdev.FileOptions{Create: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if e := dev.Geometry().Engine; e != blockdev.EnginePlain {
		t.Errorf("the engine is %v", e)
	}
	want, got := bytes.Repeat([]byte{1}, 4096), make([]byte, 4096)
	if err := errors.Join(blockdevtest.Do(dev, &blockdev.Op{Kind: blockdev.Write, Buf: want}),
		blockdevtest.Do(dev, &blockdev.Op{Kind: blockdev.Read, Buf: got}), dev.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("what was read is not what was written")
	}
	_, err = blockdev.OpenFile(path, blockdev.FileOptions{Engine: blockdev.EngineURing})
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("io_uring by force: %v", err)
	}
}

// forbid makes a system call fail with EPERM in every thread, for good.
func forbid(t *testing.T, call uint32) {
	const (
		load, equal, answer = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
			unix.BPF_RET | unix.BPF_K
		setModeFilter, syncThreads = 1, 1
	)
	filter := []unix.SockFilter{{Code: load}, {Code: equal, K: call, Jf: 1},
		{Code: answer, K: 0x00050000 | uint32(unix.EPERM)}, // SECCOMP_RET_ERRNO
		{Code: answer, K: 0x7fff0000}}                      // SECCOMP_RET_ALLOW
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, syncThreads,
		uintptr(unsafe.Pointer(&prog))); errno != 0 {
		t.Skipf("this kernel has no seccomp: %v", errno)
	}
}

// TestNothingIsAllocated per operation, with either engine, alone or with others.
func TestNothingIsAllocated(t *testing.T) {
	for _, e := range []blockdev.Engine{blockdev.EnginePlain, blockdev.EngineURing} {
		for _, depth := range []int{1, 32} {
			dev := openOrSkip(t, filepath.Join(t.TempDir(), "disk"), blockdev.FileOptions{Create: 1 << 20, Engine: e})
			done := make(chan error, depth)
			var ops []*blockdev.Op
			for i := range depth {
				ops = append(ops, &blockdev.Op{Kind: blockdev.Kind(1 + i%3), Off: int64(i) * 4096,
					Buf: make([]byte, 4096), Done: func(_ *blockdev.Op, err error) { done <- err }})
			}
			var failed error
			got := testing.AllocsPerRun(100, func() {
				dev.Submit(ops...)
				for range ops {
					failed = errors.Join(failed, <-done)
				}
			})
			if failed != nil || got >= 1 {
				t.Errorf("%v, %d in flight: %v allocations, %v", e, depth, got, failed)
			}
			if err := dev.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
