package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func volumeRevert(g *global) *cobra.Command {
	var to string
	var force, sure bool
	c := &cobra.Command{
		Use: "revert VOLUME --to SNAPSHOT --yes", Short: "Make a volume what one of its snapshots shows",
		Long: "Make a volume what one of its snapshots shows. What was written since goes; take a snapshot first " +
			"if there is to be a way back. The snapshot stays, and so do newer ones. The volume keeps its size. " +
			"Hosts must not have it mounted, and do not notice that its content changes.",
		Args: cobra.ExactArgs(1),
		Example: "  ashlar volume revert disk1 --to monday --yes\n" +
			"  ashlar volume revert disk1 --to disk1@monday --force --yes   # although there are newer ones",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			s, err := findSnapshotOf(cmd.Context(), c, v, args[0], to)
			if err != nil {
				return err
			}
			if !sure {
				return usage("this takes from volume %s (%s/%s) what was written to it since %s; repeat with --yes",
					v.ID, v.Pool, v.Name, s.Created)
			}
			v, err = c.RevertVolume(cmd.Context(), v.ID, wire.VolumeRevert{Snapshot: s.ID, Force: force},
				client.IfMatch(v.ETag))
			if err != nil {
				return err
			}
			return g.print(cmd, v, volumeTable(v))
		}),
	}
	f := c.Flags()
	f.StringVar(&to, "to", "", "the snapshot: its name, its id, or VOLUME@NAME")
	f.BoolVar(&force, "force", false, "although hosts may use the volume, or it has newer snapshots")
	f.BoolVar(&sure, "yes", false, "yes, give up what was written since")
	_ = c.MarkFlagRequired("to")
	return c
}

// findSnapshotOf finds a snapshot of a volume, called what it was called: it may be named without it.
func findSnapshotOf(ctx context.Context, c *client.Client, v wire.Volume, called, ref string) (wire.Snapshot,
	error) {
	if _, err := cluster.ParseUUID(ref); err != nil && !strings.Contains(ref, "@") {
		ref = called + "@" + ref
	}
	s, err := findSnapshot(ctx, c, ref)
	if err == nil && s.Volume != v.ID {
		err = usage("snapshot %s is one of volume %s", s.ID, s.Volume)
	}
	return s, err
}
