package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func volumeCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "volume", Short: "Block devices shown to hosts",
		Long: "Block devices shown to hosts. Where a command takes a VOLUME, give its id, its name, or " +
			"pool/name when several pools have one of that name.",
	}
	c.AddCommand(volumeCreate(g), volumeList(g), volumeShow(g), volumeUpdate(g), volumeResize(g),
		volumeDelete(g), volumeDisconnect(g), volumeSpace(g), volumeStats(g), volumeQoS(g), volumeRevert(g),
		volumeFlatten(g), volumeMove(g), volumeHome(g))
	c.AddCommand(volumeExport().commands(g)...)
	return c
}

func volumeCreate(g *global) *cobra.Command {
	var w words
	var from origin
	var opts wire.VolumeCreate
	c := &cobra.Command{
		Use: "create NAME", Short: "Create a volume, or a clone", Args: cobra.ExactArgs(1),
		Long: "Create a volume, empty or as a snapshot or another volume is. A clone can be used at once: it " +
			"shares the blocks of its source until it writes its own. The source may be deleted at any time.",
		Example: "  ashlar volume create disk1 --pool fast --size 10GiB\n" +
			"  ashlar volume create disk2 --from-snapshot disk1@monday\n" +
			"  ashlar volume create disk3 --from-volume disk1 --size 20GiB",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			opts.Name, opts.Description, opts.Metadata = args[0], w.description, w.meta
			err := from.apply(cmd.Context(), c, &opts)
			if err != nil {
				return err
			}
			if opts.ID, err = w.uuid("volume"); err != nil {
				return err
			}
			v, err := c.CreateVolume(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return g.print(cmd, v, volumeTable(v))
		}),
	}
	f := c.Flags()
	from.flags(f)
	w.flags(f)
	projectFlag(f, &opts.Project)
	f.StringVar(&opts.Encryption, "encryption", "",
		"aes-256-xts or none (default: as the pool says, or the source)")
	f.StringVar(&opts.Compression, "compression", "", "s2 or none (default: as the pool says)")
	f.StringVar(&opts.Provisioning, "provisioning", "", "thin or thick: its whole size is set aside (default: "+
		"as the pool says)")
	f.BoolVar(&opts.ReadOnly, "read-only", false, "hosts may not write to it")
	c.MarkFlagsMutuallyExclusive("from-snapshot", "from-volume")
	return c
}

func volumeList(g *global) *cobra.Command {
	var o client.VolumeListOpts
	var of string
	c := &cobra.Command{
		Use: "list", Short: "List the volumes", Args: cobra.NoArgs,
		Example: "  ashlar volume list --pool fast --health degraded\n" +
			"  ashlar volume list --clones-of disk1@monday\n  ashlar volume list --meta team=shop -o name",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			if of != "" {
				s, err := findSnapshot(cmd.Context(), c, of)
				if err != nil {
					return err
				}
				o.Snapshot = s.ID
			}
			volumes, err := c.FindVolumes(cmd.Context(), o)
			if err != nil {
				return err
			}
			t := table{head: []string{"ID", "NAME", "PROJECT", "POOL", "SIZE", "HEALTH", "OWNER", "HOSTS", "STATE",
				"CREATED", "PARENT", "NQN"}, wide: 4}
			for _, v := range volumes {
				t.add(v.ID, v.Name, v.Project, v.Pool, bytesText(v.Size), v.Health, ownerText(v), len(v.Hosts), v.State,
					v.Created, parentText(v), v.NQN)
			}
			return g.print(cmd, volumes, t)
		}),
	}
	c.Flags().StringVar(&o.Pool, "pool", "", "only volumes of this pool")
	c.Flags().StringVar(&o.Project, "project", "", "only volumes of this project")
	c.Flags().StringVar(&of, "clones-of", "", "only volumes that began as this snapshot: its id, or VOLUME@NAME")
	c.Flags().StringVar((*string)(&o.Health), "health", "",
		"only those that are ok, degraded, moving or unknown")
	useFlags(c.Flags(), &o.Use)
	c.Flags().BoolVar(&o.Hidden, "hidden", false, "instead those that were deleted and are kept for clones")
	return c
}

