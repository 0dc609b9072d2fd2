package dataplane

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// Budgets, as the best code bases we know hold them at the 95th percentile.
const (
	maxFunctionLines = 70
	maxFileLines     = 600
	maxStructFields  = 20
	maxMethods       = 5
	minDocWords      = 8
)

func shapeRules() []rule {
	return []rule{
		{"package-doc", "say in one place what the package is for and what it promises, starting `Package name`",
			checkPackageDoc},
		{"package-names", "name the package after the one thing it knows", checkPackageNames},
		{"function-length", "keep the branching here and move the leaves into functions of their own",
			checkFunctionLength},
		{"file-length", "split the file by concept", checkFileLength},
		{"struct-width", "group the fields that change together into a struct of their own", checkStructWidth},
		{"interface-size", "declare at the consumer only what it calls, or split by caller", checkInterfaceSize},
		{"no-globals", "pass it in, return it from a function, or make it a constant, an array or a switch",
			checkGlobals},
		{"no-init", "wire it in cmd/ or in the node's assembly, where one can see it", checkInit},
		{"no-sleeping-tests", "wait for the condition with a deadline, use a fake clock or testing/synctest",
			checkSleep},
	}
}

// checkPackageDoc wants exactly one package comment per directory. A directory of tests only has it in a test
// file.
func checkPackageDoc(t *tree) (out []violation) {
	for _, files := range t.packages() {
		shipped := slices.DeleteFunc(slices.Clone(files), (*source).isTest)
		if len(shipped) == 0 {
			shipped = files
		}
		docs := slices.DeleteFunc(slices.Clone(shipped), func(s *source) bool { return s.syn.Doc == nil })
		if len(docs) == 0 {
			out = append(out, t.at(shipped[0].syn.Package, "package %s has no doc", shipped[0].syn.Name.Name))
			continue
		}
		for _, extra := range docs[1:] {
			out = append(out, t.at(extra.syn.Package, "a second package doc, the first is in %s", docs[0].path))
		}
		text := docs[0].syn.Doc.Text()
		if len(strings.Fields(text)) < minDocWords || !strings.Contains(text, ".") {
			out = append(out, t.at(docs[0].syn.Package, "the package doc says no more than the name"))
		}
	}
	return out
}

func checkPackageNames(t *tree) (out []violation) {
	banned := []string{"util", "utils", "common", "helper", "helpers", "types", "base", "misc", "shared", "lib"}
	for _, files := range t.packages() {
		name := strings.TrimSuffix(files[0].syn.Name.Name, "_test")
		dir := files[0].dir()[strings.LastIndexByte(files[0].dir(), '/')+1:]
		if slices.Contains(banned, name) || slices.Contains(banned, dir) {
			out = append(out, t.at(files[0].syn.Package, "package %s in %s names no subject", name, dir))
		}
	}
	return out
}

func checkFunctionLength(t *tree) (out []violation) {
	for _, s := range t.goFiles() {
		for _, d := range s.syn.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := t.fset.Position(f.End()).Line - t.fset.Position(f.Pos()).Line + 1
			if n > maxFunctionLines {
				out = append(out, t.at(f.Pos(), "%s has %d lines, the limit is %d", f.Name.Name, n, maxFunctionLines))
			}
		}
	}
	return out
}

func checkFileLength(t *tree) (out []violation) {
	for _, s := range t.sources {
		code := s.syn != nil || strings.HasSuffix(s.path, ".py")
		if n := len(s.lines); code && n > maxFileLines {
			out = append(out, violation{s.path, n, "the file has " + strconv.Itoa(n) + " lines, the limit is " +
				strconv.Itoa(maxFileLines)})
		}
	}
	return out
}

// checkStructWidth leaves out the structures of package nvme: their fields are the specification's.
func checkStructWidth(t *tree) (out []violation) {
	eachType(t, func(s *source, spec *ast.TypeSpec) {
		st, ok := spec.Type.(*ast.StructType)
		if !ok || s.dir() == "dataplane/nvme" {
			return
		}
		if n := count(st.Fields); n > maxStructFields {
			name := spec.Name.Name
			out = append(out, t.at(spec.Pos(), "%s has %d fields, the limit is %d", name, n, maxStructFields))
		}
	})
	return out
}

