package placement

import (
	"math/bits"
	"slices"
	"sort"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// retryStep is the first prime above the largest chunk index (n + p <= 19), so the retries of two chunk
// indices never draw the same key.
const retryStep = 23

// maxTries bounds the draws for one chunk before the scan.
const maxTries = 64

// fraction is the number of binary digits behind the point of a position in the list.
const fraction = 16

// golden is the increment of splitmix64.
const golden = 0x9e3779b97f4a7c15

// list is the list bucket: every device owns segments of a line, as long as its weight. The list bucket
// asks from the newest segment back and lets segment i take the key with probability length(i) / end(i).
// The point it ends at can be drawn directly (weighted jump): a chain of points, each the one before
// divided by a random number of (0, 1], until the end of the line is passed; the last one on the line
// wins. A longer line only goes on with the same chain, so growth moves keys only to what is new; and the
// chain has about ln(end/start) points, whatever the number of devices.
//
// A device that leaves, or the tail of one that shrinks, becomes a hole: a point in it is drawn again, so
// that no other key moves.
type list struct {
	segments []segment
	start    uint64 // where every chain begins: the first device's weight when the list was made
	holes    uint64 // length of all holes together
}

type segment struct {
	end uint64 // of the segment on the line; it begins where the one before ends
	pos int32  // position of the device in the roster, or vacant: a hole
}

func newList(members []cluster.Member) list {
	var l list
	for pos, m := range members {
		if m.Weight > 0 {
			l.append(int32(pos), uint64(m.Weight))
		}
	}
	l.start = l.segments[0].end
	return l
}

func (l *list) clone() list {
	c := *l
	c.segments = slices.Clone(l.segments)
	return c
}

func (l *list) end() uint64 {
	if len(l.segments) == 0 {
		return 0
	}
	return l.segments[len(l.segments)-1].end
}

func (l *list) append(pos int32, length uint64) {
	l.segments = append(l.segments, segment{end: l.end() + length, pos: pos})
}

// apply follows a change that the roster has made already. A list that is half holes is made anew: draws
// stay quick, and nothing depends on them but alternates to come.
func (l *list) apply(c cluster.Change, r *cluster.Roster) {
	for _, m := range c.Members {
		pos, _ := r.At(m.Device)
		l.resize(int32(pos), uint64(m.Weight))
	}
	if 2*l.holes > l.end() {
		*l = newList(r.Members)
	}
}

// resize appends what a device gains, or makes a hole of what it loses, the newest first.
func (l *list) resize(pos int32, weight uint64) {
	have := uint64(0)
	for i := range l.segments {
		if l.segments[i].pos == pos {
			have += l.length(i)
		}
	}
	if weight > have {
		l.append(pos, weight-have)
		return
	}
	for i := len(l.segments) - 1; i >= 0 && have > weight; i-- {
		if l.segments[i].pos != pos {
			continue
		}
		lost := min(l.length(i), have-weight)
		have -= lost
		l.holes += lost
		if lost == l.length(i) {
			l.segments[i].pos = vacant
			continue
		}
		l.segments = slices.Insert(l.segments, i+1, segment{end: l.segments[i].end, pos: vacant})
		l.segments[i].end -= lost
	}
}

func (l *list) length(i int) uint64 {
	if i == 0 {
		return l.segments[0].end
	}
	return l.segments[i].end - l.segments[i-1].end
}

// draw picks a device for a chunk of a group: the first one drawn that is accepted. After maxTries it takes
// the next one on the line, so it fails only if nobody is accepted.
func (l *list) draw(group, chunk int, accept func(pos int32) bool) (int32, bool) {
	at := 0
	for try := range maxTries {
		at = l.jump(uint64(group)<<32 | uint64(chunk+try*retryStep))
		if pos := l.segments[at].pos; pos != vacant && accept(pos) {
			return pos, true
		}
	}
	for range l.segments {
		if at++; at == len(l.segments) {
			at = 0
		}
		if pos := l.segments[at].pos; pos != vacant && accept(pos) {
			return pos, true
		}
	}
	return vacant, false
}

// jump gives the segment that a key is in.
func (l *list) jump(key uint64) int {
	state := mix(key)
	point, _ := bits.Mul64(mix(state), l.start<<fraction) // if the chain leaves the line at once
	end := l.end() << fraction
	for x := l.start << fraction; ; {
		state += golden
		divisor := mix(state)>>32 + 1 // of 2^32
		hi, lo := bits.Mul64(x, 1<<32)
		if hi >= divisor { // beyond 2^64
			break
		}
		if x, _ = bits.Div64(hi, lo, divisor); x >= end {
			break
		}
		point = x
	}
	point >>= fraction
	return sort.Search(len(l.segments), func(i int) bool { return l.segments[i].end > point })
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64-bit words that spreads
// every bit.
func mix(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
