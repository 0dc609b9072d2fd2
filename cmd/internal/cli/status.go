package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// statusResult is what `ashlar status` prints.
type statusResult struct {
	Cluster *wire.Cluster `json:"cluster,omitempty"`
	Health  wire.Health   `json:"health"`
}

func statusCommand(g *global) *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use: "status", Aliases: []string{"health"}, Short: "Show how the cluster is", Args: cobra.NoArgs,
		Example: "  ashlar status --check && echo all well\n  ashlar status --watch",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			h, err := c.GetHealth(cmd.Context())
			if err != nil {
				return err
			}
			r := statusResult{Health: h}
			if h.Etcd.Status == wire.OK {
				cl, err := c.GetCluster(cmd.Context())
				if err != nil {
					return err
				}
				r.Cluster = &cl
			}
			if err := g.print(cmd, r, statusTable(r)); err != nil {
				return err
			}
			if check && h.Status != wire.OK {
				return fmt.Errorf("the cluster is %s", h.Status)
			}
			return nil
		}),
	}
	c.Flags().BoolVar(&check, "check", false, "fail unless all is well")
	return c
}

func statusTable(r statusResult) table {
	h := r.Health
	var t table
	t.add("STATUS", h.Status)
	if r.Cluster != nil {
		t.add("CLUSTER", strings.TrimSpace(r.Cluster.ID.String()+" "+r.Cluster.Name))
		t.add("MAP EPOCH", r.Cluster.Epoch)
	}
	t.add("ETCD", joined(string(h.Etcd.Status), h.Etcd.Detail))
	for _, n := range h.Nodes {
		t.add("NODE "+numbers([]uint32{uint32(n.Number)}), joined(n.Name+" "+string(n.Status), n.Detail))
	}
	t.add("DEVICES", fmt.Sprintf("%d of %d online", h.Devices.Online, h.Devices.Total))
	for _, d := range h.Devices.Bad {
		t.add("DEVICE "+strconv.FormatUint(uint64(d.Number), 10), joined(string(d.State)+" on node "+
			strconv.FormatUint(uint64(d.Node), 10), d.Detail))
	}
	t.add("VOLUMES", fmt.Sprintf("%d, %d of them degraded, %d moving, %d unknown", h.Volumes.Total,
		h.Volumes.Degraded, h.Volumes.Moving, h.Volumes.Unknown))
	for _, id := range h.Volumes.DegradedIDs {
		t.add("", id)
	}
	return t
}

func joined(text, detail string) string {
	if detail == "" {
		return text
	}
	return text + ": " + detail
}
