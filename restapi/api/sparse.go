package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// maxFields bounds how many fields one call may name.
const maxFields = 64

// answerSparse answers with those members of a resource, or of each item of a page, that the caller named.
func answerSparse(c *gin.Context, body any, list string) error {
	t := reflect.TypeOf(body)
	page, isPage := t.FieldByName("Items")
	if isPage {
		t = page.Type.Elem()
	}
	names := strings.Split(list, ",")
	if len(names) > maxFields {
		return refuse(wire.InvalidField, "fields", "names %d fields, at most %d are possible", len(names),
			maxFields)
	}
	for _, name := range names {
		if _, ok := member(t, name); !ok || name == "" {
			return refuse(wire.InvalidField, "fields", "%q is no field of this resource", name)
		}
	}
	if v, ok := body.(versioned); ok && v.Version() != "" {
		c.Header("ETag", v.Version())
	}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("an answer has no JSON form: %w", err)
	}
	if isPage {
		var p wire.Page[map[string]json.RawMessage]
		if err := json.Unmarshal(text, &p); err != nil {
			return err
		}
		for i := range p.Items {
			p.Items[i] = keep(p.Items[i], names)
		}
		write(c, 200, "application/json", p)
		return nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	write(c, 200, "application/json", keep(all, names))
	return nil
}

// keep is the members of an object that have one of the names; an optional one may be absent.
func keep(all map[string]json.RawMessage, names []string) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(names))
	for _, name := range names {
		if v, ok := all[name]; ok {
			out[name] = v
		}
	}
	return out
}
