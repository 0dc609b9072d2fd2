package placement

import (
	"cmp"
	"slices"
)

// aims gives every device the number of slots it is to have: its share by weight, first among the domains,
// which hold no more than the rule lets them, then within each.
func (t *Table) aims(have []int) []int {
	all, levels := t.everybody(have)
	all.aim = Groups * t.width
	aims := make([]int, len(have))
	t.divide(all, levels, have, aims)
	return aims
}

// everybody is all that are present, and the levels at which the rule bounds what they hold.
func (t *Table) everybody(have []int) (all *node, levels [][]int32) {
	var present []int32
	for pos, m := range t.roster.Members {
		if m.Weight > 0 {
			present = append(present, int32(pos))
		}
	}
	levels = [][]int32{t.rule.upper}
	if t.rule.limit > 1 {
		levels = append(levels, t.rule.lower)
	}
	return t.newNode(present, have), levels
}

// node is a domain, or a device, that slots are shared out to.
type node struct {
	devices []int32
	weight  uint64
	have    int
	most    int // it can hold
	aim     int
	floor   int    // of the exact share
	rest    uint64 // what the floor leaves of it
}

func (t *Table) newNode(devices []int32, have []int) *node {
	n := &node{devices: devices}
	for _, pos := range devices {
		n.weight += uint64(t.roster.Members[pos].Weight)
		n.have += have[pos]
	}
	return n
}

// divide shares the slots of a node out to its domains of the next level and these in turn to theirs; below
// the last level are the devices.
func (t *Table) divide(n *node, levels [][]int32, have, aims []int) {
	if len(levels) == 0 {
		var parts []*node
		for _, pos := range n.devices {
			p := t.newNode([]int32{pos}, have)
			p.most = Groups
			parts = append(parts, p)
		}
		share(n.aim, parts)
		for _, p := range parts {
			aims[p.devices[0]] = p.aim
		}
		return
	}
	parts := t.domains(n.devices, levels[0], have)
	share(n.aim, parts)
	for _, p := range parts {
		t.divide(p, levels[1:], have, aims)
	}
}

// domains splits devices by domain, in the order of their first devices. A domain holds at most as many
// chunks of each row as the rule lets it and as it has domains of the level below.
func (t *Table) domains(devices []int32, domain []int32, have []int) []*node {
	members := make(map[int32][]int32)
	var order []int32
	for _, pos := range devices {
		d := domain[pos]
		if members[d] == nil {
			order = append(order, d)
		}
		members[d] = append(members[d], pos)
	}
	parts := make([]*node, 0, len(order))
	for _, d := range order {
		p := t.newNode(members[d], have)
		below := make(map[int32]bool)
		for _, pos := range p.devices {
			below[t.rule.lower[pos]] = true
		}
		p.most = Groups * min(t.rule.limit, len(below))
		parts = append(parts, p)
	}
	return parts
}

// share sets the aims of parts so that they add up to total: by weight, except that what a part cannot
// hold goes to the others. An exact share that is no whole number may be rounded either way: it is
// rounded to the side that is nearer to what the part has, so that rounding moves as little as possible.
// That leaves everybody within one slot of the exact share, whatever the history.
func share(total int, parts []*node) {
	open := slices.Clone(parts)
	slices.SortStableFunc(open, func(a, b *node) int {
		return cmp.Compare(b.weight*uint64(a.most), a.weight*uint64(b.most)) // most weight per room first
	})
	left, weight := uint64(total), uint64(0)
	for _, p := range open {
		weight += p.weight
	}
	for len(open) > 0 && left*open[0].weight >= uint64(open[0].most)*weight {
		p := open[0]
		p.aim = p.most
		left -= uint64(p.most)
		weight -= p.weight
		open = open[1:]
	}
	if len(open) > 0 {
		round(left, weight, open)
	}
}

// round shares out by weight alone.
func round(total, weight uint64, parts []*node) {
	missing := int(total)
	for _, p := range parts {
		p.floor, p.rest = int(total*p.weight/weight), total*p.weight%weight
		p.aim = p.floor
		if p.rest > 0 && p.have > p.floor {
			p.aim++
		}
		missing -= p.aim
	}
	slices.SortStableFunc(parts, func(a, b *node) int { return cmp.Compare(b.rest, a.rest) })
	for i := 0; missing > 0; i++ {
		if p := parts[i]; p.aim == p.floor {
			p.aim++
			missing--
		}
	}
	for i := len(parts) - 1; missing < 0; i-- {
		if p := parts[i]; p.aim > p.floor {
			p.aim--
			missing++
		}
	}
}
