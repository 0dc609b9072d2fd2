package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// isTerminal tells whether somebody looks at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// colourful tells whether w takes colours: a terminal that can show them, and a user who did not set NO_COLOR
// (no-color.org).
func (g *global) colourful(w io.Writer) bool {
	if b, ok := w.(*screen); ok {
		w = b.to
	}
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// The colours, as terminals know them.
const (
	plainText = "\x1b[0m"
	boldText  = "\x1b[1m"
	red       = "\x1b[31m"
	green     = "\x1b[32m"
	yellow    = "\x1b[33m"
)

// paint colours a cell of a table: what heads it, and how well something is. n counts lines, the head too.
func (t *table) paint(n, column int, cell string) string {
	about := ""
	switch {
	case len(t.head) > 0 && n == 0, len(t.head) == 0 && column == 0:
		return boldText + cell + plainText
	case len(t.head) > 0:
		about = t.head[column]
	default:
		about = t.rows[n][0]
	}
	switch about {
	case "HEALTH", "STATE", "STATUS", "HEALTHY", "CLUSTER", "ETCD":
	default:
		return cell
	}
	word, _, _ := strings.Cut(cell, " ")
	switch strings.Trim(word, ",:") {
	case "ok", "online", "serving", "yes":
		return green + cell + plainText
	case "moving", "unknown", "opening", "draining", "joining", "paused":
		return yellow + cell + plainText
	case "degraded", "unavailable", "failed", "no", "down":
		return red + cell + plainText
	}
	return cell
}

// leastInterval keeps --watch from asking without a pause.
const leastInterval = 100 * time.Millisecond

// screen collects what one look at something prints.
type screen struct {
	bytes.Buffer
	to io.Writer
}

// watchable lets a command look again and again. On a terminal the new look replaces the old one; else it
// follows it, and only if something has changed.
func watchable(c *cobra.Command) {
	var watch bool
	var interval time.Duration
	c.Flags().BoolVarP(&watch, "watch", "w", false, "look again and again, until Ctrl-C")
	c.Flags().DurationVar(&interval, "interval", 2*time.Second, "time between two looks of --watch")
	once := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !watch {
			return once(cmd, args)
		}
		if interval < leastInterval {
			return usage("--interval must be at least %v", leastInterval)
		}
		return lookAgain(cmd, interval, func() error { return once(cmd, args) })
	}
}

func lookAgain(cmd *cobra.Command, interval time.Duration, look func() error) error {
	s := &screen{to: cmd.OutOrStdout()}
	cmd.SetOut(s)
	defer cmd.SetOut(s.to)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last []byte
	for n := 0; ; n++ {
		s.Reset()
		err := look()
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case err != nil && n == 0:
			return err
		case err != nil: // a node may be away for a moment
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), Explain(err))
		case !bytes.Equal(s.Bytes(), last):
			last = bytes.Clone(s.Bytes())
			if isTerminal(s.to) {
				last = append([]byte("\x1b[H\x1b[2J"), last...)
			}
			if _, err := s.to.Write(last); err != nil {
				return err
			}
			last = bytes.Clone(s.Bytes())
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

// stream prints lines of one kind as they come: columns as wide as the head, or a JSON document each.
type stream struct {
	w      io.Writer
	form   string
	colour bool
	head   []string
	lines  int
}

// headEvery is after how many lines the head is printed again.
const headEvery = 20

func (g *global) stream(cmd *cobra.Command, head []string) *stream {
	w := cmd.OutOrStdout()
	return &stream{w: w, form: g.v.GetString("output"), colour: g.colourful(w), head: head}
}

// streamWidth is the least width of a column.
const streamWidth = 12

func (s *stream) add(value any, cells []any) error {
	switch s.form {
	case formJSON:
		return json.NewEncoder(s.w).Encode(value)
	case formYAML:
		if _, err := fmt.Fprintln(s.w, "---"); err != nil {
			return err
		}
		return writeYAML(s.w, value)
	}
	if s.lines%headEvery == 0 {
		head := s.line(s.head)
		if s.colour {
			head = boldText + head + plainText
		}
		if _, err := fmt.Fprintln(s.w, head); err != nil {
			return err
		}
	}
	s.lines++
	row := table{}
	row.add(cells...)
	_, err := fmt.Fprintln(s.w, s.line(row.rows[0]))
	return err
}

func (s *stream) line(cells []string) string {
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(c)
		if i < len(cells)-1 {
			b.WriteString(strings.Repeat(" ", max(0, streamWidth-utf8.RuneCountInString(c))))
		}
	}
	return b.String()
}
