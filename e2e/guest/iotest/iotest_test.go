package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// onFile returns the configuration of a run on a new file of 64 blocks.
func onFile(t *testing.T, mode string) config {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, make([]byte, 64*4096), 0o600); err != nil {
		t.Fatal(err)
	}
	return config{mode: mode, dev: name, size: 64 * 4096, bs: 4096, gen: 1, rate: 10_000, span: time.Minute}
}

func mustRun(t *testing.T, c config) Report {
	t.Helper()
	r, err := run(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCheckFindsWhatWriteWrote(t *testing.T) {
	c := onFile(t, "write")
	if r := mustRun(t, c); r.Writes != 64 || r.Errors != 0 {
		t.Fatalf("write: %+v", r)
	}
	c.mode = "check"
	if r := mustRun(t, c); r.Reads != 64 || r.Errors+r.Mismatches != 0 {
		t.Errorf("check: %+v", r)
	}
}

func TestCheckNamesTheDamage(t *testing.T) {
	other := make([]byte, 4096)
	for _, tt := range []struct {
		name   string
		damage func(block []byte)
		want   string
	}{
		{"stale", func(b []byte) { stamp(b, 5, 1) }, "block 5: holds block 5 of generation 1, want generation 2"},
		{"misplaced", func(b []byte) { stamp(b, 9, 2) }, "block 5: holds block 9 of generation 2"},
		{"never written", func(b []byte) { clear(b) }, "block 5: all zero"},
		{"torn", func(b []byte) { stamp(other, 5, 1); copy(b[512:], other[512:]) },
			"block 5: differs from generation 2 from byte 512 on"},
		{"one bit", func(b []byte) { b[4095] ^= 1 }, "block 5: differs from generation 2 from byte 4095 on"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := onFile(t, "write")
			c.gen = 2
			mustRun(t, c)
			f, err := os.OpenFile(c.dev, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			block := make([]byte, 4096)
			stamp(block, 5, 2)
			tt.damage(block)
			if _, err := f.WriteAt(block, 5*4096); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			c.mode = "check"
			if r := mustRun(t, c); r.Mismatches != 1 || !strings.HasPrefix(r.First, tt.want) {
				t.Errorf("%+v, want %q", r, tt.want)
			}
		})
	}
}

func TestSteadyChecksWhatItWrote(t *testing.T) {
	c := onFile(t, "steady")
	c.span = 100 * time.Millisecond
	r := mustRun(t, c)
	if r.Writes == 0 || r.Reads == 0 || r.Errors+r.Mismatches != 0 || r.PauseUS == 0 {
		t.Errorf("%+v", r)
	}
}

func TestSteadyStopsOnASignal(t *testing.T) {
	c := onFile(t, "steady")
	d, err := open(c)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	stop <- os.Interrupt
	if r := d.steady(c, stop); r.Errors+r.Mismatches != 0 {
		t.Errorf("%+v", r)
	}
}

func TestFailuresAreCounted(t *testing.T) {
	c := onFile(t, "check")
	c.size *= 2 // the second half does not exist
	if r := mustRun(t, c); r.Errors != 64 || r.Mismatches != 64 || r.First == "" {
		t.Errorf("%+v", r)
	}
}

func TestBadCommandLinesAreRefused(t *testing.T) {
	for _, args := range []string{"", "write", "write -dev x -bs 100", "write -dev x -size 1",
		"write -dev x -rate 0"} {
		if c, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%q gave %+v", args, c)
		}
	}
}
