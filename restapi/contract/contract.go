// Package contract holds answers of the API against its OpenAPI document, in tests.
//
// Contract: a [Contract] is read from the document's JSON, as every node serves it. [Contract.Check] says
// what of one answer is not as documented: status, content type, ETag, body. A [Transport] does so with every
// call of a client that passes through it, so a test of the daemon is one of the document, too.
package contract

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Contract is the OpenAPI document. It may be used from any goroutine.
type Contract struct {
	mu       sync.Mutex
	doc      map[string]any
	compiler *jsonschema.Compiler
	seen     map[string]bool // operations that succeeded
}

const documentURL = "urn:openapi"

// New reads an OpenAPI document, as JSON.
func New(document []byte) (*Contract, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	tree, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("the OpenAPI document is no object")
	}
	c := &Contract{doc: tree, compiler: jsonschema.NewCompiler(), seen: make(map[string]bool)}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	return c, c.compiler.AddResource(documentURL, doc)
}

// At follows keys into the document, through $ref, and returns what is there with its JSON pointer.
func (c *Contract) At(keys ...string) (any, string) {
	var node any = c.doc
	pointer := ""
	for _, k := range keys {
		m, _ := node.(map[string]any)
		if ref, ok := m["$ref"].(string); ok {
			node, pointer = c.At(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			m, _ = node.(map[string]any)
		}
		node = m[k]
		pointer += "/" + strings.ReplaceAll(strings.ReplaceAll(k, "~", "~0"), "/", "~1")
	}
	return node, pointer
}

// Compile makes a schema of what is at a JSON pointer.
func (c *Contract) Compile(pointer string) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.compiler.Compile(documentURL + "#" + pointer)
}

// template finds the documented path that a request's path belongs to; fixed segments win over variables.
func (c *Contract) template(path string) string {
	best, score := "", -1
	paths, _ := c.At("paths")
	for p := range paths.(map[string]any) {
		want, have := strings.Split(p, "/"), strings.Split(path, "/")
		fixed := 0
		ok := len(want) == len(have)
		for i := 0; ok && i < len(want); i++ {
			variable := strings.HasPrefix(want[i], "{")
			ok = variable || want[i] == have[i]
			if !variable {
				fixed++
			}
		}
		if ok && fixed > score {
			best, score = p, fixed
		}
	}
	return best
}

// Check says what of the answer to a request is not as documented; nil if nothing. Answers to paths and
// methods that do not exist have to be problems.
func (c *Contract) Check(resp *http.Response, body []byte) error {
	path := resp.Request.URL.EscapedPath()
	where := fmt.Sprintf("%s %s -> %d", resp.Request.Method, path, resp.StatusCode)
	if err := c.check(resp, c.template(path), body); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

func (c *Contract) check(resp *http.Response, template string, body []byte) error {
	if resp.Header.Get("X-Request-Id") == "" {
		return errors.New("no X-Request-Id")
	}
	verb, status := strings.ToLower(resp.Request.Method), strconv.Itoa(resp.StatusCode)
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	node, _ := c.At("paths", template, verb)
	op, _ := node.(map[string]any)
	if op == nil {
		if resp.StatusCode < 400 {
			return errors.New("succeeded without being documented")
		}
		return c.validate(body, "components", "schemas", "Problem")
	}
	id := op["operationId"].(string)
	if resp.StatusCode >= 400 {
		status = "default"
	} else {
		c.mu.Lock()
		c.seen[id] = true
		c.mu.Unlock()
	}
	keys := []string{"paths", template, verb, "responses", status}
	if r, _ := c.At(keys...); r == nil {
		return fmt.Errorf("operation %s documents no %s", id, status)
	}
	content, _ := c.At(append(keys, "content")...)
	if content == nil {
		if len(body) > 0 {
			return fmt.Errorf("a body where none is documented: %s", body)
		}
		return nil
	}
	if schema, _ := c.At(append(keys, "content", kind, "schema")...); schema == nil {
		return fmt.Errorf("content type %q is not documented", kind)
	}
	if headers, _ := c.At(append(keys, "headers")...); (headers != nil) != (resp.Header.Get("ETag") != "") {
		return fmt.Errorf("ETag %q, documented headers: %v", resp.Header.Get("ETag"), headers)
	}
	switch {
	case resp.Request.URL.Query().Has("fields") && resp.StatusCode < 400: // nothing is required of these
	case strings.HasSuffix(kind, "json"):
		return c.validate(body, append(keys, "content", kind, "schema")...)
	}
	return nil
}

// validate holds a body against the schema at some keys.
func (c *Contract) validate(body []byte, keys ...string) error {
	_, pointer := c.At(keys...)
	schema, err := c.Compile(pointer)
	if err != nil {
		return fmt.Errorf("schema %s: %w", pointer, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		return fmt.Errorf("the answer breaks its schema: %w\n%s", err, body)
	}
	return nil
}

// Unseen are the documented operations of which no answer was a success.
func (c *Contract) Unseen() (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	paths, _ := c.At("paths")
	for _, item := range paths.(map[string]any) {
		for _, op := range item.(map[string]any) {
			if m, isOp := op.(map[string]any); isOp && !c.seen[m["operationId"].(string)] {
				ids = append(ids, m["operationId"].(string))
			}
		}
	}
	return ids
}
