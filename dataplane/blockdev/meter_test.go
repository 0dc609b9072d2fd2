package blockdev

import (
	"path/filepath"
	"testing"
	"time"
)

// TestFigures: what both engines did and what they refused is counted.
func TestFigures(t *testing.T) {
	for _, e := range []Engine{EnginePlain, EngineURing} {
		d, err := OpenFile(filepath.Join(t.TempDir(), "disk"), FileOptions{Create: 1 << 20, Engine: e})
		if err != nil && e == EngineURing {
			t.Skipf("no io_uring on this kernel: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		do := func(o *Op) {
			done := make(chan struct{})
			o.Done = func(*Op, error) { close(done) }
			d.Submit(o)
			<-done
		}
		buf := make([]byte, 4096)
		for range 3 {
			do(&Op{Kind: Write, Buf: buf})
		}
		do(&Op{Kind: Read, Buf: buf[:512]})
		do(&Op{Kind: Flush})
		do(&Op{Kind: Read, Off: 1 << 20, Buf: buf})
		do(&Op{Kind: 99})
		f := d.Figures()
		if f.Write.Ops() != 3 || f.Write.Bytes != 3*4096 || f.Read.Ops() != 2 || f.Read.Bytes != 512 ||
			f.Read.Errors != 1 || f.Flush.Ops() != 1 || f.Discard.Ops() != 0 || f.InFlight != 0 ||
			f.Write.Latency.Sum == 0 {
			t.Errorf("%v: %d writes of %d bytes, %d reads of %d bytes, %d failed, %d flushes, %d in flight", e,
				f.Write.Ops(), f.Write.Bytes, f.Read.Ops(), f.Read.Bytes, f.Read.Errors, f.Flush.Ops(), f.InFlight)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkMeter is what counting costs an operation of a disk.
func BenchmarkMeter(b *testing.B) {
	d := &File{meter: meter{base: time.Now()}}
	ops := []*Op{{Kind: Write, Buf: make([]byte, 4096), Done: func(*Op, error) {}}}
	b.ReportAllocs()
	for b.Loop() {
		d.meter.begin(ops)
		d.done(ops[0], nil)
	}
}
