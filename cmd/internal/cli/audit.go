package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func auditCommand(g *global) *cobra.Command {
	var node string
	var last int
	c := &cobra.Command{
		Use: "audit", Short: "Show who changed what",
		Long: "Show the last calls that may have changed something, oldest first, of all nodes that answer. Each " +
			"node keeps those that it served: the last thousand for this command, more in audit.log in its data " +
			"directory.",
		Example: "  ashlar audit --last 20\n  ashlar audit --node node2 -o json",
		Args:    cobra.NoArgs,
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			if last < 1 || last > 1000 {
				return fmt.Errorf("--last: %d is not in 1 to 1000", last)
			}
			nodes, err := c.AllNodes(cmd.Context())
			if err != nil {
				return err
			}
			var all []wire.AuditRecord
			for _, n := range nodes {
				if node != "" && node != n.Name && node != fmt.Sprint(n.Number) {
					continue
				}
				p, err := c.ListAudit(cmd.Context(), n.Number, client.ListOpts{Limit: last})
				if client.Is(err, wire.Unavailable) && node == "" {
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "node %d does not answer; what it served is missing\n", n.Number)
					continue
				}
				if err != nil {
					return err
				}
				all = append(all, p.Items...)
			}
			slices.SortStableFunc(all, func(a, b wire.AuditRecord) int { return strings.Compare(a.Time, b.Time) })
			all = all[max(0, len(all)-last):]
			return g.print(cmd, all, auditTable(all))
		}),
	}
	c.Flags().StringVar(&node, "node", "", "only what this node served")
	c.Flags().IntVar(&last, "last", 100, "how many")
	return c
}

func auditTable(records []wire.AuditRecord) table {
	t := table{head: []string{"TIME", "WHO", "ROLE", "PROJECT", "FROM", "ACTION", "SUBJECT", "STATUS",
		"REQUEST"}}
	for _, r := range records {
		outcome := fmt.Sprint(r.Status)
		if r.Code != "" {
			outcome += " " + string(r.Code)
		}
		who := r.Name
		if who == "" {
			who = r.Caller
		}
		t.add(r.Time, who, r.Role, r.Project, r.From, r.Action, r.Subject, outcome, r.RequestID)
	}
	return t
}
