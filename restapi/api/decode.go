package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// maxDepth bounds how deep a body may nest; the API's own bodies nest three deep.
const maxDepth = 16

// readBody reads the JSON object of a request into v, strictly.
func readBody(c *gin.Context, v any) error {
	kind, _, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	if err != nil || kind != "application/json" {
		return refuse(wire.UnsupportedMediaType, "Content-Type", "must be application/json")
	}
	data, err := readAll(c)
	if err != nil {
		return err
	}
	return decode(data, v)
}

// readAll reads the body of a request, whatever it is.
func readAll(c *gin.Context) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refuse(wire.BodyTooLarge, "", "a body may have at most %d bytes", large.Limit)
	case err != nil:
		return nil, refuse(wire.BadRequest, "", "the body ends too early: %v", err)
	}
	return data, nil
}

// decode is json.Unmarshal without its leniencies: keys are exact, known and given once, nothing is null,
// nothing follows. Every error is a refusal that names the field where there is one.
func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := walk(d, reflect.TypeOf(v).Elem(), "", 0, false); err != nil {
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &syntax):
			return refuse(wire.BadRequest, "", "the body is no JSON: %v at byte %d", syntax, syntax.Offset)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return refuse(wire.BadRequest, "", "the body ends in the middle of its JSON")
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuse(wire.BadRequest, "", "something follows the JSON object")
	}
	if err := json.Unmarshal(data, v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return refuse(wire.InvalidField, wrong.Field, "is %s, want %s", wrong.Value, words(wrong.Type))
		}
		return refuse(wire.BadRequest, "", "the body is not understood: %v", err)
	}
	return nil
}

// words names a type for people.
func words(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Uint32:
		return "a whole number from 0 to " + strconv.FormatUint(math.MaxUint32, 10)
	case reflect.Uint64:
		return "a whole number from 0 to " + strconv.FormatUint(math.MaxUint64, 10)
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Slice, reflect.Array:
		return "a list"
	default:
		return "an object"
	}
}

// walk checks one JSON value that is meant for a t; t is nil where anything goes. nullable: in a merge patch
// the value may be null, which removes what it is the value of.
func walk(d *json.Decoder, t reflect.Type, path string, depth int, nullable bool) error {
	if depth > maxDepth {
		return refuse(wire.BadRequest, path, "nests deeper than %d levels", maxDepth)
	}
	tok, err := d.Token()
	if err != nil {
		return err
	}
	if depth == 0 && tok != json.Delim('{') {
		return refuse(wire.BadRequest, "", "the body must be a JSON object")
	}
	switch tok := tok.(type) {
	case nil:
		if nullable {
			return nil
		}
		return refuse(wire.InvalidField, path, "must not be null")
	case json.Delim:
		if tok == '{' {
			return walkObject(d, t, path, depth)
		}
		return walkList(d, t, path, depth)
	case string:
		return checkText(t, path, tok)
	}
	if t = deref(t); t != nil && t.Kind() == reflect.String { // for a map's value json.Unmarshal names the map
		return refuse(wire.InvalidField, path, "is %v, want %s", tok, words(t))
	}
	return nil
}

func walkObject(d *json.Decoder, t reflect.Type, path string, depth int) error {
	seen := make(map[string]bool)
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := tok.(string)
		at := key
		if path != "" {
			at = path + "." + key
		}
		if seen[key] {
			return refuse(wire.InvalidField, at, "is given twice")
		}
		seen[key] = true
		inner, ok := member(t, key)
		if !ok {
			return refuse(wire.InvalidField, at, "is no field of this request")
		}
		if err := walk(d, inner, at, depth+1, removable(t)); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func walkList(d *json.Decoder, t reflect.Type, path string, depth int) error {
	var inner reflect.Type
	if t = deref(t); t != nil && t.Kind() == reflect.Slice {
		inner = t.Elem()
	}
	for i := 0; d.More(); i++ {
		if err := walk(d, inner, fmt.Sprintf("%s[%d]", path, i), depth+1, false); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// removable says that the members of an object can be removed by null: those of a map to pointers.
func removable(t reflect.Type) bool {
	t = deref(t)
	return t != nil && t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Pointer
}

func deref(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// member is the type of an object's value at key. What is no struct and no map gets nil: json.Unmarshal will
// say that an object is wrong there.
func member(t reflect.Type, key string) (reflect.Type, bool) {
	t = deref(t)
	switch {
	case t == nil:
		return nil, true
	case t.Kind() == reflect.Map:
		return t.Elem(), true
	case t.Kind() != reflect.Struct:
		return nil, true
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == key {
			return f.Type, true
		}
		if f.Anonymous {
			if inner, ok := member(f.Type, key); ok {
				return inner, true
			}
		}
	}
	return nil, false
}

// checkText gives a text field with a form of its own (a UUID) the chance to name itself in the error.
func checkText(t reflect.Type, path, text string) error {
	if t = deref(t); t == nil {
		return nil
	}
	if u, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return refuse(wire.InvalidField, path, "%v", err)
		}
	}
	return nil
}

// param is one segment of the path, decoded once (ServeHTTP gives the router the path as it was sent).
func param(c *gin.Context, name string) string {
	raw := c.Param(name)
	if text, err := url.PathUnescape(raw); err == nil {
		return text
	}
	return raw
}

// uuidParam reads an id from the path. Something that is no id names nothing: not found.
func uuidParam(c *gin.Context, name string) (cluster.UUID, error) {
	id, err := cluster.ParseUUID(param(c, name))
	if err != nil {
		return id, refuse(wire.NotFound, "", "%s %q does not exist (its id would be a UUID)", name,
			hidden(param(c, name)))
	}
	return id, nil
}

// numberParam reads a number from the path.
func numberParam(c *gin.Context, name string) (uint32, error) {
	n, err := strconv.ParseUint(param(c, name), 10, 32)
	if err != nil || n == 0 {
		return 0, refuse(wire.NotFound, "", "%s %q does not exist (it would be a number)", name, param(c, name))
	}
	return uint32(n), nil
}

// flagQuery reads true or false from the query; false when it is not given.
func flagQuery(c *gin.Context, name string) (bool, error) {
	switch text := c.Query(name); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, refuse(wire.InvalidField, name, "%q is neither true nor false", text)
	}
}

// uuidQuery reads an id from the query; zero when it is not given.
func uuidQuery(c *gin.Context, name string) (id cluster.UUID, err error) {
	text := c.Query(name)
	if text == "" {
		return id, nil
	}
	if id, err = cluster.ParseUUID(text); err != nil {
		return id, refuse(wire.InvalidField, name, "%q is no UUID", hidden(text))
	}
	return id, nil
}

// numberQuery reads a number from the query; 0 when it is not given.
func numberQuery(c *gin.Context, name string) (uint32, error) {
	text := c.Query(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, refuse(wire.InvalidField, name, "%q is no number above 0", text)
	}
	return uint32(n), nil
}
