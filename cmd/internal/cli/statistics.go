package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// counter reads statistics with samples of the time before now.
type counter func(ctx context.Context, history time.Duration) (wire.Statistics, error)

func volumeStats(g *global) *cobra.Command {
	return statsCommand(g, "VOLUME", "what hosts do with a volume", func(ctx context.Context, c *client.Client,
		ref string) (counter, error) {
		v, err := findVolume(ctx, c, ref)
		return func(ctx context.Context, history time.Duration) (wire.Statistics, error) {
			return c.GetVolumeStatistics(ctx, v.ID, history)
		}, err
	})
}

func poolStats(g *global) *cobra.Command {
	return statsCommand(g, "POOL", "what hosts do with the volumes of a pool", func(_ context.Context,
		c *client.Client, ref string) (counter, error) {
		return func(ctx context.Context, history time.Duration) (wire.Statistics, error) {
			return c.GetPoolStatistics(ctx, ref, history)
		}, nil
	})
}

func deviceStats(g *global) *cobra.Command {
	return statsCommand(g, "DEVICE", "what a disk is asked to do", func(_ context.Context, c *client.Client,
		ref string) (counter, error) {
		number, err := parseNumber[cluster.DeviceID]("device", ref)
		return func(ctx context.Context, history time.Duration) (wire.Statistics, error) {
			return c.GetDeviceStatistics(ctx, number, history)
		}, err
	})
}

// statsFlags say how much is shown, and how often.
type statsFlags struct {
	watch    bool
	interval time.Duration
	count    int
	history  time.Duration
}

// statsCommand shows the last minutes of something, or goes on to show what happens.
func statsCommand(g *global, arg, what string,
	find func(context.Context, *client.Client, string) (counter, error)) *cobra.Command {
	var f statsFlags
	kind := map[string]string{"VOLUME": "volume", "POOL": "pool", "DEVICE": "device"}[arg]
	ref := map[string]string{"VOLUME": "disk1", "POOL": "fast", "DEVICE": "3"}[arg]
	c := &cobra.Command{
		Use: "stats " + arg, Short: "Show " + what, Args: cobra.ExactArgs(1),
		Long: "Show " + what + ": operations, bytes and latencies of the last minutes in steps of ten seconds " +
			"(--history), or as they happen (--watch). The nodes remember an hour; a volume's past begins with " +
			"its present owner.",
		Example: "  ashlar " + kind + " stats " + ref + " --history 5m\n" +
			"  ashlar " + kind + " stats " + ref + " --watch --interval 1s",
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			if f.interval < leastInterval || f.history < 0 || f.history > time.Hour {
				return usage("--interval must be at least %v, --history from 0s to 1h", leastInterval)
			}
			ask, err := find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if f.watch {
				return g.follow(cmd, ask, f)
			}
			st, err := ask(cmd.Context(), f.history)
			if err != nil {
				return err
			}
			return g.print(cmd, st, statsTable(st))
		}),
	}
	c.Flags().BoolVarP(&f.watch, "watch", "w", false, "go on and show what happens, a line for each interval")
	c.Flags().DurationVar(&f.interval, "interval", 2*time.Second, "time between two lines of --watch")
	c.Flags().IntVar(&f.count, "count", 0, "end --watch after so many lines (default: go on until Ctrl-C)")
	c.Flags().DurationVar(&f.history, "history", time.Minute, "how far back to show samples, at most 1h")
	return c
}

func statsHead() []string {
	return []string{"TIME", "READ/S", "READ", "MEAN", "P99", "WRITE/S", "WRITTEN", "MEAN", "P99"}
}

