package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// origin is the flags that say what a volume begins as, and where and how large it is: one or the other has
// to be given.
type origin struct{ snapshot, volume, pool, size string }

func (o *origin) flags(f *pflag.FlagSet) {
	f.StringVar(&o.pool, "pool", "", "pool to place it in; a clone is in that of its source")
	f.StringVar(&o.size, "size", "", "size, such as 10GiB; a multiple of 4 KiB (of a clone: as its source)")
	f.StringVar(&o.snapshot, "from-snapshot", "", "begin as this snapshot: its id, or VOLUME@NAME")
	f.StringVar(&o.volume, "from-volume", "", "begin as this volume is now: its id or name")
}

// apply says it in a request.
func (o *origin) apply(ctx context.Context, c *client.Client, r *wire.VolumeCreate) (err error) {
	if o.snapshot == "" && o.volume == "" && (o.pool == "" || o.size == "") {
		return usage("say --pool and --size, or --from-snapshot or --from-volume")
	}
	r.Pool = o.pool
	if o.size != "" {
		if r.Size, err = ParseSize(o.size); err != nil {
			return err
		}
	}
	switch {
	case o.snapshot != "":
		s, err := findSnapshot(ctx, c, o.snapshot)
		r.Source = &wire.Source{Snapshot: s.ID}
		return err
	case o.volume != "":
		v, err := findVolume(ctx, c, o.volume)
		r.Source = &wire.Source{Volume: v.ID}
		return err
	}
	return nil
}

func volumeFlatten(g *global) *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use: "flatten VOLUME", Short: "Make a clone independent of its parent", Args: cobra.ExactArgs(1),
		Long: "Make a clone independent of its parent: what it shares is copied in the background, while hosts " +
			"use it. Snapshots of the clone that are older keep the parent until they are deleted.",
		Example: "  ashlar volume flatten disk2\n  ashlar volume flatten disk2 --wait   # shows how far it is",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if v, err = c.FlattenVolume(cmd.Context(), v.ID, client.IfMatch(v.ETag)); err != nil {
				return err
			}
			if wait {
				return g.awaitTask(cmd, c, wire.TaskFlatten, v.ID)
			}
			return g.print(cmd, v, volumeTable(v))
		}),
	}
	waitFlag(c, &wait)
	return c
}

func flattenText(f *wire.Flatten) string {
	if f.Pinned {
		return "done; snapshots from before keep the parent"
	}
	return bytesText(f.Done) + " of " + bytesText(f.Total)
}
