package control

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// Serve is the guest's side: it presents token on conn, then runs scripts as asked until conn ends, kills
// those still running and returns. The error is nil when the host hung up.
func Serve(conn io.ReadWriter, token string) error {
	s := &server{wire: newWire(conn), groups: map[int]int{}}
	if err := s.wire.send(message{Token: token}); err != nil {
		return err
	}
	defer s.stop()
	for {
		m, err := s.wire.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case m.Run != "":
			s.start(m.ID, m.Run)
		case m.Signal != 0:
			s.signal(m.ID, syscall.Signal(m.Signal))
		default:
			return fmt.Errorf("control message %d asks for nothing", m.ID)
		}
	}
}

type server struct {
	wire *wire
	runs sync.WaitGroup

	mu     sync.Mutex
	groups map[int]int // script id -> process group, while it runs
}

func (s *server) start(id int, script string) {
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := &output{wire: s.wire, id: id}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		_, _ = fmt.Fprintf(out, "sh: %v\n", err)
		s.exit(id, 127)
		return
	}
	s.mu.Lock()
	s.groups[id] = cmd.Process.Pid
	s.mu.Unlock()
	s.runs.Go(func() {
		err := cmd.Wait()
		s.mu.Lock()
		delete(s.groups, id)
		s.mu.Unlock()
		s.exit(id, exitCode(err))
	})
}

func (s *server) signal(id int, sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pgid, ok := s.groups[id]; ok {
		_ = syscall.Kill(-pgid, sig) // it may have ended this moment
	}
}

func (s *server) stop() {
	s.mu.Lock()
	for _, pgid := range s.groups {
		_ = syscall.Kill(-pgid, syscall.SIGKILL)
	}
	s.mu.Unlock()
	s.runs.Wait()
}

func (s *server) exit(id, code int) {
	_ = s.wire.send(message{ID: id, Exit: &code}) // the receive loop sees a dead connection
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 127
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}

// output sends what a script writes.
type output struct {
	wire *wire
	id   int
}

func (o *output) Write(p []byte) (int, error) {
	if err := o.wire.send(message{ID: o.id, Out: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}
