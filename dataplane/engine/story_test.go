package engine_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/mutant"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

// TestStories plays the scenarios of testdata. The input of "story" and, to go on with it, of "then" are
// commands, one a line; expected is what they cause, at once and to the end, unless something holds it.
//
//	volume rs 4+2 devices=7         a new volume and its first owner; with "closed", without; min=5:
//	                                min_columns, blocks=64: of a device
//	                                units=4: stripe units of 4 blocks, packed: zeroes at their end are left out
//	                                clone=64: of so many blocks of a parent, whose block 5 holds ^5, and 13
//	                                zeroes
//	open                            a new owner; the one before goes on. patience=5, awaited=p0,p1, doubted=d0,
//	                                near=d0:node,p0:rack,p1:az: where from it devices are, the others elsewhere
//	near d0:rack                    that has changed
//	write|read|zero CELLS           a host's operation, owner=1 at that owner. CELLS: d1, d0-d2, row, each of
//	                                row 0; d1/3 of row 3, row/3+2 from row 3, B:d1 of page B; with units
//	                                d0/4+3: so many blocks in the order of the volume
//	write d1 sectors=2+3            a part of a block
//	read d1 asof=1.7                as of a pin
//	hold d0 p1 [op=write]           what is sent to these devices is on its way until released;
//	                                "hold record": so is the owner record; "hold served": so is that it serves
//	hold parent | release parent    what is asked of the parent is on its way until released
//	lose parent [media]             it does not give what is asked now, or has lost it for good
//	release d0 p1 [op=write]        "release d0 newest": of what is held, carry out only what was sent last
//	lose d0 [carried-out | ghost]   what is on its way gets no answer: it was not carried out, or it was, or it
//	                                still may be until the owner's next session
//	crash d0                        the device is away, with all that was on its way to it
//	detach d0                       its node says that the device is not its own
//	up d0                           it is back
//	power [torn=d0,d1]              all lose their power; the devices are back, the owner is not. Writes on
//	                                their way to some have arrived in part
//	rot d1/3 | forget d1/3          the newest version's data is spoiled, or it is gone; at=s0: there
//	fill s0 free=3 | unfill s0      somebody else uses its space
//	scrub d0 [s0]                   these devices read all they hold, and tell the owner what is bad
//	flatten [rows]                  the owner copies what the parent shows in so many rows, by default all
//	cut d0/4 [to=d0/8] [look]       what lies from here on, in page A unless another is named, is cut off;
//	                                "cut on": goes on, "cut end": nothing is; allow=N: only so many blocks;
//	                                "cut record": how far it is, for owners to come
//	audit [rows]                    the owner compares so many rows, by default all, column by column
//	tick [n]                        time passes for all owners
//	table remove=d0 | table add     the pool has a new group table, which owners hear of: without a device, or
//	                                with another one
//	pin | view | unpin 1.7          take a pin; hand in the view list with the pins so far; without one
//	revert 1.7                      what was written since this pin is hidden, as soon as nothing is under way
//	unspread 1.7                    the same, but the owner does not hear that it was recorded
//	show [B:]row/3                  what the devices hold of a row
//	state                           what the current owner says of itself
func TestStories(t *testing.T) {
	tables := map[shape]*placement.Table{}
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &story{t: t, tables: tables}
		datadriven.RunTest(t, path, s.tell)
	})
}

// tell plays the commands of a scenario and tells what they cause.
func (s *story) tell(t *testing.T, d *datadriven.TestData) string {
	s.t, s.pos = t, d.Pos
	for _, command := range strings.Split(d.Input, "\n") {
		s.play(command)
	}
	return s.world.told()
}

// story plays commands in a world.
type story struct {
	*world
	t      *testing.T
	pos    string
	tables map[shape]*placement.Table
	mutant mutant.Set        // planted in every owner
	name   string            // of the command
	args   []string          // without a key
	keys   map[string]string // with one
}

