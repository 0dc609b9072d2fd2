// Package audit keeps who changed what: one record per call that may change something, on the node that
// served it.
//
// Contract: [Log.Append] writes a record to the file before it returns, so one whose caller has its answer
// survives the end of the process; it is not forced to the disk, a power cut may take the last second. The
// file is audit.log in the node's data directory, one JSON object per line:
//
//	{"number":17,"time":"2026-11-26T22:10:04.123Z","request_id":"...","caller":"token:...","name":"ops",
//	 "role":"operator","from":"192.0.2.7:4711","action":"DELETE /v1/volumes/:volume",
//	 "subject":"/v1/volumes/0a0b...","status":204}
//
// Numbers count up by one, per node. At maxFile bytes it becomes audit.log.1, and so on up to keepFiles. The
// last maxRecent records are kept in memory for [Log.Recent]. Records hold what was called and how it ended,
// never bodies or tokens.
package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Record is one call.
type Record = wire.AuditRecord

const (
	fileName  = "audit.log"
	maxFile   = 16 << 20
	keepFiles = 8 // older ones, beside the present one
	maxRecent = 1000
	maxLine   = 64 << 10
)

// Log is the audit log of one node. It may be used from any goroutine.
type Log struct {
	path  string
	limit int64 // bytes of one file

	mu     sync.Mutex
	file   *os.File
	size   int64
	recent []Record // oldest first
	last   uint64
}

// Open continues the log in a directory, or begins one.
func Open(dir string) (*Log, error) { return open(dir, maxFile) }

func open(dir string, limit int64) (*Log, error) {
	l := &Log{path: filepath.Join(dir, fileName), limit: limit}
	for _, path := range []string{l.path + ".1", l.path} {
		if err := l.load(path); err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
	}
	if err := l.begin(); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return l, nil
}

// load remembers the records of a file. A line that is none, as a power cut may leave one, is passed over.
func (l *Log) load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, maxLine), 2*maxLine)
	for lines.Scan() {
		var r Record
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Number > l.last {
			l.remember(r)
		}
	}
	return lines.Err()
}

func (l *Log) remember(r Record) {
	l.last = r.Number
	if len(l.recent) == maxRecent {
		copy(l.recent, l.recent[1:])
		l.recent = l.recent[:maxRecent-1]
	}
	l.recent = append(l.recent, r)
}

// begin opens the present file. A torn last line is closed, so that the next record has one of its own.
func (l *Log) begin() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	end := make([]byte, 1)
	if l.size > 0 {
		if _, err := f.ReadAt(end, l.size-1); err == nil && end[0] != '\n' {
			_, err = f.Write([]byte{'\n'})
			l.size++
			return err
		}
	}
	return nil
}

// Append keeps a record; its number is drawn here. After an error it is still among the recent ones.
func (l *Log) Append(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Number = l.last + 1
	l.remember(r)
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if len(line) > maxLine {
		return fmt.Errorf("audit log: a record of %d bytes, at most %d are possible", len(line), maxLine)
	}
	if err := l.write(append(line, '\n')); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

func (l *Log) write(line []byte) error {
	if l.file == nil || l.size > 0 && l.size+int64(len(line)) > l.limit {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	return err
}

// rotate moves every file one on, over the oldest, and begins a new one. When it cannot, the next Append
// tries again.
func (l *Log) rotate() error {
	if l.file != nil {
		if err := l.file.Sync(); err != nil {
			return err
		}
		_ = l.file.Close()
		l.file = nil
		for n := keepFiles - 1; n >= 0; n-- {
			err := os.Rename(l.older(n), l.older(n+1))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return l.begin()
}

// older is the name of the n-th file before the present one.
func (l *Log) older(n int) string {
	if n == 0 {
		return l.path
	}
	return l.path + "." + strconv.Itoa(n)
}

// Recent lists at most limit of the last records whose number is below before (0: all), newest first. more
// says that there are others below.
func (l *Log) Recent(before uint64, limit int) (out []Record, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.recent) - 1; i >= 0; i-- {
		if before != 0 && l.recent[i].Number >= before {
			continue
		}
		if len(out) == limit {
			return out, true
		}
		out = append(out, l.recent[i])
	}
	return out, false
}

// Close ends the log; what is appended later goes to a file that is opened again.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Sync(), l.file.Close())
	l.file = nil
	return err
}
