package stripe

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestPlans prints the plans of testdata/plan.txt. A command names the shape, a line of its input is a
// case:
//
//	read n+p        WANTED [without MISSING]
//	write n+p       [full COLUMNS] [part COLUMNS] [without MISSING]
//	resolve n+p     SET STATES    H has w, o old, . missing; | is for the eye
func TestPlans(t *testing.T) {
	datadriven.RunTest(t, "testdata/plan.txt", func(t *testing.T, d *datadriven.TestData) string {
		var n, p int
		if _, err := fmt.Sscanf(d.CmdArgs[0].Key, "%d+%d", &n, &p); err != nil {
			d.Fatalf(t, "%q: %v", d.CmdArgs[0].Key, err)
		}
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			words := strings.Fields(line)
			fmt.Fprintf(&out, "%s: ", strings.Join(words, " "))
			var plan fmt.Stringer
			var err error
			switch d.Cmd {
			case "read":
				plan, err = PlanRead(n, p, columns(t, words[0]), columns(t, after(words, "without")))
			case "write":
				plan, err = PlanWrite(n, p, columns(t, after(words, "full")), columns(t, after(words, "part")),
					columns(t, after(words, "without")))
			case "resolve":
				plan = Resolve(n, p, columns(t, words[0]), columnStates(t, words[1]))
			default:
				d.Fatalf(t, "unknown command %q", d.Cmd)
			}
			if err != nil {
				fmt.Fprintf(&out, "error: %v\n", err)
				continue
			}
			fmt.Fprintf(&out, "%v\n", plan)
		}
		return out.String()
	})
}

func after(words []string, key string) string {
	for i, w := range words[:len(words)-1] {
		if w == key {
			return words[i+1]
		}
	}
	return "-"
}

func columns(t *testing.T, text string) (s Cols) {
	if text == "-" {
		return 0
	}
	for part := range strings.SplitSeq(text, ",") {
		c, err := strconv.Atoi(part)
		if err != nil {
			t.Fatalf("columns %q: %v", text, err)
		}
		s |= ColsOf(c)
	}
	return s
}

func columnStates(t *testing.T, text string) (out []ColumnState) {
	for _, r := range strings.ReplaceAll(text, "|", "") {
		switch r {
		case 'H':
			out = append(out, Has)
		case 'o':
			out = append(out, Old)
		case '.':
			out = append(out, Missing)
		default:
			t.Fatalf("state %q", r)
		}
	}
	return out
}

// drawShape draws a shape that is small enough to try every set of n columns.
func drawShape(t *rapid.T) shape {
	codes := []cluster.Code{cluster.CodeReplica, cluster.CodeRS, cluster.CodeRDP}
	code := rapid.SampledFrom(codes).Draw(t, "code")
	switch code {
	case cluster.CodeReplica:
		return shape{code, 1, rapid.IntRange(0, maxParity).Draw(t, "p")}
	case cluster.CodeRDP:
		return shape{code, rapid.IntRange(1, 8).Draw(t, "n"), 2}
	}
	return shape{code, rapid.IntRange(1, 8).Draw(t, "n"), rapid.IntRange(0, maxParity).Draw(t, "p")}
}

func drawCols(t *rapid.T, from Cols, most int, label string) Cols {
	var s Cols
	for c := range from.All() {
		if s.Len() < most && rapid.Bool().Draw(t, label) {
			s |= ColsOf(c)
		}
	}
	return s
}

func drawBlock(t *rapid.T, label string) []byte {
	return bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, label), cluster.BlockSize/8)
}

// only keeps the columns of a set: the rest is nil, so whoever touches it fails.
func only(row [][]byte, set Cols) [][]byte {
	out := make([][]byte, len(row))
	for c := range set.All() {
		out[c] = bytes.Clone(row[c])
	}
	return out
}

