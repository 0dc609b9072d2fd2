package lease

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Times of the lease, in nanoseconds.
const (
	second = int64(1e9)
	// Duration is what a take-over waits after its fence is stored.
	Duration = 2 * second
	// Margin is how much earlier the holder stops: 5 % of clock drift and the time between check and answer.
	Margin = Duration / 10
	// RenewEvery is the pause between renewals.
	RenewEvery = second / 2
	// DeadAfter is how long a voter must not have heard of a gateway to count it as gone.
	DeadAfter = 3 * second / 2
)

// MaxFences bounds the fences of one reply; the rest follows with the next.
const MaxFences = 120

// Fence says that owner epochs of a volume below Epoch are over.
type Fence struct {
	Vol   cluster.VolumeKey
	Epoch uint32
}

// Fenced answers the wish to have a fence stored.
type Fenced struct {
	Known uint32 // highest epoch stored for the volume
	// Silent is how long, when the fence was stored, the voter had not heard of the gateway that it was asked
	// about; nanoseconds, rounded down.
	Silent int64
}

// Clear is when a gateway can no longer answer hosts for a volume: heard are the moments, on the asker's own
// clock and not too early, when the members of a majority that stored the fence had last heard of it.
func Clear(heard []int64) int64 { return slices.Max(heard) + Duration }

// Position is how far a gateway has read a voter's fences. A voter that restarted begins a new numbering
// (Boot).
type Position struct {
	Boot uint64
	Seq  uint64
}

// Seen tells how long ago a voter last heard of a gateway, in milliseconds.
type Seen struct {
	Gateway cluster.NodeID
	AgeMS   uint32
}

// Reply answers a renewal.
type Reply struct {
	At     Position // up to here the fences are included
	More   bool     // there are more: renew again at once; this reply grants nothing
	Fences []Fence
	Seen   []Seen
}

// Voter keeps fences and remembers who renewed when.
type Voter struct {
	boot   uint64
	start  int64
	seq    uint64
	fences map[cluster.VolumeKey]stored
	log    []cluster.VolumeKey // by sequence, oldest first; a volume may stand there more than once
	base   uint64              // sequence of log[0]
	seen   map[cluster.NodeID]int64
}

type stored struct {
	epoch uint32
	seq   uint64
}

// NewVoter starts a voter with the fences it had stored. boot differs from every earlier start.
func NewVoter(boot uint64, now int64, fences []Fence) *Voter {
	v := &Voter{boot: boot, start: now, base: 1, fences: make(map[cluster.VolumeKey]stored),
		seen: make(map[cluster.NodeID]int64)}
	for _, f := range fences {
		v.Stored(f)
	}
	return v
}

// Epoch is the highest epoch stored for a volume.
func (v *Voter) Epoch(vol cluster.VolumeKey) uint32 { return v.fences[vol].epoch }

// Stored notes a fence that is durable now.
func (v *Voter) Stored(f Fence) {
	if v.fences[f.Vol].epoch >= f.Epoch {
		return
	}
	v.seq++
	v.fences[f.Vol] = stored{f.Epoch, v.seq}
	v.log = append(v.log, f.Vol)
	if len(v.log) > 2*len(v.fences)+MaxFences {
		v.compact()
	}
}

// compact drops log entries that a later fence of the same volume replaced. Sequence numbers are given anew,
// so the numbering begins a new boot.
func (v *Voter) compact() {
	live := v.log[:0]
	for i, vol := range v.log {
		if v.fences[vol].seq == v.base+uint64(i) {
			live = append(live, vol)
		}
	}
	v.log = live
	v.boot++
	for i, vol := range live {
		v.fences[vol] = stored{v.fences[vol].epoch, uint64(i + 1)}
	}
	v.base, v.seq = 1, uint64(len(live))
}

// Forget drops the fences of volumes that no longer exist.
func (v *Voter) Forget(gone func(cluster.VolumeKey) bool) {
	for vol := range v.fences {
		if gone(vol) {
			delete(v.fences, vol)
		}
	}
}

// All lists the fences, by volume.
func (v *Voter) All() []Fence {
	out := make([]Fence, 0, len(v.fences))
	for vol, s := range v.fences {
		out = append(out, Fence{vol, s.epoch})
	}
	slices.SortFunc(out, func(a, b Fence) int {
		if a.Vol.Less(b.Vol) {
			return -1
		}
		return 1
	})
	return out
}

