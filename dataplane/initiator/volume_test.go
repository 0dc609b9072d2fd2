package initiator

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// cluster is peers that show one namespace: they share its disk.
type cluster map[string]*peer

func newCluster(names ...string) cluster {
	cl := cluster{}
	for _, n := range names {
		cl[n] = newPeer()
		cl[n].disk = cl[names[0]].disk
	}
	return cl
}

func (cl cluster) config(portals ...string) VolumeConfig {
	cfg := VolumeConfig{Config: newPeer().config(), Portals: portals, GiveUp: 20 * time.Second}
	cfg.KATO, cfg.Timeout = -1, 5*time.Second
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		return cl[addr].dial(ctx, addr)
	}
	return cfg
}

func openVolume(t *testing.T, cfg VolumeConfig) *Volume {
	t.Helper()
	v, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	synctest.Wait() // all paths that can be up are up
	return v
}

// inBubble runs a test on a clock of its own.
func inBubble(name string, t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// TestVolumeForms: the synchronous forms split, and do what they say.
func TestVolumeForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster("a")
		v := openVolume(t, cl.config("a"))
		ctx := t.Context()
		if v.Size() != 1<<20 || v.BlockSize() != 512 || v.UUID() != cl["a"].uuid || v.MaxTransfer() != 256<<10 {
			t.Errorf("size %d, block %d, uuid %x, most %d", v.Size(), v.BlockSize(), v.UUID(), v.MaxTransfer())
		}
		want := pattern(700 << 10)
		if err := v.Write(ctx, want, 4096); err != nil {
			t.Fatal(err)
		}
		if n := cl["a"].count(nvme.OpWrite); n != 3 {
			t.Errorf("%d commands for 700 KiB, 256 KiB each", n)
		}
		if err := v.WriteZeroes(ctx, 8192, 300<<10); err != nil {
			t.Fatal(err)
		}
		if n := cl["a"].count(nvme.OpWriteZeroes); n != 3 {
			t.Errorf("%d commands for 300 KiB of zeroes, 128 KiB each", n)
		}
		if err := v.Deallocate(ctx, 409600, 512); err != nil {
			t.Fatal(err)
		}
		if err := v.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		clear(want[4096 : 4096+300<<10])
		clear(want[405504:406016])
		got := make([]byte, len(want))
		if err := v.Read(ctx, got, 4096); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read: %v", err)
		}
		for _, bad := range [][2]int64{{1, 512}, {512, 100}, {-512, 512}, {1 << 20, 512}, {0, 2 << 20}} {
			if err := v.Read(ctx, make([]byte, bad[1]), bad[0]); !errors.Is(err, ErrRange) {
				t.Errorf("%d bytes at %d: %v", bad[1], bad[0], err)
			}
		}
	})
}

// load keeps requests going until stop is called, which waits and returns how many succeeded. Any error fails
// the test: that is what multipath is for.
func load(t *testing.T, v *Volume) (stop func() int64) {
	var ended atomic.Bool
	var n atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		r := &Request{Op: nvme.OpWrite, Off: int64(i) * 4096, Data: bytes.Repeat([]byte{byte(i)}, 4096)}
		again := make(chan struct{}, 1)
		r.Done = func(_ *Request, err error) {
			if err != nil {
				t.Errorf("request %d: %v", i, err)
			}
			again <- struct{}{}
		}
		go func() {
			defer wg.Done()
			for !ended.Load() {
				v.Submit(r)
				<-again
				n.Add(1)
				<-time.After(time.Millisecond)
			}
		}()
	}
	return func() int64 {
		ended.Store(true)
		wg.Wait()
		return n.Load()
	}
}

