package pagestore

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// dumped is the text of a dump.
func dumped(t *testing.T, dev blockdev.Device, o DumpOptions) (string, error) {
	t.Helper()
	var b strings.Builder
	err := Dump(t.Context(), dev, o, func(x Item) error {
		if !slices.Contains(Kinds(), x.Kind()) {
			t.Errorf("an item of kind %q", x.Kind())
		}
		if _, err := json.Marshal(x); err != nil {
			t.Error(err)
		}
		b.WriteString(x.String() + "\n")
		return nil
	})
	return b.String(), err
}

// eventful is a store with something of every kind on its device.
func eventful(t *testing.T) *blockdev.Mem {
	dev := formatted(t, 1000, 64)
	s := open(t, dev)
	must(t, write(s, ext(1, 0, 0, 3), seq(1, 1), 1))
	must(t, write(s, ext(1, 0, 1, 1), seq(1, 3), 2))
	must(t, write(s, ext(1, 7, 63, 1), seq(1, 4), 3))
	must(t, do(s, &Write{Extent: ext(1, 7, 2, 1), W: seq(1, 5), Tombstone: true}))
	must(t, write(s, ext(2, 0, 0, 1), seq(1, 1), 4))
	dev.Corrupt(located(t, s, ext(1, 0, 2, 1), seq(1, 1))+5, 1)
	expectState(t, s, ext(1, 0, 2, 1), 0, pagemap.Bad)
	must(t, setStable(s, vol(1), pagemap.Mark{W: seq(1, 4), Holes: []cluster.Seq{seq(1, 2)}}))
	must(t, wait(func(done func(error)) { s.Settle(vol(1), 1, done) }))
	must(t, wait(func(done func(error)) {
		s.SetView(vol(1), chunk.View{Version: 3, Pins: []cluster.Seq{seq(1, 2)}}, done)
	}))
	must(t, wait(func(done func(error)) { s.Undo(ext(2, 0, 0, 1), seq(1, 9), done) }))
	e := ext(2, 5, 0, 1)
	e.Residency = chunk.Home(1)
	must(t, wait(func(done func(error)) { s.Renumber(e, done) }))
	must(t, wait(func(done func(error)) { s.DropChunk(e, done) }))
	must(t, wait(func(done func(error)) { s.DropVolume(vol(3), done) }))
	must(t, wait(func(done func(error)) { s.PutMeta("fence/1.1", []byte{7, 0, 0, 0}, done) }))
	must(t, wait(func(done func(error)) { s.PutMeta("scrub", []byte{1}, done) }))
	closeAndCheck(t, s)
	return dev
}

// TestDump is the text that people see, whole and filtered; ASHLAR_REWRITE=1 writes it.
func TestDump(t *testing.T) {
	dev := eventful(t)
	page := uint64(7)
	var all strings.Builder
	for _, x := range []struct {
		name string
		o    DumpOptions
	}{{"everything", DumpOptions{}}, {"volume 2", DumpOptions{Volume: vol(2)}},
		{"page 7", DumpOptions{Page: &page}},
		{"chunks of page 7 of volume 1", DumpOptions{Kinds: []string{KindChunk}, Volume: vol(1), Page: &page}},
		{"metadata of volume 1", DumpOptions{Kinds: []string{KindMetadata}, Volume: vol(1)}}} {
		text, err := dumped(t, dev, x.o)
		must(t, err)
		all.WriteString("# " + x.name + "\n" + text + "\n")
	}
	const path = "testdata/dump.txt"
	if os.Getenv("ASHLAR_REWRITE") != "" {
		must(t, os.WriteFile(path, []byte(all.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if all.String() != string(want) {
		t.Fatalf("got\n%s\nwant\n%s", all.String(), want)
	}
}

// TestDumpOfDamage gives what can be read, then the error.
func TestDumpOfDamage(t *testing.T) {
	dev := eventful(t)
	rep, err := Check(t.Context(), dev, CheckOptions{})
	must(t, err)
	noise := bytes.Repeat([]byte{0xdb}, int(rep.Regions.CheckpointBlocks)*BlockSize)
	for _, area := range []uint64{rep.Regions.CheckpointA, rep.Regions.CheckpointB} {
		dev.Poke(int64(area)*BlockSize, noise)
	}
	text, err := dumped(t, dev, DumpOptions{})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(text, "superblock 0: device 22222222") {
		t.Fatalf("%v after %s", err, text)
	}
	if text, err = dumped(t, newMem(t, 100, false), DumpOptions{}); !errors.Is(err, ErrForeign) {
		t.Fatalf("of an empty device: %v after %s", err, text)
	}
}

// TestDumpStops when nobody wants more.
func TestDumpStops(t *testing.T) {
	dev := eventful(t)
	enough, n := errors.New("enough"), 0
	for _, kind := range Kinds() {
		n = 0
		err := Dump(t.Context(), dev, DumpOptions{Kinds: []string{kind}}, func(Item) error { n++; return enough })
		if !errors.Is(err, enough) || n != 1 {
			t.Errorf("%s: %d items, %v", kind, n, err)
		}
	}
}
