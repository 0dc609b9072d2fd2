// Package diagnose writes what one node knows of itself for somebody far away who has to find out what is
// wrong: the node's part of a support bundle.
//
//	tar.gz: version.json   what the daemon was built from, when it started
//	        system.json    kernel, processors, memory
//	        settings.json  as they took effect
//	        state.json     cluster map, volumes and owners as this node sees them; no metadata of users
//	        metrics.txt    every figure, as Prometheus gets them
//	        goroutines.txt what every goroutine does
//	        log.jsonl      the last megabyte of the log
//
// Every file has passed a redactor. What a part fails with stands in its file.
package diagnose

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/cmd/internal/redact"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Sources are where the parts come from.
type Sources struct {
	Redact   *redact.Redactor
	Version  wire.Version
	Started  time.Time
	Settings map[string]any
	State    func() *cluster.State // nil: none yet
	Metrics  http.Handler
	Log      func() string
}

// part is one file.
type part struct {
	name string
	make func(w io.Writer) error
}

// Write writes the archive. What a secret might be in is held in memory as a whole before it is written.
func (s *Sources) Write(w io.Writer) error {
	gz := gzip.NewWriter(w)
	archive := tar.NewWriter(gz)
	for _, p := range s.parts() {
		var b bytes.Buffer
		if err := p.make(&b); err != nil {
			fmt.Fprintf(&b, "\nthis part failed: %v\n", err)
		}
		if err := Add(archive, p.name, []byte(s.Redact.Text(b.String())), time.Now()); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return gz.Close()
}

// Add adds a file to an archive.
func Add(to *tar.Writer, name string, data []byte, at time.Time) error {
	h := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: at, Format: tar.FormatPAX}
	if err := to.WriteHeader(h); err != nil {
		return err
	}
	_, err := to.Write(data)
	return err
}

func (s *Sources) parts() []part {
	return []part{
		{"version.json", encode(func() any {
			return map[string]any{"version": s.Version, "started": s.Started.UTC(), "now": time.Now().UTC()}
		})},
		{"system.json", encode(system)},
		{"settings.json", encode(func() any { return s.Settings })},
		{"state.json", encode(func() any { return public(s.State()) })},
		{"metrics.txt", func(w io.Writer) error {
			r := httptest.NewRecorder()
			s.Metrics.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			_, err := r.Body.WriteTo(w)
			return err
		}},
		{"goroutines.txt", func(w io.Writer) error { return pprof.Lookup("goroutine").WriteTo(w, 2) }},
		{"log.jsonl", func(w io.Writer) error { _, err := io.WriteString(w, s.Log()); return err }},
	}
}

func encode(value func() any) func(io.Writer) error {
	return func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(value())
	}
}

// public is a state without what users attach to their volumes, for nobody knows what is in that, and without
// the wrapped keys of volumes.
func public(s *cluster.State) any {
	if s == nil {
		return nil
	}
	type volume struct {
		cluster.Volume
		Encrypted bool             `json:"encrypted"`
		Owner     *cluster.OwnerAt `json:"owner,omitempty"`
	}
	volumes := []volume{}
	for key, v := range s.Volumes {
		shown := volume{*v, v.Encryption != nil, s.Owners[key]}
		shown.Metadata, shown.Encryption = nil, nil
		volumes = append(volumes, shown)
	}
	return map[string]any{"revision": s.Revision, "map": s.Map, "volumes": volumes}
}

func system() any {
	out := map[string]any{"processors": runtime.NumCPU(), "gomaxprocs": runtime.GOMAXPROCS(0),
		"arch": runtime.GOARCH}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		out["kernel"] = unix.ByteSliceToString(u.Release[:])
	}
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) == nil {
		unit := uint64(i.Unit)
		out["memory_bytes"], out["memory_free_bytes"] = uint64(i.Totalram)*unit, uint64(i.Freeram)*unit
		out["uptime_seconds"] = i.Uptime
		out["load"] = float64(i.Loads[0]) / (1 << 16)
	}
	if host, err := os.Hostname(); err == nil {
		out["host"] = host
	}
	return out
}
