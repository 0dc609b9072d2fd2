package daemon

import (
	"io"
	"net/http"
	"time"

	"github.com/ashlar-storage/ashlar/cmd/internal/diagnose"
	"github.com/ashlar-storage/ashlar/cmd/internal/logs"
	"github.com/ashlar-storage/ashlar/cmd/internal/redact"
)

// inspector implements api.Inspector.
type inspector struct {
	d       *daemon
	sources diagnose.Sources
}

// inspect makes the inspector of a node that is a member: its secrets are known then.
func (d *daemon) inspect(metrics http.Handler) *inspector {
	secrets := [][]byte{d.state.Secret, []byte(d.state.AdminToken), []byte(d.opt.First.JoinToken)}
	return &inspector{d: d, sources: diagnose.Sources{
		Redact: redact.New(secrets...), Version: d.opt.Version, Started: time.Now(), Settings: d.opt.Settings,
		State: d.watcher.Newest, Metrics: metrics, Log: d.recent.Text,
	}}
}

func (i *inspector) WriteDiagnostics(w io.Writer) error { return i.sources.Write(w) }

func (i *inspector) LogLevel() string { return i.d.opt.Log.GetLevel().String() }

func (i *inspector) SetLogLevel(level string) error {
	was := i.LogLevel()
	if err := logs.SetLevel(i.d.opt.Log, level); err != nil {
		return err
	}
	i.d.log.WithField("level", level).WithField("was", was).Warn("the log level was changed")
	return nil
}
