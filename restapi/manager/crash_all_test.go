package manager_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// uncut are the exported methods that change records and that TestCrashAtEveryStep does not cut off, and why
// that is enough.
func uncut() map[string]string {
	const keyed = "what makes POSTs repeatable: TestCrashWithKey of the API cuts it off"
	const reads = "reads what Allow and Disallow change"
	return map[string]string{
		"Bootstrap":        "TestCrashAtBootstrap",
		"CreateToken":      "draws a secret, so it cannot be repeated without a key: TestCrashWithKey of the API",
		"ClaimRequest":     keyed,
		"SettleRequest":    keyed,
		"ReleaseRequest":   keyed,
		"CancelTask":       "nothing but CancelFlatten, CancelShrink or ScrubDevice",
		"Export":           reads,
		"Exports":          reads,
		"TokenUsed":        "one record, and nothing depends on the time in it",
		"TrimEvents":       "old events go in pieces, in any order",
		"RotateAuthority":  "one record, and it draws a key; its stages are in TestReplacingTheAuthority",
		"AdvanceAuthority": "one record; its stages are in TestReplacingTheAuthority",
		"RestoreAuthority": "one record: TestAuthorityOfABackup",
		"Authority":        "one record, made once: TestOneAuthority",
	}
}

// noteCallers notes which exported methods of the manager a commit is for.
func (c *crashing) noteCallers() {
	pc := make([]uintptr, 64)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	for {
		f, more := frames.Next()
		if _, method, ok := strings.Cut(f.Function, "manager.(*Manager)."); ok {
			name, _, _ := strings.Cut(method, ".")
			if ast.IsExported(name) {
				c.mu.Lock()
				if c.callers == nil {
					c.callers = make(map[string]bool)
				}
				c.callers[name] = true
				c.mu.Unlock()
			}
		}
		if !more {
			return
		}
	}
}

// wantAllCut fails when an exported method of the manager changes records and no change of this test got
// there.
func wantAllCut(t *testing.T, cut map[string]bool) {
	t.Helper()
	known := uncut()
	for name := range committing(t) {
		switch _, excused := known[name]; {
		case cut[name] && excused:
			t.Errorf("Manager.%s is cut off now: take its excuse away", name)
		case !cut[name] && !excused:
			t.Errorf("Manager.%s changes records, and none of the changes here cuts it off", name)
		}
	}
}

// committing are the exported methods of the manager from which a commit can be reached, by names of
// functions.
func committing(t *testing.T) map[string]bool {
	t.Helper()
	calls := make(map[string][]string)
	exported := make(map[string]bool)
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				name := f.Name.Name
				calls[name] = append(calls[name], called(f)...)
				exported[name] = exported[name] || f.Recv != nil && f.Name.IsExported()
			}
		}
	}
	reaches := map[string]bool{"Commit": true}
	for grown := true; grown; {
		grown = false
		for name, to := range calls {
			if !reaches[name] && slices.ContainsFunc(to, func(n string) bool { return reaches[n] }) {
				reaches[name], grown = true, true
			}
		}
	}
	out := make(map[string]bool)
	for name := range calls {
		if reaches[name] && exported[name] {
			out[name] = true
		}
	}
	return out
}

// called are the functions, and the methods of the manager and of what it reads, that a function mentions.
func called(f *ast.FuncDecl) (names []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.SelectorExpr:
			of, local := x.X.(*ast.Ident)
			from, field := x.X.(*ast.SelectorExpr)
			if local && (of.Name == "m" || of.Name == "v") || field && from.Sel.Name == "store" {
				names = append(names, x.Sel.Name)
			}
		case *ast.CallExpr:
			switch called := x.Fun.(type) {
			case *ast.Ident:
				names = append(names, called.Name)
			case *ast.SelectorExpr: // of a parameter that is the store
				if of, ok := called.X.(*ast.Ident); ok && called.Sel.Name == "Commit" && of.Name != "m" {
					names = append(names, "Commit")
				}
			}
		}
		return true
	})
	return names
}

