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
			"that node, after a pause of milliseconds. Data does not move.",
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
