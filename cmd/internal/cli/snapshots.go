package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func snapshotCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "snapshot", Short: "Volumes as they were at one moment",
		Long: "Volumes as they were at one moment: taken while hosts write, read by hosts as namespaces of their " +
			"own. Where a command takes a SNAPSHOT, give its id or VOLUME@NAME.",
	}
	c.AddCommand(snapshotCreate(g), snapshotList(g), snapshotShow(g), snapshotUpdate(g), snapshotDelete(g))
	c.AddCommand(snapshotExport().commands(g)...)
	return c
}

func snapshotCreate(g *global) *cobra.Command {
	var w words
	c := &cobra.Command{
		Use: "create VOLUME NAME", Short: "Take a snapshot of a volume, as it is now", Args: cobra.ExactArgs(2),
		Example: "  ashlar snapshot create disk1 before-upgrade --description 'kernel 6.12'",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			v, err := findVolume(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			opts := wire.SnapshotCreate{Volume: v.ID, Name: args[1], Description: w.description, Metadata: w.meta}
			if opts.ID, err = w.uuid("snapshot"); err != nil {
				return err
			}
			s, err := c.CreateSnapshot(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return g.print(cmd, s, snapshotTable(s))
		}),
	}
	w.flags(c.Flags())
	return c
}

func snapshotList(g *global) *cobra.Command {
	var schedule string
	var use client.Use
	c := &cobra.Command{
		Use: "list [VOLUME]", Short: "List the snapshots of a volume, or of all volumes",
		Args:    cobra.MaximumNArgs(1),
		Example: "  ashlar snapshot list disk1\n  ashlar snapshot list --schedule hourly",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			list, err := listSnapshots(cmd.Context(), c, args, schedule, use)
			if err != nil {
				return err
			}
			t := table{head: []string{"ID", "NAME", "VOLUME", "SIZE", "STATE", "CREATED", "HOSTS", "CLONES"}}
			for _, s := range list {
				t.add(s.ID, s.Name, s.Volume, bytesText(s.Size), s.State, s.Created, len(s.Hosts),
					s.Clones)
			}
			return g.print(cmd, list, t)
		}),
	}
	c.Flags().StringVar(&schedule, "schedule", "", "only those that this schedule has made: its name, or its "+
		"id when it is gone")
	useFlags(c.Flags(), &use)
	return c
}

// listSnapshots lists the snapshots of the volume that is named, or of all, or those of a schedule.
func listSnapshots(ctx context.Context, c *client.Client, volume []string, schedule string,
	use client.Use) ([]wire.Snapshot, error) {
	narrowed := use.Host != "" || len(use.Metadata) > 0
	switch {
	case len(volume) > 0 && narrowed:
		return nil, usage("--host and --meta are for the snapshots of all volumes: leave the volume out")
	case len(volume) > 0 && schedule != "":
		return nil, usage("a schedule is of one volume or group: leave the volume out")
	case len(volume) > 0:
		v, err := findVolume(ctx, c, volume[0])
		if err != nil {
			return nil, err
		}
		return c.AllSnapshotsOf(ctx, v.ID, "")
	case schedule == "":
		return c.FindSnapshots(ctx, client.SnapshotListOpts{Use: use})
	}
	id, err := cluster.ParseUUID(schedule)
	if err != nil {
		x, err := findSchedule(ctx, c, schedule)
		if err != nil {
			return nil, err
		}
		id = x.ID
	}
	return c.FindSnapshots(ctx, client.SnapshotListOpts{Schedule: id, Use: use})
}

func snapshotShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show SNAPSHOT", Short: "Show a snapshot", Args: cobra.ExactArgs(1),
		Example: "  ashlar snapshot show disk1@monday",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			s, err := findSnapshot(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return g.print(cmd, s, snapshotTable(s))
		}),
	}
}

// findSnapshot finds a snapshot by id, or by volume and name.
func findSnapshot(ctx context.Context, c *client.Client, ref string) (wire.Snapshot, error) {
	if id, err := cluster.ParseUUID(ref); err == nil {
		return c.GetSnapshot(ctx, id)
	}
	at := strings.LastIndex(ref, "@")
	if at < 0 {
		return wire.Snapshot{}, usage("%q is no snapshot: give its id, or VOLUME@NAME", ref)
	}
	v, err := findVolume(ctx, c, ref[:at])
	if err != nil {
		return wire.Snapshot{}, err
	}
	found, err := c.AllSnapshotsOf(ctx, v.ID, ref[at+1:])
	if err != nil {
		return wire.Snapshot{}, err
	}
	if len(found) == 0 {
		return wire.Snapshot{}, missing("volume %s has no snapshot %q; `ashlar snapshot list %s` shows them",
			v.Name, ref[at+1:], ref[:at])
	}
	return c.GetSnapshot(ctx, found[0].ID)
}

func snapshotTable(s wire.Snapshot) table {
	var t table
	t.add("ID", s.ID)
	t.add("NAME", s.Name)
	t.add("VOLUME", s.Volume)
	t.add("STATE", s.State)
	t.add("SIZE", fmt.Sprintf("%s (%d bytes)", bytesText(s.Size), s.Size))
	t.add("CLONES", s.Clones)
	if !s.Schedule.IsZero() {
		t.add("SCHEDULE", s.Schedule)
	}
	t.add("NQN", s.NQN)
	for _, h := range s.Hosts {
		t.add("HOST", h)
	}
	t.addWords(s.Description, s.Metadata)
	t.add("CREATED", s.Created)
	return t
}

// snapshotWords are what can be changed of a snapshot, or of one of a group.
type snapshotWords struct {
	newWords
	meta map[string]string
}

func (w *snapshotWords) flags(f *pflag.FlagSet) {
	w.newWords.flags(f)
	f.StringToStringVar(&w.meta, "meta", nil, "key=value pairs to keep with it instead of the present ones")
}

// update is the change that the flags ask for.
func (w *snapshotWords) update(f *pflag.FlagSet) wire.SnapshotUpdate {
	r := wire.SnapshotUpdate{Metadata: w.meta}
	w.set(f, &r.Name, &r.Description)
	return r
}

func snapshotUpdate(g *global) *cobra.Command {
	var words snapshotWords
	c := &cobra.Command{
		Use: "update SNAPSHOT", Short: "Rename or describe a snapshot", Args: cobra.ExactArgs(1),
		Example: "  ashlar snapshot update disk1@monday --name before-upgrade",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			s, err := findSnapshot(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if s, err = c.UpdateSnapshot(cmd.Context(), s.ID, words.update(cmd.Flags()), s.ETag); err != nil {
				return err
			}
			return g.print(cmd, s, snapshotTable(s))
		}),
	}
	words.flags(c.Flags())
	return c
}

func snapshotDelete(g *global) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use: "delete SNAPSHOT --yes", Short: "Delete a snapshot", Args: cobra.ExactArgs(1),
		Example: "  ashlar snapshot delete disk1@monday --yes",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			s, err := findSnapshot(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if !sure {
				return fmt.Errorf("this deletes snapshot %s (%s of volume %s, taken %s) for good; repeat with --yes",
					s.ID, s.Name, s.Volume, s.Created)
			}
			return c.DeleteSnapshot(cmd.Context(), s.ID, s.ETag)
		}),
	}
	c.Flags().BoolVar(&sure, "yes", false, "yes, delete it")
	return c
}
