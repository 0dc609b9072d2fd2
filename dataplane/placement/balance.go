package placement

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// Fill is what a table gives to one device. Shares are parts of all slots of the pool, 0 to 1.
type Fill struct {
	Device cluster.DeviceID `json:"device"`
	Weight uint32           `json:"weight"`
	Slots  int              `json:"slots"`
	Aim    int              `json:"aim"`    // slots it is to have
	Share  float64          `json:"share"`  // that it has
	Wanted float64          `json:"wanted"` // that its weight asks for
	// Cap is the most that the failure domains let it have: its part of what its domain can hold. Where
	// it is less than Wanted, capacity stays unused.
	Cap float64 `json:"cap"`
}

// Balance tells the fill of every present device, in the order in which they joined.
func (t *Table) Balance() []Fill {
	have, caps := t.held(len(t.roster.Members)), make([]int, len(t.roster.Members))
	all, levels := t.everybody(have)
	for _, domain := range t.domains(all.devices, levels[0], have) {
		domain.aim = domain.most
		t.divide(domain, levels[1:], have, caps)
	}
	slots := float64(len(t.slots))
	out := make([]Fill, 0, len(all.devices))
	for _, pos := range all.devices {
		m := t.roster.Members[pos]
		out = append(out, Fill{Device: m.Device, Weight: m.Weight, Slots: have[pos], Aim: t.aim[pos],
			Share: float64(have[pos]) / slots, Wanted: float64(m.Weight) / float64(all.weight),
			Cap: float64(caps[pos]) / slots})
	}
	return out
}

// Shares tells which part of all slots every device has that has some, 0 to 1.
func (t *Table) Shares() map[cluster.DeviceID]float64 {
	out := make(map[cluster.DeviceID]float64)
	for pos, n := range t.held(len(t.roster.Members)) {
		if n > 0 {
			out[t.roster.Members[pos].Device] = float64(n) / float64(len(t.slots))
		}
	}
	return out
}

// held counts slots by position, for at least as many devices as t knows.
func (t *Table) held(devices int) []int {
	have := make([]int, devices)
	for _, pos := range t.slots {
		have[pos]++
	}
	return have
}

// Moves tells how many slots change their device between two tables of one pool, and the minimum: the slots
// that have to leave their device for every one to have what the later table is to give it.
func Moves(earlier, later *Table) (moved, minimum int) {
	for i, pos := range later.slots {
		if earlier.slots[i] != pos {
			moved++
		}
	}
	for pos, n := range earlier.held(len(later.roster.Members)) {
		minimum += max(0, n-later.aim[pos])
	}
	return moved, minimum
}
