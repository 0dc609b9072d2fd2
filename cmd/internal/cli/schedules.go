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

const keepHelp = "Each --keep-... keeps the newest snapshot of so many hours, days, weeks or months that " +
	"have one (--keep-last: so many of the newest); a snapshot stays if one of them keeps it, and is younger " +
	"than --max-age. Hours, days, weeks (from Monday on) and months are those of UTC. Only snapshots that the " +
	"schedule has made are ever removed; one that a host or a clone uses stays, and is counted under HELD."

func scheduleCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "schedule", Short: "Snapshots that are taken at certain times, and removed again",
		Long: "Snapshots of a volume, or of a group, that are taken at certain times, and removed again. Where a " +
			"command takes a SCHEDULE, give its id or its name.\n\n" + keepHelp,
	}
	c.AddCommand(scheduleCreate(g), scheduleList(g), scheduleShow(g), scheduleUpdate(g), scheduleDelete(g))
	return c
}

// timing is the flags that say when snapshots are taken, and which stay.
type timing struct {
	cron, every, prefix string
	keep                cluster.Retention
	enabled             bool
}

func (o *timing) flags(f *pflag.FlagSet) {
	f.StringVar(&o.cron, "cron", "", "minute, hour, day of the month, month, day of the week, in UTC: "+
		"'0 */6 * * *'")
	f.StringVar(&o.every, "every", "", "period, such as 30m, 12h, 1d, 2w")
	f.IntVar(&o.keep.Last, "keep-last", 0, "keep so many of the newest")
	f.IntVar(&o.keep.Hourly, "keep-hourly", 0, "keep one of each of so many hours")
	f.IntVar(&o.keep.Daily, "keep-daily", 0, "keep one of each of so many days")
	f.IntVar(&o.keep.Weekly, "keep-weekly", 0, "keep one of each of so many weeks")
	f.IntVar(&o.keep.Monthly, "keep-monthly", 0, "keep one of each of so many months")
	f.StringVar(&o.keep.MaxAge, "max-age", "", "keep none that is older, such as 30d")
	f.StringVar(&o.prefix, "prefix", "", "begins the names of the snapshots (default: the name of the schedule)")
	f.BoolVar(&o.enabled, "enabled", true, "else nothing is taken, and nothing removed")
}

func scheduleCreate(g *global) *cobra.Command {
	var o timing
	var w words
	var volume, group string
	c := &cobra.Command{
		Use: "create NAME", Short: "Have snapshots of a volume or group taken, and removed again",
		Args: cobra.ExactArgs(1),
		Long: "Have snapshots of a volume or group taken, and removed again.\n\n" + keepHelp,
		Example: "  ashlar schedule create hourly --volume disk1 --every 1h --keep-last 24\n" +
			"  ashlar schedule create nightly --group db --cron '30 2 * * *' --keep-daily 7 --max-age 60d",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			r := wire.ScheduleCreate{Name: args[0], Cron: o.cron, Every: o.every, Keep: o.keep, Prefix: o.prefix,
				Enabled: &o.enabled, Description: w.description, Metadata: w.meta}
			var err error
			if r.Volume, r.Group, err = findTarget(cmd.Context(), c, volume, group); err != nil {
				return err
			}
			if r.ID, err = w.uuid("schedule"); err != nil {
				return err
			}
			x, err := c.CreateSchedule(cmd.Context(), r)
			if err != nil {
				return err
			}
			return g.print(cmd, x, scheduleTable(x))
		}),
	}
	f := c.Flags()
	o.flags(f)
	w.flags(f)
	f.StringVar(&volume, "volume", "", "volume that snapshots are taken of")
	f.StringVar(&group, "group", "", "group of volumes that snapshots are taken of")
	c.MarkFlagsMutuallyExclusive("volume", "group")
	c.MarkFlagsOneRequired("volume", "group")
	c.MarkFlagsMutuallyExclusive("cron", "every")
	c.MarkFlagsOneRequired("cron", "every")
	return c
}

// findTarget finds the volume or group that is named; of "" the id is zero.
func findTarget(ctx context.Context, c *client.Client, volume, group string) (v, g cluster.UUID, err error) {
	if volume != "" {
		x, err := findVolume(ctx, c, volume)
		if err != nil {
			return v, g, err
		}
		v = x.ID
	}
	if group != "" {
		x, err := findGroup(ctx, c, group)
		if err != nil {
			return v, g, err
		}
		g = x.ID
	}
	return v, g, nil
}

// findSchedule finds a schedule by id or name.
func findSchedule(ctx context.Context, c *client.Client, ref string) (wire.Schedule, error) {
	if id, err := cluster.ParseUUID(ref); err == nil {
		return c.GetSchedule(ctx, id)
	}
	found, err := c.FindSchedules(ctx, client.ScheduleListOpts{Name: ref})
	switch {
	case err != nil:
		return wire.Schedule{}, err
	case len(found) == 0:
		return wire.Schedule{}, missing("there is no schedule %q; `ashlar schedule list` shows them", ref)
	case len(found) > 1:
		return wire.Schedule{}, usage("%d schedules are called %q, in several projects: give the id",
			len(found), ref)
	}
	return c.GetSchedule(ctx, found[0].ID)
}

func whenText(x wire.Schedule) string {
	if x.Cron != "" {
		return x.Cron
	}
	return "every " + x.Every
}

