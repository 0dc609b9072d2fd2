package scrub

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

const mib = 1 << 20

// device is one that holds so many MiB, read one at a time, with others who use it. Time passes as Next says.
type device struct {
	*Scrub
	size  uint64
	now   int64
	load  float64 // requests of others a second
	began int64
	bytes uint64
}

func newDevice(p Policy, size uint64) *device {
	return &device{Scrub: New(p, Record{}), size: size, now: 1e18, began: 1e18}
}

func (d *device) requests() uint64 { return uint64(float64(d.now-d.began) / 1e9 * d.load) }

// step asks once, and does what it is told.
func (d *device) step() (read bool) {
	if wait := d.Next(d.now, d.requests()); wait > 0 {
		d.now += wait
		return false
	}
	left := d.size - d.Record().Read
	if left == 0 {
		d.Done(d.now, Found{End: true})
		return true
	}
	at := d.Position()
	at.Vol, at.Page = cluster.VolumeKey{VUID: 1, Generation: 1}, at.Page+1
	n := min(left, mib)
	d.bytes += n
	d.Done(d.now, Found{At: at, Bytes: n})
	return true
}

// pass goes on until so many passes have ended, and gives the seconds of the last one.
func (d *device) pass(t interface{ Fatalf(string, ...any) }, passes uint64) float64 {
	for i := 0; d.Record().Passes < passes; i++ {
		if i > 1e6 {
			t.Fatalf("pass %d does not end: %+v", passes, d.Record())
		}
		d.step()
	}
	return float64(d.Record().Ended - d.Record().Began)
}

// TestAPassKeepsItsRate: as fast as allowed while nobody else is there, slower the more others do, never
// slower than an eighth.
func TestAPassKeepsItsRate(t *testing.T) {
	for _, x := range []struct {
		load     float64
		min, max float64 // seconds for 3,200 MiB at 32 MiB/s
	}{{0, 99, 101}, {10, 100, 103}, {500, 150, 250}, {5000, 780, 802}, {1e6, 780, 802}} {
		d := newDevice(Policy{Rate: 32 * mib, Interval: 3600 * second}, 3200*mib)
		d.load = x.load
		if took := d.pass(t, 1); took < x.min || took > x.max {
			t.Errorf("%.0f requests a second: %.0f s, want %.0f to %.0f", x.load, took, x.min, x.max)
		}
	}
}

// TestPassesBeginAtTheirInterval, or right after the one before if that took longer.
func TestPassesBeginAtTheirInterval(t *testing.T) {
	for _, size := range []uint64{100 * mib, 4000 * mib, 0} {
		d := newDevice(Policy{Rate: 1 * mib, Interval: 1000 * second}, size)
		d.pass(t, 1)
		first, ended := d.Record().Began, d.Record().Ended
		d.pass(t, 2)
		if want, got := max(first+1000, ended), d.Record().Began; got < want || got > want+2 {
			t.Errorf("%d MiB: the second pass begins at %d, want %d", size/mib, got-first, want-first)
		}
	}
}

// TestAPassCanBeAskedFor: it begins at once, once; while one runs, it is that one.
func TestAPassCanBeAskedFor(t *testing.T) {
	p := Policy{Rate: mib}
	d := newDevice(p, 10*mib)
	for range 100 {
		d.step()
	}
	if r := d.Record(); r.Began != 0 {
		t.Fatalf("nobody has asked, no interval is set, but %+v", r)
	}
	p.Wanted = d.now / second
	d.SetPolicy(p)
	d.pass(t, 1)
	for range 100 {
		d.step()
	}
	if r := d.Record(); r.Passes != 1 || r.Running {
		t.Fatalf("asked for once, but %+v", r)
	}
	p.Wanted = d.now / second
	d.SetPolicy(p)
	d.step()
	p.Wanted += 2
	d.SetPolicy(p)
	d.pass(t, 2)
	for range 100 {
		d.step()
	}
	if r := d.Record(); r.Passes != 2 || r.Running {
		t.Fatalf("asked for while one ran, but %+v", r)
	}
}

// TestAPausedPassGoesOnWhereItWas, also after a restart.
func TestAPausedPassGoesOnWhereItWas(t *testing.T) {
	p := Policy{Rate: mib, Interval: 100000 * second}
	d := newDevice(p, 100*mib)
	for d.Record().Read < 40*mib {
		d.step()
	}
	at := d.Record()
	p.Paused = true
	d.SetPolicy(p)
	for range 100 {
		if d.step() {
			t.Fatal("a paused device reads")
		}
	}
	d.Scrub = New(p, at)
	p.Paused = false
	d.SetPolicy(p)
	d.bytes = 0
	d.pass(t, 1)
	if d.bytes != 60*mib {
		t.Fatalf("read %d MiB after the pause, want 60", d.bytes/mib)
	}
}

