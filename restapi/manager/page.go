package manager

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Limits of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Page says which part of a list is wanted. Limit 0 means DefaultLimit.
type Page struct {
	Limit  int
	Cursor string
}

// after opens the cursor: the identity of the last item of the page before. kind keeps the cursors of
// different lists apart.
func (p Page) after(kind string) (after string, limit int, err error) {
	limit = p.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	if limit < 1 || limit > MaxLimit {
		return "", 0, refuse(wire.InvalidField, "limit", "is %d, must be 1 to %d", limit, MaxLimit)
	}
	if p.Cursor == "" {
		return "", limit, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	after, ok := strings.CutPrefix(string(raw), kind+":")
	if err != nil || !ok || after == "" {
		return "", 0, refuse(wire.InvalidField, "cursor", "is none that this list gave")
	}
	return after, limit, nil
}

func cursorAfter(kind, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + ":" + id))
}

// cut takes a page out of a complete list in ascending order of number.
func cut[T any](kind string, p Page, all []T, number func(T) uint32) (wire.Page[T], error) {
	after, limit, err := p.after(kind)
	if err != nil {
		return wire.Page[T]{}, err
	}
	from := 0
	if after != "" {
		last, err := strconv.ParseUint(after, 10, 32)
		if err != nil {
			return wire.Page[T]{}, refuse(wire.InvalidField, "cursor", "is none that this list gave")
		}
		for from < len(all) && uint64(number(all[from])) <= last {
			from++
		}
	}
	out := wire.Page[T]{Items: append([]T{}, all[from:min(from+limit, len(all))]...)}
	if from+limit < len(all) {
		out.Next = cursorAfter(kind, strconv.FormatUint(uint64(number(out.Items[limit-1])), 10))
	}
	return out, nil
}
