//go:build e2e

package openstack_test

import (
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/openstack"
)

// tempestSmoke has Tempest, OpenStack's own suite, judge what needs Cinder only.
func (c cloud) tempestSmoke(t *testing.T) {
	runTempest(t, c.Cinder, openstack.TempestOptions{Include: "smoke.txt", Workers: 4})
}

// runTempest runs tests of Tempest, all of which have to pass: what cannot is excluded, so what is skipped is
// a surprise.
func runTempest(t *testing.T, c *openstack.Cinder, o openstack.TempestOptions) {
	t.Helper()
	r, err := c.Tempest(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Tempest: %d tests passed, %d failed, %d skipped, %d excluded", len(r.Passed), len(r.Failed),
		len(r.Skipped), r.Excluded)
	for what, names := range map[string][]string{"failed": r.Failed, "skipped": r.Skipped,
		"not passed": r.Missing} {
		if len(names) > 0 {
			t.Errorf("%s:\n%s", what, strings.Join(names, "\n"))
		}
	}
	if len(r.Passed) == 0 {
		t.Error("nothing ran")
	}
	if t.Failed() {
		t.Logf("all that Tempest says:\n%s", r.Text)
	}
}
