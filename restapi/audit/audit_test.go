package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func openAt(t *testing.T, dir string, limit int64) *Log {
	t.Helper()
	l, err := open(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func appendTo(t *testing.T, l *Log, n int) {
	t.Helper()
	for i := range n {
		if err := l.Append(Record{Action: "POST /v1/volumes", Subject: fmt.Sprint(i), Status: 201}); err != nil {
			t.Fatal(err)
		}
	}
}

// numbers lists what Recent gives.
func numbers(l *Log, before uint64, limit int) string {
	records, more := l.Recent(before, limit)
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%d ", r.Number)
	}
	if more {
		b.WriteString("...")
	}
	return strings.TrimSpace(b.String())
}

// TestPages: newest first, page by page, to the end.
func TestPages(t *testing.T) {
	l := openAt(t, t.TempDir(), maxFile)
	if got := numbers(l, 0, 10); got != "" {
		t.Errorf("an empty log has %q", got)
	}
	appendTo(t, l, 5)
	for _, c := range []struct {
		before uint64
		want   string
	}{{0, "5 4 ..."}, {4, "3 2 ..."}, {2, "1"}, {1, ""}} {
		if got := numbers(l, c.before, 2); got != c.want {
			t.Errorf("before %d: %q, want %q", c.before, got, c.want)
		}
	}
}

// TestGoesOn: a log is continued where it ended, also after a power cut in the middle of a line.
func TestGoesOn(t *testing.T) {
	dir := t.TempDir()
	l := openAt(t, dir, maxFile)
	appendTo(t, l, 3)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, fileName)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw[:len(raw)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, dir, maxFile)
	appendTo(t, l, 1)
	if got := numbers(l, 0, 10); got != "3 2 1" {
		t.Errorf("after a torn line: %q", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, dir, maxFile)
	if got := numbers(l, 0, 10); got != "3 2 1" {
		t.Errorf("opened once more: %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestRotation: files are bounded in size and number, memory in records; a new start still has the last ones.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	const limit = 1 << 10
	l := openAt(t, dir, limit)
	appendTo(t, l, maxRecent+500)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != keepFiles+1 {
		t.Errorf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > limit {
			t.Errorf("%s: %v, %v", f, info.Size(), err)
		}
	}
	all, more := l.Recent(0, 2*maxRecent)
	if len(all) != maxRecent || more || all[0].Number != maxRecent+500 {
		t.Errorf("%d are kept, the newest is %d", len(all), all[0].Number)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openAt(t, dir, limit)
	appendTo(t, l, 1)
	if got := numbers(l, 0, 2); got != "1501 1500 ..." {
		t.Errorf("after a new start: %q", got)
	}
}

// TestFullDisk: a record that cannot be written is an error and still among the recent ones.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := openAt(t, dir, maxFile)
	appendTo(t, l, 1)
	_ = l.Close()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(Record{}); err == nil {
		t.Error("written to nowhere")
	}
	if got := numbers(l, 0, 9); got != "2 1" {
		t.Errorf("recent: %q", got)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, 1)
	if got := numbers(l, 0, 9); got != "3 2 1" {
		t.Errorf("recent: %q", got)
	}
}