func checkInterfaceSize(t *tree) (out []violation) {
	eachType(t, func(_ *source, spec *ast.TypeSpec) {
		it, ok := spec.Type.(*ast.InterfaceType)
		if !ok {
			return
		}
		if n := count(it.Methods); n > maxMethods {
			out = append(out, t.at(spec.Pos(), "%s has %d methods, the limit is %d", spec.Name.Name, n, maxMethods))
		}
	})
	return out
}

// count counts fields or methods; an embedded one counts once.
func count(l *ast.FieldList) (n int) {
	for _, f := range l.List {
		n += max(1, len(f.Names))
	}
	return n
}

// eachType calls f for every type declared with a name, inside functions too.
func eachType(t *tree, f func(*source, *ast.TypeSpec)) {
	for _, s := range t.goFiles() {
		ast.Inspect(s.syn, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				f(s, spec)
			}
			return true
		})
	}
}

// checkGlobals allows package variables that nobody can change in a way that matters: sentinel errors,
// compile-time assertions, embedded files, what cannot be written once made (a compiled expression, a CRC
// table), and arrays that the package never writes to.
func checkGlobals(t *tree) (out []violation) {
	for _, files := range t.packages() {
		written := writtenNames(files)
		for _, s := range files {
			for _, spec := range packageVars(s) {
				for i, name := range spec.Names {
					if !constantLike(s, spec, i, written) {
						out = append(out, t.at(name.Pos(), "package variable %s can change", name.Name))
					}
				}
			}
		}
	}
	return out
}

func packageVars(s *source) (out []*ast.ValueSpec) {
	for _, d := range s.syn.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if g.Doc == nil || !strings.Contains(comments(g.Doc), "//go:embed") {
				out = append(out, v)
			}
		}
	}
	return out
}

func comments(g *ast.CommentGroup) string {
	var b strings.Builder
	for _, c := range g.List {
		b.WriteString(c.Text)
	}
	return b.String()
}

func constantLike(s *source, spec *ast.ValueSpec, i int, written map[string]bool) bool {
	name := spec.Names[i].Name
	if name == "_" || spec.Doc != nil && strings.Contains(comments(spec.Doc), "//go:embed") {
		return true
	}
	if i >= len(spec.Values) || written[name] {
		return false
	}
	sentinel := strings.HasPrefix(name, "Err") || strings.HasPrefix(name, "err")
	switch v := spec.Values[i].(type) {
	case *ast.CallExpr:
		switch callee(v) {
		case "errors.New", "fmt.Errorf":
			return true
		case "regexp.MustCompile", "crc32.MakeTable", "netip.MustParsePrefix", "netip.MustParseAddr":
			return true
		case "flag.Bool", "flag.Int", "flag.String", "flag.Duration", "flag.Int64", "flag.Uint64":
			return s.isTest()
		}
		return sentinel
	case *ast.BasicLit:
		return false
	case *ast.CompositeLit:
		a, ok := v.Type.(*ast.ArrayType)
		return ok && a.Len != nil || sentinel
	}
	return sentinel
}

func callee(c *ast.CallExpr) string {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + sel.Sel.Name
}

// writtenNames collects the names that the package assigns to, directly or through an index or a field, other
// than by declaring them.
func writtenNames(files []*source) map[string]bool {
	out := map[string]bool{}
	note := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			case *ast.Ident:
				out[x.Name] = true
				return
			default:
				return
			}
		}
	}
	for _, s := range files {
		ast.Inspect(s.syn, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						note(e)
					}
				}
			case *ast.IncDecStmt:
				note(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					note(n.X)
				}
			}
			return true
		})
	}
	return out
}

func checkInit(t *tree) (out []violation) {
	for _, s := range t.goFiles() {
		for _, d := range s.syn.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv == nil && f.Name.Name == "init" && !below(s.dir(), "cmd") {
				out = append(out, t.at(f.Pos(), "init() hides wiring"))
			}
		}
	}
	return out
}

func checkSleep(t *tree) (out []violation) {
	for _, s := range t.sources {
		switch {
		case s.syn != nil && s.isTest():
			ast.Inspect(s.syn, func(n ast.Node) bool {
				if c, ok := n.(*ast.CallExpr); ok && callee(c) == "time.Sleep" {
					out = append(out, t.at(c.Pos(), "a test sleeps"))
				}
				return true
			})
		case strings.HasSuffix(s.path, ".py") && strings.Contains(s.path, "test"):
			for i, line := range s.lines {
				if strings.Contains(line, "time.sleep(") {
					out = append(out, violation{s.path, i + 1, "a test sleeps"})
				}
			}
		}
	}
	return out
}
