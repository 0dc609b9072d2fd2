package cli

import (
	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
)

func poolDelete(g *global) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use: "delete POOL --yes", Short: "Delete a pool that holds nothing", Args: cobra.ExactArgs(1),
		Long: "Delete a pool, for good. It must hold nothing: no volumes, none that were deleted and are kept " +
			"for their clones, and nothing that devices have still to give back of deleted ones. Its devices stay " +
			"in the cluster, and are free for other pools.",
		Example: "  ashlar volume delete disk1 --yes --wait && ashlar pool delete fast --yes",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			p, err := c.GetPool(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !sure {
				return usage("this deletes pool %s (%s on devices %s) for good; repeat with --yes", p.Name,
					codeText(p), numbers(p.Devices))
			}
			return c.DeletePool(cmd.Context(), p.Name, p.ETag)
		}),
	}
	c.Flags().BoolVar(&sure, "yes", false, "yes, delete it")
	return c
}
