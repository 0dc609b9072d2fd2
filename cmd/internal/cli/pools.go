package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func poolCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "pool", Short: "Policies that volumes are placed by"}
	c.AddCommand(poolCreate(g), poolList(g), poolShow(g))
	return c
}

func poolCreate(g *global) *cobra.Command {
	var copies int
	var domain, chunk, unit, description string
	var devices []uint
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a pool that keeps whole copies",
		Long: "Create a pool that keeps whole copies of every volume, no two of them in one failure domain. A " +
			"pool's devices are fixed when it is made: the ones named, or all that are online now.",
		Example: "  ashlar pool create fast --copies 3\n  ashlar pool create scratch --copies 1 --device 1,2",
		Args:    cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			if copies < 1 {
				return errors.New("--copies must be at least 1")
			}
			parity := copies - 1
			opts := wire.PoolCreate{Name: args[0], Parity: &parity, Domain: cluster.DomainLevel(domain),
				Description: description}
			for _, d := range devices {
				opts.Devices = append(opts.Devices, cluster.DeviceID(d))
			}
			for _, s := range []struct {
				text string
				to   *uint32
			}{{chunk, &opts.ChunkSize}, {unit, &opts.StripeUnit}} {
				if s.text == "" {
					continue
				}
				n, err := ParseSize(s.text)
				if err != nil || n != uint64(uint32(n)) {
					return fmt.Errorf("%q is no size below 4 GiB", s.text)
				}
				*s.to = uint32(n)
			}
			p, err := c.CreatePool(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return g.print(cmd, p, poolTable(p))
		}),
	}
	f := c.Flags()
	f.IntVar(&copies, "copies", 2, "whole copies of everything, 1 to 3")
	f.StringVar(&domain, "domain", "", "az, rack, node or device: no two copies in one (default node)")
	f.UintSliceVar(&devices, "device", nil, "numbers of the devices (default: all that are online)")
	f.StringVar(&chunk, "chunk-size", "", "unit of placement, power of two from 64KiB to 1MiB (default 256KiB)")
	f.StringVar(&unit, "stripe-unit", "", "power of two from 4KiB to the chunk size (default 16KiB)")
	f.StringVar(&description, "description", "", "for people")
	return c
}

func poolList(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the pools", Args: cobra.NoArgs,
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			pools, err := c.AllPools(cmd.Context())
			if err != nil {
				return err
			}
			t := table{head: []string{"POOL", "CODE", "DOMAIN", "DEVICES", "VOLUMES", "TOTAL", "FREE", "PROVISIONED"}}
			for _, p := range pools {
				t.add(p.Name, codeText(p), p.Domain, len(p.Devices), p.Volumes, bytesText(p.Capacity.Total),
					bytesText(p.Capacity.Free), bytesText(p.Capacity.Provisioned))
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

func poolShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show POOL", Short: "Show a pool", Args: cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			p, err := c.GetPool(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return g.print(cmd, p, poolTable(p))
		}),
	}
}

func poolTable(p wire.Pool) table {
	var t table
	t.add("POOL", p.Name)
	t.add("DESCRIPTION", p.Description)
	t.add("CODE", codeText(p))
	t.add("DOMAIN", p.Domain)
	t.add("CHUNK SIZE", bytesText(uint64(p.ChunkSize)))
	t.add("STRIPE UNIT", bytesText(uint64(p.StripeUnit)))
	t.add("DEVICES", numbers(slices.Sorted(slices.Values(p.Devices))))
	t.add("VOLUMES", p.Volumes)
	t.add("TOTAL", bytesText(p.Capacity.Total))
	t.add("FREE", bytesText(p.Capacity.Free))
	t.add("PROVISIONED", bytesText(p.Capacity.Provisioned))
	t.add("CREATED", p.Created)
	return t
}
