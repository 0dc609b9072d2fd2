// Package freeport finds loopback ports for the servers of tests that have to know theirs before they listen.
//
// A port that the kernel picked and that was closed again may be anybody's a moment later: it is in the range
// from which the kernel gives ports to connections, of which tests make thousands. So these are below it, and
// a locked file for each, in the directory for temporary files, keeps other tests off it, those of other
// processes too.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// first and end bound the ports, [first, end): above those of well-known services, below the first that Linux
// gives to connections by default (ip(7), ip_local_port_range).
const first, end = 12000, 32000

// attempts bounds how many ports are looked at.
const attempts = 100

// Addr finds a loopback address, "127.0.0.1:port", on which nobody listens now, and which no other test gets
// until this one has ended.
func Addr(tb testing.TB) string {
	tb.Helper()
	var last error
	for range attempts {
		addr, err := try(tb, first+rand.IntN(end-first))
		if err == nil {
			return addr
		}
		last = err
	}
	tb.Fatalf("no free port of %d looked at: %v", attempts, last)
	return ""
}

func try(tb testing.TB, port int) (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("ashlar-port-%d", port))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("reserve port %d: %w", port, err)
	}
	ours := false
	release := func() { // one that could not be removed is locked by whoever comes next
		if ours {
			_ = os.Remove(path)
		}
		_ = f.Close()
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		release()
		return "", fmt.Errorf("port %d is another test's: %w", port, err)
	}
	ours = true
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		release()
		return "", fmt.Errorf("port %d: %w", port, err)
	}
	defer func() { _ = ln.Close() }()
	tb.Cleanup(release)
	return ln.Addr().String(), nil
}
