package pagestore

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// metaTable holds the metadata records. A checkpoint tells all of them, in pieces, as they were when it
// began.
type metaTable struct {
	byKey map[string]*metaEntry
	list  []*metaEntry // in no order
	bytes uint64       // bound of their encoded length
	walk  int          // the checkpoint being taken has not come to list[:walk]
	taken uint64       // its number
	tell  func(*metaEntry)
}

// put applies a record.
func (t *metaTable) put(e metaEntry) {
	old := t.byKey[e.key]
	switch {
	case old == nil && e.gone || old != nil && old.order > e.order:
	case old == nil:
		e.at, e.told = len(t.list), t.taken
		t.byKey[e.key], t.list = &e, append(t.list, &e)
		t.bytes += uint64(e.size())
	case e.gone:
		t.touch(old)
		t.bytes -= uint64(old.size())
		last := t.list[len(t.list)-1]
		t.list[old.at], last.at = last, old.at
		t.list = t.list[:len(t.list)-1]
		delete(t.byKey, e.key)
	default:
		t.touch(old)
		t.bytes += uint64(e.size()) - uint64(old.size())
		e.at, e.told = old.at, t.taken
		*old = e
	}
}

// touch tells a record that is about to change, if the walk has not come to it.
func (t *metaTable) touch(e *metaEntry) {
	if t.walk > 0 && e.told != t.taken {
		e.told = t.taken
		t.tell(e)
	}
}

// begin starts a walk over all records for a checkpoint.
func (t *metaTable) begin(number uint64, tell func(*metaEntry)) {
	t.walk, t.taken, t.tell = len(t.list), number, tell
}

// next tells about limit records and reports whether there are more.
func (t *metaTable) next(limit int) (more bool) {
	for t.walk = min(t.walk, len(t.list)); limit > 0 && t.walk > 0; limit-- {
		t.touch(t.list[t.walk-1])
		t.walk--
	}
	return t.walk > 0
}

// PutMeta durably stores a small record under a key (at most MaxMetaKey and MaxMetaValue bytes), in the order
// of the calls; a nil value deletes it. ErrFull when the room for metadata is used up. Value is copied.
func (s *Store) PutMeta(key string, value []byte, done func(error)) {
	if key == "" || len(key) > MaxMetaKey || len(value) > MaxMetaValue {
		done(fmt.Errorf("%w: metadata key of %d bytes, value of %d", ErrInvalid, len(key), len(value)))
		return
	}
	e := metaEntry{key: key, value: append([]byte{}, value...), gone: value == nil}
	s.change(&request{metas: []metaEntry{e}, done: done})
}

// Meta returns the durable records whose key starts with prefix. The values must not be changed.
func (s *Store) Meta(prefix string) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string][]byte{}
	for k, e := range s.mu.meta.byKey {
		if strings.HasPrefix(k, prefix) {
			out[k] = e.value
		}
	}
	return out
}

// Meta is a metadata record to store, or without a value to delete. One of a lower order than the record held
// changes nothing, so that it does not matter in which order they come.
type Meta struct {
	Key   string
	Value []byte
	Order uint64
}

// metaBatch bounds the metadata of one log request, in bytes, so that it fits any log.
const metaBatch = 8 << 10

// PutMetas durably stores records as PutMeta does. Done is called when all of them are durable, or with the
// errors of those that are not.
func (s *Store) PutMetas(records []Meta, done func(error)) {
	var batches []*request
	size := metaBatch
	for _, m := range records {
		if m.Key == "" || len(m.Key) > MaxMetaKey || len(m.Value) > MaxMetaValue {
			done(fmt.Errorf("%w: metadata key of %d bytes, value of %d", ErrInvalid, len(m.Key), len(m.Value)))
			return
		}
		e := metaEntry{key: m.Key, value: append([]byte{}, m.Value...), order: m.Order, gone: m.Value == nil}
		if size += e.size(); size > metaBatch {
			batches, size = append(batches, &request{}), e.size()
		}
		r := batches[len(batches)-1]
		r.metas = append(r.metas, e)
	}
	if len(batches) == 0 {
		done(nil)
		return
	}
	left := &countdown{n: len(batches), done: done}
	for _, r := range batches {
		r.done = left.ended
		s.change(r)
	}
}

// countdown reports once when several requests have ended.
type countdown struct {
	mu   sync.Mutex
	n    int
	err  error
	done func(error)
}

func (c *countdown) ended(err error) {
	c.mu.Lock()
	c.n--
	c.err = errors.Join(c.err, err)
	last, err := c.n == 0, c.err
	c.mu.Unlock()
	if last {
		c.done(err)
	}
}
