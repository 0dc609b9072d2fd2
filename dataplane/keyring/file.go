package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

// maxFile bounds a key file: thousands of keys.
const maxFile = 1 << 20

// File is a key file as a source. It is read whenever a key is asked for: the ring asks seldom.
type File struct{ Path string }

// Key implements Source.
func (f File) Key(_ context.Context, id string) (seal.ClusterKey, error) {
	keys, err := f.Keys()
	if err != nil {
		return seal.ClusterKey{}, err
	}
	k, ok := keys[id]
	if !ok {
		return k, fmt.Errorf("%w: %q is not in %s", ErrNoKey, id, f.Path)
	}
	return k, nil
}

// Keys reads the whole file. A file that others could read or change is refused: what is in it is no secret,
// or not ours.
func (f File) Keys() (map[string]seal.ClusterKey, error) {
	text, err := f.read()
	if err != nil {
		return nil, err
	}
	keys, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", f.Path, err)
	}
	return keys, nil
}

func (f File) read() ([]byte, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	defer func() { _ = file.Close() }()
	st, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	if err := private(st); err != nil {
		return nil, fmt.Errorf("key file %s: %w", f.Path, err)
	}
	text := make([]byte, st.Size())
	n, err := file.ReadAt(text, 0)
	if n < len(text) {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return text, nil
}

// private refuses files that somebody else may read or write, and what is no file.
func private(st fs.FileInfo) error {
	owner, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.Mode().IsRegular():
		return errors.New("is no regular file")
	case st.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("has mode %04o, others may read or write it; run chmod 0600", st.Mode().Perm())
	case st.Size() > maxFile:
		return fmt.Errorf("has %d bytes, at most %d are read", st.Size(), maxFile)
	}
	if ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("belongs to user %d, neither root nor the user of this process", owner.Uid)
	}
	return nil
}

// parse reads the lines of a key file. Errors name lines, never what is in them.
func parse(text []byte) (map[string]seal.ClusterKey, error) {
	keys := make(map[string]seal.ClusterKey)
	for n, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("line %d is not an id and a key", n+1)
		}
		id := fields[0]
		if err := cluster.ValidateName("id", id); err != nil {
			return nil, fmt.Errorf("line %d begins with no id of a key", n+1) // it may be the key itself
		}
		if _, double := keys[id]; double {
			return nil, fmt.Errorf("line %d has the id of an earlier line", n+1)
		}
		k, err := seal.ParseClusterKey(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		keys[id] = k
	}
	return keys, nil
}

// Add puts a key at the end of the file, which it makes if there is none. The file is replaced as a whole: a
// crash leaves the old one or the new one.
func (f File) Add(id string, k seal.ClusterKey) error {
	if err := cluster.ValidateName("id", id); err != nil {
		return err
	}
	text, err := f.read()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	keys, err := parse(text)
	if err != nil {
		return fmt.Errorf("key file %s: %w", f.Path, err)
	}
	if _, double := keys[id]; double {
		return fmt.Errorf("key file %s has a key %q", f.Path, id)
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	return replace(f.Path, append(text, id+" "+k.Reveal()+"\n"...))
}

// replace writes a file of mode 0600 aside, syncs and renames it.
func replace(path string, text []byte) error {
	aside := path + ".new"
	file, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(aside, path)
	}
	if err != nil {
		_ = os.Remove(aside)
		return fmt.Errorf("key file: %w", err)
	}
	return nil
}