// decode fills the columns of a set from those in have.
func decode(t *rapid.T, c Codec, row [][]byte, have, missing Cols) {
	for col := range missing.All() {
		row[col] = bytes.Repeat([]byte{0xee}, cluster.BlockSize)
	}
	if err := c.Reconstruct(row, have, missing); err != nil {
		t.Fatal(err)
	}
}

// TestPlansKeepRowsDecodable executes random plans on a row, with up to p columns missing at each. After
// every write, every set of n columns must decode to the same row, and reads must find what was written.
func TestPlansKeepRowsDecodable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawShape(t)
		c, err := NewCodec(s.code, s.n, s.p)
		if err != nil {
			t.Fatal(err)
		}
		data, all := FirstCols(s.n), FirstCols(s.n+s.p)
		row := make([][]byte, s.n+s.p)
		for i := range row {
			row[i] = make([]byte, cluster.BlockSize)
		}
		model := only(row, data)
		for range rapid.IntRange(1, 4).Draw(t, "writes") {
			missing := drawCols(t, all, s.p, "missing")
			full := drawCols(t, data, s.n, "full")
			partial := drawCols(t, data&^full, s.n, "partial")
			if full|partial == 0 {
				full = ColsOf(0)
			}
			plan, err := PlanWrite(s.n, s.p, full, partial, missing)
			if err != nil {
				t.Fatalf("%v: %v", s, err)
			}
			if plan.Read&missing != 0 {
				t.Fatalf("%v reads what is missing: %v", plan, missing)
			}
			fresh := drawChanges(t, model, full, partial)
			written := execute(t, s, c, plan, only(row, plan.Read), full, partial, fresh)
			for col := range plan.Write.All() {
				row[col] = written[col]
			}
			checkRow(t, s, c, row, model)

			want := drawCols(t, data, s.n, "want")
			missing = drawCols(t, all, s.p, "missing")
			read, err := PlanRead(s.n, s.p, want, missing)
			if err != nil {
				t.Fatal(err)
			}
			if read.Read&missing != 0 {
				t.Fatalf("%v reads what is missing: %v", read, missing)
			}
			got := only(row, read.Read)
			decode(t, c, got, read.Read, read.Decode)
			for col := range want.All() {
				if !bytes.Equal(got[col], model[col]) {
					t.Fatalf("%v: %v: column %d is wrong", s, read, col)
				}
			}
		}
	})
}

// drawChanges changes the model and gives the new bytes: whole blocks, and first halves of the partial
// ones.
func drawChanges(t *rapid.T, model [][]byte, full, partial Cols) [][]byte {
	fresh := make([][]byte, len(model))
	for col := range full.All() {
		fresh[col] = drawBlock(t, "block")
	}
	for col := range partial.All() {
		fresh[col] = drawBlock(t, "half")[:cluster.BlockSize/2]
	}
	for col := range (full | partial).All() {
		copy(model[col], fresh[col])
	}
	return fresh
}

// execute does what a plan says with the old blocks that it read, and gives the blocks to write.
func execute(t *rapid.T, s shape, c Codec, plan WritePlan, old [][]byte, full, partial Cols,
	fresh [][]byte) [][]byte {
	decode(t, c, old, plan.Read, plan.Decode)
	out := make([][]byte, len(old))
	for col := range FirstCols(s.n).All() {
		out[col] = bytes.Clone(old[col])
		if full.Has(col) {
			out[col] = bytes.Clone(fresh[col])
		} else if partial.Has(col) {
			copy(out[col], fresh[col])
		}
	}
	for i := range s.p {
		out[s.n+i] = make([]byte, cluster.BlockSize)
	}
	if plan.Mode != Delta {
		if s.p > 0 {
			c.Encode(out)
		}
		return out
	}
	for i := range s.p {
		copy(out[s.n+i], old[s.n+i])
	}
	for col := range (full | partial).All() {
		xorInto(old[col], out[col])
		c.Delta(col, old[col], out[s.n:])
	}
	return out
}