func ownerText(v wire.Volume) string {
	if v.Owner == nil {
		return ""
	}
	if to := v.Owner.MovingTo; to != 0 {
		return fmt.Sprintf("node %d, to be node %d", v.Owner.Gateway, to)
	}
	return fmt.Sprintf("node %d", v.Owner.Gateway)
}

// parentText is the volume that a clone began as.
func parentText(v wire.Volume) string {
	if v.Parent == nil {
		return ""
	}
	return v.Parent.Volume.String()
}

func volumeShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show VOLUME", Short: "Show a volume", Args: cobra.ExactArgs(1),
		Example: "  ashlar volume show disk1\n  ashlar volume show disk1 --watch   # while it heals",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return g.print(cmd, v, volumeTable(v))
		}),
	}
}

// findVolume finds a volume by id, name or pool/name.
func findVolume(ctx context.Context, c *client.Client, ref string) (wire.Volume, error) {
	if id, err := cluster.ParseUUID(ref); err == nil {
		return c.GetVolume(ctx, id)
	}
	pool, name, ok := strings.Cut(ref, "/")
	if !ok {
		pool, name = "", ref
	}
	found, err := c.AllVolumes(ctx, name, pool)
	switch {
	case err != nil:
		return wire.Volume{}, err
	case len(found) == 0:
		return wire.Volume{}, missing("there is no volume %q; `ashlar volume list` shows them", ref)
	case len(found) > 1:
		return wire.Volume{}, usage("%d volumes are called %q: say pool/name, or give the id", len(found),
			ref)
	}
	return c.GetVolume(ctx, found[0].ID)
}

func encryptionText(v wire.Volume) string {
	if v.ClusterKey == "" {
		return v.Encryption + ", its key was destroyed"
	}
	return v.Encryption + ", wrapped by cluster key " + v.ClusterKey
}

func compressionText(v wire.Volume) string {
	if v.Stored == 0 {
		return v.Compression
	}
	return fmt.Sprintf("%s, %d %% of what was written since its owner began is stored", v.Compression, v.Stored)
}

func volumeTable(v wire.Volume) table {
	var t table
	t.add("ID", v.ID)
	t.add("NAME", v.Name)
	if v.Project != "" {
		t.add("PROJECT", v.Project)
	}
	t.add("POOL", v.Pool)
	t.add("SIZE", fmt.Sprintf("%s (%d bytes)", bytesText(v.Size), v.Size))
	t.add("HEALTH", v.Health)
	t.add("STATE", v.State)
	t.add("OWNER", ownerText(v))
	if v.Home != nil {
		t.add("HOME", cmp.Or(*v.Home, "none"))
	}
	t.add("NQN", v.NQN)
	t.add("PROVISIONING", v.Provisioning)
	if v.ReadOnly {
		t.add("ACCESS", "read-only")
	}
	if v.QoS != nil {
		t.add("LIMITS", qosText(v.QoS))
	}
	if v.Encryption != cluster.EncryptionNone {
		t.add("ENCRYPTION", encryptionText(v))
	}
	if v.Compression != cluster.CompressionNone {
		t.add("COMPRESSION", compressionText(v))
	}
	if p := v.Parent; p != nil {
		t.add("PARENT", fmt.Sprintf("volume %s, as of snapshot %s", p.Volume, p.Snapshot))
		if p.Flatten != nil {
			t.add("FLATTEN", flattenText(p.Flatten))
		}
	}
	if r := v.Revert; r != nil {
		t.add("REVERTED", fmt.Sprintf("to snapshot %s, asked for %s", r.Snapshot, r.Asked))
	}
	if x := v.Shrink; x != nil {
		t.add("SHRINKS", fmt.Sprintf("to %s, %s: %s of %s", bytesText(x.Size), x.State, bytesText(x.Done),
			bytesText(x.Total)))
	}
	for _, why := range v.Reasons {
		t.add("WHY", why)
	}
	if h := v.Healing; h != nil && h.Copied > 0 {
		t.add("COPIED", bytesText(h.Copied)+" brought home or moved")
	}
	for _, h := range v.Hosts {
		t.add("HOST", h)
	}
	t.addWords(v.Description, v.Metadata)
	t.add("CREATED", v.Created)
	return t
}

