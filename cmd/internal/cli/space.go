package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func volumeSpace(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "space VOLUME", Short: "Show what a volume and each of its snapshots take",
		Args: cobra.ExactArgs(1),
		Long: "Show what a volume and each of its snapshots take: EXCLUSIVE is shown by nothing else, so " +
			"deleting the snapshot frees it; SHARED is shown by the volume or another snapshot, too. Both are of " +
			"data; RAW is what lies on devices, with parities or all copies. All devices count now; those that " +
			"could not are named, and what they keep is in no figure.",
		Example: "  ashlar volume space disk1\n  ashlar volume space disk1 -o json",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			s, err := c.GetVolumeSpace(cmd.Context(), v.ID)
			if err != nil {
				return err
			}
			for _, m := range s.Missing {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "not counted: device %d of node %d: %s\n", m.Device, m.Node,
					m.Reason)
			}
			return g.print(cmd, s, spaceTable(v.Name, s))
		}),
	}
}

func spaceTable(volume string, s wire.VolumeSpace) table {
	t := table{head: []string{"SHOWN BY", "EXCLUSIVE", "SHARED", "RAW EXCLUSIVE", "RAW SHARED"}}
	add := func(who string, h wire.Holding) {
		t.add(who, bytesText(h.Exclusive.Data), bytesText(h.Shared.Data), bytesText(h.Exclusive.Raw),
			bytesText(h.Shared.Raw))
	}
	add(volume, s.Present)
	for _, x := range s.Snapshots {
		who := volume + "@" + x.Name
		if x.Hidden {
			who = "(deleted, kept for clones)"
		}
		add(who, x.Holding)
	}
	t.add("(snapshots alone)", bytesText(s.Pinned.Data), "", bytesText(s.Pinned.Raw), "")
	t.add("(nobody, comes back)", bytesText(s.Reclaimable.Data), "", bytesText(s.Reclaimable.Raw), "")
	return t
}
