package cluster

import "testing"

func TestNearness(t *testing.T) {
	for _, c := range []struct {
		home, path string
		want       int
	}{
		{"", "a/r/1", 0}, {"a", "a/r/1", 1}, {"a/r", "a/r/1", 2}, {"a/r/1", "a/r/1", 3}, {"a/r/11", "a/r/1", 2},
		{"a/s/1", "a/r/1", 1}, {"b/r/1", "a/r/1", 0}, {"a/r/1/x", "a/r/1", 3},
	} {
		if got := Nearness(c.home, c.path); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.path, c.home, got, c.want)
		}
	}
}
