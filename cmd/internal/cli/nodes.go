package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func nodeCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "Servers that run ashlard"}
	c.AddCommand(nodeList(g), nodeShow(g), nodeJoinToken(g), nodeLog(g))
	return c
}

func nodeList(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the nodes", Args: cobra.NoArgs,
		Example: "  ashlar node list\n  ashlar node list -o wide",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			nodes, err := c.AllNodes(cmd.Context())
			if err != nil {
				return err
			}
			t := table{head: []string{"NODE", "NAME", "STATUS", "DOMAIN", "DEVICES", "VOTER", "ETCD", "HOSTS", "API",
				"UUID", "JOINED"}, wide: 2}
			for _, n := range nodes {
				t.add(n.Number, n.Name, n.Status, n.Domain, numbers(n.Devices), yes(n.Voter), yes(n.EtcdMember),
					n.Addresses.Host, n.Addresses.REST, n.UUID, n.Joined)
			}
			return g.print(cmd, nodes, t)
		}),
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func nodeShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show NODE", Short: "Show a node, by number or name", Args: cobra.ExactArgs(1),
		Example: "  ashlar node show 2 --watch",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			n, err := findNode(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			var t table
			t.add("NODE", n.Number)
			t.add("NAME", n.Name)
			t.add("STATUS", n.Status)
			t.add("UUID", n.UUID)
			t.add("NQN", n.NQN)
			t.add("DOMAIN", n.Domain)
			t.add("DEVICES", numbers(n.Devices))
			t.add("VOTER", yes(n.Voter))
			t.add("ETCD MEMBER", yes(n.EtcdMember))
			t.add("FOR HOSTS", n.Addresses.Host)
			t.add("DISCOVERY", n.Addresses.Discovery)
			t.add("BETWEEN NODES", n.Addresses.Peer)
			t.add("API", n.Addresses.REST)
			t.add("JOINED", n.Joined)
			return g.print(cmd, n, t)
		}),
	}
}

// findNode finds a node by number or name.
func findNode(ctx context.Context, c *client.Client, ref string) (wire.Node, error) {
	if n, err := parseNumber[cluster.NodeID]("node", ref); err == nil {
		return c.GetNode(ctx, n)
	}
	p, err := c.ListNodes(ctx, client.NodeListOpts{Name: ref})
	if err != nil {
		return wire.Node{}, err
	}
	if len(p.Items) == 0 {
		return wire.Node{}, missing("there is no node %q; `ashlar node list` shows them", ref)
	}
	return p.Items[0], nil
}

func nodeJoinToken(g *global) *cobra.Command {
	var name string
	var expires time.Duration
	c := &cobra.Command{
		Use: "join-token", Short: "Make a token that admits one node, once", Args: cobra.NoArgs,
		Long: "Make a token that admits one node, once. Its secret is printed on standard output and cannot be " +
			"shown again; what to do with it is printed on standard error.",
		Example: "  ashlar node join-token --expires 10m > token && scp token new-node:",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			if expires < time.Second {
				return usage("--expires must be at least one second")
			}
			tok, err := c.CreateToken(cmd.Context(), wire.TokenCreate{Name: name, Role: "join",
				ExpiresSeconds: int64(expires / time.Second)})
			if err != nil {
				return err
			}
			ctx, err := g.use()
			if err != nil {
				return err
			}
			if g.structured() {
				return g.print(cmd, tok, table{})
			}
			trust := ""
			if ctx.CA != "" {
				fingerprint, err := issuerFingerprint(cmd.Context(), c, ctx.CA)
				if err != nil {
					return err
				}
				trust = " --ca-fingerprint " + fingerprint
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "On the new node, within %v:\n  ASHLARD_TOKEN=<the token below> "+
				"ashlard run --join %s%s\n", expires, strings.Join(ctx.Endpoints, ","), trust)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), tok.Secret)
			return err
		}),
	}
	c.Flags().StringVar(&name, "name", "node", "what the token is for, for people")
	c.Flags().DurationVar(&expires, "expires", time.Hour, "how long it may be used")
	return c
}

