package api

import (
	"slices"

	"github.com/ashlar-storage/ashlar/restapi/auth"
)

// RouteInfo is what the tests may know of a route.
type RouteInfo struct {
	Method, Path        string
	Public, Conditional bool
	Query               []string
}

// Routes lists all routes.
func Routes() []RouteInfo {
	var out []RouteInfo
	for _, r := range routes() {
		out = append(out, RouteInfo{Method: r.method, Path: r.path, Public: r.public, Query: r.query,
			Conditional: r.conditional})
	}
	return out
}

// Decode is decode.
func Decode(data []byte, v any) error { return decode(data, v) }

// Status is the HTTP status of an error.
func Status(err error) int {
	status, _ := kind(classify(err).Code)
	return status
}

// Access is the table of calls.
func Access() map[string][]auth.Role {
	table, err := loadAccess(accessText, slices.Concat(routes(), operational()))
	if err != nil {
		panic(err)
	}
	return table
}

// LoadAccess reads a table for one route that is not open.
func LoadAccess(text, method, path string) error {
	_, err := loadAccess(text, []route{{method: method, path: path}})
	return err
}
