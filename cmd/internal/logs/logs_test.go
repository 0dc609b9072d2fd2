package logs

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestForms(t *testing.T) {
	for format, want := range map[string]string{"text": `msg="it works"`, "json": `"msg":"it works"`} {
		l, err := New("info", format)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		l.SetOutput(&b)
		l.Debug("not now")
		l.WithField("volume", 7).Info("it works")
		if !strings.Contains(b.String(), want) || strings.Contains(b.String(), "not now") {
			t.Errorf("%s: %s", format, b.String())
		}
		if err := SetLevel(l, "debug"); err != nil {
			t.Fatal(err)
		}
		if l.Debug("now"); !strings.Contains(b.String(), "now") {
			t.Error("the level did not change")
		}
	}
	for _, x := range [][2]string{{"loud", "text"}, {"trace", "text"}, {"info", "xml"}} {
		if _, err := New(x[0], x[1]); err == nil {
			t.Errorf("%v is accepted", x)
		}
	}
}

// TestRecent: the last megabyte is kept, line by line.
func TestRecent(t *testing.T) {
	l, err := New("info", "text")
	if err != nil {
		t.Fatal(err)
	}
	l.SetOutput(new(bytes.Buffer))
	r := Keep(l)
	long := strings.Repeat("x", 1000)
	for n := range 3000 {
		l.WithField("n", n).Info(long)
	}
	text := r.Text()
	if len(text) > recentBytes || len(text) < recentBytes-2000 {
		t.Fatalf("%d bytes are kept", len(text))
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var last struct{ N int }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.N != 2999 {
		t.Errorf("the last line is %s: %v", lines[len(lines)-1], err)
	}
}
