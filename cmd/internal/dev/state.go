package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	stateFile   = "ashlar-dev.json"
	stateFormat = 1
	nodeCount   = 3
	// firstPort begins the search for free ports: below the range that the kernel gives to connections, so
	// that the ports are likely to be free the next time.
	firstPort = 17420
	lastPort  = 32000
	restPort  = 7443 // of the first node, when it is free: the command line looks there
)

// portNames are the ports of a node, by the settings of ashlard that set them.
func portNames() []string {
	return []string{"hosts-port", "discovery-port", "nodes-port", "rest-port", "etcd-client-port",
		"etcd-peer-port"}
}

// state is what stays between two runs.
type state struct {
	Format     int              `json:"format"`
	Ports      []map[string]int `json:"ports"` // of each node, by portNames
	Disks      int              `json:"disks_per_node"`
	DiskSize   uint64           `json:"disk_bytes"`
	VolumeSize uint64           `json:"volume_bytes"`
}

// errNotOurs protects directories that somebody else made.
var errNotOurs = errors.New("the directory is not empty and was not made by `ashlar dev`")

// openDir locks the directory, wipes it when fresh, and reads its state or makes a new one.
func openDir(dir string, fresh bool, wanted state) (*state, *os.File, error) {
	if err := checkOurs(dir); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("`ashlar dev` runs on %s already", dir), lock.Close())
	}
	s, err := readState(dir)
	if err == nil && fresh && s != nil {
		err, s = wipe(dir), nil
	}
	if err == nil && s == nil {
		s = &wanted
		s.Format = stateFormat
	}
	if err == nil {
		err = s.settlePorts()
	}
	if err == nil {
		err = s.save(dir)
	}
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	return s, lock, nil
}

// checkOurs accepts a directory that does not exist, is empty, or carries our mark.
func checkOurs(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) == 1 && entries[0].Name() == "lock" {
		return nil // made by a run that ended before it wrote its mark
	}
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
		return errNotOurs
	}
	return nil
}

// wipe removes what `ashlar dev` makes, by name, and the mark last; the lock stays held.
func wipe(dir string) error {
	names := []string{"env"}
	for n := 1; n <= nodeCount; n++ {
		names = append(names, nodeName(n))
	}
	for _, name := range append(names, stateFile) {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	return nil
}

func readState(dir string) (*state, error) {
	raw, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := new(state)
	if err := json.Unmarshal(raw, s); err != nil || s.Format != stateFormat || len(s.Ports) != nodeCount {
		return nil, fmt.Errorf("%s is not understood; --fresh makes a new cluster: %w",
			filepath.Join(dir, stateFile), err)
	}
	return s, nil
}

func (s *state) save(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, stateFile+".new")
	if err := os.WriteFile(tmp, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, stateFile))
}

// settlePorts gives every node its ports. Ports of an earlier run are kept while they are free; another
// takes the place of one that is not, except for etcd's, by which the members know each other.
func (s *state) settlePorts() error {
	taken := map[int]bool{}
	for _, ports := range s.Ports {
		for _, p := range ports {
			taken[p] = true
		}
	}
	next := firstPort
	for len(s.Ports) < nodeCount {
		s.Ports = append(s.Ports, map[string]int{})
	}
	for i, ports := range s.Ports {
		for _, name := range portNames() {
			old := ports[name]
			switch {
			case old != 0 && free(old):
				continue
			case old != 0 && (name == "etcd-client-port" || name == "etcd-peer-port"):
				return fmt.Errorf("port %d (%s of node %d) is taken by another program: end it, or use --fresh", old,
					name, i+1)
			case name == "rest-port" && i == 0 && !taken[restPort] && free(restPort):
				ports[name] = restPort
				continue
			}
			for taken[next] || !free(next) {
				if next++; next > lastPort {
					return errors.New("no free port found")
				}
			}
			ports[name], taken[next] = next, true
		}
	}
	return nil
}

func free(port int) bool {
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return ln.Close() == nil
}

func nodeName(n int) string { return "node" + strconv.Itoa(n) }
