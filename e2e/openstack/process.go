package openstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// pollInterval is how often waits look again, unless told.
const pollInterval = 100 * time.Millisecond

// processes are the services of one test bed. Each has a session of its own, so its children end with it.
type processes struct {
	logDir string
	spawn  chan func() // run by the spawner's thread
	failed chan struct{}
	poll   time.Duration // how often waits look again

	mu      sync.Mutex
	running []*service
	ended   error // the first service that ended by itself
	closing bool
	waiters sync.WaitGroup
}

// service is one that runs until close, or until it is killed.
type service struct {
	*exec.Cmd
	name  string
	ended chan struct{} // closed when it has
	meant bool          // to end
}

// newProcesses logs into logDir. The kernel ends a child with Pdeathsig when the thread that started it ends,
// so one thread that lives as long as the test bed starts them all.
func newProcesses(logDir string) *processes {
	p := &processes{logDir: logDir, spawn: make(chan func()), failed: make(chan struct{}),
		poll: pollInterval}
	go func() {
		runtime.LockOSThread()
		for f := range p.spawn {
			f()
		}
		runtime.UnlockOSThread()
	}()
	return p
}

// start runs a service until close; its output is added to <name>.log.
func (p *processes) start(name string, env []string, argv ...string) error {
	log, err := p.log(name)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := p.command(context.Background(), log, env, argv)
	if err := p.spawned(cmd); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	s := &service{Cmd: cmd, name: name, ended: make(chan struct{})}
	p.mu.Lock()
	p.running = append(p.running, s)
	p.mu.Unlock()
	p.waiters.Go(func() {
		err := cmd.Wait()
		close(s.ended)
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.closing && !s.meant && p.ended == nil {
			p.ended = fmt.Errorf("%s ended by itself: %w\n%s", name, errOr(err, "exit code 0"), tail(log.Name(), 20))
			close(p.failed)
		}
	})
	return nil
}

func (p *processes) log(name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(p.logDir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
}

// kill ends a service with its children at once, whatever they do, and returns when it has ended.
func (p *processes) kill(name string) error {
	p.mu.Lock()
	i := slices.IndexFunc(p.running, func(s *service) bool { return s.name == name && !s.meant })
	if i < 0 {
		p.mu.Unlock()
		return fmt.Errorf("kill %s: it does not run", name)
	}
	s := p.running[i]
	s.meant = true
	p.mu.Unlock()
	if err := syscall.Kill(-s.Process.Pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	<-s.ended
	return nil
}

// run runs a command to its end; its output is added to <name>.log.
func (p *processes) run(ctx context.Context, name string, env []string, argv ...string) error {
	log, err := p.log(name)
	if err != nil {
		return fmt.Errorf("run %s: %w", name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := p.command(ctx, log, env, argv)
	if err := p.spawned(cmd); err != nil {
		return fmt.Errorf("run %s: %w", name, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", strings.Join(argv, " "), err, tail(log.Name(), 20))
	}
	return nil
}

func (p *processes) command(ctx context.Context, log io.Writer, env, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// Debian's programs want Debian's Python, and nothing of the developer's environment.
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// spawned starts the command on the spawner's thread.
func (p *processes) spawned(cmd *exec.Cmd) error {
	p.mu.Lock()
	closing := p.closing
	p.mu.Unlock()
	if closing {
		return errors.New("the test bed is being stopped")
	}
	result := make(chan error)
	p.spawn <- func() { result <- cmd.Start() }
	return <-result
}

// wait polls ready until it answers nil. It gives up when ctx ends or a service has ended.
func (p *processes) wait(ctx context.Context, what string, ready func(context.Context) error) error {
	tick := time.NewTicker(p.poll)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.failed:
			p.mu.Lock()
			defer p.mu.Unlock()
			return fmt.Errorf("wait for %s: %w", what, p.ended)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w, last: %w", what, ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// close kills every service with its children, last started first, and waits for them.
func (p *processes) close() {
	p.mu.Lock()
	p.closing = true
	running := slices.DeleteFunc(p.running, func(s *service) bool { return s.meant })
	p.mu.Unlock()
	for i := len(running) - 1; i >= 0; i-- {
		// The pid names the session's process group too. Nothing here is kept, so nobody needs to tidy up.
		_ = syscall.Kill(-running[i].Process.Pid, syscall.SIGKILL)
	}
	p.waiters.Wait()
	close(p.spawn)
}

// tails returns the ends of all logs, for a failed test.
func (p *processes) tails(lines int) string {
	var out strings.Builder
	names, _ := filepath.Glob(filepath.Join(p.logDir, "*.log"))
	for _, name := range names {
		fmt.Fprintf(&out, "==> %s\n%s\n", name, tail(name, lines))
	}
	return out.String()
}

// tail returns the last lines of a file that are not of level DEBUG, as far as they are in its last 256 KiB.
func tail(name string, lines int) string {
	const most = 256 << 10
	f, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	all := slices.DeleteFunc(strings.Split(strings.TrimRight(string(data), "\n"), "\n"),
		func(line string) bool { return strings.Contains(line, " DEBUG ") })
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func errOr(err error, otherwise string) error {
	if err == nil {
		return errors.New(otherwise)
	}
	return err
}