// impossible is why a command cannot be played: a planted bug may have brought that about.
type impossible string

func (s *story) fatalf(format string, args ...any) {
	s.t.Helper()
	if s.mutant != (mutant.Set{}) {
		panic(impossible(fmt.Sprintf(format, args...)))
	}
	s.t.Fatalf("%s: %s", s.pos, fmt.Sprintf(format, args...))
}

func (s *story) play(command string) {
	fields := strings.Fields(command)
	s.name, s.args, s.keys = fields[0], nil, map[string]string{}
	for _, f := range fields[1:] {
		if k, v, ok := strings.Cut(f, "="); ok {
			s.keys[k] = v
		} else {
			s.args = append(s.args, f)
		}
	}
	if s.name == "volume" {
		s.volume()
		return
	}
	s.world.story = append(s.world.story, line{text: "> " + command})
	switch s.name {
	case "open":
		s.open()
	case "write", "read", "zero":
		s.operation()
	case "tick":
		for range s.number(append(s.args, "1")[0]) {
			s.tick()
		}
	case "table":
		s.table()
	case "near":
		s.current().SetNear(s.near(s.args))
	case "pin", "view", "unpin":
		s.views()
	case "revert", "unspread":
		s.revert()
	case "hold-writes":
		s.current().HoldWrites()
	case "resume-writes":
		s.current().ResumeWrites()
		s.drain(s.current())
	case "flatten":
		s.current().Flatten(s.number(append(s.args, "4096")[0]))
		s.tick()
	case "cut":
		s.cut()
	case "passes":
		s.passes()
	case "audit":
		s.current().Audit(s.number(append(s.args, "4096")[0]))
		s.tick()
	case "scrub":
		for _, name := range s.args {
			s.current().Suspect(s.device(name))
		}
		s.tick()
	case "show":
		page, _, row, _ := s.cells(s.args[0])
		s.show(page, row)
	case "state":
		s.state()
	default:
		s.misfortune()
	}
	s.run()
}

func (s *story) tick() {
	for _, o := range s.owners {
		quiet := o.Quiet()
		o.Tick()
		if s.drain(o); quiet && (len(o.ready.Sends) > 0 || o.ready.Record != nil || !o.Quiet()) {
			s.fatalf("a tick made a quiet engine do something")
		}
	}
	s.run()
}

func (s *story) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.fatalf("%v", err)
	}
	return n
}

// pair reads "a+b" as two numbers, and "a" as a and 1.
func (s *story) pair(text string) (a, b int) {
	first, second, ok := strings.Cut(text, "+")
	if !ok {
		second = "1"
	}
	return s.number(first), s.number(second)
}

func (s *story) seq(text string) cluster.Seq {
	epoch, counter, _ := strings.Cut(text, ".")
	return cluster.MakeSeq(uint32(s.number(epoch)), uint64(s.number(counter)))
}

func (s *story) device(name string) cluster.DeviceID {
	i := slices.Index(s.names, name)
	if i < 0 {
		s.fatalf("no device %s", name)
	}
	return cluster.DeviceID(i + 1)
}

func (s *story) devicesOf(key string) map[cluster.DeviceID]bool {
	out := map[cluster.DeviceID]bool{}
	for _, name := range strings.FieldsFunc(s.keys[key], func(r rune) bool { return r == ',' }) {
		out[s.device(name)] = true
	}
	return out
}

// near reads where devices are, as seen from the owner: p0:rack.
func (s *story) near(where []string) map[cluster.DeviceID]int {
	out := map[cluster.DeviceID]int{}
	for _, text := range where {
		name, level, _ := strings.Cut(text, ":")
		out[s.device(name)] = 1 + slices.Index([]string{"az", "rack", "node"}, level)
	}
	return out
}