// TestVolumeMoves: under load, ownership and connections move and nobody notices.
func TestVolumeMoves(t *testing.T) {
	inBubble("owner changes", t, func(t *testing.T) {
		cl := newCluster("a", "b")
		cl["b"].ana = nvme.ANAInaccessible
		v := openVolume(t, cl.config("a", "b"))
		stop := load(t, v)
		<-time.After(time.Second)
		if cl["b"].count(nvme.OpWrite) != 0 {
			t.Error("I/O on an inaccessible path")
		}
		cl["a"].setANA(nvme.ANAChange)
		<-time.After(time.Second)
		cl["a"].setANA(nvme.ANAInaccessible)
		cl["b"].setANA(nvme.ANAOptimized)
		before := cl["a"].count(nvme.OpWrite)
		<-time.After(time.Second)
		if n := stop(); n == 0 || cl["b"].count(nvme.OpWrite) == 0 {
			t.Errorf("%d writes, %d on the new owner", n, cl["b"].count(nvme.OpWrite))
		}
		if n := cl["a"].count(nvme.OpWrite); n > before+8 {
			t.Errorf("%d writes still went to the old owner", n-before)
		}
	})
	inBubble("owner changes without an event", t, func(t *testing.T) {
		cl := newCluster("a", "b")
		cl["b"].ana = nvme.ANAInaccessible
		v := openVolume(t, cl.config("a", "b"))
		stop := load(t, v)
		cl["a"].mu.Lock()
		cl["a"].ana = nvme.ANAInaccessible
		cl["a"].mu.Unlock()
		cl["b"].mu.Lock()
		cl["b"].ana = nvme.ANAOptimized
		cl["b"].mu.Unlock()
		<-time.After(5 * time.Second)
		if stop(); cl["b"].count(nvme.OpWrite) == 0 {
			t.Error("the new owner was not found by polling")
		}
	})
	inBubble("connections drop", t, func(t *testing.T) {
		cl := newCluster("a", "b")
		v := openVolume(t, cl.config("a", "b"))
		stop := load(t, v)
		for range 20 {
			<-time.After(300 * time.Millisecond)
			cl["a"].drop()
			<-time.After(300 * time.Millisecond)
			cl["b"].drop()
		}
		if n := stop(); n < 1000 {
			t.Errorf("only %d writes in 12 s", n)
		}
	})
	inBubble("all paths gone for a while", t, func(t *testing.T) {
		cl := newCluster("a")
		a := cl["a"]
		v := openVolume(t, cl.config("a"))
		a.away.Store(true)
		a.drop()
		synctest.Wait()
		begin := time.Now()
		time.AfterFunc(7*time.Second, func() { a.away.Store(false) })
		if err := v.Write(t.Context(), make([]byte, 512), 0); err != nil {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

// TestVolumeGivesUp: waiting for a path ends by the caller's context, by GiveUp and by Close, not before.
func TestVolumeGivesUp(t *testing.T) {
	lonely := func(t *testing.T) *Volume {
		cl := newCluster("a")
		v := openVolume(t, cl.config("a"))
		cl["a"].setANA(nvme.ANAInaccessible)
		synctest.Wait()
		return v
	}
	inBubble("context", t, func(t *testing.T) {
		v := lonely(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		err := v.Write(ctx, make([]byte, 512), 0)
		if d := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || d != 3*time.Second {
			t.Errorf("%v after %v", err, d)
		}
	})
	inBubble("give up", t, func(t *testing.T) {
		v := lonely(t)
		begin := time.Now()
		err := v.Write(t.Context(), make([]byte, 512), 0)
		if d := time.Since(begin); err == nil || d != 20*time.Second {
			t.Errorf("%v after %v", err, d)
		}
	})
	inBubble("close", t, func(t *testing.T) {
		v := lonely(t)
		time.AfterFunc(time.Second, func() { v.Close() })
		if err := v.Write(t.Context(), make([]byte, 512), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
		if err := v.Flush(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

// TestVolumeRetries: errors that may pass are tried again, for a while; errors that do not pass come back at
// once.
func TestVolumeRetries(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status nvme.Status
		times  int // the command fails so often
		want   error
		count  int // commands seen
	}{
		{"interrupted", nvme.CommandInterrupted, 10, nil, 11},
		{"internal error, passes", nvme.InternalError, 3, nil, 4},
		{"internal error, stays", nvme.InternalError, 100, nvme.InternalError, 1 + maxTries},
		{"do not retry", nvme.InternalError.NoRetry(), 1, nvme.InternalError.NoRetry(), 1},
		{"media error", nvme.UnrecoveredReadError, 1, nvme.UnrecoveredReadError, 1},
		{"the controller says host pathing error", nvme.HostPathingError, 3, nil, 4},
	} {
		inBubble(tc.name, t, func(t *testing.T) {
			cl := newCluster("a")
			left := tc.times
			cl["a"].hook = func(c *peerConn, cmd *nvme.Command, _ []byte) bool {
				if left--; left >= 0 {
					c.answer(cmd, tc.status, 0)
					return true
				}
				return false
			}
			v := openVolume(t, cl.config("a"))
			if err := v.Read(t.Context(), make([]byte, 512), 0); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if n := cl["a"].count(nvme.OpRead); n != tc.count {
				t.Errorf("%d commands, want %d", n, tc.count)
			}
		})
	}
}

// TestVolumeResizes: a namespace attribute event is enough.
func TestVolumeResizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster("a")
		cfg := cl.config("a")
		told := make(chan int64, 10)
		cfg.OnResize = func(n int64) { told <- n }
		v := openVolume(t, cfg)
		for _, n := range []int{2 << 20, 3 << 20} {
			cl["a"].resize(n)
			if got := <-told; got != int64(n) || v.Size() != int64(n) {
				t.Errorf("told %d, size %d, want %d", got, v.Size(), n)
			}
		}
		if err := v.Write(t.Context(), make([]byte, 512), 3<<20-512); err != nil {
			t.Error(err)
		}
	})
}

// TestVolumeIdentity: a path that shows another namespace is never used.
func TestVolumeIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster("a", "b")
		cl["a"].ana = nvme.ANANonOptimized // b would be better
		b := cl["b"]
		b.uuid[5]++
		b.away.Store(true)
		v := openVolume(t, cl.config("a", "b"))
		b.away.Store(false)
		<-time.After(time.Minute)
		if err := v.Write(t.Context(), make([]byte, 512), 0); err != nil {
			t.Fatal(err)
		}
		s := v.Paths()[1]
		if s.Up || s.Err == nil || !strings.Contains(s.Err.Error(), "shows") || b.count(nvme.OpWrite) != 0 {
			t.Errorf("path to another namespace: %+v", s)
		}
	})
}

// TestPathBackoff: attempts come at growing distances up to Max, never closer than three quarters of them.
func TestPathBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		cfg := newPeer().config()
		cfg.Dial = func(context.Context, string) (net.Conn, error) {
			at = append(at, time.Now())
			return nil, errors.New("connection refused")
		}
		p, err := NewPath(PathConfig{Config: cfg, Backoff: Backoff{First: time.Second, Max: 8 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(60 * time.Second)
		p.Close()
		want := time.Second
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d > want || d < want*3/4 {
				t.Errorf("attempt %d after %v, want %v", i, d, want)
			}
			want = min(2*want, 8*time.Second)
		}
		if len(at) < 8 || p.Err() == nil {
			t.Errorf("%d attempts, %v", len(at), p.Err())
		}
		io := &IO{Done: func(*IO) {}}
		if p.Submit(io); io.Status() != nvme.HostPathingError {
			t.Errorf("submit on a path that is down: %v", io.Status())
		}
	})
}

func TestDiscover(t *testing.T) {
	p := newPeer()
	for i := range 40 {
		p.entries = append(p.entries, nvme.DiscoveryEntry{
			TRTYPE: nvme.TRTYPETCP, ADRFAM: nvme.ADRFAMIPv4, SUBTYPE: nvme.SUBTYPENVM, PORTID: uint16(i),
			TRSVCID: "4420", TRADDR: "192.0.2.7", SUBNQN: "nqn.2026-11.io.ashlar:v",
		})
	}
	cfg := p.config()
	cfg.SubNQN = ""
	l, err := Discover(t.Context(), cfg)
	if err != nil || len(l.Entries) != 40 || l.Entries[39] != p.entries[39] {
		t.Fatalf("%v %+v", err, l)
	}
}
