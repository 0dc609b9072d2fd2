package openstack

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const output = `{1} tempest.api.volume.test_volumes_get.VolumesGetTest.test_get [5.385219s] ... ok
{0} setUpClass (tempest.api.volume.admin.test_multi_backend.VolumeMultiBackendTest) ... SKIPPED: one backend
{0} tempest.api.volume.test_a.A.test_a ... SKIPPED: no servers
{2} tempest.api.volume.test_b.B.test_b [0.021079s] ... FAILED

Captured traceback:
~~~~~~~~~~~~~~~~~~~
    AttributeError: it ... FAILED

======
Totals
======
Ran: 4 tests in 72.1843 sec.
 - Passed: 1
 - Skipped: 2
 - Expected Fail: 0
 - Unexpected Success: 0
 - Failed: 1
`

func TestWhatTempestSaysIsRead(t *testing.T) {
	r, err := parseTempest(output)
	if err != nil {
		t.Fatal(err)
	}
	want := TempestReport{
		Passed: []string{"tempest.api.volume.test_volumes_get.VolumesGetTest.test_get"},
		Failed: []string{"tempest.api.volume.test_b.B.test_b"},
		Skipped: []string{
			"setUpClass (tempest.api.volume.admin.test_multi_backend.VolumeMultiBackendTest): one backend",
			"tempest.api.volume.test_a.A.test_a: no servers"},
		Text: output,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	for name, text := range map[string]string{
		"a line is lost":   strings.Replace(output, "test_get", "test_get\n", 1),
		"it was cut short": output[:strings.Index(output, "Totals")],
	} {
		if _, err := parseTempest(text); err == nil {
			t.Errorf("%s: nobody notices", name)
		}
	}
}

func TestEveryTestIsAccountedFor(t *testing.T) {
	list := "Warning: a library is old\na.T.test_ok[id-1,smoke]\na.T.test_lost[id-2]\nb.T.test_x[compute,id-3]\n"
	all := listedTests(list)
	excluded := exclusions(t, "# what is not here\n^b\\.  # no servers\n")
	r := TempestReport{Passed: []string{"a.T.test_ok"}}
	if err := r.compare(all, excluded); err != nil {
		t.Fatal(err)
	}
	if r.Excluded != 1 || !reflect.DeepEqual(r.Missing, []string{"a.T.test_lost"}) {
		t.Errorf("%+v", r)
	}
	excluded = exclusions(t, "^c\\. # gone\n")
	if err := r.compare(all, excluded); err == nil || !strings.Contains(err.Error(), `^c\.`) {
		t.Errorf("an exclusion of nothing: %v", err)
	}
}

func exclusions(t *testing.T, text string) []Exclusion {
	t.Helper()
	file := filepath.Join(t.TempDir(), "excluded.txt")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Exclusions(file)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAnExclusionSaysWhy(t *testing.T) {
	for _, text := range []string{"^a\\.\n", "^a\\. #\n", "( # not an expression\n"} {
		file := filepath.Join(t.TempDir(), "excluded.txt")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if all, err := Exclusions(file); err == nil {
			t.Errorf("%q: %v, should be refused", text, all)
		}
	}
}
