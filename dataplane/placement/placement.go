package placement

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Groups is the number of groups of every pool.
const Groups = 1 << 16

// ErrTooFewDomains tells that no table exists: fewer failure domains than chunks.
var ErrTooFewDomains = cluster.ErrTooFewDomains

// vacant marks a slot without a device; no table that is given out has one.
const vacant = -1

// Table names the devices of every group. Immutable; lookups cost one array access and allocate nothing.
type Table struct {
	policy  *cluster.Pool // name, level, width and relaxation; never its members, which are in roster
	width   int
	number  uint32
	roster  *cluster.Roster
	list    list
	rule    rule
	slots   []int32 // Groups * width positions of the roster
	since   []uint32
	aim     []int // by position: slots that the last fold wanted it to have
	devices []cluster.DeviceID
	rows    [][]cluster.DeviceID
}

// Group is the group of a page of a volume. The generation is left out on purpose: it changes what data is
// visible, not where it lies.
func Group(vol cluster.VolumeKey, page uint64) int {
	return int(mix(mix(uint64(vol.VUID)+golden)^page) >> 48)
}

// New computes the newest table of a pool: the first one, and a fold for each change of its history.
// Whether a device answers at the moment, and what else the cluster map says of it, does not enter.
//
// Errors: ErrTooFewDomains, or a malformed history.
func New(pool *cluster.Pool) (*Table, error) {
	t, err := first(pool)
	if err != nil {
		return nil, fmt.Errorf("placement of pool %q: %w", pool.Name, err)
	}
	for i, c := range pool.Changes {
		if err := t.fold(c); err != nil {
			return nil, fmt.Errorf("placement of pool %q, change %d: %w", pool.Name, i+1, err)
		}
	}
	t.finish()
	return t, nil
}

// Fold computes the table after one more change and leaves t as it is.
//
// Errors: ErrTooFewDomains if the members that remain cannot hold the pool's rows, or a change that does
// not fit the members.
func (t *Table) Fold(c cluster.Change) (*Table, error) {
	n := *t
	n.roster, n.list = t.roster.Clone(), t.list.clone()
	n.slots, n.since = slices.Clone(t.slots), slices.Clone(t.since)
	if err := n.fold(c); err != nil {
		return nil, fmt.Errorf("fold table %d of pool %q: %w", t.number, t.policy.Name, err)
	}
	n.finish()
	return &n, nil
}

func first(pool *cluster.Pool) (*Table, error) {
	width := pool.Width()
	if width < 1 || width > cluster.MaxData+cluster.MaxParity {
		return nil, fmt.Errorf("%d chunks, there may be 1 to %d", width, cluster.MaxData+cluster.MaxParity)
	}
	if len(pool.Changes) > cluster.MaxChanges {
		return nil, fmt.Errorf("%d changes, at most %d are allowed", len(pool.Changes), cluster.MaxChanges)
	}
	roster, err := cluster.NewRoster(pool.Members)
	if err != nil {
		return nil, err
	}
	policy := *pool
	policy.Members, policy.Changes = nil, nil
	t := &Table{policy: &policy, width: width, roster: roster, list: newList(roster.Members),
		slots: make([]int32, Groups*width), since: make([]uint32, Groups*width)}
	if t.rule, err = newRule(&policy, roster); err != nil {
		return nil, err
	}
	for g := range Groups {
		row := t.row(g)
		for c := range row {
			row[c], _ = t.list.draw(g, c, func(pos int32) bool { return t.rule.fits(row[:c], vacant, pos) })
		}
	}
	t.level()
	return t, nil
}

// fold turns t into the next table; after an error t is of no use.
func (t *Table) fold(c cluster.Change) (err error) {
	if err := t.roster.Apply(c); err != nil {
		return err
	}
	if t.rule, err = newRule(t.policy, t.roster); err != nil {
		return err
	}
	t.list.apply(c, t.roster)
	t.number++
	t.level()
	return nil
}

// finish makes what is looked up from what was computed.
func (t *Table) finish() {
	t.devices = make([]cluster.DeviceID, len(t.slots))
	for i, pos := range t.slots {
		t.devices[i] = t.roster.Members[pos].Device
	}
	t.rows = nil
	seen := make(map[string]struct{})
	key := make([]byte, 0, 4*t.width)
	for g := range Groups {
		row := t.Row(g)
		key = key[:0]
		for _, d := range row {
			key = binary.BigEndian.AppendUint32(key, uint32(d))
		}
		if _, ok := seen[string(key)]; !ok {
			seen[string(key)] = struct{}{}
			t.rows = append(t.rows, row)
		}
	}
}

func (t *Table) row(group int) []int32 { return t.slots[group*t.width : (group+1)*t.width] }

// Row gives the n+p devices of a group, column by column. The caller must not change it.
func (t *Table) Row(group int) []cluster.DeviceID {
	return t.devices[group*t.width : (group+1)*t.width : (group+1)*t.width]
}

// Rows gives every different row once, in the order of the groups: all that a rule about each group has to
// look at. The caller must not change it.
func (t *Table) Rows() [][]cluster.DeviceID { return t.rows }

// Width is the number of devices of a group.
func (t *Table) Width() int { return t.width }

// Number is 0 for the first table of the pool and k after the k-th change of its history.
func (t *Table) Number() uint32 { return t.number }

// Since is the number of the table since which the slot has been held by its present device without
// interruption.
func (t *Table) Since(group, column int) uint32 { return t.since[group*t.width+column] }

// PerDomain is how many chunks of a page may meet in one failure domain of the pool's level: 1 unless the
// pool relaxes its rule because there are too few domains.
func (t *Table) PerDomain() int { return t.rule.limit }

// Sum is a checksum by which nodes compare their tables.
func (t *Table) Sum() uint64 {
	sum := mix(uint64(t.number)<<32 | uint64(t.width))
	for i, d := range t.devices {
		sum = mix(sum ^ (uint64(d)<<32 | uint64(t.since[i])))
	}
	return sum
}
