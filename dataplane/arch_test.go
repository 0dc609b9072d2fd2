package dataplane

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// layer says what one package, with the packages below its directory, may import of the module. Imports point
// down and inward: shells import cores, never cores shells, and no package one that is above it.
type layer struct {
	dir string
	// core packages decide and do nothing else: plain data in, plain data out. They import values only.
	core bool
	// may lists directories of the module, packages below them included.
	may []string
}

// layers is the picture of doc.go as a table, from the bottom up. A package finds its row by the longest
// prefix.
func layers() []layer {
	return []layer{
		// Cores.
		{dir: "dataplane/cluster", core: true},
		{dir: "dataplane/nvme", core: true},
		{dir: "dataplane/mutant", core: true},
		{dir: "dataplane/stats", core: true},
		{dir: "dataplane/chunk", core: true, may: dataplane("cluster", "nvme")},
		{dir: "dataplane/lease", core: true, may: dataplane("cluster")},
		{dir: "dataplane/placement", core: true, may: dataplane("cluster")},
		{dir: "dataplane/home", core: true, may: dataplane("cluster")},
		{dir: "dataplane/stripe", core: true, may: dataplane("cluster")},
		{dir: "dataplane/pagemap", core: true, may: dataplane("cluster", "chunk", "mutant")},
		{dir: "dataplane/scrub", core: true, may: dataplane("cluster", "pagemap")},
		{dir: "dataplane/guard", core: true, may: dataplane("cluster", "chunk", "mutant")},
		{dir: "dataplane/qos", core: true},
		{dir: "dataplane/engine", core: true, may: dataplane("cluster", "placement", "stripe", "chunk",
			"mutant")},

		{dir: "dataplane/sim/history", core: true},

		// Shells.
		{dir: "dataplane/blockdev", may: dataplane("stats")},
		{dir: "dataplane/xts"},
		{dir: "dataplane/seal", may: dataplane("cluster", "xts")},
		{dir: "dataplane/pack", may: dataplane("cluster", "seal")},
		{dir: "dataplane/keyring", may: dataplane("cluster", "seal")},
		{dir: "dataplane/pagestore", may: dataplane("cluster", "chunk", "pagemap", "scrub", "blockdev", "mutant")},
		{dir: "dataplane/nvmet", may: dataplane("nvme")},
		{dir: "dataplane/initiator", may: dataplane("nvme")},
		{dir: "dataplane/chunkd", may: dataplane("cluster", "chunk", "guard", "pagemap", "pagestore",
			"blockdev")},
		{dir: "dataplane/voter", may: dataplane("cluster", "lease")},
		{dir: "dataplane/peer", may: dataplane("cluster", "chunk", "lease", "nvme", "nvmet", "initiator")},
		{dir: "dataplane/gateway", may: dataplane("cluster", "home", "placement", "stripe", "engine", "chunk",
			"delta", "lease", "nvme", "nvmet", "seal", "pack", "qos", "stats")},
		{dir: "dataplane/delta", may: dataplane("cluster")},
		{dir: "dataplane/watch", may: dataplane("cluster")},
		{dir: "dataplane/freeport"},
		{dir: "dataplane/embedetcd", may: dataplane("cluster", "freeport")},
		{dir: "dataplane/node", may: []string{"dataplane"}},
		{dir: "dataplane/sim/history", core: true},
		{dir: "dataplane/sim", may: []string{"dataplane"}},
		{dir: "dataplane"},

		// Control.
		{dir: "restapi/wire", may: dataplane("cluster")},
		{dir: "restapi/auth", may: dataplane("cluster")},
		{dir: "restapi/pki"},
		{dir: "restapi/audit", may: []string{"restapi/wire"}},
		{dir: "restapi/keystone", may: append(dataplane("cluster"), "restapi/auth")},
		{dir: "restapi/barbican", may: dataplane("keyring", "seal")},
		{dir: "restapi/client", may: append(dataplane("cluster"), "restapi/wire")},
		{dir: "restapi/store", may: dataplane("cluster")},
		{dir: "restapi/schedule"},
		{dir: "restapi/manager", may: append(dataplane("cluster", "placement", "seal"), "restapi/wire",
			"restapi/auth", "restapi/store", "restapi/pki", "restapi/schedule")},
		{dir: "restapi/api", may: append(dataplane("cluster"), "restapi/wire", "restapi/auth", "restapi/store",
			"restapi/manager")},
		{dir: "restapi/contract"},
		{dir: "restapi/apitest", may: append(dataplane("cluster", "seal"), "restapi")},

		// Assembly and whole-system tests.
		{dir: "cmd", may: []string{"cmd", "dataplane", "restapi"}},
		{dir: "e2e", may: []string{"e2e", "dataplane", "restapi/client", "restapi/wire",
			"restapi/auth", "restapi/keystone"}},
	}
}

func dataplane(names ...string) []string {
	for i := range names {
		names[i] = "dataplane/" + names[i]
	}
	return names
}

// confined lists the modules that only some directories may import; tests may import them anywhere.
func confined() []layer {
	return []layer{
		{dir: "github.com/spf13/viper", may: []string{"cmd"}},
		{dir: "github.com/spf13/cobra", may: []string{"cmd"}},
		{dir: "github.com/gin-gonic/gin", may: []string{"restapi"}},
		{dir: "github.com/adhocore/gronx", may: []string{"restapi/schedule"}},
		{dir: "go.opentelemetry.io", may: []string{"cmd/internal/tracing"}},
		{dir: "github.com/prometheus", may: []string{"cmd/internal/metrics"}},
		{dir: "github.com/gophercloud/gophercloud", may: []string{"restapi", "e2e", "cmd/internal/openstack"}},
		{dir: "go.etcd.io/etcd/client", may: []string{"restapi/store", "dataplane/watch", "dataplane/embedetcd"}},
		{dir: "go.etcd.io/etcd/server", may: []string{"dataplane/embedetcd", "restapi/store/storetest"}},
	}
}

