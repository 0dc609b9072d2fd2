package dataplane

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// modulePath is the import path of the module whose rules these are.
const modulePath = "github.com/ashlar-storage/ashlar"

// source is one text file of the module; Go files are parsed as well.
type source struct {
	path  string // from the module's root, with slashes
	lines []string
	syn   *ast.File // nil unless Go
}

func (s *source) dir() string  { return path.Dir(s.path) }
func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// tree is the module as the rules see it: its files in path order. A rule may look at one file or at all of
// them.
type tree struct {
	fset    *token.FileSet
	sources []*source
	broken  []violation // files that do not parse
}

// goFiles returns the Go files, in path order.
func (t *tree) goFiles() []*source {
	var out []*source
	for _, s := range t.sources {
		if s.syn != nil {
			out = append(out, s)
		}
	}
	return out
}

// packages groups the Go files by directory, in path order.
func (t *tree) packages() [][]*source {
	byDir := map[string][]*source{}
	for _, s := range t.goFiles() {
		byDir[s.dir()] = append(byDir[s.dir()], s)
	}
	var out [][]*source
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		out = append(out, byDir[dir])
	}
	return out
}

func (t *tree) add(name string, data []byte) {
	s := &source{path: name, lines: strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")}
	if strings.HasSuffix(name, ".go") {
		syn, err := parser.ParseFile(t.fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.broken = append(t.broken, violation{name, 1, err.Error()})
			return
		}
		s.syn = syn
	}
	t.sources = append(t.sources, s)
}

// at builds a violation at a node's position.
func (t *tree) at(pos token.Pos, format string, args ...any) violation {
	p := t.fset.Position(pos)
	return violation{p.Filename, p.Line, fmt.Sprintf(format, args...)}
}

// violation is one place where a rule does not hold.
type violation struct {
	path string
	line int
	what string
}

func (v violation) String() string { return fmt.Sprintf("%s:%d: %s", v.path, v.line, v.what) }

// rule is one house rule. Its name is what docs/style.md lists; instead is what the author should do, printed
// under every violation.
type rule struct {
	name    string
	instead string
	check   func(*tree) []violation
}

// rules lists all house rules, in the order of docs/style.md.
func rules() []rule {
	return slices.Concat(layerRules(), shapeRules(), textRules())
}

// TestHouseRules holds the whole module to the rules of docs/style.md.
func TestHouseRules(t *testing.T) {
	mod := loadModule(t, "..")
	for _, v := range mod.broken {
		t.Errorf("%v", v)
	}
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, v := range r.check(mod) {
				t.Errorf("%v\n\tinstead: %s", v, r.instead)
			}
		})
	}
}

// TestHouseRulesCatch proves that every rule can fail. A story in testdata/house writes small files with
// `file` (a line `@fill 80 x` stands for 80 lines of x) and prints what one rule says about them with
// `check`.
func TestHouseRulesCatch(t *testing.T) {
	caught := map[string]bool{}
	datadriven.Walk(t, "testdata/house", func(t *testing.T, story string) {
		mod := &tree{fset: token.NewFileSet()}
		datadriven.RunTest(t, story, func(t *testing.T, d *datadriven.TestData) string {
			var name string
			switch d.Cmd {
			case "file":
				d.ScanArgs(t, "path", &name)
				mod.add(name, []byte(fill(t, d.Input)))
				return ""
			case "check":
				d.ScanArgs(t, "rule", &name)
				return report(t, mod, name, caught)
			}
			t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			return ""
		})
	})
	for _, r := range rules() {
		if !caught[r.name] {
			t.Errorf("no story in testdata/house makes the rule %q fail", r.name)
		}
	}
}

// report prints what a rule finds, one line each, and notes the rules that found something.
func report(t *testing.T, mod *tree, name string, caught map[string]bool) string {
	i := slices.IndexFunc(rules(), func(r rule) bool { return r.name == name })
	if i < 0 {
		t.Fatalf("no rule %q", name)
	}
	var b strings.Builder
	for _, v := range rules()[i].check(mod) {
		fmt.Fprintln(&b, v)
		caught[name] = true
	}
	if b.Len() == 0 {
		return "ok\n"
	}
	return b.String()
}

// fill expands the `@fill n text` lines of a story's file.
func fill(t *testing.T, in string) string {
	var b strings.Builder
	for line := range strings.Lines(in) {
		rest, ok := strings.CutPrefix(line, "@fill ")
		if !ok {
			b.WriteString(line)
			continue
		}
		var n int
		count, text, _ := strings.Cut(rest, " ")
		if _, err := fmt.Sscan(count, &n); err != nil {
			t.Fatalf("bad fill line %q: %v", line, err)
		}
		b.WriteString(strings.Repeat(strings.TrimSuffix(text, "\n")+"\n", n))
	}
	return b.String()
}

// loadModule reads every text file below root that people write: no version control, caches or build results.
func loadModule(t *testing.T, root string) *tree {
	t.Helper()
	mod := &tree{fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if generatedDir(rel) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !isText(rel) {
			return nil
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		mod.add(rel, data)
		return nil
	})
	if err != nil {
		t.Fatalf("read the module: %v", err)
	}
	if len(mod.goFiles()) < 10 {
		t.Fatalf("only %d Go files below %s: is this the module's root?", len(mod.goFiles()), root)
	}
	return mod
}

func generatedDir(rel string) bool {
	name := path.Base(rel)
	switch {
	case rel == "." || rel == ".ci":
		return false
	case strings.HasPrefix(name, ".") || name == "__pycache__" || strings.HasSuffix(name, ".egg-info"):
		return true
	}
	return rel == "bin" || rel == "dataplane/testdata/house"
}

func isText(rel string) bool {
	switch path.Ext(rel) {
	case ".go", ".py", ".sh", ".md", ".txt", ".yaml", ".yml", ".json", ".toml", ".cfg", ".ini", ".conf", ".mod":
		return true
	}
	return path.Base(rel) == "Makefile" || rel == "LICENSE" || strings.HasPrefix(rel, ".ci/") ||
		strings.HasPrefix(rel, "devstack/") // the names of its scripts are DevStack's
}