// passes says whether a clone of the volume may ask the parent instead, for blocks of the volume.
func (s *story) passes() {
	first, n := s.pair(s.args[0])
	text := "the clone holds something there, or the parent does not show"
	if s.current().Passes(uint64(first), uint64(n)) {
		text = "the clone holds nothing there, and the parent shows"
	}
	s.world.story = append(s.world.story, line{text: text})
}

func (s *story) volume() {
	x := shape{code: cluster.Code(s.args[0]), blocks: 4096, unit: 1}
	x.n, x.p = s.pair(s.args[1])
	x.devices = x.n + x.p
	for key, to := range map[string]*int{"devices": &x.devices, "min": &x.minColumns} {
		if v := s.keys[key]; v != "" {
			*to = s.number(v)
		}
	}
	if v := s.keys["blocks"]; v != "" {
		x.blocks = uint64(s.number(v))
	}
	if v := s.keys["units"]; v != "" {
		x.unit = uint64(s.number(v))
	}
	of := shape{p: x.n + x.p, devices: x.devices}
	if s.tables[of] == nil {
		table, err := placement.New((&world{shape: x}).pool())
		if err != nil {
			s.fatalf("%v", err)
		}
		s.tables[of] = table
	}
	s.world = newWorld(s.t, x, s.tables[of])
	if v := s.keys["clone"]; v != "" {
		s.world.parent, s.world.view = uint64(s.number(v)), chunk.View{Version: 1, Cloned: true}
	}
	if !slices.Contains(s.args, "closed") {
		s.world.open(s.t, engine.Config{Mutant: s.mutant})
		s.run()
		s.tick()
		s.world.story = nil
	}
}

func (s *story) open() {
	cfg := engine.Config{Awaited: s.devicesOf("awaited"), Doubted: s.devicesOf("doubted"),
		Near: s.near(strings.FieldsFunc(s.keys["near"], func(r rune) bool { return r == ',' })), Mutant: s.mutant}
	if v := s.keys["patience"]; v != "" {
		cfg.Patience = s.number(v)
	}
	s.world.open(s.t, cfg)
}

// cut cuts off what lies from a block on, up to another one or to the end of the last page that has a name.
func (s *story) cut() {
	o, g := s.current(), s.geometry()
	at := func(text string) uint64 {
		page, c, row, _ := s.cells(text)
		return page*g.PageBlocks() + g.Offset(c, row)
	}
	switch s.args[0] {
	case "end":
		s.world.cut = engine.Cut{}
	case "record":
		s.world.cut.Done = o.CutState().Until
		return
	case "on":
	default:
		s.world.cut = engine.Cut{ID: cluster.UUID{1}, From: at(s.args[0]),
			To: (slices.Max(s.pages) + 1) * g.PageBlocks(), Look: slices.Contains(s.args, "look")}
		if to := s.keys["to"]; to != "" {
			s.world.cut.To = at(to)
		}
	}
	o.SetCut(s.world.cut)
	allow := s.keys["allow"]
	if allow == "" {
		allow = "100000"
	}
	o.AllowCut(s.number(allow))
	s.drain(o)
	s.run()
	s.tick()
	s.tick()
	switch x := o.CutState(); {
	case s.world.cut.To == 0:
		s.say(o, "cuts nothing off")
	case x.Found:
		s.say(o, "finds something where the cut is to be")
	case x.End:
		s.say(o, "has done the cut")
	default:
		s.say(o, fmt.Sprintf("has done %d blocks of the cut", x.Until-s.world.cut.From))
	}
}

// current is the owner that a command is for: the last one, unless another is named.
func (s *story) current() *owner {
	epoch := s.world.owner.Epoch
	if v := s.keys["owner"]; v != "" {
		epoch = uint32(s.number(v))
	}
	for _, o := range s.owners {
		if o.Epoch() == epoch {
			return o
		}
	}
	s.fatalf("no owner %d", epoch)
	return nil
}

