package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

// TestStories plays the scenarios of testdata: prose, commands, and what happens. Every command prints the
// events it caused; requests are on their way until a command delivers them.
//
//	volume copies=2 devices=2    a new volume, open; or closed, without owner
//	open [doubted=2] [patience=5] a new owner begins to open the volume; the one before goes on
//	run [owner=2]                deliver all, store records, until nothing is left to deliver
//	deliver device=1 [n=2]       deliver the oldest requests to a device
//	record [owner=1]             let an owner store the change of the record that it wants
//	tick [n=10]                  let time pass for the current owner
//	write|read|zero block=0 [blocks=1] | sector=3 sectors=2 [owner=1]
//	crash|hang|up|detach device=2
//	lose device=2 [owner=1] [carried-out | ghost]  a connection breaks: were its requests carried out?
//	part|heal device=2           cut the current owner off from a device
//	haunt                        the ghosts are carried out
//	rot|tear device=2 block=0    spoil the newest version as age, or a power cut, does
//	forget device=2 block=0      the device loses the newest version, against all promises
//	capacity device=2 n=3
//	show block=0                 what the devices hold
//	net                          what is on its way
//	state                        what the current owner thinks
func TestStories(t *testing.T) {
	tables := map[[2]int]*placement.Table{}
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s story
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) (out string) {
			defer func() {
				switch p := recover().(type) {
				case nil:
				case broken:
					out = "BROKEN: " + string(p) + "\n"
				default:
					panic(p)
				}
			}()
			if d.Cmd == "volume" {
				size := [2]int{number(t, d, "copies", 2), number(t, d, "devices", 2)}
				if tables[size] == nil {
					var err error
					if tables[size], err = testTable(size[0], size[1]); err != nil {
						t.Fatal(err)
					}
				}
				s.world = newWorld(nil, tables[size], size[1])
				if !d.HasArg("closed") {
					s.takeOver()
					s.run(s.current)
				}
				s.tracing = true
				return s.rows()
			}
			text := s.command(t, d)
			if text == "" {
				text = cmp.Or(strings.Join(s.trace, "\n"), "ok")
			}
			s.trace = s.trace[:0]
			return strings.TrimSuffix(text, "\n") + "\n"
		})
	})
}

type story struct{ *world }

// number is an argument of a command.
func number(t *testing.T, d *datadriven.TestData, key string, missing int) int {
	n := missing
	if d.HasArg(key) {
		d.ScanArgs(t, key, &n)
	}
	return n
}

func (s *story) rows() string {
	var out strings.Builder
	for page := range uint64(testPages) {
		row := s.cfg.Table.Row(placement.Group(s.cfg.Vol, page))
		fmt.Fprintf(&out, "blocks %d..%d on devices %v\n", page*pageBlocks, (page+1)*pageBlocks-1, row)
	}
	return out.String()
}

func (s *story) command(t *testing.T, d *datadriven.TestData) string {
	id := cluster.DeviceID(number(t, d, "device", 0))
	switch d.Cmd {
	case "open":
		s.cfg.Patience = number(t, d, "patience", 0)
		s.cfg.Awaited = map[cluster.DeviceID]bool{cluster.DeviceID(number(t, d, "awaited", 0)): true}
		s.cfg.Doubted = map[cluster.DeviceID]bool{cluster.DeviceID(number(t, d, "doubted", 0)): true}
		s.takeOver()
	case "run":
		if d.HasArg("owner") {
			s.run(s.ownerOf(t, d))
		} else {
			s.run(s.engines()...)
		}
	case "deliver":
		for range number(t, d, "n", 1) {
			s.deliver(slices.IndexFunc(s.net, func(p pending) bool { return p.device == id }))
		}
	case "record":
		s.record(s.ownerOf(t, d))
	case "tick":
		for range number(t, d, "n", 1) {
			s.current.Tick()
			s.drain(s.current)
		}
	case "write", "read", "zero":
		s.host(t, d)
	case "show":
		return s.show(uint64(number(t, d, "block", 0)))
	case "net":
		return s.pendings()
	case "state":
		return s.state()
	default:
		s.misfortune(t, d, id)
	}
	return ""
}

// run delivers everything that owners sent, oldest first, and stores what they want stored.
func (s *story) run(owners ...*Engine) {
	for again := true; again; {
		again = false
		for {
			i := slices.IndexFunc(s.net, func(p pending) bool { return slices.Contains(owners, p.owner) })
			if i < 0 {
				break
			}
			s.deliver(i)
		}
		for _, e := range owners {
			if s.records[e] != nil {
				s.record(e)
				again = true
			}
		}
	}
}

