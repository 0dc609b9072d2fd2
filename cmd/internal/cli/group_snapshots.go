package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func groupSnapshot(g *global) *cobra.Command {
	var w words
	c := &cobra.Command{
		Use: "snapshot GROUP NAME", Short: "Take a snapshot of all volumes of a group, at one moment",
		Args:    cobra.ExactArgs(2),
		Example: "  ashlar group snapshot db before-upgrade",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			x, err := findGroup(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			r := wire.GroupSnapshotCreate{Group: x.ID, Name: args[1], Description: w.description, Metadata: w.meta}
			if r.ID, err = w.uuid("group snapshot"); err != nil {
				return err
			}
			s, err := c.CreateGroupSnapshot(cmd.Context(), r)
			if err != nil {
				return err
			}
			return g.print(cmd, s, groupSnapshotTable(s))
		}),
	}
	w.flags(c.Flags())
	return c
}

func groupSnapshots(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "snapshots [GROUP]", Short: "List the snapshots of a group, or of all groups",
		Args:    cobra.MaximumNArgs(1),
		Example: "  ashlar group snapshots db",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			var of cluster.UUID
			if len(args) > 0 {
				x, err := findGroup(cmd.Context(), c, args[0])
				if err != nil {
					return err
				}
				of = x.ID
			}
			list, err := c.AllGroupSnapshots(cmd.Context(), of)
			if err != nil {
				return err
			}
			t := table{head: []string{"ID", "NAME", "GROUP", "STATE", "VOLUMES", "CREATED"}}
			for _, s := range list {
				t.add(s.ID, s.Name, s.Group, s.State, len(s.Snapshots), s.Created)
			}
			return g.print(cmd, list, t)
		}),
	}
}

func groupSnapshotTable(s wire.GroupSnapshot) table {
	var t table
	t.add("ID", s.ID)
	t.add("NAME", s.Name)
	t.add("GROUP", s.Group)
	t.add("STATE", s.State)
	if !s.Schedule.IsZero() {
		t.add("SCHEDULE", s.Schedule)
	}
	for _, p := range s.Snapshots {
		t.add("SNAPSHOT", fmt.Sprintf("%s of volume %s, %s", p.Snapshot, p.Volume, bytesText(p.Size)))
	}
	t.addWords(s.Description, s.Metadata)
	t.add("CREATED", s.Created)
	return t
}

// findGroupSnapshot finds a group snapshot by id, or by group and name.
func findGroupSnapshot(ctx context.Context, c *client.Client, ref string) (wire.GroupSnapshot, error) {
	if id, err := cluster.ParseUUID(ref); err == nil {
		return c.GetGroupSnapshot(ctx, id)
	}
	group, name, ok := strings.Cut(ref, "@")
	if !ok {
		return wire.GroupSnapshot{}, usage("%q is no group snapshot: give its id, or GROUP@NAME", ref)
	}
	x, err := findGroup(ctx, c, group)
	if err != nil {
		return wire.GroupSnapshot{}, err
	}
	return groupSnapshotOf(ctx, c, x, name)
}

// groupSnapshotOf finds a snapshot of a group by name or id.
func groupSnapshotOf(ctx context.Context, c *client.Client, x wire.Group, ref string) (wire.GroupSnapshot,
	error) {
	list, err := c.AllGroupSnapshots(ctx, x.ID)
	if err != nil {
		return wire.GroupSnapshot{}, err
	}
	for _, s := range list {
		if s.Name == ref || s.ID.String() == ref {
			return c.GetGroupSnapshot(ctx, s.ID)
		}
	}
	return wire.GroupSnapshot{}, missing("group %s has no snapshot %q; `ashlar group snapshots %s` shows them",
		x.Name,
		ref, x.Name)
}

func groupUpdateSnapshot(g *global) *cobra.Command {
	var words snapshotWords
	c := &cobra.Command{
		Use: "update-snapshot GROUP@NAME", Short: "Rename or describe a group snapshot", Args: cobra.ExactArgs(1),
		Long:    "Rename or describe a group snapshot. Its snapshots of the volumes are called so, too.",
		Example: "  ashlar group update-snapshot db@monday --name before-upgrade",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			s, err := findGroupSnapshot(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			s, err = c.UpdateGroupSnapshot(cmd.Context(), s.ID, words.update(cmd.Flags()), s.ETag)
			if err != nil {
				return err
			}
			return g.print(cmd, s, groupSnapshotTable(s))
		}),
	}
	words.flags(c.Flags())
	return c
}

func groupDeleteSnapshot(g *global) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use: "delete-snapshot GROUP@NAME --yes", Short: "Delete a group snapshot with all its snapshots",
		Args:    cobra.ExactArgs(1),
		Example: "  ashlar group delete-snapshot db@monday --yes",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			s, err := findGroupSnapshot(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if !sure {
				return fmt.Errorf("this deletes %d snapshots of group %s (%s, taken %s) for good; repeat with --yes",
					len(s.Snapshots), s.Group, s.Name, s.Created)
			}
			return c.DeleteGroupSnapshot(cmd.Context(), s.ID, s.ETag)
		}),
	}
	c.Flags().BoolVar(&sure, "yes", false, "yes, delete it")
	return c
}
