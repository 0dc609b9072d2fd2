//go:build e2e

package chaos

import (
	"fmt"
	"regexp"
	"testing"

	model "github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/e2e/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// configuration is a cluster with the volumes under test.
type configuration struct {
	name    string // what the failure domains of most of its pools are
	long    bool   // not every day
	nodes   int
	disks   int      // of each node
	volumes []policy // one volume each
}

// policy is what a pool promises its volumes.
type policy struct {
	code         model.Code
	data, parity int
	domain       model.DomainLevel
}

// configurations lists them all. Workload and faults know of a pool only what [world.endures] looks at.
func configurations() []configuration {
	two := policy{model.CodeReplica, 1, 1, model.DomainNode}
	three := policy{model.CodeReplica, 1, 2, model.DomainNode}
	twoDisks := policy{model.CodeReplica, 1, 1, model.DomainDevice}
	threeDisks := policy{model.CodeReplica, 1, 2, model.DomainDevice}
	rs21 := policy{model.CodeRS, 2, 1, model.DomainNode}
	rs32 := policy{model.CodeRS, 3, 2, model.DomainNode}
	rs42 := policy{model.CodeRS, 4, 2, model.DomainDevice}
	rdp42 := policy{model.CodeRDP, 4, 2, model.DomainDevice}
	return []configuration{
		{name: "nodes", nodes: 3, disks: 1, volumes: []policy{two, rs21, three}},
		{name: "disks", nodes: 3, disks: 2, volumes: []policy{rs42, rdp42}},
		{name: "copies on disks", nodes: 3, disks: 2, long: true, volumes: []policy{two, twoDisks, threeDisks}},
		{name: "five nodes", nodes: 5, disks: 1, long: true, volumes: []policy{two, three, rs21, rs32}},
	}
}

// chooseConfigurations lists those that run today and that -chaos.pools leaves.
func chooseConfigurations(t *testing.T, long bool) (out []configuration) {
	t.Helper()
	only, err := regexp.Compile(*poolsFlag)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configurations() {
		if only.MatchString(c.name) && (long || !c.long) {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no configuration matches %q", *poolsFlag)
	}
	return out
}

// pool is the name of the pool with this policy.
func (p policy) pool() string {
	return fmt.Sprintf("%s-%d-%d-%s", p.code, p.data, p.parity, p.domain)
}

// pools of a configuration, each once.
func (c configuration) pools() (out []wire.PoolCreate) {
	made := map[policy]bool{}
	for _, p := range c.volumes {
		if !made[p] {
			out = append(out, wire.PoolCreate{Name: p.pool(), Code: p.code, Data: p.data, Parity: &p.parity,
				Domain: p.domain})
		}
		made[p] = true
	}
	return out
}

// endures says whether P1 promises that I/O of a volume goes on, with what is down, behind and dead now: a
// majority of the nodes is up, and of no page more columns are lost than its parity makes up for.
func (w *world) endures(v *volume) bool {
	up, lost := 0, 0
	for _, n := range w.cluster.Nodes {
		if w.state[n] != down {
			up++
		}
		hit := 0
		for _, d := range n.Disks {
			if w.state[n] != fine || w.dead[d] {
				hit++
			}
		}
		if v.policy.domain == model.DomainNode {
			hit = min(hit, 1)
		}
		lost += hit
	}
	return up > len(w.cluster.Nodes)/2 && lost <= v.policy.parity
}

// state of a node as the test knows it.
type state int

const (
	fine   state = iota
	behind       // up again, but it may lack data
	down         // killed, hung, or out of reach of the others
)

// kill, restart and the like keep the world's view of a node in step with what happens to it.

func (w *world) kill(n *cluster.Node) {
	n.Kill()
	w.state[n] = down
}

func (w *world) restart(n *cluster.Node) {
	n.Restart()
	w.state[n] = behind
}
