package uring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// newRing makes a ring on a thread of the test's own.
func newRing(t *testing.T, entries int) *Ring {
	t.Helper()
	runtime.LockOSThread()
	r, err := New(entries)
	if err != nil {
		t.Skipf("this kernel has no io_uring: %v", err)
	}
	return r
}

func openFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// results enters until n completions are there, and returns them by UserData.
func results(t *testing.T, r *Ring, n int) map[uint64]int32 {
	t.Helper()
	got := map[uint64]int32{}
	for len(got) < n {
		if err := r.Enter(1); err != nil {
			t.Fatal(err)
		}
		r.Each(func(c CQE) { got[c.UserData] = c.Res })
	}
	return got
}

func TestWritesReadsAndSyncs(t *testing.T) {
	r, f := newRing(t, 8), openFile(t)
	fd := int(f.Fd())
	memory, err := unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.RegisterFiles(int32(fd)), r.RegisterBuffers(memory)); err != nil {
		t.Fatal(err)
	}
	copy(memory, bytes.Repeat([]byte("ab"), 2048))
	w := r.Get()
	w.Write(0, memory[:4096], 512)
	w.FixedFile()
	w.FixedBuffer(0)
	w.SetUserData(7)
	if got := results(t, r, 1); got[7] != 4096 {
		t.Fatalf("write: %v", got)
	}
	plain := make([]byte, 4096)
	for i, buf := range [][]byte{plain, memory[4096:]} {
		s := r.Get()
		s.Read(fd, buf, 512)
		if i == 1 {
			s.FixedBuffer(0)
		}
		s.SetUserData(uint64(i))
	}
	s := r.Get()
	s.Datasync(fd)
	s.SetUserData(2)
	if got := results(t, r, 3); got[0] != 4096 || got[1] != 4096 || got[2] != 0 {
		t.Fatalf("reads and sync: %v", got)
	}
	if !bytes.Equal(plain, memory[:4096]) || !bytes.Equal(memory[4096:], memory[:4096]) {
		t.Fatal("what was read is not what was written")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_ = unix.Munmap(memory)
}

func TestErrorsComeBackAsErrno(t *testing.T) {
	r := newRing(t, 1)
	s := r.Get()
	s.Read(-1, make([]byte, 1), 0)
	s.SetUserData(1)
	if r.Get() != nil {
		t.Fatal("more entries than there are")
	}
	if got := results(t, r, 1); unix.Errno(-got[1]) != unix.EBADF {
		t.Fatalf("read of no file: %v", got)
	}
	if r.Get() == nil {
		t.Fatal("no entry after the first was submitted")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedSizes(t *testing.T) {
	for _, n := range []int{0, -1, MaxEntries + 1} {
		if _, err := New(n); err == nil {
			t.Errorf("made a ring of %d entries", n)
		}
	}
}

// TestCloseLetsGoOfFiles: a registered file is not held open, nor locked, once Close has returned.
func TestCloseLetsGoOfFiles(t *testing.T) {
	r, f := newRing(t, 1), openFile(t)
	if err := r.RegisterFiles(int32(f.Fd())); err != nil {
		t.Fatal(err)
	}
	lock := func(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
	if err := errors.Join(lock(f), r.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := os.Open(f.Name())
	if err == nil {
		err = errors.Join(lock(again), again.Close())
	}
	if err != nil {
		t.Fatalf("right after Close: %v", err)
	}
}
