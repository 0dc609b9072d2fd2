package initiator

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// TestConfigRefused: what cannot work is refused before anything is dialled.
func TestConfigRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"no address":        func(c *Config) { c.Addr = "" },
		"subsystem":         func(c *Config) { c.SubNQN = "volume" },
		"host NQN":          func(c *Config) { c.HostNQN = strings.Repeat("n", 300) },
		"host identifier":   func(c *Config) { c.HostID = [16]byte{} },
		"too many queues":   func(c *Config) { c.Queues = MaxQueues + 1 },
		"depth of one":      func(c *Config) { c.Depth = 1 },
		"depth past a CID":  func(c *Config) { c.Depth = MaxDepth + 1 },
		"alignment too big": func(c *Config) { c.HPDA = nvme.MaxPDA + 1 },
	} {
		cfg := newPeer().config()
		cfg.Dial = func(context.Context, string) (net.Conn, error) {
			t.Errorf("%s: dialled", name)
			return nil, errors.New("no")
		}
		spoil(&cfg)
		if _, err := Dial(t.Context(), cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := NewPath(PathConfig{Config: cfg}); err == nil {
			t.Errorf("%s: accepted by a path", name)
		}
	}
	if _, err := Open(t.Context(), VolumeConfig{Config: newPeer().config()}); err == nil {
		t.Error("a volume without portals")
	}
}

// TestBadHandshakes: whatever answers ICReq, Dial returns an error that says what was wrong.
func TestBadHandshakes(t *testing.T) {
	resp := func(r nvme.ICResp) []byte {
		b := make([]byte, nvme.ICSize)
		r.Encode(b)
		return b
	}
	term := make([]byte, nvme.TermReqSize)
	nvme.TermReq{Type: nvme.PDUC2HTermReq, Fault: nvme.Fault{FES: nvme.FESUnsupportedParameter}}.Encode(term)
	for _, tc := range []struct {
		name, want string
		say        []byte
	}{
		{"nothing", "closed the connection", nil},
		{"a web server", "malformed", []byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
		{"half an answer", "unexpected EOF", resp(nvme.ICResp{MAXH2CDATA: 8192})[:100]},
		{"termination", "unsupported parameter", term},
		{"another format", "unsupported parameter", resp(nvme.ICResp{PFV: 1, MAXH2CDATA: 8192})},
		{"tiny data PDUs", "unsupported parameter", resp(nvme.ICResp{MAXH2CDATA: 512})},
		{"digests nobody wants", "nobody asked for", resp(nvme.ICResp{DGST: 3, MAXH2CDATA: 8192})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := newPeer().config()
			cfg.Dial = func(context.Context, string) (net.Conn, error) {
				host, ctrl := net.Pipe()
				go func() {
					_, _ = io.ReadFull(ctrl, make([]byte, nvme.ICSize))
					_, _ = ctrl.Write(tc.say)
					ctrl.Close()
				}()
				return host, nil
			}
			if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestSilentPeer: a peer that accepts and says nothing costs ConnectTimeout, no more.
func TestSilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := newPeer().config()
		cfg.ConnectTimeout = 3 * time.Second
		cfg.Dial = func(context.Context, string) (net.Conn, error) {
			host, ctrl := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, ctrl) }()
			return host, nil
		}
		begin := time.Now()
		_, err := Dial(t.Context(), cfg)
		if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d != 3*time.Second {
			t.Errorf("%v after %v", err, d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = Open(ctx, VolumeConfig{Config: cfg, Portals: []string{"a", "b"}})
		if err == nil || !strings.Contains(err.Error(), "initialize connection") {
			t.Errorf("open: %v", err)
		}
	})
}

// TestPathWaits: a path comes up by itself, carries commands, and comes back after a loss.
func TestPathWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.away.Store(true)
		var ups, downs int
		path, err := NewPath(PathConfig{
			Config: p.config(), OnUp: func(*Client) { ups++ }, OnDown: func(*Client, error) { downs++ },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer path.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := path.Wait(ctx); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("wait: %v", err)
		}
		for range 3 {
			p.away.Store(false)
			c, err := path.Wait(t.Context())
			if err != nil || path.Client() != c || path.Err() != nil {
				t.Fatalf("%v %v", err, path.Err())
			}
			done := make(chan struct{})
			io := rw(nvme.OpRead, 0, make([]byte, 512), nil)
			io.Done = func(*IO) { close(done) }
			path.Submit(io)
			if <-done; !io.Status().OK() {
				t.Error(io.Status())
			}
			p.away.Store(true)
			p.drop()
			synctest.Wait()
			if path.Client() != nil || path.Err() == nil {
				t.Error("up after all connections were dropped")
			}
		}
		if ups != 3 || downs != 3 {
			t.Errorf("%d times up, %d times down", ups, downs)
		}
	})
}

// TestManyDataPDUs: one R2T may take more headers than the writer has room for at first.
func TestManyDataPDUs(t *testing.T) {
	p := newPeer()
	p.cpda = nvme.MaxPDA // 128 bytes before each piece of data
	c := p.client(t, func(cfg *Config) { cfg.DataDigest = true })
	want := pattern(1 << 20)
	if st := run(t, c, rw(nvme.OpWrite, 0, want, nil)); !st.OK() || !bytes.Equal(p.disk.mem, want) {
		t.Errorf("write: %v", st)
	}
}

// TestDoEndsWithItsContext: a command that is given up takes its connection along, since its buffer is in
// use.
func TestDoEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer()
		p.hook = func(*peerConn, *nvme.Command, []byte) bool { return true }
		c := p.client(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var cmd nvme.Command
		cmd.ReadWrite(nvme.OpRead, 1, 0, 1)
		_, err := c.Queues()[0].Do(ctx, &cmd, make([]byte, 512))
		if !errors.Is(err, nvme.HostPathingError) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		<-c.Done()
	})
}
