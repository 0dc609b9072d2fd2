package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/placement"
)

func placementCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "placement", Short: "Where data would lie"}
	c.AddCommand(placementSimulate(g))
	return c
}

func placementSimulate(g *global) *cobra.Command {
	var s scenario
	var file string
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Compute the group tables of a pool and what changes would move",
		Long: "Compute the group tables of a pool and what each change moves, on this machine and without a " +
			"cluster. The pool is described by flags (nodes are numbered from 1, the devices of node 3 are 301, " +
			"302 and so on), or by a file with a pool record and its changes. FILL is what the fullest and " +
			"the emptiest device have, in parts of what their weights ask for; CAPPED are devices whose failure " +
			"domains cannot hold what their weights ask for.",
		Example: "  ashlar placement simulate --nodes 6 --data 2 --parity 1 --change add-node " +
			"--change fail-device=201\n" +
			"  ashlar placement simulate --nodes 4 --weights 100,50 --change reweight=101:80 -o json\n" +
			"  ashlar placement simulate --file pool.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pool, err := s.pool()
			if file != "" {
				pool, err = readPool(file)
			}
			if err != nil {
				return err
			}
			steps, err := simulate(pool)
			if err != nil {
				return err
			}
			return g.print(cmd, steps, stepsTable(steps))
		},
	}
	f := c.Flags()
	f.IntVar(&s.nodes, "nodes", 3, "number of nodes")
	f.IntVar(&s.perNode, "devices-per-node", 4, "number of devices of each node")
	f.UintSliceVar(&s.weights, "weights", []uint{100}, "weights of the devices, repeated over them")
	f.IntVar(&s.data, "data", 1, "data chunks per page")
	f.IntVar(&s.parity, "parity", 1, "parity chunks, or further copies, per page")
	f.StringVar(&s.domain, "domain", "node", "az, rack, node or device; racks have two nodes, zones four")
	f.BoolVar(&s.relax, "relax", false, "with too few domains, let chunks meet in one, at the next level apart")
	f.StringArrayVar(&s.changes, "change", nil, "add-device[=NODE], add-node, fail-device[=DEVICE], "+
		"remove-node[=NODE] or reweight=DEVICE:WEIGHT; several are made one after the other")
	f.StringVar(&file, "file", "", "a pool record (data, parity, domain, members, changes) in place of flags")
	return c
}

// readPool reads a pool record. Only what placement looks at has to be there.
func readPool(path string) (*cluster.Pool, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("pool record: %w", err)
	}
	pool := new(cluster.Pool)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(pool); err != nil {
		return nil, fmt.Errorf("pool record %s: %w", path, err)
	}
	return pool, nil
}

// step is a table and what the change before it did.
type step struct {
	Table     uint32           `json:"table"`
	Sum       string           `json:"sum"`
	Change    cluster.Change   `json:"change,omitzero"`
	Moved     int              `json:"moved"`
	Minimum   int              `json:"minimum"`
	Ratio     float64          `json:"ratio,omitempty"` // moved / minimum
	Fullest   float64          `json:"fullest"`
	Emptiest  float64          `json:"emptiest"`
	Capped    int              `json:"capped"`
	PerDomain int              `json:"chunks_per_domain"`
	Devices   []placement.Fill `json:"devices"`
}

// simulate computes the first table of a pool and folds its history.
func simulate(pool *cluster.Pool) ([]step, error) {
	first := *pool
	first.Changes = nil
	table, err := placement.New(&first)
	if err != nil {
		return nil, err
	}
	steps := []step{stepOf(table)}
	for _, c := range pool.Changes {
		next, err := table.Fold(c)
		if err != nil {
			return nil, err
		}
		s := stepOf(next)
		s.Change = c
		if s.Moved, s.Minimum = placement.Moves(table, next); s.Minimum > 0 {
			s.Ratio = float64(s.Moved) / float64(s.Minimum)
		}
		steps = append(steps, s)
		table = next
	}
	return steps, nil
}

func stepOf(t *placement.Table) step {
	s := step{Table: t.Number(), Sum: fmt.Sprintf("%016x", t.Sum()), PerDomain: t.PerDomain(),
		Devices: t.Balance()}
	for i, d := range s.Devices {
		fill := d.Share / d.Wanted
		if i == 0 {
			s.Emptiest = fill
		}
		s.Fullest, s.Emptiest = max(s.Fullest, fill), min(s.Emptiest, fill)
		if d.Wanted > d.Cap {
			s.Capped++
		}
	}
	return s
}

func stepsTable(steps []step) table {
	t := table{head: []string{"TABLE", "CHANGE", "DEVICES", "MOVED", "MINIMUM", "RATIO", "FILL", "CAPPED",
		"SUM"}}
	for _, s := range steps {
		ratio := ""
		if s.Ratio > 0 {
			ratio = fmt.Sprintf("%.3f", s.Ratio)
		}
		t.add(s.Table, changeText(s.Change), len(s.Devices), s.Moved, s.Minimum, ratio,
			fmt.Sprintf("%.3f..%.3f", s.Emptiest, s.Fullest), s.Capped, s.Sum)
	}
	return t
}

