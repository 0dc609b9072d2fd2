//go:build e2e

package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/guest"
)

// TestGarbage throws malformed bytes at the portal that a host uses: the host must not notice, and every
// connection that brought garbage must be ended by the target within its handshake timeout.
func TestGarbage(t *testing.T) {
	s := serve(t, 1, 64<<20)
	g := guest.Start(t, guest.Options{})
	dev := s.attach(g, "-g -G")
	steady := g.Go("exec iotest steady -dev " + dev + " -size 4M")
	steady.WaitOutput("@ 1 ")

	icreq := make([]byte, 128) // PDU type 0, HLEN 128, PLEN 128, PFV 0, no digests
	icreq[2], icreq[4] = 128, 128
	capsule := func(change func(b []byte)) []byte {
		b := make([]byte, 72)
		b[0], b[2] = 4, 72
		binary.LittleEndian.PutUint32(b[4:], 72)
		if change != nil {
			change(b)
		}
		return b
	}
	noise := make([]byte, 4096)
	seed := rand.NewChaCha8([32]byte{'a'})
	_, _ = seed.Read(noise)
	address := fmt.Sprintf("127.0.0.1:%d", s.portals[0].Port)
	var wg sync.WaitGroup
	for _, tt := range []struct {
		name  string
		bytes []byte
	}{
		{"nothing", nil},
		{"noise", noise},
		{"http", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"zeros", make([]byte, 8192)},
		{"half an ICReq", icreq[:64]},
		{"ICReq of another version", edit(icreq, 8, 7)},
		{"ICReq with a wrong length", edit(icreq, 4, 200)},
		{"two ICReqs", append(bytes.Clone(icreq), icreq...)},
		{"a PDU of unknown type", append(bytes.Clone(icreq), edit(capsule(nil), 0, 0x55)...)},
		{"a PDU only controllers send", append(bytes.Clone(icreq), edit(capsule(nil), 0, 5)...)},
		{"a read before Connect", append(bytes.Clone(icreq), capsule(func(b []byte) { b[8] = 2 })...)},
		{"a capsule of 4 GiB", append(bytes.Clone(icreq), capsule(func(b []byte) {
			binary.LittleEndian.PutUint32(b[4:], 0xffffffff)
		})...)},
		{"a capsule shorter than its header", append(bytes.Clone(icreq), edit(capsule(nil), 4, 8)...)},
		{"H2CData for nothing", append(bytes.Clone(icreq), edit(edit(capsule(nil), 0, 6), 2, 24)...)},
		{"noise after ICReq", append(bytes.Clone(icreq), noise...)},
	} {
		wg.Go(func() {
			if err := ended(address, tt.bytes); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		})
	}
	wg.Wait()
	steady.Interrupt()
	t.Logf("steady: %+v", steady.Wait().Clean(g))
	live(t, g)
	detach(g, t)
}

func edit(b []byte, at int, value byte) []byte {
	c := bytes.Clone(b)
	c[at] = value
	return c
}

// ended sends bytes to a portal and fails unless the target then ends the connection.
func ended(addr string, b []byte) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	_, _ = c.Write(b) // the target may have hung up already
	answer, err := io.ReadAll(io.LimitReader(c, 1<<20))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("still connected after a minute; it said %x", answer)
	}
	return nil
}
