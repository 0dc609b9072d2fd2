package freeport

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAddressesAreDistinct: nobody gets what another one has, and it can be listened on.
func TestAddressesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for range 500 {
		addr := Addr(t)
		if seen[addr] {
			t.Fatalf("%s was given out twice", addr)
		}
		seen[addr] = true
	}
	for addr := range seen {
		ln, err := net.Listen("tcp", addr)
		if err != nil && !errors.Is(err, unix.EMFILE) {
			t.Error(err)
		}
		if err == nil {
			_ = ln.Close()
		}
	}
}

// TestAPortIsFreeAgain when the test that had it has ended; one that somebody listens on is nobody's.
func TestAPortIsFreeAgain(t *testing.T) {
	const port = end - 1
	t.Run("first", func(t *testing.T) {
		if _, err := try(t, port); err != nil {
			t.Skip(err)
		}
		if _, err := try(t, port); !errors.Is(err, unix.EWOULDBLOCK) {
			t.Errorf("reserved twice: %v", err)
		}
	})
	addr, err := try(t, port)
	if err != nil {
		t.Skip(err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
}
