//go:build e2e

package network

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// TestFaults sends a datagram from everyone to everyone under each fault.
func TestFaults(t *testing.T) {
	n := New(t)
	a, b := n.Add("a"), n.Add("b")
	one, all := func(e *End) []*End { return []*End{e} }, []*End{n.Host, a, b}
	for _, c := range []struct {
		name    string
		fault   func()
		arrives string // from>to
	}{
		{"none", func() {}, "host>a host>b a>host a>b b>host b>a"},
		{"a is isolated", func() { n.Sever(Drop, one(a), n.Others(a)) }, "host>b b>host"},
		{"a is mute", func() { n.Block(Drop, one(a), n.Others(a)) }, "host>a host>b b>host b>a"},
		{"a is deaf", func() { n.Block(Reject, n.Others(a), one(a)) }, "host>b a>host a>b b>host"},
		{"a and b are apart", func() { n.Sever(Drop, one(a), one(b)) }, "host>a host>b a>host b>host"},
		{"hosts are cut off", func() { n.Sever(Reject, one(n.Host), all) }, "a>b b>a"},
		{"a is slow", func() { n.Slow(a, 1000) }, "host>a host>b a>host a>b b>host b>a"},
		{"none again", func() {}, "host>a host>b a>host a>b b>host b>a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fault()
			if got := strings.Join(arrivals(t, all, c.arrives), " "); got != c.arrives {
				t.Errorf("arrives\n%s\nwant\n%s", got, c.arrives)
			}
			n.Heal()
		})
	}
}

// arrivals lists who hears whom. Where that is wanted there is time for it.
func arrivals(t *testing.T, ends []*End, want string) (out []string) {
	for _, from := range ends {
		for _, to := range ends {
			way, patience := from.Name+">"+to.Name, 100*time.Millisecond
			if strings.Contains(want, way) {
				patience = 5 * time.Second
			}
			if from != to && hears(t, from, to, patience) {
				out = append(out, way)
			}
		}
	}
	return out
}

func hears(t *testing.T, from, to *End, patience time.Duration) bool {
	var in, out *net.UDPConn
	must(t, to.ns.do(func() (err error) {
		in, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(to.Addr)})
		return err
	}))
	defer func() { _ = in.Close() }()
	must(t, from.ns.do(func() (err error) {
		out, err = net.DialUDP("udp4", nil, in.LocalAddr().(*net.UDPAddr))
		return err
	}))
	defer func() { _ = out.Close() }()
	for begin := time.Now(); time.Since(begin) < patience; { // the first one may be lost
		_, _ = out.Write([]byte("x")) // an error says what became of the one before
		must(t, in.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		if _, err := in.Read(make([]byte, 1)); err == nil {
			return true
		}
	}
	return false
}

// TestConnections looks at what TCP makes of a cut: new connections fail at once only where the router says
// why, old ones go on when it heals.
func TestConnections(t *testing.T) {
	n := New(t)
	a := n.Add("a")
	var ln net.Listener
	must(t, a.ns.do(func() (err error) {
		ln, err = net.Listen("tcp", net.JoinHostPort(a.Addr, "0"))
		return err
	}))
	defer func() { _ = ln.Close() }()
	old, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer func() { _ = old.Close() }()
	there, err := ln.Accept()
	must(t, err)
	defer func() { _ = there.Close() }()

	dial := func() error {
		c, err := net.DialTimeout("tcp", ln.Addr().String(), 300*time.Millisecond)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	n.Sever(Reject, []*End{n.Host}, []*End{a})
	if err := dial(); !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("the router rejects, but a connection: %v", err)
	}
	n.Heal()
	n.Sever(Drop, []*End{n.Host}, []*End{a})
	var slow net.Error
	if err := dial(); !errors.As(err, &slow) || !slow.Timeout() {
		t.Errorf("the router drops, but a connection: %v", err)
	}
	_, err = old.Write([]byte("late"))
	must(t, err)
	n.Heal()
	got := make([]byte, 4)
	must(t, there.SetReadDeadline(time.Now().Add(10*time.Second)))
	if _, err := io.ReadFull(there, got); err != nil || string(got) != "late" {
		t.Errorf("after the cut %q arrives, %v", got, err)
	}
}

// TestAProcessSeesNothingElse starts a process at an end; it must have that end's address and no other.
func TestAProcessSeesNothingElse(t *testing.T) {
	e := New(t).Add("a")
	out, w, err := os.Pipe()
	must(t, err)
	cmd := exec.Command("/sbin/ip", "-4", "-o", "addr", "show", "scope", "global")
	cmd.Stdout = w
	must(t, e.Start(cmd))
	_ = w.Close()
	text, err := io.ReadAll(out)
	must(t, err)
	must(t, cmd.Wait())
	if strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), " "+e.Addr+"/24 ") {
		t.Errorf("it sees\n%s", text)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