func nodeLog(g *global) *cobra.Command {
	var level string
	c := &cobra.Command{
		Use: "log NODE [--level LEVEL]", Short: "Show how much a node logs, or change it",
		Args: cobra.ExactArgs(1),
		Long: "Show how much a node logs, or change it until the node starts again: error, warning, info or " +
			"debug.",
		Example: "  ashlar node log node2\n  ashlar node log node2 --level debug",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			n, err := findNode(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			l := wire.Logging{Level: level}
			if level == "" {
				l, err = c.GetLogging(cmd.Context(), n.Number)
			} else {
				l, err = c.PutLogging(cmd.Context(), n.Number, l)
			}
			if err != nil {
				return err
			}
			var t table
			t.add("NODE", n.Number)
			t.add("LEVEL", l.Level)
			return g.print(cmd, l, t)
		}),
	}
	c.Flags().StringVar(&level, "level", "", "error, warning, info or debug")
	_ = c.RegisterFlagCompletionFunc("level", cobra.FixedCompletions(
		[]string{"error", "warning", "info", "debug"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func deviceCommand(g *global) *cobra.Command {
	c := &cobra.Command{Use: "device", Short: "Disks and files that nodes manage"}
	c.AddCommand(deviceAdd(g), deviceList(g), deviceShow(g), deviceFail(g), deviceRemove(g),
		deviceScrub(g), deviceStats(g))
	return c
}

func deviceAdd(g *global) *cobra.Command {
	var size string
	c := &cobra.Command{
		Use:   "add NODE PATH",
		Short: "Add the disk or file at PATH of a node",
		Long: "Add the disk or file at PATH of a node. It must be empty: what holds a file system or another " +
			"cluster's data is refused. With --size a file of that size is made when nothing is at PATH.",
		Example: "  ashlar device add node1 /dev/disk/by-id/nvme-eui.0025385\n" +
			"  ashlar device add 2 /srv/ashlar/disk0 --size 8GiB",
		Args: cobra.ExactArgs(2),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			n, err := findNode(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			opts := wire.DeviceCreate{Node: n.Number, Path: args[1]}
			if size != "" {
				if opts.Size, err = ParseSize(size); err != nil {
					return err
				}
			}
			d, err := c.CreateDevice(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return g.print(cmd, d, deviceTable(d))
		}),
	}
	c.Flags().StringVar(&size, "size", "", "size of the file to make, such as 8GiB")
	return c
}

func deviceList(g *global) *cobra.Command {
	var node string
	c := &cobra.Command{
		Use: "list", Short: "List the devices", Args: cobra.NoArgs,
		Example: "  ashlar device list --node node2\n  ashlar device list -o wide --watch",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			var of cluster.NodeID
			if node != "" {
				n, err := findNode(cmd.Context(), c, node)
				if err != nil {
					return err
				}
				of = n.Number
			}
			devices, err := c.AllDevices(cmd.Context(), of)
			if err != nil {
				return err
			}
			t := table{head: []string{"DEVICE", "NODE", "STATE", "SIZE", "FREE", "HEALTHY", "PATH", "BAD BLOCKS",
				"SCRUB", "UUID"}, wide: 3}
			for _, d := range devices {
				free, healthy, bad := "", "unknown", ""
				if d.Stats != nil {
					free, healthy = bytesText(d.Stats.Free), yes(d.Stats.Healthy)
					bad = fmt.Sprint(d.Stats.Bad)
				}
				t.add(d.Number, d.Node, d.State, bytesText(d.Size), free, healthy, d.Path, bad, scrubText(d),
					d.UUID)
			}
			return g.print(cmd, devices, t)
		}),
	}
	c.Flags().StringVar(&node, "node", "", "only devices of this node (number or name)")
	return c
}

func deviceShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show DEVICE", Short: "Show a device, by number", Args: cobra.ExactArgs(1),
		Example: "  ashlar device show 3",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			number, err := parseNumber[cluster.DeviceID]("device", args[0])
			if err != nil {
				return err
			}
			d, err := c.GetDevice(cmd.Context(), number)
			if err != nil {
				return err
			}
			return g.print(cmd, d, deviceTable(d))
		}),
	}
}

func deviceTable(d wire.Device) table {
	var t table
	t.add("DEVICE", d.Number)
	t.add("UUID", d.UUID)
	t.add("NODE", d.Node)
	t.add("PATH", d.Path)
	t.add("STATE", d.State)
	t.add("SIZE", fmt.Sprintf("%s (%d bytes)", bytesText(d.Size), d.Size))
	t.add("WEIGHT", strconv.FormatUint(uint64(d.Weight), 10)+" x 64 MiB")
	if s := d.Stats; s != nil {
		t.add("USED", bytesText(s.Used)+" of "+bytesText(s.Total))
		t.add("ENGINE", s.Engine)
		t.add("VOLATILE CACHE", yes(s.VolatileCache))
		t.add("HEALTHY", joined(yes(s.Healthy), s.Error))
		t.add("BAD BLOCKS", s.Bad)
		t.add("SCRUB", scrubText(d))
		t.add("UPDATED", s.Updated)
	}
	return t
}
