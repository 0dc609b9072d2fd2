package home

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// TestStories plays what is in testdata. Commands:
//
//	nodes                     one a line: NUMBER PATH-ABOVE [sick] [diskless]
//	volumes                   one a line: VUID OWNER [home=PATH] [still] [fixed]
//	next                      what every node would take over now
//	settle                    nodes take over, in turn, what they would, until nobody wants anything
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		w := &world{nodes: map[cluster.NodeID]Node{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "nodes":
				w.setNodes(t, d.Input)
			case "volumes":
				w.setVolumes(t, d.Input)
			case "next":
				return w.next()
			case "settle":
				return w.settle(t)
			default:
				d.Fatalf(t, "no command is called %s", d.Cmd)
			}
			return ""
		})
	})
}

type world struct {
	nodes   map[cluster.NodeID]Node
	volumes []Volume
}

func (w *world) setNodes(t *testing.T, text string) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		var n Node
		if _, err := fmt.Sscan(f[0], &n.Number); err != nil {
			t.Fatal(err)
		}
		n.Path, n.Well, n.Storage = fmt.Sprintf("%s/%d", f[1], n.Number), true, true
		for _, word := range f[2:] {
			n.Well = n.Well && word != "sick"
			n.Storage = n.Storage && word != "diskless"
		}
		w.nodes[n.Number] = n
	}
}

func (w *world) setVolumes(t *testing.T, text string) {
	w.volumes = nil
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		v := Volume{Balance: true, Key: cluster.VolumeKey{Generation: 1}}
		if _, err := fmt.Sscan(f[0]+" "+f[1], &v.Key.VUID, &v.Owner); err != nil {
			t.Fatal(err)
		}
		for _, word := range f[2:] {
			if at, ok := strings.CutPrefix(word, "home="); ok {
				v.Home = at
			}
			v.Balance = v.Balance && word != "still"
			v.Fixed = v.Fixed || word == "fixed"
		}
		w.volumes = append(w.volumes, v)
	}
}

// turn is what one node would take over.
func (w *world) turn(n cluster.NodeID) (int, bool) {
	if !w.nodes[n].Well {
		return 0, false
	}
	view := View{Self: n, Nodes: w.nodes, Volumes: w.volumes}
	key, ok := view.Next()
	for i := range w.volumes {
		if ok && w.volumes[i].Key == key {
			return i, true
		}
	}
	return 0, false
}

func (w *world) next() string {
	var out strings.Builder
	for n := cluster.NodeID(1); int(n) <= len(w.nodes); n++ {
		if i, ok := w.turn(n); ok {
			fmt.Fprintf(&out, "node %d takes volume %d from node %d\n", n, w.volumes[i].Key.VUID,
				w.volumes[i].Owner)
		}
	}
	return out.String()
}

// fataler is a test, of rapid or of its own.
type fataler interface{ Fatal(args ...any) }

func (w *world) settle(t fataler) string {
	moves := 0
	for again := true; again; {
		again = false
		for n := cluster.NodeID(1); int(n) <= len(w.nodes); n++ {
			i, ok := w.turn(n)
			if !ok {
				continue
			}
			w.volumes[i].Owner = n
			again = true
			if moves++; moves > 10*len(w.volumes)+10 {
				t.Fatal("volumes move for ever")
			}
		}
	}
	out := fmt.Sprintf("%d moves\n", moves)
	for n := cluster.NodeID(1); int(n) <= len(w.nodes); n++ {
		out += fmt.Sprintf("node %d:", n)
		for _, v := range w.volumes {
			if v.Owner == n {
				out += fmt.Sprintf(" %d", v.Key.VUID)
			}
		}
		out += "\n"
	}
	return out
}

// TestVolumesComeToRest: whatever the cluster looks like, moves end; then every volume that may move is as
// near to its home as any well node is, and none of equal nearness has two volumes less than its owner.
func TestVolumesComeToRest(t *testing.T) {
	paths := []string{"a/r", "a/s", "b/r"}
	homes := []string{"", "a", "b", "a/r", "a/s", "c", "a/r/1", "b/r/2"}
	rapid.Check(t, func(t *rapid.T) {
		w := &world{nodes: map[cluster.NodeID]Node{}}
		for n := cluster.NodeID(1); int(n) <= rapid.IntRange(1, 7).Draw(t, "nodes"); n++ {
			w.nodes[n] = Node{Number: n, Path: fmt.Sprintf("%s/%d", rapid.SampledFrom(paths).Draw(t, "path"), n),
				Well: rapid.IntRange(0, 3).Draw(t, "well") > 0, Storage: rapid.IntRange(0, 5).Draw(t, "disks") > 0}
		}
		for i := range rapid.IntRange(0, 40).Draw(t, "volumes") {
			w.volumes = append(w.volumes, Volume{Key: cluster.VolumeKey{VUID: uint32(i + 1), Generation: 1},
				Owner:   cluster.NodeID(rapid.IntRange(1, len(w.nodes)).Draw(t, "owner")),
				Home:    rapid.SampledFrom(homes).Draw(t, "home"),
				Balance: rapid.Bool().Draw(t, "balance"), Fixed: rapid.IntRange(0, 9).Draw(t, "fixed") == 0})
		}
		before := w.volumes
		w.volumes = append([]Volume(nil), before...)
		w.settle(t)
		counts := map[cluster.NodeID]int{}
		for _, v := range w.volumes {
			counts[v.Owner]++
		}
		for i, v := range w.volumes {
			w.atRest(t, v, before[i], counts)
		}
	})
}

func (w *world) atRest(t *rapid.T, v, was Volume, counts map[cluster.NodeID]int) {
	if v.Fixed {
		if v.Owner != was.Owner {
			t.Fatalf("%+v moved from %d", v, was.Owner)
		}
		return
	}
	mine := cluster.Nearness(v.Home, w.nodes[v.Owner].Path)
	for _, n := range w.nodes {
		near := cluster.Nearness(v.Home, n.Path)
		if !n.Well || !n.Storage && near < levels {
			continue
		}
		if near > mine {
			t.Fatalf("%+v is nearer to node %d", v, n.Number)
		}
		if near == mine && v.Balance && counts[v.Owner] >= counts[n.Number]+2 {
			t.Fatalf("%+v could move to node %d; %v", v, n.Number, counts)
		}
	}
	if v.Owner != was.Owner && mine < cluster.Nearness(v.Home, w.nodes[was.Owner].Path) {
		t.Fatalf("%+v moved away from home: node %d", v, was.Owner)
	}
}

// BenchmarkNext looks for what to move among 10,000 volumes of 20 nodes, and finds nothing.
func BenchmarkNext(b *testing.B) {
	v := View{Self: 1, Nodes: map[cluster.NodeID]Node{}}
	for n := cluster.NodeID(1); n <= 20; n++ {
		v.Nodes[n] = Node{Number: n, Path: fmt.Sprintf("z%d/r%d/%d", n%3, n%6, n), Well: true, Storage: true}
	}
	for i := range 10_000 {
		v.Volumes = append(v.Volumes, Volume{Key: cluster.VolumeKey{VUID: uint32(i + 1), Generation: 1},
			Owner: cluster.NodeID(i%20 + 1), Balance: true})
	}
	for b.Loop() {
		if _, ok := v.Next(); ok {
			b.Fatal("it is level")
		}
	}
}