// Renew answers a gateway that has read the fences up to since.
func (v *Voter) Renew(now int64, gateway cluster.NodeID, since Position) Reply {
	v.seen[gateway] = now
	if since.Boot != v.boot || since.Seq > v.seq {
		since = Position{Boot: v.boot}
	}
	r := Reply{At: Position{Boot: v.boot, Seq: since.Seq}}
	for i := max(since.Seq+1, v.base); i <= v.seq; i++ {
		vol := v.log[i-v.base]
		if s, ok := v.fences[vol]; ok && s.seq == i {
			if len(r.Fences) == MaxFences {
				r.More = true
				break
			}
			r.Fences = append(r.Fences, Fence{vol, s.epoch})
		}
		r.At.Seq = i
	}
	for g, t := range v.seen {
		r.Seen = append(r.Seen, Seen{g, ageMS(now - t)})
	}
	slices.SortFunc(r.Seen, func(a, b Seen) int { return int(a.Gateway) - int(b.Gateway) })
	return r
}

// Age tells how long a voter has not heard of a gateway, in nanoseconds; a gateway never heard of is as old
// as the voter.
func (v *Voter) Age(now int64, gateway cluster.NodeID) int64 {
	if t, ok := v.seen[gateway]; ok {
		return now - t
	}
	return now - v.start
}

func ageMS(ns int64) uint32 { return uint32(min(max(ns, 0)/1e6, 1<<32-1)) }

// Holder is a gateway's side.
type Holder struct {
	start   int64
	voters  []cluster.NodeID
	granted map[cluster.NodeID]int64 // send time of the newest counted renewal
	at      map[cluster.NodeID]Position
	ages    map[cluster.NodeID]view // per voter
}

type view struct {
	taken int64
	cut   bool                     // there was no room for all gateways
	seen  map[cluster.NodeID]int64 // gateway -> age in ns at taken
}

// NewHolder begins without any grant.
func NewHolder(now int64, voters []cluster.NodeID) *Holder {
	return &Holder{start: now, voters: slices.Clone(voters), granted: make(map[cluster.NodeID]int64),
		at: make(map[cluster.NodeID]Position), ages: make(map[cluster.NodeID]view)}
}

// Voters lists whom to renew with.
func (h *Holder) Voters() []cluster.NodeID { return h.voters }

// Since is the position to send to a voter.
func (h *Holder) Since(voter cluster.NodeID) Position { return h.at[voter] }

// Granted counts a reply to a renewal that was sent at sentAt. The caller has given up, before this call,
// every volume that the reply's fences take away. False: there is more to read, renew again.
func (h *Holder) Granted(voter cluster.NodeID, sentAt, now int64, r Reply) bool {
	if !slices.Contains(h.voters, voter) {
		return true
	}
	h.at[voter] = r.At
	v := view{taken: now, cut: len(r.Seen) >= maxSeen, seen: make(map[cluster.NodeID]int64, len(r.Seen))}
	for _, s := range r.Seen {
		v.seen[s.Gateway] = int64(s.AgeMS) * 1e6
	}
	h.ages[voter] = v
	if r.More {
		return false
	}
	h.granted[voter] = max(h.granted[voter], sentAt)
	return true
}

// ValidUntil is the end of the lease: the majority-th newest grant plus Duration minus Margin. 0: none.
func (h *Holder) ValidUntil() int64 {
	var times []int64
	for _, v := range h.voters {
		if t, ok := h.granted[v]; ok {
			times = append(times, t)
		}
	}
	need := len(h.voters)/2 + 1
	if len(h.voters) == 0 || len(times) < need {
		return 0
	}
	slices.Sort(times)
	return times[len(times)-need] + Duration - Margin
}

// Suspects reports whether a majority of voters, as far as we have fresh word of them, has not heard of a
// gateway for DeadAfter. That a voter does not name a gateway says nothing while the holder itself is younger
// than that, or when the voter had no room for all.
func (h *Holder) Suspects(gateway cluster.NodeID, now int64) bool {
	silent := 0
	for _, voter := range h.voters {
		v, ok := h.ages[voter]
		if !ok || now-v.taken > 2*RenewEvery {
			continue
		}
		age, heard := v.seen[gateway]
		switch {
		case heard:
		case v.cut:
			continue
		default:
			age = v.taken - h.start
		}
		if age+now-v.taken > DeadAfter {
			silent++
		}
	}
	return silent >= len(h.voters)/2+1
}
