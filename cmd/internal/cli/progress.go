package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// barWidth is how many characters a progress bar has.
const barWidth = 30

// progress shows how far something is: a bar in place on a terminal, else a line when it has got further.
type progress struct {
	w     io.Writer
	shown string
}

func (p *progress) show(part float64, text string) {
	part = min(max(part, 0), 1)
	full := int(part * barWidth)
	line := fmt.Sprintf("[%s%s] %3.0f %%  %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
		100*part, text)
	if line == p.shown {
		return
	}
	p.shown = line
	if isTerminal(p.w) {
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		return
	}
	_, _ = fmt.Fprintln(p.w, line)
}

// end leaves the line of the bar.
func (p *progress) end() {
	if p.shown != "" && isTerminal(p.w) {
		_, _ = fmt.Fprintln(p.w)
	}
}

func poolWait(g *global) *cobra.Command {
	var interval time.Duration
	c := &cobra.Command{
		Use: "wait POOL", Short: "Wait until no volume of a pool moves or lacks redundancy",
		Long: "Wait until no volume of a pool moves or lacks redundancy any more: after devices have joined, " +
			"left or failed. How far that is appears on standard error.",
		Example: "  ashlar pool add-device fast 10 11 12 && ashlar pool wait fast",
		Args:    cobra.ExactArgs(1),
		RunE: g.run(func(cmd *cobra.Command, c *client.Client, args []string) error {
			if interval < leastInterval {
				return usage("--interval must be at least %v", leastInterval)
			}
			_, err := awaitPool(cmd, c, args[0], interval)
			return err
		}),
	}
	c.Flags().DurationVar(&interval, "interval", time.Second, "time between two looks")
	return c
}

// awaitPool shows how far a pool is until it is at rest.
func awaitPool(cmd *cobra.Command, c *client.Client, name string, interval time.Duration) (wire.Pool, error) {
	p := progress{w: cmd.ErrOrStderr()}
	defer p.end()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		pool, err := c.GetPool(cmd.Context(), name)
		if err != nil {
			return pool, err
		}
		part, text, done := poolProgress(pool)
		p.show(part, text)
		if done {
			return pool, nil
		}
		select {
		case <-cmd.Context().Done():
			return pool, cmd.Context().Err()
		case <-tick.C:
		}
	}
}

// poolProgress is how far a pool is on the way to rest.
func poolProgress(p wire.Pool) (part float64, text string, done bool) {
	h := p.Healing
	if h.Moving+h.Degraded+h.Unknown == 0 {
		return 1, "nothing moves, nothing lacks redundancy", true
	}
	if h.Groups > 0 {
		part = float64(h.Moved) / float64(h.Groups)
	}
	return part, fmt.Sprintf("%d volumes moving, %d degraded, %d unknown, %s copied", h.Moving, h.Degraded,
		h.Unknown, bytesText(h.Copied)), false
}