// cells reads "B:d1-d3/7+2": the page, the first data column and row, and how many blocks.
func (s *story) cells(text string) (page uint64, c int, row uint16, blocks int) {
	if name, rest, ok := strings.Cut(text, ":"); ok {
		page, text = s.pages[name[0]-'A'], rest
	}
	cols, rows, ok := strings.Cut(text, "/")
	if !ok {
		rows = "0"
	}
	first, count := s.pair(rows)
	if cols == "row" {
		return page, 0, uint16(first), count * s.n
	}
	from, to, ok := strings.Cut(cols, "-")
	if !ok {
		to = from
	}
	c = s.number(from[1:])
	if s.unit > 1 {
		return page, c, uint16(first), count
	}
	return page, c, uint16(first), s.number(to[1:]) - c + 1
}

func (s *story) operation() {
	page, c, row, blocks := s.cells(s.args[0])
	g := s.geometry()
	const perBlock = cluster.BlockSize / cluster.LBASize
	kinds := map[string]engine.Kind{"read": engine.Read, "write": engine.Write, "zero": engine.Zero}
	op := &engine.Op{Kind: kinds[s.name], LBA: (page*g.PageBlocks() + g.Offset(c, row)) * perBlock,
		Sectors: uint32(blocks * perBlock)}
	text := s.name + " " + s.args[0]
	if v := s.keys["sectors"]; v != "" {
		first, count := s.pair(v)
		op.LBA, op.Sectors = op.LBA+uint64(first), uint32(count)
		text += " sectors " + v
	}
	if v := s.keys["asof"]; v != "" {
		op.AsOf = s.seq(v)
		text += " as of " + v
	}
	s.submit(s.current(), op, text)
}

func (s *story) misfortune() {
	if s.name == "power" {
		for id := range s.disks {
			if s.devicesOf("torn")[cluster.DeviceID(id+1)] {
				s.tear(cluster.DeviceID(id + 1))
			}
		}
		s.power()
		return
	}
	if s.name == "rot" || s.name == "forget" {
		s.spoil()
		return
	}
	for _, name := range s.args {
		if name == "carried-out" || name == "ghost" || name == "newest" {
			continue
		}
		if name == "record" || name == "served" || name == "parent" && s.name != "lose" {
			s.holds = slices.DeleteFunc(s.holds, func(h hold) bool { return h.op == name })
			if s.name == "hold" {
				s.holds = append(s.holds, hold{op: name})
			}
			continue
		}
		if name == "parent" || name == "media" {
			s.loseParent(slices.Contains(s.args, "media"))
			continue
		}
		id := s.device(name)
		switch s.name {
		case "hold":
			s.holds = append(s.holds, hold{id, s.keys["op"]})
		case "release":
			if slices.Contains(s.args, "newest") {
				s.deliverNewest(id)
				continue
			}
			op := s.keys["op"]
			s.holds = slices.DeleteFunc(s.holds, func(h hold) bool {
				return h.device == id && (op == "" || h.op == op)
			})
		case "lose":
			s.lose(id, s.args[len(s.args)-1])
		case "crash":
			s.crash(id)
		case "up":
			s.disk(id).up, s.disk(id).detached = true, false
			s.disk(id).Restart()
		case "detach":
			s.disk(id).detached = true
		case "fill":
			s.disk(id).Fill(s.number(s.keys["free"]))
		case "unfill":
			s.disk(id).Unfill()
		default:
			s.fatalf("unknown command %s", s.name)
		}
	}
}

// spoil destroys the newest version of a block, or makes its device forget it.
func (s *story) spoil() {
	page, c, row, _ := s.cells(s.args[0])
	if strings.HasPrefix(s.args[0], "p") {
		c += s.n
	}
	at := s.column(c)
	if v := s.keys["at"]; v != "" {
		at = v
	}
	d := s.disk(s.device(at))
	_, held := d.Versions(s.key, page, uint8(c), row)
	if len(held) == 0 {
		s.fatalf("%s holds nothing there", at)
	}
	if s.name == "rot" {
		d.Spoil(s.key, page, uint8(c), row, held[0].W)
		return
	}
	d.Lose(s.key, page, uint8(c), row, held[0].W)
}

