package openstack

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/e2e/build"
)

// TestDocumentSaysWhatDoesNotRun: the table in docs/openstack.md is the file of exclusions.
func TestDocumentSaysWhatDoesNotRun(t *testing.T) {
	all, err := Exclusions("tempest/excluded.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := "| not run | why |\n|---|---|\n"
	for _, e := range all {
		tests := strings.NewReplacer("^", "", `\.`, ".", `\[`, "").Replace(e.String())
		want += fmt.Sprintf("| `%s` | %s |\n", strings.ReplaceAll(tests, "|", `\|`), e.Why)
	}
	root, err := build.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root + "/docs/openstack.md")
	if err != nil {
		t.Fatal(err)
	}
	const begin = "<!-- tempest: what e2e/openstack/tempest/excluded.txt says -->\n"
	_, rest, _ := strings.Cut(string(text), begin)
	if got, _, ok := strings.Cut(rest, "<!-- end of tempest -->"); !ok || got != want {
		t.Errorf("docs/openstack.md has, between its marks:\n%s\nshould have:\n%s", got, want)
	}
}