func changeText(c cluster.Change) string {
	var devices []string
	for _, m := range c.Members {
		text := fmt.Sprint(m.Device)
		if c.Kind == cluster.ChangeReweight {
			text += fmt.Sprintf(":%d", m.Weight)
		}
		devices = append(devices, text)
	}
	return strings.TrimSpace(string(c.Kind) + " " + strings.Join(devices, ","))
}

// scenario is a pool as flags describe it.
type scenario struct {
	nodes, perNode, data, parity int
	weights                      []uint
	domain                       string
	relax                        bool
	changes                      []string
}

// mostPerNode keeps device numbers of the form node*100 + device apart.
const mostPerNode = 99

func (s *scenario) pool() (*cluster.Pool, error) {
	switch {
	case s.nodes < 1 || s.perNode < 1 || s.nodes > cluster.MaxMembers/s.perNode:
		return nil, usage("--nodes and --devices-per-node: 1 to %d devices can be simulated",
			cluster.MaxMembers)
	case s.perNode > mostPerNode:
		return nil, usage("--devices-per-node must be at most %d", mostPerNode)
	case len(s.weights) == 0:
		return nil, usage("--weights must name a weight")
	}
	levels := []cluster.DomainLevel{cluster.DomainAZ, cluster.DomainRack, cluster.DomainNode,
		cluster.DomainDevice}
	if !slices.Contains(levels, cluster.DomainLevel(s.domain)) {
		return nil, usage("--domain %q is none of az, rack, node, device", s.domain)
	}
	p := &cluster.Pool{Name: "simulated", Data: s.data, Parity: s.parity, Domain: cluster.DomainLevel(s.domain),
		Relax: s.relax}
	for n := 1; n <= s.nodes; n++ {
		p.Members = append(p.Members, s.node(n)...)
	}
	for _, text := range s.changes {
		roster, err := p.Roster()
		if err != nil {
			return nil, err
		}
		c, err := s.change(text, roster)
		if err != nil {
			return nil, fmt.Errorf("--change %q: %w", text, err)
		}
		p.Changes = append(p.Changes, c)
	}
	return p, nil
}

func (s *scenario) node(n int) []cluster.Member {
	var out []cluster.Member
	for i := range s.perNode {
		out = append(out, s.member(n, i+1))
	}
	return out
}

func (s *scenario) member(node, device int) cluster.Member {
	weight := s.weights[((node-1)*s.perNode+device-1)%len(s.weights)]
	return cluster.Member{Device: cluster.DeviceID(100*node + device),
		Weight: uint32(min(weight, cluster.MaxWeight+1)), // one that is too large stays too large
		Domain: fmt.Sprintf("az%d/rack%d/%d", (node-1)/4+1, (node-1)/2+1, node)}
}

// change reads a change; what is left out is the next node, or the last one and its first device.
func (s *scenario) change(text string, r *cluster.Roster) (c cluster.Change, err error) {
	kind, argument, given := strings.Cut(text, "=")
	last := int(r.Members[len(r.Members)-1].Device) / 100
	for _, m := range r.Members {
		last = max(last, int(m.Device)/100)
	}
	number, weight := 0, uint64(0)
	if kind == "reweight" {
		var w string
		argument, w, _ = strings.Cut(argument, ":")
		if weight, err = strconv.ParseUint(w, 10, 32); err != nil {
			return c, errors.New("must be reweight=DEVICE:WEIGHT")
		}
	}
	if given {
		n, err := parseNumber[uint32]("node or device", argument)
		if err != nil {
			return c, err
		}
		number = int(n)
	}
	switch kind {
	case "add-device":
		return cluster.Change{Kind: cluster.ChangeAdd, Members: []cluster.Member{s.newDevice(number, last, r)}}, nil
	case "add-node":
		return cluster.Change{Kind: cluster.ChangeAdd, Members: s.node(last + 1)}, nil
	case "fail-device":
		if !given {
			number = 100*last + 1
		}
		return cluster.Change{Kind: cluster.ChangeFail, Members: []cluster.Member{
			{Device: cluster.DeviceID(number)}}}, nil
	case "remove-node":
		if !given {
			number = last
		}
		c.Kind = cluster.ChangeRemove
		for _, m := range r.Present() {
			if int(m.Device)/100 == number {
				c.Members = append(c.Members, cluster.Member{Device: m.Device})
			}
		}
		return c, nil
	case "reweight":
		return cluster.Change{Kind: cluster.ChangeReweight, Members: []cluster.Member{
			{Device: cluster.DeviceID(number), Weight: uint32(weight)}}}, nil
	}
	return c, errors.New("is none of add-device, add-node, fail-device, remove-node, reweight")
}

// newDevice is the next device of a node, of the last one if none is named.
func (s *scenario) newDevice(node, last int, r *cluster.Roster) cluster.Member {
	if node == 0 {
		node = last
	}
	device := 1
	for _, m := range r.Members {
		if int(m.Device)/100 == node {
			device = max(device, int(m.Device)%100+1)
		}
	}
	return s.member(node, device)
}