// table makes the pool's next group table and tells the owners.
func (s *story) table() {
	last := s.world.tables[len(s.world.tables)-1]
	change := cluster.Change{Kind: cluster.ChangeAdd}
	if slices.Contains(s.args, "add") {
		change.Members = []cluster.Member{s.addDevice(s.t)}
	} else {
		change.Kind, change.Members = cluster.ChangeRemove, []cluster.Member{{Device: s.device(s.keys["remove"])}}
	}
	next, err := last.Fold(change)
	if err != nil {
		s.fatalf("%v", err)
	}
	s.world.tables = append(s.world.tables, next)
	for i, page := range s.pages[:2] {
		var row []string
		for _, id := range next.Row(placement.Group(s.key, page)) {
			row = append(row, s.world.name(id))
		}
		s.world.story = append(s.world.story, line{text: fmt.Sprintf("table %d: page %c at %s", next.Number(),
			'A'+i, strings.Join(row, " "))})
	}
	for _, o := range s.owners {
		o.SetTable(next)
		s.drain(o)
	}
}

func (s *story) views() {
	o := s.current()
	switch s.name {
	case "pin":
		pin := o.Pin()
		if len(s.args) == 0 { // else it is lent, to be named later
			s.world.view.Pins = append(slices.Clone(s.world.view.Pins), pin)
		}
		s.say(o, "takes pin "+pin.String())
		s.drain(o)
		return
	case "view":
		for _, lent := range s.args {
			s.world.view.Pins = append(slices.Clone(s.world.view.Pins), s.seq(lent))
		}
		slices.Sort(s.world.view.Pins)
	case "unpin":
		pin := s.seq(s.args[0])
		s.world.view.Pins = slices.DeleteFunc(slices.Clone(s.world.view.Pins),
			func(x cluster.Seq) bool { return x == pin })
	}
	s.world.view.Version++
	o.SetView(s.world.view)
	s.drain(o)
}

// revert reverts the volume to a pin.
func (s *story) revert() {
	o := s.current()
	o.Hold()
	s.drain(o)
	s.run()
	s.drain(o)
	if !o.ready.Held {
		s.say(o, "waits for what is under way")
		o.Resume()
		s.drain(o)
		return
	}
	now := o.Pin()
	s.world.view = s.world.view.Reverted(s.seq(s.args[0]), now)
	h := s.world.view.Hidden[len(s.world.view.Hidden)-1]
	s.say(o, fmt.Sprintf("hides (%v, %v]", h.After, h.To))
	if s.name == "unspread" {
		return
	}
	o.SetView(s.world.view)
	s.drain(o)
}

func (s *story) state() {
	o := s.current()
	x := o.Stats()
	text := map[bool]string{true: "serves", false: "does not serve"}[o.serving && !o.fenced]
	for _, id := range x.Down {
		text += ", " + s.world.name(id) + " down"
	}
	for _, id := range x.Full {
		text += ", " + s.world.name(id) + " full"
	}
	for _, n := range []struct {
		n    int
		what string
	}{{x.Away, "away"}, {x.Stale, "stale"}, {x.Waiting, "waiting"}, {x.Bad, "bad"}} {
		if n.n > 0 {
			text += fmt.Sprintf(", %d %s", n.n, n.what)
		}
	}
	if f, _ := o.Flattened(); f.Rows > 0 {
		text += fmt.Sprintf(", %d rows flattened", f.Rows)
		text += map[bool]string{true: fmt.Sprintf(" at %v", f.At)}[f.At != 0]
	}
	if o.AtRest() {
		text += ", at rest"
	}
	text += "; journal"
	for _, id := range s.world.owner.Journal.Members {
		text += " " + s.world.name(id)
	}
	s.say(o, text)
}
