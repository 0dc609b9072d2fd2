package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func groupCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "group", Short: "Volumes that snapshots are taken of at one moment",
		Long: "Volumes that snapshots are taken of at one moment, and that are reverted and cloned together: the " +
			"data and the log of a database, say. Where a command takes a GROUP, give its id or its name; a group " +
			"snapshot is GROUP@NAME, or its id.",
	}
	c.AddCommand(groupCreate(g), groupList(g), groupShow(g), groupUpdate(g), groupAdd(g), groupRemove(g),
		groupDelete(g), groupRevert(g), groupSnapshot(g), groupSnapshots(g), groupUpdateSnapshot(g),
		groupDeleteSnapshot(g))
	return c
}

func groupCreate(g *global) *cobra.Command {
	var project, from string
	var w words
	c := &cobra.Command{
		Use: "create NAME [VOLUME...]", Short: "Make a group of volumes, or clones of a group snapshot",
		Args: cobra.MinimumNArgs(1),
		Example: "  ashlar group create db data log\n" +
			"  ashlar group create test --from db@monday   # clones of its volumes: test-data and test-log",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			r := wire.GroupCreate{Name: args[0], Project: project, Description: w.description, Metadata: w.meta}
			var err error
			if r.Volumes, err = findVolumes(cmd.Context(), c, args[1:]); err != nil {
				return err
			}
			if r.ID, err = w.uuid("group"); err != nil {
				return err
			}
			if from != "" {
				s, err := findGroupSnapshot(cmd.Context(), c, from)
				if err != nil {
					return err
				}
				r.Source = &wire.GroupSource{Snapshot: s.ID}
			}
			made, err := c.CreateGroup(cmd.Context(), r)
			if err != nil {
				return err
			}
			return g.print(cmd, made, groupTable(made))
		}),
	}
	f := c.Flags()
	w.flags(f)
	projectFlag(f, &project)
	f.StringVar(&from, "from", "", "group snapshot whose volumes to clone")
	return c
}

func findVolumes(ctx context.Context, c *client.Client, refs []string) (out []cluster.UUID, err error) {
	for _, ref := range refs {
		v, err := findVolume(ctx, c, ref)
		if err != nil {
			return nil, err
		}
		out = append(out, v.ID)
	}
	return out, nil
}

// findGroup finds a group by id or name.
func findGroup(ctx context.Context, c *client.Client, ref string) (wire.Group, error) {
	if id, err := cluster.ParseUUID(ref); err == nil {
		return c.GetGroup(ctx, id)
	}
	found, err := c.AllGroups(ctx, ref)
	switch {
	case err != nil:
		return wire.Group{}, err
	case len(found) == 0:
		return wire.Group{}, missing("there is no group %q; `ashlar group list` shows them", ref)
	case len(found) > 1:
		return wire.Group{}, usage("%d groups are called %q, in several projects: give the id", len(found), ref)
	}
	return c.GetGroup(ctx, found[0].ID)
}

func groupTable(x wire.Group) table {
	var t table
	t.add("ID", x.ID)
	t.add("NAME", x.Name)
	if x.Project != "" {
		t.add("PROJECT", x.Project)
	}
	for _, v := range x.Volumes {
		t.add("VOLUME", v)
	}
	if x.Revert != nil {
		t.add("REVERTED", fmt.Sprintf("to %s, asked %s", x.Revert.Snapshot, x.Revert.Asked))
	}
	t.addWords(x.Description, x.Metadata)
	t.add("CREATED", x.Created)
	return t
}

func groupList(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the groups", Args: cobra.NoArgs, Example: "  ashlar group list",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			list, err := c.AllGroups(cmd.Context(), "")
			if err != nil {
				return err
			}
			t := table{head: []string{"ID", "NAME", "PROJECT", "VOLUMES", "CREATED"}}
			for _, x := range list {
				t.add(x.ID, x.Name, x.Project, len(x.Volumes), x.Created)
			}
			return g.print(cmd, list, t)
		}),
	}
}

func groupShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show GROUP", Short: "Show a group", Args: cobra.ExactArgs(1), Example: "  ashlar group show db",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			x, err := findGroup(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return g.print(cmd, x, groupTable(x))
		}),
	}
}

// changeGroup finds the group that a command names first, and changes it.
func (g *global) changeGroup(cmd *cobra.Command, c *client.Client, ref string, r wire.GroupUpdate) error {
	x, err := findGroup(cmd.Context(), c, ref)
	if err != nil {
		return err
	}
	if x, err = c.UpdateGroup(cmd.Context(), x.ID, r, x.ETag); err != nil {
		return err
	}
	return g.print(cmd, x, groupTable(x))
}

func groupUpdate(g *global) *cobra.Command {
	var w newWords
	c := &cobra.Command{
		Use: "update GROUP", Short: "Rename or describe a group", Args: cobra.ExactArgs(1),
		Example: "  ashlar group update db --name database --description 'data and log'",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			var r wire.GroupUpdate
			w.set(cmd.Flags(), &r.Name, &r.Description)
			return g.changeGroup(cmd, c, args[0], r)
		}),
	}
	w.flags(c.Flags())
	return c
}

func groupAdd(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "add GROUP VOLUME...", Short: "Put volumes into a group", Args: cobra.MinimumNArgs(2),
		Example: "  ashlar group add db archive",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			ids, err := findVolumes(cmd.Context(), c, args[1:])
			if err != nil {
				return err
			}
			return g.changeGroup(cmd, c, args[0], wire.GroupUpdate{Add: ids})
		}),
	}
}

func groupRemove(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "remove GROUP VOLUME...", Short: "Take volumes out of a group", Args: cobra.MinimumNArgs(2),
		Long: "Take volumes out of a group. Nothing happens to them, nor to the group's snapshots, which go on " +
			"showing them.",
		Example: "  ashlar group remove db archive",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			ids, err := findVolumes(cmd.Context(), c, args[1:])
			if err != nil {
				return err
			}
			return g.changeGroup(cmd, c, args[0], wire.GroupUpdate{Remove: ids})
		}),
	}
}

func groupDelete(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "delete GROUP", Short: "Delete a group that has neither volumes nor snapshots",
		Args:    cobra.ExactArgs(1),
		Example: "  ashlar group delete db",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			x, err := findGroup(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return c.DeleteGroup(cmd.Context(), x.ID, x.ETag)
		}),
	}
}

func groupRevert(g *global) *cobra.Command {
	var to string
	var force, sure bool
	c := &cobra.Command{
		Use: "revert GROUP --to NAME --yes", Short: "Make the volumes of a group what one of its snapshots shows",
		Long: "Make all volumes that a snapshot of the group is of what it shows. What was written since goes. " +
			"What is said of `ashlar volume revert` holds for each of them; where one cannot be reverted, none is.",
		Args:    cobra.ExactArgs(1),
		Example: "  ashlar group revert db --to monday --yes",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			x, err := findGroup(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			s, err := groupSnapshotOf(cmd.Context(), c, x, to)
			if err != nil {
				return err
			}
			if !sure {
				return usage("this takes from %d volumes of group %s what was written since %s; repeat "+
					"with --yes",
					len(s.Snapshots), x.Name, s.Created)
			}
			x, err = c.RevertGroup(cmd.Context(), x.ID, wire.GroupRevert{Snapshot: s.ID, Force: force},
				client.IfMatch(x.ETag))
			if err != nil {
				return err
			}
			return g.print(cmd, x, groupTable(x))
		}),
	}
	f := c.Flags()
	f.StringVar(&to, "to", "", "the group snapshot: its name or its id")
	f.BoolVar(&force, "force", false, "although hosts may use the volumes, or they have newer snapshots")
	f.BoolVar(&sure, "yes", false, "yes, give up what was written since")
	_ = c.MarkFlagRequired("to")
	return c
}
