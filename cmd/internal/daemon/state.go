package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Names in the data directory.
const (
	stateFile = "ashlard.json"
	tokenFile = "admin-token"
	etcdDir   = "etcd"
	lockFile  = "lock"
)

// stateFormat is the version of State on disk.
const stateFormat = 1

// Stage says how far a node's birth got.
type Stage string

// The stages, see the package doc.
const (
	Founding Stage = "founding"
	Joining  Stage = "joining"
	Member   Stage = "member"
)

// State is what a node keeps of itself. The cluster secret is in it: mode 0600.
type State struct {
	Format      int            `json:"format"`
	Stage       Stage          `json:"stage"`
	NodeUUID    cluster.UUID   `json:"node_uuid"`
	NodeName    string         `json:"node_name"`
	Node        cluster.NodeID `json:"node,omitempty"`
	ClusterID   cluster.UUID   `json:"cluster_id,omitzero"`
	ClusterName string         `json:"cluster_name,omitempty"`
	Secret      []byte         `json:"cluster_secret,omitempty"`
	AdminToken  string         `json:"admin_token,omitempty"` // only while founding
	// EtcdMember says that the node runs a member; EtcdStarted that it has done so, and that its directory
	// must therefore exist: a member that forgot what it promised would break the cluster's majority.
	EtcdMember    bool     `json:"etcd_member"`
	EtcdStarted   bool     `json:"etcd_started"`
	EtcdEndpoints []string `json:"etcd_endpoints,omitempty"` // as last known
	// EncryptEtcd: the embedded etcd is spoken to over TLS, as the cluster's record says, too.
	EncryptEtcd bool `json:"encrypt_etcd,omitempty"`
}

// LoadState reads the state of a data directory; nil when there is none.
func LoadState(dir string) (*State, error) {
	raw, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the node's state: %w", err)
	}
	s := new(State)
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("state file %s is damaged: %w", filepath.Join(dir, stateFile), err)
	}
	if s.Format != stateFormat {
		return nil, fmt.Errorf("state file %s has format %d, this ashlard reads %d",
			filepath.Join(dir, stateFile), s.Format, stateFormat)
	}
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("state file %s: %w", filepath.Join(dir, stateFile), err)
	}
	return s, nil
}

func (s *State) validate() error {
	switch {
	case s.Stage != Founding && s.Stage != Joining && s.Stage != Member:
		return fmt.Errorf("unknown stage %q", s.Stage)
	case s.NodeUUID.IsZero() || s.NodeName == "":
		return errors.New("the node's uuid or name is missing")
	case s.Stage == Member && (s.Node == 0 || s.ClusterID.IsZero() || len(s.Secret) == 0):
		return errors.New("the node's number or its cluster is missing")
	}
	return nil
}

// save replaces the state of a data directory.
func (s *State) save(dir string) error {
	s.Format = stateFormat
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the node's state: %w", err)
	}
	return writeFile(filepath.Join(dir, stateFile), append(raw, '\n'))
}

// writeFile makes a file of mode 0600 appear as a whole, durably: written aside, synced, renamed, directory
// synced.
func writeFile(path string, data []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// lockDir makes a data directory this process's own until the returned file is closed (or the process dies).
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s: another ashlard is running on it", dir)
		}
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	return f, nil
}
