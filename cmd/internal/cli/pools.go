package cli

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func poolCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "pool", Short: "Policies that volumes are placed by"}
	c.AddCommand(poolCreate(g), poolList(g), poolShow(g), poolAddDevice(g), poolRemoveDevice(g), poolReweight(g),
		poolStats(g), poolWait(g), poolQoS(g), poolUpdate(g), poolDelete(g))
	return c
}

// poolFlags are the flags of `pool create`, as they were given.
type poolFlags struct {
	opts           wire.PoolCreate
	code, domain   string
	copies, parity int
	chunk, unit    string
	devices        []uint
}

func poolCreate(g *global) *cobra.Command {
	var p poolFlags
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a pool of whole copies or of an erasure code",
		Long: "Create a pool that keeps whole copies (--copies), or n data and p parity chunks of an erasure " +
			"code, no two of a page in one failure domain: any p of them may be lost. It is placed on the devices " +
			"named, or on all that are online now; others can join later.\n\n" +
			"A code needs n+p failure domains, and one more for every loss that is to be rebuilt elsewhere.",
		Example: "  ashlar pool create fast --copies 3\n" +
			"  ashlar pool create ec --code rs --data 4 --parity 2\n" +
			"  ashlar pool create ec42 --code rs --domain device   # one node, or few, with many disks",
		Args: cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			p.opts.Name = args[0]
			if err := p.complete(cmd); err != nil {
				return err
			}
			made, err := c.CreatePool(cmd.Context(), p.opts)
			if err != nil {
				return err
			}
			return g.print(cmd, made, poolTable(made))
		}),
	}
	f := c.Flags()
	f.IntVar(&p.copies, "copies", 2, "whole copies of everything, 1 to 4")
	f.StringVar(&p.code, "code", "", "replica (default), rs (Reed-Solomon) or rdp (row-diagonal parity)")
	f.IntVar(&p.opts.Data, "data", 0, "data chunks n of rs and rdp, 1 to 16 (default 4)")
	f.IntVar(&p.parity, "parity", 0, "parity chunks p of rs and rdp, 0 to 3 (default 2)")
	f.StringVar(&p.domain, "domain", "", "az, rack, node or device: no two chunks in one (default node)")
	f.BoolVar(&p.opts.Relax, "relax", false,
		"with too few domains, let chunks meet in one, in different domains of the level below")
	f.IntVar(&p.opts.MinColumns, "min-columns", 0,
		"columns that must be writable for a write to begin (default n)")
	f.UintSliceVar(&p.devices, "device", nil, "numbers of the devices (default: all that are online)")
	f.StringVar(&p.chunk, "chunk-size", "",
		"unit of placement, power of two from 64KiB to 1MiB (default 256KiB)")
	f.StringVar(&p.unit, "stripe-unit", "", "power of two from 4KiB to the chunk size (default 16KiB)")
	f.StringVar(&p.opts.Encryption, "encryption", "",
		"of volumes that do not say otherwise: aes-256-xts or none (default none)")
	f.StringVar(&p.opts.Compression, "compression", "",
		"of volumes that do not say otherwise: s2 or none (default none)")
	f.StringVar(&p.opts.Provisioning, "provisioning", "",
		"of volumes that do not say otherwise: thin (default) or thick")
	f.Float64Var(&p.opts.Overcommit, "overcommit", 0, "how much larger than what is free for them thin volumes "+
		"may be together, such as 3 (default 0: not bounded)")
	f.StringVar(&p.opts.Description, "description", "", "for people")
	return c
}

// complete turns the flags into a request.
func (p *poolFlags) complete(cmd *cobra.Command) error {
	given := func(flag string) bool { return cmd.Flags().Changed(flag) }
	p.opts.Code, p.opts.Domain = cluster.Code(p.code), cluster.DomainLevel(p.domain)
	whole := p.code == "" || p.opts.Code == cluster.CodeReplica
	switch {
	case p.copies < 1:
		return usage("--copies must be at least 1")
	case whole && (given("data") || given("parity")):
		return usage("--data and --parity are for --code rs and rdp; say --copies for whole copies")
	case !whole && given("copies"):
		return usage("--copies is for whole copies; say --data and --parity for a code")
	case whole:
		parity := p.copies - 1
		p.opts.Parity = &parity
	case given("parity"):
		p.opts.Parity = &p.parity
	}
	for _, d := range p.devices {
		p.opts.Devices = append(p.opts.Devices, cluster.DeviceID(d))
	}
	for _, s := range []struct {
		text string
		to   *uint32
	}{{p.chunk, &p.opts.ChunkSize}, {p.unit, &p.opts.StripeUnit}} {
		if s.text == "" {
			continue
		}
		n, err := ParseSize(s.text)
		if err != nil || n != uint64(uint32(n)) {
			return usage("%q is no size below 4 GiB", s.text)
		}
		*s.to = uint32(n)
	}
	return nil
}

func poolList(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the pools", Args: cobra.NoArgs, Example: "  ashlar pool list",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			pools, err := c.AllPools(cmd.Context())
			if err != nil {
				return err
			}
			t := table{head: []string{"POOL", "CODE", "DOMAIN", "DEVICES", "VOLUMES", "TOTAL", "FREE", "PROVISIONED",
				"CHUNK", "STRIPE UNIT", "DESCRIPTION"}, wide: 3}
			for _, p := range pools {
				t.add(p.Name, codeText(p), p.Domain, len(p.Devices), p.Volumes, bytesText(p.Capacity.Total),
					bytesText(p.Capacity.Free), bytesText(p.Capacity.Provisioned), bytesText(uint64(p.ChunkSize)),
					bytesText(uint64(p.StripeUnit)), p.Description)
			}
			return g.print(cmd, pools, t)
		}),
	}
}

