// Package store is the only writer of etcd.
//
// Contract: a store is a set of keys, each with a value and the revision of the write that made it. Reads see
// one revision of everything they ask for. A write is one transaction: it names the revisions it was decided
// on ([Txn.If]) and happens as a whole, or not at all when any of them moved ([cluster.ErrConflict]). There
// is no other way to write, so nothing can be half done and no decision can rest on a record that changed
// meanwhile.
//
//	Read(a, b/*)  ->  Snapshot{Rev 41, [a@17], [b/1@9, b/2@41]}
//	Commit{If: a@17, c@0 (absent); Put: a, c; Delete: b/1}  ->  revision 42, or ErrConflict
//
// An error of Commit other than a conflict leaves the outcome unknown: the transaction may have happened.
// Callers make their requests repeatable (by an identity the client chose), never guess.
//
// [Etcd] is the real one, [Mem] its twin in memory; package storetest holds what both must do. [Arbiter] is
// the data plane's part: who owns a volume.
package store

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// ErrUnavailable is wrapped when the store could not be reached or did not answer in time.
var ErrUnavailable = errors.New("the cluster's record keeping (etcd) does not answer")

// ErrCompacted is wrapped when the changes since a revision are not known any more: read again, and go on
// from there.
var ErrCompacted = errors.New("the changes since then are not known any more")

// MaxOps bounds the conditions and, separately, the writes of one transaction (etcd's default limit).
const MaxOps = 128

// Item is one key with its value and the revision that wrote it.
type Item struct {
	Key   string
	Value []byte
	Rev   int64
}

// Query asks for one key, or for the keys that begin with a prefix, in byte order.
type Query struct {
	Key    string // one key; or
	Prefix string // all keys that begin with it,
	After  string // that are greater than this one,
	Limit  int    // at most so many (0: all)
}

// Key asks for one key.
func Key(key string) Query { return Query{Key: key} }

// All asks for every key that begins with prefix.
func All(prefix string) Query { return Query{Prefix: prefix} }

// Result is the answer to one Query.
type Result struct {
	Items []Item
	More  bool // the limit cut the list off
}

// Snapshot is the answer to several queries as of one revision; Results are in the order of the queries.
type Snapshot struct {
	Rev     int64
	Results []Result
}

// One is the single item of result i; a zero Item (Rev 0) when the key does not exist.
func (s Snapshot) One(i int) Item {
	if len(s.Results[i].Items) == 0 {
		return Item{}
	}
	return s.Results[i].Items[0]
}

// Cond demands that a key still has the revision it was read at; 0 demands that it does not exist. Of a key
// that ends with a slash it demands that no key begins with it; Rev is 0 then.
type Cond struct {
	Key string
	Rev int64
}

// empties tells whether the condition is about all keys below Key.
func (c Cond) empties() bool { return strings.HasSuffix(c.Key, "/") }

// Put is one key to write.
type Put struct {
	Key   string
	Value []byte
	// TTL, when not 0, is the least time that the key stays; it goes by itself at most an eighth of it later
	// (etcd lets it stay longer when its leader changes). Writing a key again replaces its life, too.
	TTL time.Duration
}

// Lasting is the same with a life.
func (p Put) Lasting(ttl time.Duration) Put {
	p.TTL = ttl
	return p
}

// Change is a key that was written, or deleted (Value is nil).
type Change struct {
	Key    string
	Value  []byte
	Before []byte // what it held; nil: it did not exist
	Rev    int64
}

// Txn is one write. Every key it puts or deletes must be named in If, except keys of Blind.
type Txn struct {
	If     []Cond
	Put    []Put
	Delete []string
	// Blind names keys that are written whatever they hold, because another key of If guards them. It makes
	// leaving a comparison out a decision that can be seen.
	Blind []string
}

// check refuses transactions that only a bug of ours can make.
func (t Txn) check() error {
	if len(t.If) > MaxOps || len(t.Put)+len(t.Delete) > MaxOps {
		return fmt.Errorf("transaction of %d conditions and %d writes, at most %d each",
			len(t.If), len(t.Put)+len(t.Delete), MaxOps)
	}
	guarded := make(map[string]bool, len(t.If)+len(t.Blind))
	for _, c := range t.If {
		guarded[c.Key] = true
		if c.empties() && c.Rev != 0 {
			return fmt.Errorf("transaction compares all of %s with revision %d", c.Key, c.Rev)
		}
	}
	for _, k := range t.Blind {
		guarded[k] = true
	}
	written := make(map[string]bool, len(t.Put)+len(t.Delete))
	check := func(key string) error {
		switch {
		case key == "":
			return errors.New("transaction writes an empty key")
		case written[key]:
			return fmt.Errorf("transaction writes %s twice", key)
		case !guarded[key]:
			return fmt.Errorf("transaction writes %s without comparing it", key)
		}
		written[key] = true
		return nil
	}
	for _, p := range t.Put {
		if err := check(p.Key); err != nil {
			return err
		}
	}
	for _, k := range t.Delete {
		if err := check(k); err != nil {
			return err
		}
	}
	return nil
}

// conflict is the error of a transaction whose conditions did not hold.
func conflict(t Txn) error {
	keys := make([]string, len(t.If))
	for i, c := range t.If {
		keys[i] = c.Key
	}
	return fmt.Errorf("one of %v: %w", keys, cluster.ErrConflict)
}