// checkRow decodes the row from every n of its columns.
func checkRow(t *rapid.T, s shape, c Codec, row, model [][]byte) {
	for have := Cols(0); have <= FirstCols(s.n+s.p); have++ {
		if have.Len() != s.n {
			continue
		}
		got := only(row, have)
		decode(t, c, got, have, FirstCols(s.n)&^have)
		for col := range FirstCols(s.n).All() {
			if !bytes.Equal(got[col], model[col]) {
				t.Fatalf("%v: from columns %v, column %d is wrong", s, have, col)
			}
		}
	}
}

// TestResolutions interrupts a row write, loses columns, and resolves. Forward must yield the new row
// from its sources and name what to complete; an acknowledged write goes forward while at most p columns
// are lost; and going back is only for what was not acknowledged.
func TestResolutions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawShape(t)
		c, err := NewCodec(s.code, s.n, s.p)
		if err != nil {
			t.Fatal(err)
		}
		all := FirstCols(s.n + s.p)
		set := drawCols(t, FirstCols(s.n), s.n, "set")
		if set == 0 {
			set = ColsOf(0)
		}
		writeSet := set | ParityCols(s.n, s.p)
		before, after := make([][]byte, s.n+s.p), make([][]byte, s.n+s.p)
		for col := range all.All() {
			before[col], after[col] = make([]byte, cluster.BlockSize), make([]byte, cluster.BlockSize)
			if set.Has(col) {
				after[col] = drawBlock(t, "new")
			}
		}
		c.Encode(after)
		done := writeSet
		if acked := rapid.Bool().Draw(t, "acked"); !acked {
			done = drawCols(t, writeSet, s.n+s.p, "done")
		}
		missing := drawCols(t, all, s.n+s.p, "missing")

		states, there := make([]ColumnState, s.n+s.p), make([][]byte, s.n+s.p)
		for col := range (all &^ missing).All() {
			states[col], there[col] = Old, before[col]
			if done.Has(col) {
				states[col], there[col] = Has, after[col]
			}
		}
		r := Resolve(s.n, s.p, set, states)
		acked, reachable := done == writeSet, (all &^ missing).Len()
		switch {
		case acked && missing.Len() <= s.p && r.Decision != Forward, acked && r.Decision == Back:
			t.Fatalf("%v: acknowledged, %v missing: %v", s, missing, r)
		case r.Decision == Undecided && reachable >= s.n:
			t.Fatalf("%v: %v missing: %v", s, missing, r)
		case r.Decision != Forward:
			return
		case r.Complete != writeSet&^(done&^missing) || s.p == 0 && r.Complete != 0:
			t.Fatalf("%v: done %v, missing %v: %v", s, done, missing, r)
		case s.p == 0:
			return
		case r.Sources.Len() != s.n:
			t.Fatalf("%v: %v", s, r)
		}
		got := only(there, r.Sources)
		decode(t, c, got, r.Sources, all&^r.Sources)
		for col := range all.All() {
			if !bytes.Equal(got[col], after[col]) {
				t.Fatalf("%v: set %v, done %v: %v: column %d is wrong", s, set, done, r, col)
			}
		}
	})
}

func TestBugsOfTheCallerPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"read a parity":     func() { _, _ = PlanRead(4, 2, ColsOf(4), 0) },
		"write a parity":    func() { _, _ = PlanWrite(4, 2, ColsOf(5), 0, 0) },
		"write nothing":     func() { _, _ = PlanWrite(4, 2, 0, 0, 0) },
		"full and in part":  func() { _, _ = PlanWrite(4, 2, ColsOf(1), ColsOf(1), 0) },
		"parity in the set": func() { Resolve(1, 1, ColsOf(1), make([]ColumnState, 2)) },
		"too few states":    func() { Resolve(1, 1, ColsOf(0), make([]ColumnState, 1)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
