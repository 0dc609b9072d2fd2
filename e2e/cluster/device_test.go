package cluster

import (
	"errors"
	"io"
	"os"
	"testing"
)

func TestALostDiskFailsAllIO(t *testing.T) {
	d, err := NewDisk("test", 1<<20)
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
