package embedetcd

import (
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Limits of what etcd may say: its warnings repeat with every heartbeat of a dead peer.
const (
	sampleEvery = 30 * time.Second
	sampleFirst = 2 // of one message per sampleEvery
)

// zapToLogrus gives etcd a logger that forwards warnings and errors to log, each message at most sampleFirst
// times per sampleEvery. etcd's information lines are dropped unless log is at debug level.
func zapToLogrus(log logrus.FieldLogger) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	level := zapcore.WarnLevel
	if debugs(log) {
		level = zapcore.InfoLevel
	}
	core := &logrusCore{LevelEnabler: level, log: log}
	return zap.New(zapcore.NewSamplerWithOptions(core, sampleEvery, sampleFirst, 0))
}

func debugs(log logrus.FieldLogger) bool {
	switch l := log.(type) {
	case *logrus.Logger:
		return l.IsLevelEnabled(logrus.DebugLevel)
	case *logrus.Entry:
		return l.Logger.IsLevelEnabled(logrus.DebugLevel)
	}
	return false
}

// logrusCore is a zapcore.Core that writes to logrus. Immutable; With copies.
type logrusCore struct {
	zapcore.LevelEnabler
	log logrus.FieldLogger
}

// With implements zapcore.Core.
func (c *logrusCore) With(fields []zapcore.Field) zapcore.Core {
	return &logrusCore{LevelEnabler: c.LevelEnabler, log: c.log.WithFields(logrusFields(fields))}
}

// Check implements zapcore.Core.
func (c *logrusCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c *logrusCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	entry := c.log.WithFields(logrusFields(fields))
	switch {
	case routine(e.Message):
		entry.Debug("etcd: " + e.Message)
	case e.Level >= zapcore.ErrorLevel:
		entry.Error("etcd: " + e.Message)
	case e.Level == zapcore.WarnLevel:
		entry.Warn("etcd: " + e.Message)
	default:
		entry.Debug("etcd: " + e.Message)
	}
	return nil
}

// routine names the warnings and errors of etcd that belong to every start, stop or lost peer, or that the
// caller is told anyway by a returned error.
func routine(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed",
		"bootstrap failed",
		"failed to get cluster response", "failed to reach the peer URL", "failed to get version",
		"Failed to detect schema version", "failed to update storage version",
		"Failed to detect storage schema version. Please wait till wal snapshot before upgrading cluster.",
		"failed to find remote peer in cluster", "rejecting promote learner: learner is not ready",
		"closed TCP streaming connection with remote peer", "lost TCP streaming connection with remote peer",
		"prober detected unhealthy status",
		"retrying of unary invoker failed", "request stats",
		"setting up serving from embedded etcd failed.",
		"stopping insecure grpc server due to error", "stopped insecure grpc server due to error",
		"stopping secure grpc server due to error", "stopped secure grpc server due to error":
		return true
	}
	return false
}

// Sync implements zapcore.Core.
func (c *logrusCore) Sync() error { return nil }

func logrusFields(fields []zapcore.Field) logrus.Fields {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	return logrus.Fields(enc.Fields)
}