func keepText(k cluster.Retention) string {
	var out []string
	for _, n := range []struct {
		count int
		what  string
	}{{k.Last, "last"}, {k.Hourly, "hourly"}, {k.Daily, "daily"}, {k.Weekly, "weekly"}, {k.Monthly, "monthly"}} {
		if n.count > 0 {
			out = append(out, fmt.Sprintf("%d %s", n.count, n.what))
		}
	}
	if k.MaxAge != "" {
		out = append(out, "up to "+k.MaxAge)
	}
	return strings.Join(out, ", ")
}

func targetText(x wire.Schedule) string {
	if x.Group.IsZero() {
		return "volume " + x.Volume.String()
	}
	return "group " + x.Group.String()
}

func scheduleTable(x wire.Schedule) table {
	var t table
	t.add("ID", x.ID)
	t.add("NAME", x.Name)
	if x.Project != "" {
		t.add("PROJECT", x.Project)
	}
	t.add("OF", targetText(x))
	t.add("WHEN", whenText(x))
	t.add("KEEP", keepText(x.Keep))
	t.add("PREFIX", x.Prefix)
	t.add("ENABLED", x.Enabled)
	if x.NextRun != "" {
		t.add("NEXT", x.NextRun)
	}
	if x.LastRun != "" {
		t.add("LAST", fmt.Sprintf("%s, %s", x.LastRun, x.LastSnapshot))
	}
	if x.LastError != "" {
		t.add("ERROR", x.LastError)
	}
	if x.Held > 0 {
		t.add("HELD", x.Held)
	}
	t.addWords(x.Description, x.Metadata)
	t.add("CREATED", x.Created)
	return t
}

func scheduleList(g *global) *cobra.Command {
	var volume, group string
	c := &cobra.Command{
		Use: "list", Short: "List the schedules", Args: cobra.NoArgs,
		Example: "  ashlar schedule list --volume disk1",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			var o client.ScheduleListOpts
			var err error
			if o.Volume, o.Group, err = findTarget(cmd.Context(), c, volume, group); err != nil {
				return err
			}
			list, err := c.FindSchedules(cmd.Context(), o)
			if err != nil {
				return err
			}
			t := table{head: []string{"ID", "NAME", "PROJECT", "WHEN", "KEEP", "NEXT", "LAST", "ERROR", "OF", "HELD"},
				wide: 2}
			for _, x := range list {
				next := x.NextRun
				if !x.Enabled {
					next = "disabled"
				}
				t.add(x.ID, x.Name, x.Project, whenText(x), keepText(x.Keep), next, x.LastRun, x.LastError,
					targetText(x), x.Held)
			}
			return g.print(cmd, list, t)
		}),
	}
	c.Flags().StringVar(&volume, "volume", "", "only those of this volume")
	c.Flags().StringVar(&group, "group", "", "only those of this group")
	return c
}

func scheduleShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show SCHEDULE", Short: "Show a schedule", Args: cobra.ExactArgs(1),
		Example: "  ashlar schedule show hourly",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			x, err := findSchedule(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return g.print(cmd, x, scheduleTable(x))
		}),
	}
}

// change is the update that the given flags ask for, of a schedule that keeps what was.
func (o *timing) change(f *pflag.FlagSet, was cluster.Retention) wire.ScheduleUpdate {
	r := wire.ScheduleUpdate{Cron: o.cron, Every: o.every}
	keep := was
	for _, x := range []struct {
		flag string
		set  func()
	}{
		{"keep-last", func() { keep.Last = o.keep.Last }},
		{"keep-hourly", func() { keep.Hourly = o.keep.Hourly }},
		{"keep-daily", func() { keep.Daily = o.keep.Daily }},
		{"keep-weekly", func() { keep.Weekly = o.keep.Weekly }},
		{"keep-monthly", func() { keep.Monthly = o.keep.Monthly }},
		{"max-age", func() { keep.MaxAge = o.keep.MaxAge }},
		{"prefix", func() { r.Prefix = &o.prefix }},
		{"enabled", func() { r.Enabled = &o.enabled }},
	} {
		if f.Changed(x.flag) {
			x.set()
		}
	}
	if keep != was {
		r.Keep = &keep
	}
	return r
}

func scheduleUpdate(g *global) *cobra.Command {
	var o timing
	var w newWords
	var meta newMeta
	c := &cobra.Command{
		Use: "update SCHEDULE", Short: "Change a schedule", Args: cobra.ExactArgs(1),
		Long: "Change what is given of a schedule. What is to be kept no more is removed within seconds; what " +
			"was missed while it was not enabled is not made up for.\n\n" + keepHelp,
		Example: "  ashlar schedule update hourly --keep-last 48\n  ashlar schedule update hourly --enabled=false",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			x, err := findSchedule(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			r := o.change(cmd.Flags(), x.Keep)
			w.set(cmd.Flags(), &r.Name, &r.Description)
			r.Metadata = meta.patch()
			if x, err = c.UpdateSchedule(cmd.Context(), x.ID, r, x.ETag); err != nil {
				return err
			}
			return g.print(cmd, x, scheduleTable(x))
		}),
	}
	o.flags(c.Flags())
	w.flags(c.Flags())
	meta.flags(c.Flags())
	c.MarkFlagsMutuallyExclusive("cron", "every")
	return c
}

func scheduleDelete(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "delete SCHEDULE", Short: "Delete a schedule; its snapshots stay", Args: cobra.ExactArgs(1),
		Example: "  ashlar schedule delete hourly",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			x, err := findSchedule(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return c.DeleteSchedule(cmd.Context(), x.ID, x.ETag)
		}),
	}
}
