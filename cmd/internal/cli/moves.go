package cli

import (
	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
)

func volumeMove(g *global) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "move VOLUME --to NODE", Short: "Have another node serve a volume", Args: cobra.ExactArgs(1),
		Long: "Have another node serve a volume, under the eyes of its hosts: their multipath goes on by way of " +
			"that node, after a pause of milliseconds as a rule. Data does not move.",
		Example: "  ashlar volume move disk1 --to node2",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			n, err := findNode(cmd.Context(), c, to)
			if err != nil {
				return err
			}
			if v, err = c.MoveVolume(cmd.Context(), v.ID, n.Number); err != nil {
				return err
			}
			return g.print(cmd, v, volumeTable(v))
		}),
	}
	c.Flags().StringVar(&to, "to", "", "the node: its name or number")
	_ = c.MarkFlagRequired("to")
	_ = c.RegisterFlagCompletionFunc("to", func(cmd *cobra.Command, _ []string, _ string) ([]string,
		cobra.ShellCompDirective) {
		return g.offer(cmd, nodeNames)
	})
	return c
}

func volumeHome(g *global) *cobra.Command {
	var at string
	var reset bool
	c := &cobra.Command{
		Use: "home VOLUME", Short: "Say which nodes are to serve a volume", Args: cobra.ExactArgs(1),
		Long: "Say which nodes are to serve a volume, instead of what its pool says (`ashlar pool update`). They " +
			"take it over when one of them has been well for a minute, and are the first to do so when its owner " +
			"dies. While none of them is there the nearest other node serves it.",
		Example: "  ashlar volume home disk1 --at az1/rack2\n" +
			"  ashlar volume home disk1 --at az1/rack2/3   # node 3\n" +
			"  ashlar volume home disk1 --at ''   # none\n  ashlar volume home disk1 --as-pool",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if match := client.IfMatch(v.ETag); reset {
				v, err = c.ResetVolumeHome(cmd.Context(), v.ID, match)
			} else {
				v, err = c.SetVolumeHome(cmd.Context(), v.ID, at, match)
			}
			if err != nil {
				return err
			}
			return g.print(cmd, v, volumeTable(v))
		}),
	}
	c.Flags().StringVar(&at, "at", "", "their failure domain: az, az/rack or az/rack/node number")
	c.Flags().BoolVar(&reset, "as-pool", false, "let what the pool says count again")
	c.MarkFlagsOneRequired("at", "as-pool")
	c.MarkFlagsMutuallyExclusive("at", "as-pool")
	return c
}
