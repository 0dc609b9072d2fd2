package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func taskCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "task", Short: "Long work in the background, and how far it is",
		Long: "Long work in the background, and how far it is: volumes that are flattened or reverted, pools " +
			"whose volumes move to other devices, devices that are scrubbed, keys that are rotated, and the space " +
			"of volumes and snapshots that were deleted, which devices give back (purge). A TASK is its kind and " +
			"what it works on, such as scrub-3.",
	}
	c.AddCommand(taskList(g), taskShow(g), taskWait(g), taskCancel(g))
	return c
}

func taskList(g *global) *cobra.Command {
	var kind string
	var o client.TaskListOpts
	c := &cobra.Command{
		Use: "list", Short: "List what is not done yet", Args: cobra.NoArgs,
		Example: "  ashlar task list\n  ashlar task list --kind rebalance --watch",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, _ []string) error {
			o.Kind = wire.TaskKind(kind)
			tasks, err := c.FindTasks(cmd.Context(), o)
			if err != nil {
				return err
			}
			t := table{head: []string{"ID", "STATE", "DONE", "CANCELLABLE", "DETAIL"}, wide: 1}
			for _, x := range tasks {
				t.add(x.ID, x.State, doneText(x), yes(x.Cancellable), x.Detail)
			}
			return g.print(cmd, tasks, t)
		}),
	}
	c.Flags().StringVar(&kind, "kind", "",
		"only this kind: flatten, revert, shrink, rebalance, scrub, purge, erase or rotate")
	c.Flags().StringVar(&o.Subject, "subject", "", "only what works on this: the id of a volume, a pool ...")
	return c
}

func taskShow(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "show TASK", Short: "Show a task, also when it is done", Args: cobra.ExactArgs(1),
		Example: "  ashlar task show scrub-3",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			x, err := c.GetTask(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return g.print(cmd, x, taskTable(x))
		}),
	}
}

func taskWait(g *global) *cobra.Command {
	var interval time.Duration
	c := &cobra.Command{
		Use: "wait TASK", Short: "Wait until a task has done what it can",
		Long: "Wait until a task is done, or has done what it can now (waiting), or somebody pauses it. How far " +
			"it is appears on standard error.",
		Example: "  ashlar task wait rebalance-fast", Args: cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			if interval < leastInterval {
				return usage("--interval must be at least %v", leastInterval)
			}
			x, err := waitTask(cmd.Context(), c, cmd.ErrOrStderr(), args[0], interval)
			if err != nil {
				return err
			}
			return g.print(cmd, x, taskTable(x))
		}),
	}
	c.Flags().DurationVar(&interval, "interval", time.Second, "time between two looks")
	return c
}

func taskCancel(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "cancel TASK", Short: "End a task that can be ended", Args: cobra.ExactArgs(1),
		Long: "End a task that can be ended: what a flatten has copied stays copied, and the next one goes on " +
			"from there; scrubbing is paused until the next start.",
		Example: "  ashlar task cancel scrub-3",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			x, err := c.CancelTask(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return g.print(cmd, x, taskTable(x))
		}),
	}
}

func waitFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "wait", false, "wait until it is done, and show how far it is")
}

// awaitTask waits for a task that a command has begun, and prints how it ended.
func (g *global) awaitTask(cmd *cobra.Command, c *client.Client, kind wire.TaskKind, subject any) error {
	x, err := waitTask(cmd.Context(), c, cmd.ErrOrStderr(), fmt.Sprintf("%s-%v", kind, subject), time.Second)
	if err != nil {
		return err
	}
	return g.print(cmd, x, taskTable(x))
}

// awaitPurge waits until devices have given back the space of a volume that was deleted, or those have that
// are there. A purge that has ended is no task any more, but an event.
func (g *global) awaitPurge(cmd *cobra.Command, c *client.Client, volume cluster.UUID) error {
	err := g.awaitTask(cmd, c, wire.TaskPurge, volume)
	if !client.Is(err, wire.NotFound) {
		return err
	}
	told, err := c.ListEvents(cmd.Context(), client.EventListOpts{Kind: "volume.purged",
		Subject: volume.String()})
	if err != nil {
		return err
	}
	text := "the volume is kept for its clones; its space comes back with the last of them"
	if len(told.Items) > 0 {
		text = told.Items[0].Message
	}
	_, err = fmt.Fprintln(cmd.ErrOrStderr(), text)
	return err
}

// waitTask shows how far a task is until it does not run any more.
func waitTask(ctx context.Context, c *client.Client, w io.Writer, id string, interval time.Duration) (
	wire.Task, error,
) {
	p := progress{w: w}
	defer p.end()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		x, err := c.GetTask(ctx, id)
		if err != nil {
			return x, err
		}
		p.show(donePart(x), doneText(x))
		if x.State != wire.TaskRunning {
			return x, nil
		}
		select {
		case <-ctx.Done():
			return x, ctx.Err()
		case <-tick.C:
		}
	}
}

// donePart is how far a task is, 0 to 1.
func donePart(x wire.Task) float64 {
	switch {
	case x.State == wire.TaskDone:
		return 1
	case x.Total == 0:
		return 0
	}
	return float64(x.Done) / float64(x.Total)
}

func doneText(x wire.Task) string {
	switch {
	case x.State == wire.TaskDone:
		return "all of it"
	case x.Unit == "bytes":
		return bytesText(x.Done) + " of " + bytesText(x.Total)
	case x.Unit == "percent":
		return fmt.Sprintf("%d %%", x.Done)
	}
	return fmt.Sprintf("%d of %d %s", x.Done, x.Total, x.Unit)
}

func taskTable(x wire.Task) table {
	var t table
	t.add("TASK", x.ID)
	t.add("ABOUT", x.Subject.Type+" "+x.Subject.ID)
	t.add("STATE", x.State)
	t.add("DONE", doneText(x))
	t.add("DETAIL", x.Detail)
	t.add("CANCELLABLE", yes(x.Cancellable))
	return t
}

func taskIDs(ctx context.Context, c *client.Client) ([]string, error) {
	page, err := c.ListTasks(ctx, client.TaskListOpts{ListOpts: client.ListOpts{Limit: completeMost}})
	var out []string
	for _, x := range page.Items {
		out = append(out, x.ID+"\t"+string(x.State)+", "+doneText(x))
	}
	return out, err
}
