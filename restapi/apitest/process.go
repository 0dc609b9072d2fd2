package apitest

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Process is the process of a node, in memory.
type Process struct {
	Node  cluster.NodeID
	mu    sync.Mutex
	level string
}

// WriteDiagnostics implements api.Inspector.
func (p *Process) WriteDiagnostics(w io.Writer) error {
	gz := gzip.NewWriter(w)
	archive := tar.NewWriter(gz)
	text := fmt.Sprintf("node %d\n", p.Node)
	err := archive.WriteHeader(&tar.Header{Name: "log.jsonl", Mode: 0o600, Size: int64(len(text))})
	_, err2 := io.WriteString(archive, text)
	return errors.Join(err, err2, archive.Close(), gz.Close())
}

// LogLevel implements api.Inspector.
func (p *Process) LogLevel() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.level == "" {
		return "info"
	}
	return p.level
}

// SetLogLevel implements api.Inspector.
func (p *Process) SetLogLevel(level string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.level = level
	return nil
}
