package pagestore

import (
	"errors"
	"fmt"
	"strings"
	"sync"
)

// metaTable holds the metadata records.
type metaTable struct {
	m     map[string]metaEntry
	bytes uint64 // in a checkpoint
}

// put applies a record.
func (t *metaTable) put(e metaEntry) {
	if old, ok := t.m[e.key]; ok {
		if old.order > e.order {
			return
		}
		t.bytes -= uint64(old.size())
		delete(t.m, e.key)
	}
	if !e.gone {
		t.m[e.key] = e
		t.bytes += uint64(e.size())
	}
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
	for k, v := range s.mu.meta.m {
		if strings.HasPrefix(k, prefix) {
			out[k] = v.value
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

// metaBatch bounds the metadata of one log request: a few log blocks, so that it fits any log.
const metaBatch = 2 * payloadSize

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
