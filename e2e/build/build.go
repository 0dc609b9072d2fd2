// Package build makes the programs that end-to-end tests start, from the tree the tests are in. A program is
// linked again only when its sources changed, whichever test asks first.
package build

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Root returns the module's directory: the nearest one with a go.mod, from the working directory upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}

// Program builds the main package at path (from the module's root, "cmd/ashlard") and returns the binary.
// With static it has no dynamic loader, so that it runs in a guest without libraries.
func Program(path string, static bool) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".build", "e2e")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", path, err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("build %s: %w", path, err)
	}
	defer unlock()
	binary := filepath.Join(dir, filepath.Base(path))
	args := []string{"build", "-o", binary}
	if static {
		args = append(args, "-ldflags=-s -w")
	}
	cmd := exec.Command("go", append(args, "./"+filepath.ToSlash(path))...)
	cmd.Dir = root
	cmd.Env = os.Environ()
	if static {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", path, err, out)
	}
	return binary, nil
}

// lock takes a lock that other processes see, until the returned function is called.
func lock(name string) (func(), error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil
}