func volumeUpdate(g *global) *cobra.Command {
	var w newWords
	var meta newMeta
	var readOnly bool
	var provisioning string
	c := &cobra.Command{
		Use: "update VOLUME", Short: "Rename, describe or write protect a volume", Args: cobra.ExactArgs(1),
		Long: "Rename or describe a volume. It keeps its id and NQN, so hosts that use it notice nothing. With " +
			"--read-only hosts are told at once that it is write protected, and their writes are refused, until " +
			"--read-only=false.",
		Example: "  ashlar volume update disk1 --name db1\n" +
			"  ashlar volume update db1 --description 'orders' --meta team=shop --unset-meta owner\n" +
			"  ashlar volume update db1 --read-only",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			u := wire.VolumeUpdate{Provisioning: provisioning, Metadata: meta.patch()}
			w.set(cmd.Flags(), &u.Name, &u.Description)
			if cmd.Flags().Changed("read-only") {
				u.ReadOnly = &readOnly
			}
			if v, err = c.UpdateVolume(cmd.Context(), v.ID, u, client.IfMatch(v.ETag)); err != nil {
				return err
			}
			return g.print(cmd, v, volumeTable(v))
		}),
	}
	f := c.Flags()
	w.flags(f)
	meta.flags(f)
	f.StringVar(&provisioning, "provisioning", "", "thin, or thick: its whole size is set aside")
	f.BoolVar(&readOnly, "read-only", false, "hosts may not write to it")
	return c
}

func volumeDelete(g *global) *cobra.Command {
	var sure, snapshots, erase, wait bool
	c := &cobra.Command{
		Use: "delete VOLUME --yes", Short: "Delete a volume and its data", Args: cobra.ExactArgs(1),
		Long: "Delete a volume and its data. It is gone at once; its space comes back in the background, and " +
			"`ashlar task list --kind purge` shows how far that is. With --erase its data key is " +
			"destroyed, too, so that nobody reads what media still hold; every device confirms that nothing of the " +
			"volume is left, and `ashlar events --kind volume.erased` shows the proof.",
		Example: "  ashlar volume delete disk1 --yes --wait\n  ashlar volume delete secret --erase --wait --yes",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if !sure {
				return usage("this deletes volume %s (%s/%s, %s) and its data for good; repeat with --yes",
					v.ID, v.Pool, v.Name, bytesText(v.Size))
			}
			remove := c.DeleteVolume
			switch {
			case erase && snapshots:
				return usage("delete its snapshots first: they share the key that --erase destroys")
			case erase:
				remove = c.EraseVolume
			case snapshots:
				remove = c.DeleteVolumeAndSnapshots
			}
			if err := remove(cmd.Context(), v.ID, v.ETag); err != nil || !wait {
				return err
			}
			if erase {
				return g.awaitTask(cmd, c, wire.TaskErase, v.ID)
			}
			return g.awaitPurge(cmd, c, v.ID)
		}),
	}
	c.Flags().BoolVar(&snapshots, "with-snapshots", false, "delete its snapshots, too")
	c.Flags().BoolVar(&erase, "erase", false, "destroy the data key of an encrypted volume")
	c.Flags().BoolVar(&wait, "wait", false, "wait until devices have given its space back")
	c.Flags().BoolVar(&sure, "yes", false, "yes, delete the data")
	return c
}
