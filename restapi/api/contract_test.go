package api_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/apitest"
	"github.com/ashlar-storage/ashlar/restapi/contract"
	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func loadContract(t testing.TB) *contract.Contract {
	t.Helper()
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	c, err := contract.New(asJSON)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a cluster and its contract.
type world struct {
	*apitest.Cluster
	contract *contract.Contract
}

func newWorld(t testing.TB) *world {
	return &world{Cluster: apitest.New(t), contract: loadContract(t)}
}

// reply is what a call brought.
type reply struct {
	status  int
	header  http.Header
	body    []byte
	problem wire.Problem
}

// into decodes a success.
func (r reply) into(t testing.TB, v any) {
	t.Helper()
	if r.status >= 300 {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatal(err)
	}
}

// call sends a request as the administrator; headers come in pairs and win. Content-Type is JSON when there
// is a body.
func (w *world) call(method, path, body string, headers ...string) reply {
	w.T.Helper()
	return w.callAt(w.URL, method, path, body, headers...)
}

func (w *world) callAt(url, method, path, body string, headers ...string) reply {
	w.T.Helper()
	req, err := http.NewRequestWithContext(w.T.Context(), method, url+path, strings.NewReader(body))
	if err != nil {
		w.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.Token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.T.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.T.Fatal(err)
	}
	if err := w.contract.Check(resp, text); err != nil {
		w.T.Error(err)
	}
	r := reply{status: resp.StatusCode, header: resp.Header, body: text}
	if resp.StatusCode >= 400 {
		if err := json.Unmarshal(text, &r.problem); err != nil {
			w.T.Errorf("%s %s: %d is no problem document: %s", method, path, resp.StatusCode, text)
		}
		if r.problem.RequestID != resp.Header.Get("X-Request-Id") || r.problem.Status != resp.StatusCode {
			w.T.Errorf("%s %s: problem and header disagree: %s", method, path, text)
		}
	}
	return r
}

// wantAllSeen fails when a documented call did not succeed once.
func (w *world) wantAllSeen() {
	w.T.Helper()
	for _, id := range w.contract.Unseen() {
		w.T.Errorf("%s never succeeded in this test", id)
	}
}

// TestRoutesAndDocumentAgree: every route is documented, every documented call is routed, and both say the
// same of authentication and query parameters.
func TestRoutesAndDocumentAgree(t *testing.T) {
	c := loadContract(t)
	routed := make(map[string]bool)
	for _, r := range api.Routes() {
		path := r.Path
		for _, seg := range strings.Split(r.Path, "/") {
			if name, ok := strings.CutPrefix(seg, ":"); ok {
				path = strings.Replace(path, seg, "{"+name+"}", 1)
			}
		}
		verb := strings.ToLower(r.Method)
		routed[verb+" "+path] = true
		op, _ := c.At("paths", path, verb)
		if op == nil {
			t.Errorf("%s %s is routed but not documented", r.Method, path)
			continue
		}
		security, given := op.(map[string]any)["security"].([]any)
		if public := given && len(security) == 0; public != r.Public {
			t.Errorf("%s %s: public is %v in the router, %v in the document", r.Method, path, r.Public, public)
		}
		for _, status := range []string{"401", "403"} {
			if shown, _ := c.At("paths", path, verb, "responses", status); (shown != nil) == r.Public {
				t.Errorf("%s %s: whether it answers %s is not what the document says", r.Method, path, status)
			}
		}
		checkParameters(t, c, r, path, verb)
	}
	paths, _ := c.At("paths")
	for path, item := range paths.(map[string]any) {
		for verb := range item.(map[string]any) {
			if verb != "parameters" && !routed[verb+" "+path] {
				t.Errorf("%s %s is documented but not routed", verb, path)
			}
		}
	}
}

// checkParameters compares the documented path and query parameters with the route's.
func checkParameters(t *testing.T, c *contract.Contract, r api.RouteInfo, path, verb string) {
	t.Helper()
	documented := make(map[string]bool)
	for _, keys := range [][]string{{"paths", path, "parameters"}, {"paths", path, verb, "parameters"}} {
		list, _ := c.At(keys...)
		params, _ := list.([]any)
		for _, p := range params {
			m := p.(map[string]any)
			if ref, ok := m["$ref"].(string); ok {
				target, _ := c.At(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
				m = target.(map[string]any)
			}
			documented[m["in"].(string)+":"+m["name"].(string)] = true
		}
	}
	for _, q := range r.Query {
		if !documented["query:"+q] {
			t.Errorf("%s %s: query parameter %q is not documented", verb, path, q)
		}
		delete(documented, "query:"+q)
	}
	for _, seg := range strings.Split(path, "/") {
		if name := strings.Trim(seg, "{}"); name != seg {
			if !documented["path:"+name] {
				t.Errorf("%s %s: path parameter %q is not documented", verb, path, name)
			}
			delete(documented, "path:"+name)
		}
	}
	for name, takes := range map[string]bool{"header:If-Match": r.Conditional,
		"header:Idempotency-Key": r.Method == "POST" && !r.Public, "header:Last-Event-ID": r.Path == "/v1/events"} {
		if documented[name] != takes {
			t.Errorf("%s %s: %s is %v in the document, %v in the router", verb, path, name, documented[name],
				takes)
		}
		delete(documented, name)
	}
	for p := range documented {
		t.Errorf("%s %s: %s is documented but not known to the router", verb, path, p)
	}
}

// TestDocumentIsSound: all references lead somewhere, all schemas compile, operation ids are unique.
func TestDocumentIsSound(t *testing.T) {
	c := loadContract(t)
	ids := make(map[string]string)
	var visit func(path string, node any)
	visit = func(path string, node any) {
		switch n := node.(type) {
		case map[string]any:
			if ref, ok := n["$ref"].(string); ok {
				target, _ := c.At(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
				if target == nil {
					t.Errorf("%s: %s leads nowhere", path, ref)
				}
			}
			if id, ok := n["operationId"].(string); ok {
				if ids[id] != "" {
					t.Errorf("operationId %s is at %s and %s", id, ids[id], path)
				}
				ids[id] = path
			}
			for k, v := range n {
				visit(path+"/"+k, v)
			}
		case []any:
			for i, v := range n {
				visit(path+"/"+strconv.Itoa(i), v)
			}
		}
	}
	root, _ := c.At()
	visit("", root)
	schemas, _ := c.At("components", "schemas")
	for name := range schemas.(map[string]any) {
		if _, err := c.Compile("/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
}

// TestCodesAreDocumented: the codes of package wire, each with its status, are those of the document.
func TestCodesAreDocumented(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../wire/wire.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.ValueSpec); ok {
			if id, ok := s.Type.(*ast.Ident); ok && id.Name == "Code" {
				code, _ := strconv.Unquote(s.Values[0].(*ast.BasicLit).Value)
				codes = append(codes, code)
			}
		}
		return true
	})
	enum, _ := loadContract(t).At("components", "schemas", "Problem", "properties", "code", "enum")
	var documented []string
	for _, c := range enum.([]any) {
		documented = append(documented, c.(string))
	}
	slices.Sort(codes)
	if !slices.Equal(codes, documented) {
		t.Errorf("codes %v, documented %v", codes, documented)
	}
	for _, c := range codes {
		status := api.Status(&manager.Error{Code: wire.Code(c)})
		if status == 500 && c != string(wire.Internal) {
			t.Errorf("code %s has no status", c)
		}
	}
}
