// Package placement computes which devices hold a page: hash(vuid, page) names one of 65,536 groups, and the
// pool's table names the n+p devices of the group. Nothing is stored: every node computes the same table from
// the same pool record. It is pure.
//
// The table comes from the list bucket: devices stand in a list in the order of the pool record, the newest
// last. Device i takes a key with probability w(i) / (w(0)+...+w(i)), newest first, so that growing the list
// moves keys only to the new device. The key is (group, chunk index + try*q), q the prime [retryStep]; a
// device or failure domain that the group already uses is drawn again, a bounded number of times, then the
// devices are scanned from the last draw on. All arithmetic is on integers, so every architecture computes
// the same table (see the golden vectors in the tests).
//
// A pool's table is fixed by the device list of its record; devices added to the cluster later serve pools
// made later. Folding a table to a new map, alternates and the O(log) form of the draw come with the engine's
// full protocol.
package placement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Groups is the number of groups of every pool.
const Groups = 1 << 16

// retryStep is the first prime above the largest chunk index (n + p <= 19), so the retries of two chunk
// indices never draw the same key.
const retryStep = 23

// maxTries bounds the draws for one chunk before the scan.
const maxTries = 64

// ErrTooFewDomains tells that no table exists: fewer failure domains than chunks.
var ErrTooFewDomains = errors.New("too few failure domains for the pool's code")

// Table names the devices of every group. Immutable; lookups cost one array access and allocate nothing.
type Table struct {
	width   int
	devices []cluster.DeviceID // Groups * width
	rows    [][]cluster.DeviceID
}

// Group is the group of a page of a volume. The generation is left out on purpose: it changes what data is
// visible, not where it lies.
func Group(vol cluster.VolumeKey, page uint64) int {
	return int(mix(mix(uint64(vol.VUID)+0x9e3779b97f4a7c15)^page) >> 48)
}

// Row gives the n+p devices of a group, column by column. The caller must not change it.
func (t *Table) Row(group int) []cluster.DeviceID {
	return t.devices[group*t.width : (group+1)*t.width : (group+1)*t.width]
}

// Rows gives every different row once, in the order of the groups: all that a rule about each group has to
// look at. The caller must not change it.
func (t *Table) Rows() [][]cluster.DeviceID { return t.rows }

// Width is the number of devices of a group.
func (t *Table) Width() int { return t.width }

type segment struct {
	device cluster.DeviceID
	weight uint64
	sum    uint64 // weights up to and including this one
	domain int
}

// New computes the table of a pool. The devices are those of the pool record, whatever their state now: a
// table never depends on what answers at the moment.
//
// Errors: ErrTooFewDomains, or a device that the map does not have.
func New(pool *cluster.Pool, m *cluster.Map) (*Table, error) {
	list, domains, err := segments(pool, m)
	if err != nil {
		return nil, err
	}
	width := pool.Width()
	if domains < width {
		return nil, fmt.Errorf("%w: pool %q needs %d at level %s, its devices have %d",
			ErrTooFewDomains, pool.Name, width, pool.Domain, domains)
	}
	t := &Table{width: width, devices: make([]cluster.DeviceID, Groups*width)}
	used := make([]int, 0, width)
	for g := 0; g < Groups; g++ {
		used = used[:0]
		for c := 0; c < width; c++ {
			s := draw(list, g, c, used)
			used = append(used, list[s].domain)
			t.devices[g*width+c] = list[s].device
		}
	}
	t.findRows()
	return t, nil
}

func (t *Table) findRows() {
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

func segments(pool *cluster.Pool, m *cluster.Map) ([]segment, int, error) {
	list := make([]segment, 0, len(pool.Devices))
	domains := make(map[string]int)
	sum := uint64(0)
	for _, id := range pool.Devices {
		d := m.Devices[id]
		if d == nil {
			return nil, 0, fmt.Errorf("placement of pool %q: device %d is not in the map", pool.Name, id)
		}
		path := m.DomainPath(d, pool.Domain)
		n, ok := domains[path]
		if !ok {
			n = len(domains)
			domains[path] = n
		}
		w := max(uint64(d.Weight), 1)
		sum += w
		list = append(list, segment{device: id, weight: w, sum: sum, domain: n})
	}
	return list, len(domains), nil
}

// draw picks the list position for a chunk of a group, avoiding the domains already used. There are more
// domains than used ones, so the scan always ends.
func draw(list []segment, group, chunk int, used []int) int {
	at := 0
	for try := 0; try < maxTries; try++ {
		at = bucket(list, uint64(group)<<32|uint64(chunk+try*retryStep))
		if !contains(used, list[at].domain) {
			return at
		}
	}
	for contains(used, list[at].domain) {
		at = (at + 1) % len(list)
	}
	return at
}

// bucket is the list-bucket draw: from the newest device back, each takes the key with probability weight /
// sum.
func bucket(list []segment, key uint64) int {
	for i := len(list) - 1; i > 0; i-- {
		// A 64-bit draw scaled to [0, sum): the high word of the product, without bias worth naming (sum < 2^40).
		hi, _ := bits.Mul64(mix(key^mix(uint64(list[i].device))), list[i].sum)
		if hi < list[i].weight {
			return i
		}
	}
	return 0
}

func contains(a []int, x int) bool {
	for _, v := range a {
		if v == x {
			return true
		}
	}
	return false
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words that spreads
// every bit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
