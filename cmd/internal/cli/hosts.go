package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func hostCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "host", Short: "Hosts that attach volumes",
		Long: "Hosts that attach volumes, named by their NQNs: what they may attach, and where they are " +
			"connected. `ashlar volume allow` lets one in.",
	}
	c.AddCommand(hostList(g), hostShow(g), hostRevoke(g))
	return c
}

func hostList(g *global) *cobra.Command {
	var o client.HostListOpts
	c := &cobra.Command{
		Use: "list", Short: "List the hosts that may attach something, or are connected", Args: cobra.NoArgs,
		Example: "  ashlar host list --connected",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			hosts, err := c.FindHosts(cmd.Context(), o)
			if err != nil {
				return err
			}
			t := table{head: []string{"HOST", "MAY ATTACH", "CONNECTED TO", "NODES"}}
			for _, h := range hosts {
				t.add(h.NQN, len(h.Access), attached(h), numbers(nodesOf(h)))
			}
			if len(hosts) > 0 {
				silent(cmd, hosts[0])
			}
			return g.print(cmd, hosts, t)
		}),
	}
	c.Flags().BoolVar(&o.Connected, "connected", false, "only hosts that are connected")
	return c
}

func hostShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show HOST", Short: "Show what a host may attach, and where it is connected", Args: cobra.ExactArgs(1),
		Example: "  ashlar host show \"$(cat " + HostNQNFile + ")\"",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			h, err := c.GetHost(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			silent(cmd, h)
			return g.print(cmd, h, hostTable(h))
		}),
	}
}

func hostRevoke(g *global) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use: "revoke HOST --yes", Short: "Take everything from a host; its connections are closed",
		Args: cobra.ExactArgs(1), Example: "  ashlar host revoke \"$(cat " + HostNQNFile + ")\" --yes",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			if !sure {
				h, err := c.GetHost(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return usage("this takes %d volumes and snapshots from host %s, which is connected to %d of them; "+
					"repeat with --yes", len(h.Access), h.NQN, attached(h))
			}
			return c.RevokeHost(cmd.Context(), args[0])
		}),
	}
	c.Flags().BoolVar(&sure, "yes", false, "yes, take them")
	return c
}

// silent names the nodes that did not say who is connected to them.
func silent(cmd *cobra.Command, h wire.Host) {
	if len(h.Missing) > 0 {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "not asked who is connected: node %s\n", numbers(h.Missing))
	}
}

// nodesOf lists the nodes that a host is connected to.
func nodesOf(h wire.Host) (out []cluster.NodeID) {
	for _, c := range h.Connections { // in order of nodes
		if n := len(out); n == 0 || out[n-1] != c.Node {
			out = append(out, c.Node)
		}
	}
	return out
}

// attached counts the volumes and snapshots that a host is connected to, by however many nodes.
func attached(h wire.Host) int {
	found := map[string]bool{}
	for _, c := range h.Connections {
		found[c.NQN] = true
	}
	return len(found)
}

func hostTable(h wire.Host) table {
	var t table
	t.add("HOST", h.NQN)
	for _, a := range h.Access {
		what, id := "volume", a.Volume
		if !a.Snapshot.IsZero() {
			what, id = "snapshot", a.Snapshot
		}
		t.add("MAY ATTACH", fmt.Sprintf("%s %s (%s)", what, id, a.Name))
	}
	for _, c := range h.Connections {
		t.add("CONNECTED", fmt.Sprintf("to %s at node %d from %s since %s, %d I/O queues", c.NQN, c.Node, c.Address,
			c.Since, c.Queues))
	}
	return t
}

func hostNames(ctx context.Context, c *client.Client) ([]string, error) {
	hosts, err := c.FindHosts(ctx, client.HostListOpts{})
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = h.NQN
	}
	return out, err
}