// TestTheRecordIsStoredNowAndThen: at both ends of a pass, and once a minute.
func TestTheRecordIsStoredNowAndThen(t *testing.T) {
	d := newDevice(Policy{Rate: mib, Interval: 100000 * second}, 600*mib)
	stores := 0
	for d.Record().Passes == 0 {
		d.step()
		if _, ok := d.Store(d.now); ok {
			stores++
		}
	}
	if stores < 11 || stores > 13 {
		t.Fatalf("stored %d times in ten minutes", stores)
	}
	if _, ok := d.Store(d.now + 1000*second); ok {
		t.Fatal("nothing has changed, but the record is stored")
	}
}

// TestAClockThatIsSetBack costs little.
func TestAClockThatIsSetBack(t *testing.T) {
	d := newDevice(Policy{Rate: mib, Interval: 100000 * second}, 100*mib)
	for d.Record().Read < 40*mib {
		d.step()
	}
	d.now -= 10000 * second
	d.began = d.now
	start := d.now
	for d.Record().Passes == 0 {
		d.step()
	}
	if took := (d.now - start) / second; took > 75 {
		t.Fatalf("the rest of the pass took %d s", took)
	}
}

func drawRecord(t *rapid.T) (r Record) {
	r.Running = rapid.Bool().Draw(t, "running")
	r.Began = rapid.Int64Range(0, 1<<33).Draw(t, "began")
	r.Ended = rapid.Int64Range(0, 1<<33).Draw(t, "ended")
	r.Wanted = rapid.Int64Range(0, 1<<33).Draw(t, "wanted")
	r.Read, r.Bad = rapid.Uint64().Draw(t, "read"), rapid.Uint64().Draw(t, "bad")
	r.Found, r.Passes = rapid.Uint64().Draw(t, "found"), rapid.Uint64().Draw(t, "passes")
	if r.Running {
		r.At = Position{cluster.VolumeKey{VUID: 1 + rapid.Uint32Range(0, 1000).Draw(t, "vuid"), Generation: 1},
			pagemap.Cursor{Page: rapid.Uint64().Draw(t, "page"), Column: rapid.Uint8().Draw(t, "column"),
				Block: rapid.Uint16Range(0, pagemap.MaxChunkBlocks-1).Draw(t, "block"),
				W:     cluster.Seq(rapid.Uint64().Draw(t, "w"))}}
	}
	return r
}

func TestRecordsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		if got, err := DecodeRecord(r.Encode()); err != nil || got != r {
			t.Fatalf("%+v came back as %+v, %v", r, got, err)
		}
	})
}

// TestGoldenRecord pins version 1.
func TestGoldenRecord(t *testing.T) {
	r := Record{Running: true, Began: 0x11, Ended: 0x22, Wanted: 0x33, Read: 0x44, Bad: 0x55, Found: 0x66,
		Passes: 0x77, At: Position{cluster.VolumeKey{VUID: 0x88, Generation: 0x99},
			pagemap.Cursor{Page: 0xaa, Column: 0xbb, Block: 0xcc, W: 0xdd}}}
	want := "\x01\x00\x00\x00\x01\xbb\xcc\x00" + "\x11\x00\x00\x00\x00\x00\x00\x00" +
		"\x22\x00\x00\x00\x00\x00\x00\x00" + "\x33\x00\x00\x00\x00\x00\x00\x00" +
		"\x44\x00\x00\x00\x00\x00\x00\x00" + "\x55\x00\x00\x00\x00\x00\x00\x00" +
		"\x66\x00\x00\x00\x00\x00\x00\x00" + "\x77\x00\x00\x00\x00\x00\x00\x00" +
		"\x88\x00\x00\x00\x99\x00\x00\x00" + "\xaa\x00\x00\x00\x00\x00\x00\x00" +
		"\xdd\x00\x00\x00\x00\x00\x00\x00"
	if got := string(r.Encode()); got != want {
		t.Fatalf("% x\nwant\n% x", got, want)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add((&Record{}).Encode())
	at := Position{Vol: cluster.VolumeKey{VUID: 1, Generation: 1}}
	f.Add((&Record{Running: true, Began: 5, At: at}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRecord(b); err == nil && string(r.Encode()) != string(b) {
			t.Fatalf("%x is encoded as %x", b, r.Encode())
		}
	})
}