// values lists the packages of the standard library that a core may import: none of them has a clock, a lock,
// a file, a socket or a source of chance.
func values() []string {
	return []string{
		"bytes", "cmp", "container/heap", "container/list", "crypto/hmac", "crypto/sha256", "crypto/subtle",
		"encoding", "encoding/base64", "encoding/binary", "encoding/hex", "encoding/json", "errors", "fmt",
		"hash", "hash/crc32", "hash/crc64", "hash/fnv", "iter", "maps", "math", "math/bits", "net/netip",
		"net/url", "regexp", "slices", "sort", "strconv", "strings", "unicode", "unicode/utf8",
	}
}

func layerRules() []rule {
	return []rule{
		{"layers", "move the code down to where both can import it, or declare an interface at the consumer; " +
			"a new package gets a row in dataplane/arch_test.go", checkLayers},
		{"pure-cores", "let the shell pass the value in (a time, a random number, what was read) and carry the " +
			"action out", checkCores},
		{"confined-modules", "ask the package that owns the module for what you need", checkConfined},
		{"one-etcd-writer", "hand the change to restapi/store, which compares and swaps", checkEtcdWriter},
	}
}

// layerOf finds the row of a directory.
func layerOf(dir string) (layer, bool) {
	var best layer
	found := false
	for _, l := range layers() {
		if below(dir, l.dir) && len(l.dir) >= len(best.dir) {
			best, found = l, true
		}
	}
	// The row of dataplane itself is for the picture and these tests, not for packages nobody listed.
	if best.dir == "dataplane" && dir != "dataplane" {
		return layer{}, false
	}
	return best, found
}

func below(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

func belowAny(dir string, parents []string) bool {
	return slices.ContainsFunc(parents, func(p string) bool { return below(dir, p) })
}

// imports calls f for every import of a file.
func imports(s *source, f func(spec *ast.ImportSpec, path string)) {
	for _, spec := range s.syn.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			f(spec, p)
		}
	}
}

// checkLayers holds what is shipped to the table; tests may look further, but a test of the data plane never
// needs the control plane.
func checkLayers(t *tree) (out []violation) {
	for _, s := range t.goFiles() {
		own, listed := layerOf(s.dir())
		if !listed {
			out = append(out, t.at(s.syn.Package, "%s is in no layer", s.dir()))
			continue
		}
		imports(s, func(spec *ast.ImportSpec, path string) {
			dir, inside := strings.CutPrefix(path, modulePath+"/")
			switch {
			case !inside || below(dir, own.dir) || belowAny(dir, own.may):
			case !s.isTest():
				out = append(out, t.at(spec.Pos(), "%s may not import %s", own.dir, dir))
			case below(own.dir, "dataplane") && !below(dir, "dataplane"):
				out = append(out, t.at(spec.Pos(), "a test of %s may not import %s", own.dir, dir))
			}
		})
	}
	return out
}

// checkCores holds cores to values: imports of the list above, of other cores and of a codec; no goroutine
// and no channel.
func checkCores(t *tree) (out []violation) {
	for _, s := range t.goFiles() {
		own, _ := layerOf(s.dir())
		if !own.core || s.isTest() {
			continue
		}
		imports(s, func(spec *ast.ImportSpec, path string) {
			codec := own.dir == "dataplane/stripe" && path == "github.com/klauspost/reedsolomon"
			if !slices.Contains(values(), path) && !strings.HasPrefix(path, modulePath) && !codec {
				out = append(out, t.at(spec.Pos(), "core %s imports %s", own.dir, path))
			}
		})
		ast.Inspect(s.syn, func(n ast.Node) bool {
			if what := concurrency(n); what != "" {
				out = append(out, t.at(n.Pos(), "core %s %s", own.dir, what))
			}
			return true
		})
	}
	return out
}

func concurrency(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine"
	case *ast.ChanType:
		return "has a channel"
	case *ast.SelectStmt:
		return "selects"
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			return "receives from a channel"
		}
	}
	return ""
}

func checkConfined(t *tree) (out []violation) {
	for _, s := range t.goFiles() {
		if s.isTest() {
			continue
		}
		own, _ := layerOf(s.dir())
		imports(s, func(spec *ast.ImportSpec, path string) {
			for _, c := range confined() {
				if below(path, c.dir) && !belowAny(s.dir(), c.may) {
					out = append(out, t.at(spec.Pos(), "%s is for %s only", c.dir, strings.Join(c.may, ", ")))
				}
			}
			if own.core && strings.HasPrefix(path, "github.com/sirupsen/logrus") {
				out = append(out, t.at(spec.Pos(), "core %s logs", own.dir))
			}
		})
	}
	return out
}

// checkEtcdWriter looks for calls that write to etcd outside restapi/store, in the packages that may read
// from it.
func checkEtcdWriter(t *tree) (out []violation) {
	for _, s := range t.goFiles() {
		if s.isTest() || !belowAny(s.dir(), []string{"dataplane/watch", "dataplane/embedetcd"}) {
			continue
		}
		ast.Inspect(s.syn, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if ok && slices.Contains([]string{"Put", "Txn", "OpPut", "OpDelete"}, sel.Sel.Name) {
				out = append(out, t.at(call.Pos(), "%s writes to etcd (%s)", s.dir(), sel.Sel.Name))
			}
			return true
		})
	}
	return out
}
