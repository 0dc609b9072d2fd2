package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func poolUpdate(g *global) *cobra.Command {
	var ratio float64
	var u wire.PoolUpdate
	var home string
	var balance bool
	c := &cobra.Command{
		Use: "update POOL", Short: "Change how volumes of a pool are provisioned, compressed and spread",
		Args: cobra.ExactArgs(1),
		Long: "Change how volumes of a pool are provisioned. A thick volume has its whole size set aside; thin " +
			"ones share the rest, and may together be as many times larger as --overcommit says. What is there " +
			"already stays as it is: a volume is compressed for good, or never. --home says which nodes are to " +
			"serve the volumes, --balance whether they are spread evenly over nodes; volumes move for that " +
			"under the eyes of their hosts.",
		Example: "  ashlar pool update fast --overcommit 3\n" +
			"  ashlar pool update fast --overcommit 0   # not bounded\n" +
			"  ashlar pool update db --provisioning thick\n" +
			"  ashlar pool update logs --compression s2\n" +
			"  ashlar pool update fast --home az1/rack2   # none: --home ''\n" +
			"  ashlar pool update fast --balance=false",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			if cmd.Flags().Changed("overcommit") {
				u.Overcommit = &ratio
			}
			if cmd.Flags().Changed("home") {
				u.Home = &home
			}
			if cmd.Flags().Changed("balance") {
				u.Balance = &balance
			}
			p, err := c.UpdatePool(cmd.Context(), args[0], u)
			if err != nil {
				return err
			}
			return g.print(cmd, p, poolTable(p))
		}),
	}
	c.Flags().StringVar(&u.Provisioning, "provisioning", "",
		"thin or thick, of volumes made from now on that do not say otherwise")
	c.Flags().StringVar(&u.Compression, "compression", "",
		"s2 or none, of volumes made from now on that do not say otherwise")
	c.Flags().Float64Var(&ratio, "overcommit", 0, "1 to 1000, or 0: not bounded")
	c.Flags().StringVar(&home, "home", "", "failure domain whose nodes serve the volumes that do not say "+
		"otherwise: az, az/rack or az/rack/node number")
	c.Flags().BoolVar(&balance, "balance", false, "spread the volumes evenly over the nodes")
	return c
}

// provisionedText is what the volumes of a pool ask for, and what bounds it.
func provisionedText(p wire.Pool) string {
	text := bytesText(p.Capacity.Provisioned)
	if p.Capacity.Reserved > 0 {
		text += fmt.Sprintf(", of which %s are set aside for thick volumes", bytesText(p.Capacity.Reserved))
	}
	if p.Overcommit == 0 {
		return text + "; over-commit not bounded"
	}
	return text + fmt.Sprintf("; over-commit ratio %g", p.Overcommit)
}
