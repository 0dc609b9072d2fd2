//go:build mutants

package engine_test

import (
	"flag"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

var mutantFlag = flag.String("engine.mutant", "", "plant this bug only, and print what it changes")

// TestMutants plants one bug of the engine after the other: each must make a story end badly.
func TestMutants(t *testing.T) {
	names := mutant.Engine()
	if *mutantFlag != "" {
		names = []mutant.Name{mutant.Name(*mutantFlag)}
	}
	tables := map[shape]*placement.Table{}
	for _, name := range names {
		t.Run(string(name), func(t *testing.T) {
			var changed []string
			datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
				s := &story{tables: tables, mutant: mutant.Of(name)}
				datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
					if told := s.end(t, d); outcome(told) != outcome(d.Expected) {
						changed = append(changed, strings.TrimPrefix(d.Pos, "testdata/"))
						if *mutantFlag != "" {
							t.Logf("%s with the bug %s:\n%s", d.Pos, name, told)
						}
					}
					return d.Expected
				})
			})
			if len(changed) == 0 {
				t.Fatal("every story ends as it should")
			}
			t.Logf("%d stories, the last one %s", len(changed), changed[len(changed)-1])
		})
	}
}

// end is tell for a story that may become impossible.
func (s *story) end(t *testing.T, d *datadriven.TestData) (told string) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case impossible:
			told = string(x)
		default:
			panic(x)
		}
	}()
	return s.tell(t, d)
}

// outcome is what hosts are told, what owners say, and what devices hold where the story shows it. Requests
// may differ.
func outcome(told string) string {
	var out []string
	for _, line := range strings.Split(told, "\n") {
		if strings.Contains(line, "host: ") || strings.Contains(line, "holds ") ||
			strings.Contains(line, "serve") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}