func codeText(p wire.Pool) string {
	if p.Code == cluster.CodeReplica {
		return fmt.Sprintf("%d copies", p.Parity+1)
	}
	return fmt.Sprintf("%s %d+%d", p.Code, p.Data, p.Parity)
}

// shownPool is what `pool show` prints.
type shownPool struct {
	wire.Pool
	Balance wire.PoolBalance `json:"balance"`
}

func poolShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show POOL", Short: "Show a pool, how full its devices are and how far its volumes have moved",
		Args: cobra.ExactArgs(1), Example: "  ashlar pool show fast --watch   # how far a move is",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			p, err := c.GetPool(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			b, err := c.GetPoolBalance(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			t := poolTable(p)
			addBalance(&t, b)
			return g.print(cmd, shownPool{p, b}, t)
		}),
	}
}

func poolTable(p wire.Pool) table {
	var t table
	t.add("POOL", p.Name)
	t.add("DESCRIPTION", p.Description)
	t.add("CODE", codeText(p))
	t.add("DOMAIN", domainText(p))
	t.add("MIN COLUMNS", fmt.Sprintf("%d of %d", p.MinColumns, p.Data+p.Parity))
	t.add("CHUNK SIZE", bytesText(uint64(p.ChunkSize)))
	t.add("STRIPE UNIT", bytesText(uint64(p.StripeUnit)))
	t.add("ENCRYPTION", p.Encryption)
	t.add("COMPRESSION", p.Compression)
	if q := p.QoS; q != nil {
		t.add("LIMITS", "of each volume "+qosText(orEmpty(q.Volume))+"; of all "+qosText(orEmpty(q.Total)))
	}
	if p.Home != "" {
		t.add("HOME", p.Home)
	}
	if p.Balance {
		t.add("BALANCE", "volumes are spread evenly over the nodes")
	}
	t.add("DEVICES", numbers(slices.Sorted(slices.Values(p.Devices))))
	t.add("VOLUMES", volumesText(p))
	if h := p.Healing; h.Moving > 0 {
		t.add("MOVING", fmt.Sprintf("%d volumes to group table %d, %d of %d groups, %s copied", h.Moving, p.Table,
			h.Moved, h.Groups, bytesText(h.Copied)))
	}
	if len(p.Healing.Down) > 0 {
		t.add("NO ANSWER", "devices "+numbers(p.Healing.Down))
	}
	t.add("USABLE", fmt.Sprintf("%.0f %% of what is stored", 100*p.Usable))
	t.add("TOTAL", bytesText(p.Capacity.Total))
	t.add("USED", usedText(p.Capacity))
	t.add("FREE", freeText(p.Capacity))
	t.add("PROVISIONED", provisionedText(p))
	t.add("VOLUMES ARE", p.Provisioning+" unless they say otherwise")
	t.add("CREATED", p.Created)
	return t
}

// usedText says what of the space is on its way back.
func usedText(c wire.Capacity) string {
	text := bytesText(c.Used)
	if c.Returning > 0 {
		text += fmt.Sprintf(", of which %s of deleted volumes are being given back", bytesText(c.Returning))
	}
	return text
}

// freeText says what of the space a rebuild needs, and when there is too little for one.
func freeText(c wire.Capacity) string {
	text := bytesText(c.Free)
	switch {
	case c.Rebuild > c.Free:
		text += fmt.Sprintf("; too little to rebuild the largest failure domain (%s)", bytesText(c.Rebuild))
	case c.Rebuild > 0:
		text += fmt.Sprintf(", of which the largest failure domain needs %s to be rebuilt", bytesText(c.Rebuild))
	}
	return text
}

func domainText(p wire.Pool) string {
	text := fmt.Sprintf("%s: there are %d, %d needed", p.Domain, p.Domains.Present, p.Domains.Needed)
	if p.Domains.PerDomain > 1 {
		text += fmt.Sprintf(" (relaxed: up to %d chunks of a page in one)", p.Domains.PerDomain)
	}
	if p.Domains.Present == p.Domains.Needed && p.Parity > 0 {
		text += "; no spare: what is lost with one cannot be rebuilt elsewhere"
	}
	return text
}

func volumesText(p wire.Pool) string {
	text := strconv.Itoa(p.Volumes)
	for _, x := range []struct {
		n    int
		what string
	}{{p.Healing.Degraded, "degraded"}, {p.Healing.Moving, "moving"}, {p.Healing.Unknown, "unknown"}} {
		if x.n > 0 {
			text += fmt.Sprintf(", %d %s", x.n, x.what)
		}
	}
	return text
}

func addBalance(t *table, b wire.PoolBalance) {
	percent := func(x float64) string { return strconv.FormatFloat(100*x, 'f', 2, 64) + " %" }
	for _, d := range b.Devices {
		text := fmt.Sprintf("%s of all chunks, its weight %d asks for %s", percent(d.Share), d.Weight,
			percent(d.Wanted))
		if d.Cap < d.Wanted {
			text += fmt.Sprintf(", its domain allows %s", percent(d.Cap))
		}
		t.add("DEVICE "+strconv.FormatUint(uint64(d.Device), 10), text)
	}
	if m := b.LastChange; m != nil {
		t.add("LAST CHANGE", fmt.Sprintf("moves %s of all chunks, the minimum is %s",
			percent(float64(m.Moved)/float64(m.Slots)), percent(float64(m.Minimum)/float64(m.Slots))))
	}
}
