package cluster

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
)

func TestAnUnpluggedDiskComesBackAsItWas(t *testing.T) {
	d, err := NewDisk(t.TempDir(), "test", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if err := os.WriteFile(d.Path(), []byte("kept"), 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Unplug(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(d.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read while it is unplugged: %v", err)
	}
	if err := d.Plug(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(d.Path()); err != nil || string(got) != "kept" {
		t.Errorf("plugged in again it holds %q, %v", got, err)
	}
}

func TestALostDiskFailsAllIO(t *testing.T) {
	d, err := NewDisk(t.TempDir(), "test", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	f, err := os.OpenFile(d.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, 4096)
	for _, off := range []int64{0, 4096, 1<<20 - 4096} {
		if _, err := f.WriteAt(block, off); err != nil {
			t.Errorf("write at %d before the loss: %v", off, err)
		}
	}
	if err := d.Lose(); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 4096, 1<<20 - 4096} {
		if _, err := f.WriteAt(block, off); err == nil {
			t.Errorf("write at %d after the loss succeeds", off)
		}
		if _, err := f.ReadAt(block, off); !errors.Is(err, io.EOF) {
			t.Errorf("read at %d after the loss: %v", off, err)
		}
	}
	if again, err := os.OpenFile(d.Path(), os.O_RDWR, 0); err == nil {
		if _, err := again.WriteAt(block, 0); err == nil {
			t.Error("opened again, it takes a write")
		}
		_ = again.Close()
	}
}

func TestASavedDiskIsLikeIt(t *testing.T) {
	d, err := NewDisk(t.TempDir(), "test", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	want := make([]byte, 1<<20)
	for _, at := range []int{0, 300_000, 1<<20 - 5} { // with holes between them
		copy(want[at:], "there")
		if _, err := d.file.WriteAt([]byte("there"), int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(d.Path() + ".saved"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy differs, %v", err)
	}
}
