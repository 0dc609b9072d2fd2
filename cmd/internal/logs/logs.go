// Package logs is how a daemon logs: as text for people or JSON for collectors, at a level that can be
// changed while it runs; and what it said last is kept in memory, for a support bundle.
package logs

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// New makes a logger.
func New(level, format string) (*logrus.Logger, error) {
	l := logrus.New()
	if err := SetLevel(l, level); err != nil {
		return nil, fmt.Errorf("log-level: %w", err)
	}
	switch format {
	case "text":
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	case "json":
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	default:
		return nil, fmt.Errorf("log-format: %q is neither text nor json", format)
	}
	return l, nil
}

// SetLevel changes what a logger says.
func SetLevel(l *logrus.Logger, level string) error {
	switch level {
	case "error", "warning", "info", "debug":
	default:
		return fmt.Errorf("%q is none of error, warning, info, debug", level)
	}
	parsed, err := logrus.ParseLevel(level)
	l.SetLevel(parsed)
	return err
}

// recentBytes bounds what Recent keeps.
const recentBytes = 1 << 20

// Recent keeps the last lines of a logger. Any goroutine may use it.
type Recent struct {
	form logrus.Formatter

	mu    sync.Mutex
	lines []string // the oldest first
	bytes int
}

// Keep begins to keep what l says.
func Keep(l *logrus.Logger) *Recent {
	r := &Recent{form: &logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}}
	l.AddHook(r)
	return r
}

// Levels implements logrus.Hook.
func (r *Recent) Levels() []logrus.Level { return logrus.AllLevels }

// Fire implements logrus.Hook.
func (r *Recent) Fire(e *logrus.Entry) error {
	raw, err := r.form.Format(&logrus.Entry{Logger: e.Logger, Data: e.Data, Time: e.Time, Level: e.Level,
		Caller: e.Caller, Message: e.Message})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, string(raw))
	r.bytes += len(raw)
	for r.bytes > recentBytes {
		r.bytes -= len(r.lines[0])
		r.lines = r.lines[1:]
	}
	return nil
}

// Text is the last lines, each a JSON object.
func (r *Recent) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "")
}
