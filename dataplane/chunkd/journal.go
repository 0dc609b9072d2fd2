package chunkd

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

const journalPrefix = "journal/"

// journals are the placement journals of the volumes on a device, as they are durable in the page store.
// Changes reach the store and come back from it in any order; what counts is the Seq of an entry, here and
// there (pagestore.Meta.Order).
type journals struct {
	mu   sync.Mutex
	vols map[cluster.VolumeKey]*journal
}

// journal is that of one volume.
type journal struct {
	entries map[journalKey]chunk.JournalEntry
	order   []journalKey // of all entries, ascending; nil when it is to be made
}

type journalKey struct {
	page   uint64
	column uint8
}

func (k journalKey) compare(o journalKey) int {
	return cmp.Or(cmp.Compare(k.page, o.page), cmp.Compare(k.column, o.column))
}

func keyOf(x *chunk.JournalEntry) journalKey { return journalKey{x.Page, x.Column} }

// name is the key of the metadata record of an entry.
func (k journalKey) name(vol cluster.VolumeKey) string {
	return fmt.Sprintf("%s%v/%d.%d", journalPrefix, vol, k.page, k.column)
}

func (j *journals) of(vol cluster.VolumeKey) *journal {
	if j.vols == nil {
		j.vols = map[cluster.VolumeKey]*journal{}
	}
	x := j.vols[vol]
	if x == nil {
		x = &journal{entries: map[journalKey]chunk.JournalEntry{}}
		j.vols[vol] = x
	}
	return x
}

// load takes over what the store has.
func (j *journals) load(records map[string][]byte) {
	for key, value := range records {
		name, _, _ := strings.Cut(strings.TrimPrefix(key, journalPrefix), "/")
		vol, err := cluster.ParseVolumeKey(name)
		if err != nil {
			continue
		}
		if x, err := chunk.GetJournalEntry(value); err == nil {
			j.of(vol).put(x)
		}
	}
}

func (x *journal) put(e chunk.JournalEntry) {
	old, held := x.entries[keyOf(&e)]
	if held && old.Seq > e.Seq {
		return
	}
	if !held {
		x.order = nil
	}
	e.Places = slices.Clone(e.Places) // the sender's buffer
	x.entries[keyOf(&e)] = e
}

// forget removes an entry unless a newer one is there.
func (x *journal) forget(e *chunk.JournalEntry, order uint64) {
	if old, held := x.entries[keyOf(e)]; held && uint64(old.Seq) <= order {
		delete(x.entries, keyOf(e))
		x.order = nil
	}
}

// change carries out a put, trim or wipe.
func (j *journals) change(store *pagestore.Store, r *chunk.Request, done func(error)) {
	if r.Op == chunk.OpJournalPut {
		j.put(store, r, done)
		return
	}
	var gone []chunk.JournalEntry
	var records []pagestore.Meta
	order := func(x *chunk.JournalEntry) uint64 {
		if r.Op == chunk.OpJournalWipe {
			return math.MaxUint64
		}
		return uint64(x.Seq)
	}
	j.mu.Lock()
	for k, x := range j.of(r.Vol).entries {
		if r.Op == chunk.OpJournalWipe || x.Gone && x.Seq <= r.W {
			gone = append(gone, x)
			records = append(records, pagestore.Meta{Key: k.name(r.Vol), Order: order(&x)})
		}
	}
	j.mu.Unlock()
	store.PutMetas(records, func(err error) {
		if err == nil {
			j.mu.Lock()
			for i := range gone {
				j.of(r.Vol).forget(&gone[i], order(&gone[i]))
			}
			if len(j.of(r.Vol).entries) == 0 {
				delete(j.vols, r.Vol)
			}
			j.mu.Unlock()
		}
		done(err)
	})
}

func (j *journals) put(store *pagestore.Store, r *chunk.Request, done func(error)) {
	records := make([]pagestore.Meta, len(r.Journal))
	for i := range r.Journal {
		x, value := &r.Journal[i], make([]byte, chunk.JournalRecordSize)
		chunk.PutJournalEntry(value, x)
		records[i] = pagestore.Meta{Key: keyOf(x).name(r.Vol), Value: value, Order: uint64(x.Seq)}
	}
	store.PutMetas(records, func(err error) {
		if err == nil {
			j.mu.Lock()
			for _, x := range r.Journal {
				j.of(r.Vol).put(x)
			}
			j.mu.Unlock()
		}
		done(err)
	})
}

// list fills in the entries behind r.After.
func (j *journals) list(r *chunk.Request) {
	r.Journal = r.Journal[:0]
	j.mu.Lock()
	defer j.mu.Unlock()
	x := j.vols[r.Vol]
	if x == nil {
		return
	}
	if x.order == nil {
		for k := range x.entries {
			x.order = append(x.order, k)
		}
		slices.SortFunc(x.order, journalKey.compare)
	}
	from := 0
	if r.After != (chunk.Cursor{}) {
		after := journalKey{r.After.Page, r.After.Column}
		i, found := slices.BinarySearchFunc(x.order, after, journalKey.compare)
		if from = i; found {
			from++
		}
	}
	rest := x.order[from:]
	for _, k := range rest[:min(len(rest), int(r.Count))] {
		r.Journal = append(r.Journal, x.entries[k])
	}
	r.More = len(rest) > int(r.Count)
}

// volumes lists those that have a journal.
func (j *journals) volumes() []cluster.VolumeKey {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(maps.Keys(j.vols))
}