// smallChanges are those that no other part of this test is about.
func smallChanges() []change {
	pool := func(do func(*manager.Manager, context.Context) error) func(*apitest.Cluster) doer {
		return func(c *apitest.Cluster) doer {
			c.Pool()
			c.Device(1, 2)
			c.Volume(1, "v1")
			return func(ctx context.Context) error { return do(c.Manager, ctx) }
		}
	}
	exported := func(do func(*manager.Manager, context.Context) error) func(*apitest.Cluster) doer {
		return func(c *apitest.Cluster) doer {
			c.Pool()
			for n := 1; n <= 2; n++ {
				on := manager.OfVolume(c.Volume(n, "v"+string(rune('0'+n))).ID)
				if _, _, err := c.Manager.Allow(c.T.Context(), on, apitest.HostA, ""); err != nil {
					c.T.Fatal(err)
				}
			}
			return func(ctx context.Context) error { return do(c.Manager, ctx) }
		}
	}
	return []change{
		{"change the policy of a pool", pool(func(m *manager.Manager, ctx context.Context) error {
			return errOf(m.UpdatePool(ctx, "gold", wire.PoolUpdate{Provisioning: wire.Thick}, ""))
		})},
		{"give a device another weight", pool(func(m *manager.Manager, ctx context.Context) error {
			r := wire.PoolChange{Kind: cluster.ChangeReweight, Devices: []cluster.DeviceID{1}, Weight: 9}
			return errOf(m.ChangePool(ctx, "gold", r, ""))
		})},
		{"set a quota", pool(func(m *manager.Manager, ctx context.Context) error {
			_, _, err := m.SetQuota(ctx, "acme", wire.Quota{Volumes: new(uint64(3))}, "")
			return err
		})},
		{"take a volume from a host", exported(func(m *manager.Manager, ctx context.Context) error {
			return m.Disallow(ctx, manager.OfVolume(apitest.UUID(1)), apitest.HostA, "")
		})},
		{"revoke a host", exported(func(m *manager.Manager, ctx context.Context) error {
			return m.Revoke(ctx, apitest.HostA)
		})},
	}
}

// credentialChanges, and what happens to flattens, keys and nodes besides.
func credentialChanges() []change {
	return []change{
		{"revoke a token", func(c *apitest.Cluster) doer {
			tok, err := c.Manager.CreateToken(c.T.Context(), wire.TokenCreate{Name: "t", Role: "operator"})
			if err != nil {
				c.T.Fatal(err)
			}
			return func(ctx context.Context) error { return c.Manager.RevokeToken(ctx, tok.ID, "") }
		}},
		{"end the wish for a flatten", func(c *apitest.Cluster) doer {
			_, stop := lineage(c)
			stop()
			if _, err := c.Manager.FlattenVolume(c.T.Context(), apitest.UUID(3), ""); err != nil {
				c.T.Fatal(err)
			}
			return func(ctx context.Context) error { return c.Manager.CancelFlatten(ctx, apitest.UUID(3)) }
		}},
		{"wrap the key of a volume anew", func(c *apitest.Cluster) doer {
			c.Pool()
			for _, key := range []string{"k1", "k2"} {
				c.Key(key)
			}
			rotate := func(to string) {
				if _, err := c.Manager.RotateKey(c.T.Context(), wire.KeyRotation{To: to}, ""); err != nil {
					c.T.Fatal(err)
				}
			}
			rotate("k1")
			id := encryptedVolume(c, 1).ID
			rotate("k2")
			return func(ctx context.Context) error { return errOf(c.Manager.RewrapVolume(ctx, id)) }
		}},
		{"note that nodes are silent", func(c *apitest.Cluster) doer {
			c.Join(2)
			c.Advance(time.Hour)
			return c.Manager.LookAtNodes
		}},
	}
}
