package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// ErrToken means that the caller is not the guest that was started.
var ErrToken = errors.New("wrong token")

// ErrGone means that the agent's connection ended.
var ErrGone = errors.New("the guest's agent is gone")

// Session is the test's side of one guest's conversation.
type Session struct {
	wire *wire

	mu   sync.Mutex
	next int
	jobs map[int]*Job
	gone error // set once the connection has ended
}

// Accept takes conn when its first line carries token, and reads from it until it ends.
func Accept(conn io.ReadWriter, token string) (*Session, error) {
	s := &Session{wire: newWire(conn), jobs: map[int]*Job{}}
	m, err := s.wire.receive()
	if err != nil {
		return nil, err
	}
	if m.Token != token {
		return nil, ErrToken
	}
	go s.read()
	return s, nil
}

func (s *Session) read() {
	for {
		m, err := s.wire.receive()
		s.mu.Lock()
		if err != nil {
			s.gone = fmt.Errorf("%w: %w", ErrGone, err)
			for id, j := range s.jobs {
				delete(s.jobs, id)
				j.end(-1, s.gone)
			}
			s.mu.Unlock()
			return
		}
		if j := s.jobs[m.ID]; j != nil {
			if len(m.Out) > 0 {
				j.write(m.Out)
			}
			if m.Exit != nil {
				delete(s.jobs, m.ID)
				j.end(*m.Exit, nil)
			}
		}
		s.mu.Unlock()
	}
}

// Start begins a shell script in the guest.
func (s *Session) Start(script string) *Job {
	s.mu.Lock()
	s.next++
	j := &Job{session: s, id: s.next, changed: make(chan struct{})}
	if s.gone != nil {
		j.end(-1, s.gone)
		s.mu.Unlock()
		return j
	}
	s.jobs[j.id] = j
	s.mu.Unlock()
	if err := s.wire.send(message{ID: j.id, Run: script}); err != nil {
		s.mu.Lock()
		delete(s.jobs, j.id)
		s.mu.Unlock()
		j.end(-1, err)
	}
	return j
}

// Job is a script that runs, or ran, in the guest.
type Job struct {
	session *Session
	id      int

	mu      sync.Mutex
	out     bytes.Buffer
	done    bool
	code    int
	err     error
	changed chan struct{} // closed and replaced at every change
}

func (j *Job) write(p []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.out.Write(p)
	j.wake()
}

func (j *Job) end(code int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.done {
		return
	}
	j.done, j.code, j.err = true, code, err
	j.wake()
}

func (j *Job) wake() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// Output returns what the script has written so far.
func (j *Job) Output() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.out.String()
}

// Wait returns the exit code when the script has ended. The error says that ctx or the guest ended first.
func (j *Job) Wait(ctx context.Context) (int, error) {
	err := j.until(ctx, func() bool { return j.done })
	if err != nil {
		return -1, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.code, j.err
}

// WaitOutput returns when the output contains text. The error says that ctx or the script ended before.
func (j *Job) WaitOutput(ctx context.Context, text string) error {
	found := func() bool { return bytes.Contains(j.out.Bytes(), []byte(text)) }
	if err := j.until(ctx, func() bool { return j.done || found() }); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !found() {
		return fmt.Errorf("the script ended (exit %d) before it printed %q", j.code, text)
	}
	return nil
}

// Signal sends a signal to the script and all it started. After the end it does nothing.
func (j *Job) Signal(sig syscall.Signal) error {
	return j.session.wire.send(message{ID: j.id, Signal: int(sig)})
}

// until waits for a condition on j's fields.
func (j *Job) until(ctx context.Context, ok func() bool) error {
	for {
		j.mu.Lock()
		done, changed := ok(), j.changed
		j.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