// ownerOf is the owner of an epoch, the current one when none is named.
func (s *story) ownerOf(t *testing.T, d *datadriven.TestData) *Engine {
	epoch := uint32(number(t, d, "owner", int(s.current.Epoch())))
	all := s.engines()
	return all[slices.IndexFunc(all, func(e *Engine) bool { return e.Epoch() == epoch })]
}

func (s *story) host(t *testing.T, d *datadriven.TestData) {
	kind := map[string]Kind{"read": Read, "write": Write, "zero": Zero}[d.Cmd]
	lba := number(t, d, "sector", number(t, d, "block", 0)*sectorsPerBlock)
	sectors := number(t, d, "sectors", number(t, d, "blocks", 1)*sectorsPerBlock)
	s.submit(s.ownerOf(t, d), kind, uint64(lba), uint32(sectors))
}

func (s *story) misfortune(t *testing.T, d *datadriven.TestData, id cluster.DeviceID) {
	dev := s.devices[id]
	here := func(l link) bool { return l.device == id }
	switch d.Cmd {
	case "crash":
		s.crash(id)
	case "hang":
		dev.up = false
		s.cut(here)
	case "up":
		dev.mend()
	case "detach":
		dev.served = false
	case "lose":
		owner := s.ownerOf(t, d)
		s.fate = map[bool]int{d.HasArg("carried-out"): 1, d.HasArg("ghost"): 2}[true]
		s.cut(func(l link) bool { return l == link{owner, id} })
		s.fate = 0
	case "haunt":
		for len(s.ghosts) > 0 {
			s.haunt(0)
		}
	case "part", "heal":
		s.parted[link{s.current, id}] = d.Cmd == "part"
		if d.Cmd == "part" {
			s.cut(func(l link) bool { return l == link{s.current, id} })
		}
	case "rot", "tear":
		page, offset := s.cfg.Geometry.Locate(uint64(number(t, d, "block", 0)))
		vs := dev.rows[rowKey{page, uint16(offset)}]
		v := &vs[len(vs)-1]
		v.state, v.data, v.rotten = chunk.Bad, nil, d.Cmd == "rot"
	case "forget":
		page, offset := s.cfg.Geometry.Locate(uint64(number(t, d, "block", 0)))
		k := rowKey{page, uint16(offset)}
		dev.rows[k] = dev.rows[k][:len(dev.rows[k])-1]
	case "capacity":
		dev.capacity, s.full = number(t, d, "n", 0), true
	default:
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
	}
}

func (s *story) show(block uint64) string {
	page, offset := s.cfg.Geometry.Locate(block)
	var out strings.Builder
	for _, id := range s.current.rowOf(page) {
		d := s.devices[id]
		fmt.Fprintf(&out, "device %d, residency %d:", id, d.residency)
		vs := d.rows[rowKey{page, uint16(offset)}]
		if len(vs) == 0 {
			out.WriteString(" absent")
		}
		for _, v := range vs {
			stable := ""
			if d.isStable(v.w) {
				stable = " stable"
			}
			fmt.Fprintf(&out, " [%v %s%s]", v.w, s.content(v), stable)
		}
		out.WriteString("\n")
	}
	return out.String()
}

// content names the writes a version is made of.
func (s *story) content(v version) string {
	switch v.state {
	case chunk.Bad:
		return "bad"
	case chunk.Tombstone:
		return "tombstone"
	}
	op := &Op{Kind: Read, Sectors: sectorsPerBlock, Data: v.data}
	return strings.TrimPrefix(s.found(op), ", ")
}

func (s *story) pendings() string {
	if len(s.net) == 0 {
		return "nothing"
	}
	var out []string
	for _, p := range s.net {
		out = append(out, strings.TrimSuffix(describe(p, chunk.OK), ": ok"))
	}
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(a[:1], b[:1]) })
	return strings.Join(out, "\n")
}

func (s *story) state() string {
	e := s.current
	out := []string{fmt.Sprintf("owner %d %s, stable %v, %s", e.Epoch(),
		map[mode]string{modeOpening: "opening", modeServing: "serving", modeStopped: "stopped"}[e.mode], e.stable(),
		recordText(s.owner))}
	for _, d := range e.order {
		out = append(out, fmt.Sprintf("device %d: %s", d.id, map[devState]string{devIn: "in", devSuspect: "suspect",
			devOut: "out", devResync: "resync"}[d.state]))
	}
	return strings.Join(out, "\n")
}
