package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ashlar-storage/ashlar/restapi/apitest"
)

// TestConformance makes requests out of openapi.yaml itself, and sends them: to every operation, with every
// parameter and every field of its body in turn wrong in every way that its schema rules out. Whatever comes
// back must be what the document says of that operation (world.call checks status, header and schema), a
// request that breaks the document must be refused with a 4xx, and none may change a record.
func TestConformance(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	w.Volume(1, "v")
	w.call("GET", "/v1/cluster", "") // a token notes that it is used, once a while
	paths, _ := w.contract.At("paths")
	for _, path := range slices.Sorted(maps.Keys(paths.(map[string]any))) {
		item := paths.(map[string]any)[path].(map[string]any)
		for _, verb := range slices.Sorted(maps.Keys(item)) {
			op, isOp := item[verb].(map[string]any)
			if !isOp || verb == "parameters" {
				continue
			}
			t.Run(op["operationId"].(string), func(t *testing.T) {
				before := w.records()
				sent := 0
				for _, r := range w.broken(path, verb, item, op) {
					sent++
					got := w.call(strings.ToUpper(verb), r.path, r.body, r.headers...)
					if got.status < 400 || got.status > 499 {
						t.Errorf("%s: %s %s %.200s: answered %d", r.what, verb, r.path, r.body, got.status)
					}
				}
				if after := w.records(); after != before {
					t.Errorf("a broken request changed records")
				}
				if sent == 0 {
					t.Error("no request was made")
				}
			})
		}
	}
}

// brokenCall is a request that breaks the document in one point.
type brokenCall struct {
	what, path, body string
	headers          []string
}

// broken makes all broken requests of an operation.
func (w *world) broken(path, verb string, item, op map[string]any) (out []brokenCall) {
	fixed := concretePath(path)
	out = append(out, brokenCall{"unknown parameter", fixed + "?no_such_parameter=1", w.validBody(op), nil})
	if security, given := op["security"].([]any); !given || len(security) > 0 {
		for _, token := range []string{"", "Bearer nonsense", "Basic YTpi"} {
			out = append(out, brokenCall{"credential " + token, fixed, w.validBody(op),
				[]string{"Authorization", token}})
		}
	}
	for _, list := range []any{item["parameters"], op["parameters"]} {
		params, _ := list.([]any)
		for _, p := range params {
			out = append(out, w.brokenParameter(fixed, path, op, w.resolve(p))...)
		}
	}
	return append(out, w.brokenBodies(fixed, op)...)
}

// brokenParameter gives one parameter values that its schema rules out.
func (w *world) brokenParameter(fixed, path string, op, p map[string]any) (out []brokenCall) {
	name := p["name"].(string)
	for _, bad := range w.ruledOut(w.resolve(p["schema"])) {
		text, isText := bad.(string)
		if !isText {
			raw, _ := json.Marshal(bad)
			text = string(raw)
		}
		// an empty header is none, any text can be an ETag of somebody, and a stream does not end
		admitted := len(text) < 100 && w.admits(w.resolve(p["schema"]), text)
		if admitted || text == "" || name == "If-Match" || name == "Last-Event-ID" {
			continue
		}
		c := brokenCall{what: fmt.Sprintf("%s = %.40q", name, text), path: fixed, body: w.validBody(op)}
		switch p["in"] {
		case "query":
			c.path += "?" + url.Values{name: {text}}.Encode()
		case "path":
			c.path = concretePath(strings.Replace(path, "{"+name+"}", url.PathEscape(text), 1))
		case "header":
			if strings.ContainsAny(text, "\n\x00") {
				continue
			}
			c.headers = []string{name, text}
		}
		out = append(out, c)
	}
	return out
}