// statsTable is a line for each sample, and the totals.
func statsTable(st wire.Statistics) table {
	t := table{head: statsHead()}
	for _, s := range st.Samples {
		at, _ := time.Parse(time.RFC3339, s.Time)
		seconds := float64(st.Interval)
		row := []any{at.Local().Format(time.TimeOnly)}
		for _, r := range []wire.Rate{s.Read, s.Write} {
			row = append(row, perSecond(r.Operations, seconds), speed(r.Bytes, seconds),
				micros(r.MeanUS, r.Operations), micros(r.P99US, r.Operations))
		}
		t.add(row...)
	}
	row := []any{"total"}
	for _, f := range []wire.Flow{st.Totals.Read, st.Totals.Write} {
		row = append(row, f.Operations, bytesText(f.Bytes), meanOf(f), "")
	}
	t.add(row...)
	return t
}

// follow prints what happened between two looks, a line for each, until the context ends.
func (g *global) follow(cmd *cobra.Command, ask counter, f statsFlags) error {
	ctx := cmd.Context()
	was, err := ask(ctx, 0)
	if err != nil {
		return err
	}
	began := time.Now()
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	p := g.stream(cmd, []string{"TIME", "READ/S", "READ", "MEAN", "WRITE/S", "WRITTEN", "MEAN"})
	for n := 0; f.count == 0 || n < f.count; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := ask(ctx, 0)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		at := time.Now()
		d := difference(was, now, at.Sub(began))
		was, began = now, at
		if err := p.add(d, d.row(at)); err != nil {
			return err
		}
	}
	return nil
}

// flowRate is what one direction did between two looks.
type flowRate struct {
	Operations float64 `json:"operations_per_second"`
	Bytes      float64 `json:"bytes_per_second"`
	MeanUS     uint64  `json:"latency_mean_us"`
}

// between is what happened between two looks.
type between struct {
	Time    string   `json:"time"`
	Seconds float64  `json:"seconds"`
	Read    flowRate `json:"read"`
	Write   flowRate `json:"write"`
}

// difference is what happened between two statistics. Totals that went down began anew in between.
func difference(was, now wire.Statistics, took time.Duration) between {
	if now.Totals.Read.Operations < was.Totals.Read.Operations ||
		now.Totals.Write.Operations < was.Totals.Write.Operations {
		was = wire.Statistics{}
	}
	of := func(was, now wire.Flow) flowRate {
		r := flowRate{Operations: float64(now.Operations-was.Operations) / took.Seconds(),
			Bytes: float64(now.Bytes-was.Bytes) / took.Seconds()}
		if n := now.Operations - was.Operations; n > 0 {
			r.MeanUS = uint64(1e6 * (now.LatencySeconds - was.LatencySeconds) / float64(n))
		}
		return r
	}
	return between{Time: now.Time, Seconds: took.Seconds(), Read: of(was.Totals.Read, now.Totals.Read),
		Write: of(was.Totals.Write, now.Totals.Write)}
}

func (d *between) row(at time.Time) []any {
	row := []any{at.Format(time.TimeOnly)}
	for _, r := range []flowRate{d.Read, d.Write} {
		row = append(row, fmt.Sprintf("%.0f", r.Operations), speed(uint64(r.Bytes), 1),
			micros(r.MeanUS, uint64(r.Operations+0.999)))
	}
	return row
}

func perSecond(n uint64, seconds float64) string { return fmt.Sprintf("%.0f", float64(n)/seconds) }

func speed(bytes uint64, seconds float64) string {
	return bytesText(uint64(float64(bytes)/seconds)) + "/s"
}

// micros writes a latency; without operations there is none.
func micros(us, operations uint64) string {
	switch {
	case operations == 0:
		return ""
	case us < 1000:
		return fmt.Sprintf("%d us", us)
	case us < 1_000_000:
		return fmt.Sprintf("%.1f ms", float64(us)/1e3)
	}
	return fmt.Sprintf("%.1f s", float64(us)/1e6)
}

func meanOf(f wire.Flow) string {
	if f.Operations == 0 {
		return ""
	}
	return micros(uint64(1e6*f.LatencySeconds/float64(f.Operations)), f.Operations)
}
