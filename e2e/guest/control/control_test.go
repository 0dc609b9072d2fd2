package control

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pair starts an agent and a session that talk over a pipe.
func pair(t *testing.T) (*Session, net.Conn, <-chan error) {
	t.Helper()
	host, guest := net.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- Serve(guest, "secret")
		_ = guest.Close()
	}()
	s, err := Accept(host, "secret")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	return s, host, served
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestScriptsGiveOutputAndExitCode(t *testing.T) {
	s, _, _ := pair(t)
	for _, tt := range []struct {
		script, out string
		code        int
	}{
		{"echo one; echo two >&2", "one\ntwo\n", 0},
		{"echo lost; exit 7", "lost\n", 7},
		{"kill -9 $$", "", 137},
		{"head -c 3000000 /dev/zero | tr '\\0' x", strings.Repeat("x", 3000000), 0},
	} {
		j := s.Start(tt.script)
		code, err := j.Wait(deadline(t))
		if err != nil || code != tt.code || j.Output() != tt.out {
			t.Errorf("%q: exit %d, %d bytes, %v", tt.script, code, len(j.Output()), err)
		}
	}
}

func TestScriptsRunBesideEachOther(t *testing.T) {
	s, _, _ := pair(t)
	long := s.Start("echo ready; exec sleep 600")
	if err := long.WaitOutput(deadline(t), "ready"); err != nil {
		t.Fatal(err)
	}
	if code, err := s.Start("true").Wait(deadline(t)); code != 0 || err != nil {
		t.Errorf("beside a long script: exit %d, %v", code, err)
	}
	if err := long.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code, err := long.Wait(deadline(t)); code != 130 || err != nil {
		t.Errorf("interrupted: exit %d, %v", code, err)
	}
	if err := long.WaitOutput(deadline(t), "never printed"); err == nil {
		t.Error("found text that was never printed")
	}
}

func TestAgentKillsItsScriptsWhenTheHostHangsUp(t *testing.T) {
	s, host, served := pair(t)
	j := s.Start("echo ready; exec sleep 600")
	if err := j.WaitOutput(deadline(t), "ready"); err != nil {
		t.Fatal(err)
	}
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-served:
		if err != nil {
			t.Errorf("agent ended with %v", err)
		}
	case <-deadline(t).Done():
		t.Fatal("agent still waits for its script")
	}
	if _, err := j.Wait(deadline(t)); !errors.Is(err, ErrGone) {
		t.Errorf("job ended with %v", err)
	}
	if _, err := s.Start("true").Wait(deadline(t)); !errors.Is(err, ErrGone) {
		t.Errorf("later job ended with %v", err)
	}
}

func TestAnotherGuestIsRefused(t *testing.T) {
	host, guest := net.Pipe()
	defer func() { _, _ = host.Close(), guest.Close() }()
	go func() { _ = Serve(guest, "other") }()
	if _, err := Accept(host, "secret"); !errors.Is(err, ErrToken) {
		t.Errorf("accepted with %v", err)
	}
}
