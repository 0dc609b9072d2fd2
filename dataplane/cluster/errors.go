package cluster

import "errors"

// ErrConflict is wrapped by the error of a compare-and-swap whose record was changed by someone else in the
// meantime. Nothing was written: read again and decide again.
var ErrConflict = errors.New("changed by someone else in the meantime")

// ErrNoRecord is wrapped by the error of a read whose record does not exist (a volume that was deleted).
var ErrNoRecord = errors.New("no such record")