// brokenBodies are bodies that are no JSON object of the schema: as a whole, and in each field.
func (w *world) brokenBodies(fixed string, op map[string]any) (out []brokenCall) {
	schema := w.bodySchema(op)
	if schema == nil {
		return nil
	}
	valid := w.example(schema).(map[string]any)
	text, _ := json.Marshal(valid)
	for _, body := range []string{"", "{", "[]", "null", `"x"`, string(text) + "x", string(text[:len(text)-1])} {
		out = append(out, brokenCall{"body", fixed, body, []string{"Content-Type", "application/json"}})
	}
	with := func(what string, change func(map[string]any)) {
		changed := maps.Clone(valid)
		change(changed)
		body, _ := json.Marshal(changed)
		out = append(out, brokenCall{what, fixed, string(body), nil})
	}
	with("unknown field", func(m map[string]any) { m["no_such_field"] = 1 })
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		for _, bad := range w.ruledOut(w.resolve(properties[name])) {
			if bad == "" && !slices.Contains(required, any(name)) { // as good as none
				continue
			}
			with(fmt.Sprintf("%s = %.40v", name, bad), func(m map[string]any) { m[name] = bad })
		}
		with(name+" = null", func(m map[string]any) { m[name] = nil })
	}
	for _, name := range required {
		with("without "+name.(string), func(m map[string]any) { delete(m, name.(string)) })
	}
	return out
}

// admits reports whether a short string in a parameter is of the schema: of its pattern and least length.
func (w *world) admits(s map[string]any, x string) bool {
	if s["type"] == "boolean" {
		return x == "true" || x == "false"
	}
	if s["type"] != "string" || s["enum"] != nil {
		return false
	}
	if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(x) {
		return false
	}
	least, ok := s["minLength"].(json.Number)
	n, _ := least.Int64()
	return !ok || int64(len(x)) >= n
}

// ruledOut are values that a schema does not admit.
func (w *world) ruledOut(s map[string]any) (out []any) {
	switch kind := s["type"]; {
	case s["enum"] != nil, s["const"] != nil:
		return []any{"no such value", 7, true, []any{}, map[string]any{}}
	case kind == "string":
		out = []any{7, true, []any{}, map[string]any{}}
		for _, x := range []string{"", "\x00 no", "/../..", "é"} {
			if !w.admits(s, x) {
				out = append(out, x)
			}
		}
		if most, ok := s["maxLength"].(json.Number); ok {
			n, _ := most.Int64()
			out = append(out, strings.Repeat("a", int(n)+1))
		}
	case kind == "integer":
		out = []any{"x", 1.5, true, []any{}, json.Number("-1"), json.Number("99999999999999999999")}
	case kind == "boolean":
		out = []any{"true", 1, []any{}}
	case kind == "array":
		out = []any{"x", 1, map[string]any{"a": 1}, []any{map[string]any{}}}
	case kind == "object":
		out = []any{"x", 1, []any{}}
	}
	return out
}

// example is a value that a schema admits, of an object only what is required.
func (w *world) example(s map[string]any) any {
	if list, ok := s["enum"].([]any); ok {
		return list[0]
	}
	switch s["type"] {
	case "object":
		out := make(map[string]any)
		properties, _ := s["properties"].(map[string]any)
		required, _ := s["required"].([]any)
		for _, name := range required {
			out[name.(string)] = w.example(w.resolve(properties[name.(string)]))
		}
		return out
	case "array":
		return []any{}
	case "integer", "number":
		return 1
	case "boolean":
		return true
	}
	if pattern, _ := s["pattern"].(string); strings.HasPrefix(pattern, "^[0-9a-f]{8}") {
		return apitest.UUID(77).String()
	}
	return "x"
}

// resolve follows a reference; what stands beside it wins.
func (w *world) resolve(node any) map[string]any {
	m, _ := node.(map[string]any)
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	target, _ := w.contract.At(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	out := maps.Clone(w.resolve(target))
	for k, v := range m {
		if k != "$ref" {
			out[k] = v
		}
	}
	return out
}

func (w *world) bodySchema(op map[string]any) map[string]any {
	body, _ := op["requestBody"].(map[string]any)
	content, _ := body["content"].(map[string]any)
	media, _ := content["application/json"].(map[string]any)
	if media == nil {
		return nil
	}
	return w.resolve(media["schema"])
}

func (w *world) validBody(op map[string]any) string {
	schema := w.bodySchema(op)
	if schema == nil {
		return ""
	}
	text, _ := json.Marshal(w.example(schema))
	return string(text)
}

// concretePath puts what exists into the variables of a path.
func concretePath(path string) string {
	return strings.NewReplacer("{volume}", apitest.UUID(1).String(), "{node}", "1", "{device}", "1", "{pool}",
		"gold", "{host}", url.PathEscape(apitest.HostA), "{project}", "acme", "{token}", apitest.UUID(5).String(),
	).Replace(path)
}
