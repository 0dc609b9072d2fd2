package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

func deviceScrub(g *global) *cobra.Command {
	c := &cobra.Command{
		Use: "scrub", Short: "The reading of all that a device holds, to find what cannot be read any more",
		Long: "Scrubbing reads all that a device holds, in the background and at a bounded rate that yields to " +
			"hosts. What cannot be read, or fails its checksum, is repaired from redundancy by the owner of its " +
			"volume; what cannot be repaired is counted and stays.\n\nPasses begin by themselves, once a " +
			"week at 32 MiB/s unless `ashlar device scrub set` says otherwise.",
	}
	c.AddCommand(
		scrubAction(g, wire.ScrubStart, &cobra.Command{
			Use: "start DEVICE", Short: "Begin a pass now, or go on with one that was paused",
			Long: "Begin a pass now, or go on with one that was paused. While a pass runs nothing changes.",
		}),
		scrubAction(g, wire.ScrubPause, &cobra.Command{
			Use: "pause DEVICE", Short: "Pause the scrubbing of a device until the next start",
			Long: "Pause the scrubbing of a device until the next start, over restarts too. A pass that is under " +
				"way goes on where it was.",
		}),
		scrubSet(g), scrubStatus(g))
	return c
}

func scrubAction(g *global, action string, c *cobra.Command) *cobra.Command {
	c.Args = cobra.ExactArgs(1)
	c.Example = "  ashlar device scrub " + action + " 3"
	var wait bool
	if action == wire.ScrubStart {
		waitFlag(c, &wait)
	}
	c.RunE = g.run(func(cmd *cobra.Command, api *client.Client, args []string) error {
		number, err := parseNumber[cluster.DeviceID]("device", args[0])
		if err != nil {
			return err
		}
		d, err := api.ScrubDevice(cmd.Context(), number, wire.ScrubRequest{Action: action})
		if err != nil {
			return err
		}
		if wait {
			return g.awaitTask(cmd, api, wire.TaskScrub, number)
		}
		return g.print(cmd, d, scrubTable(d))
	})
	return c
}

func scrubSet(g *global) *cobra.Command {
	var rate string
	var interval time.Duration
	c := &cobra.Command{
		Use:   "set DEVICE... [--rate BYTES] [--interval TIME]",
		Short: "Say how fast and how often devices are scrubbed",
		Long: "Say how fast and how often devices are scrubbed. It counts at once, for a pass under way too, and " +
			"what is left out stays as it is.\n\nThe rate is what a pass takes at most, in bytes a second, while " +
			"nobody else uses the device; while hosts do it takes less, down to an eighth. Rate 0 ends scrubbing. " +
			"The interval is from the beginning of a pass to that of the next; 0 means that one begins only by " +
			"`ashlar device scrub start`.",
		Example: "  ashlar device scrub set 1 2 3 --rate 100MiB --interval 72h\n" +
			"  ashlar device scrub set 7 --rate 0",
		Args: cobra.MinimumNArgs(1),
	}
	c.Flags().StringVar(&rate, "rate", "", "bytes a second at most, such as 32MiB; 0: no scrubbing")
	c.Flags().DurationVar(&interval, "interval", 0,
		"from one pass to the next, such as 168h; 0: only when asked for")
	c.RunE = g.run(func(cmd *cobra.Command, api *client.Client, args []string) error {
		numbers, err := parseDevices(args)
		if err != nil {
			return err
		}
		opts, err := scrubPace(rate, interval, cmd.Flags().Changed("interval"))
		if err != nil {
			return err
		}
		var devices []wire.Device
		t := table{head: []string{"DEVICE", "PAUSED", "RATE", "INTERVAL"}}
		for _, n := range numbers {
			d, err := api.ScrubDevice(cmd.Context(), n, opts)
			if err != nil {
				return fmt.Errorf("device %d: %w", n, err)
			}
			devices = append(devices, d)
			t.add(d.Number, yes(d.ScrubPolicy.Paused), bytesText(d.ScrubPolicy.Rate)+"/s", intervalText(d))
		}
		return g.print(cmd, devices, t)
	})
	return c
}

// scrubPace reads what `scrub set` was given.
func scrubPace(rate string, interval time.Duration, every bool) (r wire.ScrubRequest, err error) {
	if rate == "" && !every {
		return r, usage("say --rate, --interval or both")
	}
	if rate == "0" {
		r.Rate = new(uint64)
	} else if rate != "" {
		n, err := ParseSize(rate)
		if err != nil {
			return r, fmt.Errorf("--rate: %w", err)
		}
		r.Rate = &n
	}
	if interval < 0 {
		return r, usage("--interval must not be negative")
	}
	if every {
		n := uint64(interval / time.Second)
		r.Interval = &n
	}
	return r, nil
}

func intervalText(d wire.Device) string {
	if d.ScrubPolicy.Interval == 0 {
		return "only when asked for"
	}
	return (time.Duration(d.ScrubPolicy.Interval) * time.Second).String()
}

func scrubStatus(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "status DEVICE", Short: "Show how far the scrubbing of a device is, and what it found",
		Long: "Show how far the scrubbing of a device is, and what it found. The figures change in steps of one " +
			"percent of a pass.",
		Example: "  ashlar device scrub status 3\n  ashlar device scrub status 3 -o json", Args: cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, api *client.Client, args []string) error {
			number, err := parseNumber[cluster.DeviceID]("device", args[0])
			if err != nil {
				return err
			}
			d, err := api.GetDevice(cmd.Context(), number)
			if err != nil {
				return err
			}
			return g.print(cmd, d, scrubTable(d))
		}),
	}
}

// scrubText is the scrubbing of a device in a few words.
func scrubText(d wire.Device) string {
	switch {
	case d.Stats == nil || d.Stats.Scrub == nil:
		if d.ScrubPolicy.Paused {
			return "paused"
		}
		return "unknown: its node says nothing of it"
	case d.Stats.Scrub.State == string(cluster.ScrubRunning):
		return fmt.Sprintf("running, %d %%", d.Stats.Scrub.Percent)
	case d.Stats.Scrub.Ended == "":
		return d.Stats.Scrub.State + ", no pass has ended yet"
	}
	return d.Stats.Scrub.State + ", the last pass ended " + d.Stats.Scrub.Ended
}

func scrubTable(d wire.Device) table {
	var t table
	t.add("DEVICE", d.Number)
	t.add("SCRUB", scrubText(d))
	t.add("RATE AT MOST", bytesText(d.ScrubPolicy.Rate)+"/s")
	t.add("INTERVAL", intervalText(d))
	if d.Stats == nil || d.Stats.Scrub == nil {
		return t
	}
	s := d.Stats.Scrub
	t.add("LAST PASS BEGAN", s.Began)
	t.add("READ BY IT", bytesText(s.Read))
	if s.Rate > 0 {
		t.add("RATE OF THIS PASS", bytesText(s.Rate)+"/s")
	}
	t.add("FOUND BAD BY IT", s.Bad)
	t.add("FOUND BAD EVER", s.Found)
	t.add("BAD NOW", d.Stats.Bad)
	t.add("PASSES", s.Passes)
	return t
}
