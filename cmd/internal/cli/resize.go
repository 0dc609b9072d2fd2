package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func volumeResize(g *global) *cobra.Command {
	var shrink, discard, wait bool
	c := &cobra.Command{
		Use: "resize VOLUME SIZE", Short: "Grow or shrink a volume; hosts notice at once", Args: cobra.ExactArgs(2),
		Long: "Grow a volume, or with --shrink cut off what it has behind its new size, for good. A volume does " +
			"not shrink while hosts may use it, while it has snapshots or clones, or if there is data in what " +
			"would be cut off, unless --discard-data says that it may go.",
		Example: "  ashlar volume resize disk1 20GiB\n  ashlar volume resize disk1 +10GiB\n" +
			"  ashlar volume resize disk1 10GiB --shrink --wait",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			text, more := strings.CutPrefix(args[1], "+")
			size, err := ParseSize(text)
			if err != nil {
				return err
			}
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if more {
				size += v.Size
			}
			cut := size < v.Size
			if cut && !shrink {
				return usage("the volume has %s; --shrink cuts off what lies behind %s, for good",
					bytesText(v.Size), bytesText(size))
			}
			u := wire.VolumeUpdate{Size: &size, AllowShrink: shrink, DiscardData: discard}
			if v, err = c.UpdateVolume(cmd.Context(), v.ID, u, client.IfMatch(v.ETag)); err != nil {
				return err
			}
			if wait && cut { // which may be done by now
				return g.awaitTask(cmd, c, wire.TaskShrink, v.ID)
			}
			return g.print(cmd, v, volumeTable(v))
		}),
	}
	c.Flags().BoolVar(&shrink, "shrink", false, "the volume may get smaller")
	c.Flags().BoolVar(&discard, "discard-data", false, "with --shrink: although data is cut off")
	waitFlag(c, &wait)
	return c
}
