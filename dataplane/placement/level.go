package placement

import "slices"

// level makes a table hold the rule and every device's aim, and moves no more slots than that takes:
//
//	vacate   slots whose device left, or that the rule forbids now
//	fill     vacant slots, with devices that lack slots
//	shed     slots of devices that have too many, to devices that lack some
//	relay    what is left: where the rule keeps all surplus from all who lack, by way of third devices
func (t *Table) level() {
	l := &leveller{rule: &t.rule, width: t.width, table: t, before: slices.Clone(t.slots),
		have: make([]int, len(t.roster.Members))}
	l.vacate()
	l.aim = t.aims(l.have)
	t.aim = l.aim
	l.lacking = newLacking(l.rule.upper, l.have, l.aim)
	l.fill()
	l.shed()
	for l.relay() {
	}
	for i, pos := range t.slots {
		if pos != l.before[i] {
			t.since[i] = t.number
		}
	}
}

// leveller is the state of one levelling.
type leveller struct {
	*rule
	table   *Table
	width   int
	before  []int32
	have    []int // by position: slots held
	aim     []int
	lacking *lacking
}

// visit shows every row once, in an order of this table's own, and a column to begin with. So neither
// groups nor columns meet the changes of a history in the same order again and again, which would gather
// the devices that joined late in the same rows, or in the first columns.
func (l *leveller) visit(do func(group int, row []int32, first int)) {
	key := mix(uint64(l.table.number))
	for i := range Groups {
		g := int(shuffle(uint16(i), key))
		do(g, l.table.row(g), int(mix(key^uint64(g))%uint64(l.width)))
	}
}

// shuffle is a bijection of the groups for every key: each step can be undone.
func shuffle(g uint16, key uint64) uint16 {
	g += uint16(key)
	g *= uint16(key>>16) | 1
	g ^= g >> 7
	g += uint16(key >> 32)
	g *= uint16(key>>48) | 1
	return g ^ g>>9
}

func (l *leveller) vacate() {
	l.visit(func(_ int, row []int32, first int) {
		for i := range row {
			c := (first + i) % l.width
			if pos := row[c]; l.table.roster.Members[pos].Weight == 0 || !l.fits(row, c, pos) {
				row[c] = vacant
			} else {
				l.have[pos]++
			}
		}
	})
}

// fill gives a vacant slot to any device that fits if none of those fits that lack slots: then it has one
// too many, and sheds one.
func (l *leveller) fill() {
	l.visit(func(g int, row []int32, first int) {
		for i := range row {
			c := (first + i) % l.width
			if row[c] != vacant {
				continue
			}
			pos, ok := l.lacking.take(l.rule, row, c)
			if !ok {
				pos, ok = l.table.list.draw(g, c, func(pos int32) bool { return l.fits(row, c, pos) })
			}
			if !ok {
				panic("placement: the rule leaves a vacant slot no device, though there are enough domains")
			}
			row[c] = pos
			l.have[pos]++
		}
	})
}

// shed takes a slot from the device of a row that has most to give first, so that as many rows as
// possible keep somebody who can give.
func (l *leveller) shed() {
	l.visit(func(_ int, row []int32, first int) {
		for tried := uint32(0); l.lacking.some(); {
			from, most := vacant, 0
			for i := range row {
				c := (first + i) % l.width
				if n := l.have[row[c]] - l.aim[row[c]]; n > most && tried&(1<<c) == 0 {
					from, most = c, n
				}
			}
			if from == vacant {
				return
			}
			tried |= 1 << from
			if pos, ok := l.lacking.take(l.rule, row, from); ok {
				l.have[row[from]]--
				l.have[pos]++
				row[from] = pos
			}
		}
	})
}
