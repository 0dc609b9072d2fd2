package network

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace that lives as long as the file is open or a process is in it.
type namespace struct {
	file *os.File
}

// current is the namespace of the calling thread.
func current() (*namespace, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return &namespace{f}, nil
}

// fresh makes a namespace.
func fresh() (made *namespace, err error) {
	home, err := current()
	if err != nil {
		return nil, err
	}
	defer func() { _ = home.file.Close() }()
	err = home.bracket(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		made, err = current()
		return err
	})
	return made, err
}

// do runs f on a thread that is in the namespace. Processes that f starts are in it, too.
func (s *namespace) do(f func() error) error {
	home, err := current()
	if err != nil {
		return err
	}
	defer func() { _ = home.file.Close() }()
	return home.bracket(func() error {
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// bracket keeps f on one thread, which is in the namespace s again afterwards.
func (s *namespace) bracket(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := f()
	if back := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(fmt.Sprintf("network: a thread cannot go back to its namespace: %v", back))
	}
	return err
}

// path is where other processes open the namespace while this process lives.
func (s *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.file.Fd()) }

// run lets ip or tc carry out the commands, one a line, in the namespace of the calling thread.
func run(tool, commands string) error {
	cmd := exec.Command("/sbin/"+tool, "-batch", "-") // not everybody's PATH leads there
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s\nof\n%s", tool, err, out, commands)
	}
	return nil
}
