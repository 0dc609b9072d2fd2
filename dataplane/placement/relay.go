package placement

// hop is a step of a way: a device hands a slot over to another one. It is free if it takes a slot that has
// moved anyway.
type hop struct {
	to   int32
	free bool
	cost int // of the way from here on
}

// relay moves surplus over third devices, as cheaply as it can be, and reports whether it moved any.
func (l *leveller) relay() bool {
	hops, starts := l.search()
	sent := false
	for _, start := range starts {
		sent = l.send(trace(hops, start)) || sent
	}
	return sent
}

// search finds the cheapest ways for slots from devices that have too many (the starts) to those that
// lack some: each device on a way hands a slot to the next one, and only slots that have not moved yet
// cost anything. It goes from the end, as devices of one domain take the same slots, and stops with the
// first cost at which there is a start, or when there is surplus enough.
func (l *leveller) search() (hops []hop, starts []int32) {
	hops = make([]hop, len(l.have))
	done, expanded := make([]bool, len(l.have)), make(map[int32]bool)
	var now, later []int32 // devices to look at: at this cost, at one more
	lack := 0
	for pos := range hops {
		hops[pos] = hop{to: vacant, cost: len(hops)}
		if n := l.aim[pos] - l.have[pos]; n > 0 {
			lack += n
			hops[pos].cost = 0
			now = append(now, int32(pos))
		}
	}
	for len(now) > 0 && len(starts) == 0 {
		for len(now) > 0 && lack > 0 {
			to := now[0]
			now = now[1:]
			if done[to] {
				continue
			}
			done[to] = true
			if n := l.have[to] - l.aim[to]; n > 0 {
				lack -= n
				starts = append(starts, to)
			} else if !expanded[l.class(to)] {
				expanded[l.class(to)] = true
				free, paid := l.givers(to, hops)
				now, later = append(now, free...), append(later, paid...)
			}
		}
		now, later = later, nil
	}
	return hops, starts
}

// class is the same for devices that fit the same slots.
func (l *leveller) class(pos int32) int32 {
	if l.limit == 1 {
		return l.upper[pos]
	}
	return l.lower[pos]
}

// givers notes who has a slot that fits a device, where that makes the way cheaper: free slots, and others.
func (l *leveller) givers(to int32, hops []hop) (free, paid []int32) {
	for i, from := range l.table.slots {
		h := hop{to: to, free: from != l.before[i], cost: hops[to].cost}
		if !h.free {
			h.cost++
		}
		if hops[from].cost <= h.cost || !l.fits(l.table.row(i/l.width), i%l.width, to) {
			continue
		}
		hops[from] = h
		if h.free {
			free = append(free, from)
		} else {
			paid = append(paid, from)
		}
	}
	return free, paid
}

func trace(hops []hop, from int32) []hop {
	path := []hop{{to: from}}
	for h := hops[from]; h.to != vacant; h = hops[h.to] {
		path = append(path, h)
	}
	return path
}

// send moves as many slots over a path as it can: until its start has no surplus, its end lacks none, or
// a hop finds no slot. The last hop goes first, so that every step keeps the rule by itself. It reports
// whether any slot was sent.
func (l *leveller) send(path []hop) bool {
	first, last, sent := path[0].to, path[len(path)-1].to, false
	cursors := make([]int, len(path))
	for l.have[first] > l.aim[first] && l.have[last] < l.aim[last] {
		taken := make([]int, 0, len(path))
		for k := len(path) - 1; k > 0; k-- {
			i := l.find(cursors[k], path[k-1].to, path[k])
			if i == len(l.table.slots) {
				for j, slot := range taken { // hop len(path)-1-j took it
					l.table.slots[slot] = path[len(path)-2-j].to
				}
				return sent
			}
			l.table.slots[i] = path[k].to
			taken = append(taken, i)
			cursors[k] = i + 1
		}
		l.have[first]--
		l.have[last]++
		sent = true
	}
	return sent
}

// find gives the next slot that a device can hand over; the number of slots if there is none.
func (l *leveller) find(i int, from int32, h hop) int {
	slots := l.table.slots
	for ; i < len(slots); i++ {
		if slots[i] == from && (!h.free || from != l.before[i]) &&
			l.fits(l.table.row(i/l.width), i%l.width, h.to) {
			break
		}
	}
	return i
}
