package openstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ashlar-storage/ashlar/e2e/build"
)

// watcher is asked about every call of a driver that is watched (directory watched): once before it begins,
// once when it has ended. It lets the call go on, or has it wait for the end of its process.
type watcher struct {
	ln net.Listener

	mu    sync.Mutex
	hold  []string       // "before NAME" and "after NAME" that have to wait
	held  map[string]int // those that do
	under map[string]int // calls under way, by name
	met   map[string]int // calls that were under way when cinder-volume was killed
	free  chan struct{}  // closed when nothing has to wait any more
}

// watch listens at a socket for as long as the processes run.
func watch(path string) (*watcher, error) {
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("watch the driver: %w", err)
	}
	w := &watcher{ln: ln, met: map[string]int{}}
	w.forget()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.answer(conn)
		}
	}()
	return w, nil
}

// answer closes the connection when the call may go on.
func (w *watcher) answer(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return
	}
	free := w.note(strings.TrimSpace(line))
	if free != nil {
		<-free
	}
}

// note counts a call, and returns what it has to wait for, nil for nothing.
func (w *watcher) note(moment string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	when, name, _ := strings.Cut(moment, " ")
	if when == "before" {
		w.under[name]++
	}
	if slices.Contains(w.hold, moment) {
		w.held[moment]++
		return w.free
	}
	if when == "after" {
		w.under[name]--
	}
	return nil
}

// killed notes what was under way; nothing is any more.
func (w *watcher) killed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, n := range w.under {
		if n > 0 {
			w.met[name] += n
		}
	}
	close(w.free)
	w.forget()
}

func (w *watcher) forget() {
	w.hold, w.held, w.under, w.free = nil, map[string]int{}, map[string]int{}, make(chan struct{})
}

// Hold has calls of the driver, which must be watched, wait at these moments, "before NAME" or "after NAME",
// until Release, or until cinder-volume is killed.
func (c *Cinder) Hold(moments ...string) {
	c.watcher.mu.Lock()
	defer c.watcher.mu.Unlock()
	c.watcher.hold = moments
}

// Release lets all go on that Hold has wait.
func (c *Cinder) Release() {
	c.watcher.mu.Lock()
	defer c.watcher.mu.Unlock()
	for moment, n := range c.watcher.held {
		if name, ended := strings.CutPrefix(moment, "after "); ended {
			c.watcher.under[name] -= n
		}
	}
	close(c.watcher.free)
	c.watcher.hold, c.watcher.held, c.watcher.free = nil, map[string]int{}, make(chan struct{})
}

// AllHeld waits until calls wait at all moments of Hold.
func (c *Cinder) AllHeld(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	return c.procs.wait(ctx, "calls of the driver", func(context.Context) error {
		c.watcher.mu.Lock()
		defer c.watcher.mu.Unlock()
		for _, moment := range c.watcher.hold {
			if c.watcher.held[moment] == 0 {
				return errors.New("none is " + moment)
			}
		}
		return nil
	})
}

// Met counts the calls of the driver that were under way when cinder-volume was killed, by name.
func (c *Cinder) Met() map[string]int {
	c.watcher.mu.Lock()
	defer c.watcher.mu.Unlock()
	return c.watcher.met
}

// DriverCalls lists the names of the methods of the driver that are its own, or that cinder-volume calls.
func (c *Cinder) DriverCalls(ctx context.Context) ([]string, error) {
	root, err := build.Root()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-m", "ashlar_watched")
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, c.site.python(root)...)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the driver's calls: %w", err)
	}
	return strings.Fields(string(out)), nil
}

// watcherSocket is where the driver finds the watcher.
func (s *site) watcherSocket() string { return filepath.Join(s.State, "watcher") }
