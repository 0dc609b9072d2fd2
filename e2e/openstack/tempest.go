package openstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/ashlar-storage/ashlar/e2e/build"
)

// TempestOptions say which tests of Tempest, OpenStack's own suite, run. Files are those of directory
// tempest, in Tempest's own format: a regular expression on each line, then perhaps "#" and why.
type TempestOptions struct {
	Include string // file of the tests
	Exclude string // file of those among them that do not run; empty: all do
	Workers int    // processes that run tests
	Nova    *Nova  // for servers; nil: there are none, and no images
	Image   string // of servers
}

// TempestReport is what came of a run. Names are those of tests; what fails or is skipped for a whole class
// has the class's.
type TempestReport struct {
	Passed, Failed, Skipped []string // the latter with Tempest's reason
	Missing                 []string // neither passed nor excluded
	Excluded                int
	Text                    string // all that Tempest said
}

// Tempest runs tests. That some do not pass is no error, but an exclusion that excludes nothing is.
func (c *Cinder) Tempest(ctx context.Context, o TempestOptions) (r TempestReport, err error) {
	root, err := build.Root()
	if err != nil {
		return r, err
	}
	here := filepath.Join(root, "e2e", "openstack", "tempest")
	var excluded []Exclusion
	arguments := []string{"--include-list", filepath.Join(here, o.Include)}
	running := append(arguments, "--concurrency", strconv.Itoa(o.Workers))
	if o.Exclude != "" {
		file := filepath.Join(here, o.Exclude)
		running = append(running, "--exclude-list", file)
		if excluded, err = Exclusions(file); err != nil {
			return r, err
		}
	}
	if err := c.prepareTempest(root, o); err != nil {
		return r, err
	}
	text, failed := c.tempest(ctx, running...)
	if r, err = parseTempest(text); err != nil {
		return r, errors.Join(err, failed)
	}
	if text, err = c.tempest(ctx, append(arguments, "--list-tests")...); err != nil {
		return r, fmt.Errorf("list the tests: %w", err)
	}
	return r, r.compare(listedTests(text), excluded)
}

// compare finds out which of all tests did not pass, and which were excluded.
func (r *TempestReport) compare(all []string, excluded []Exclusion) error {
	idle := slices.Clone(excluded)
	for _, test := range all {
		matches := func(e Exclusion) bool { return e.Tests.MatchString(test) }
		if slices.ContainsFunc(excluded, matches) {
			r.Excluded++
			idle = slices.DeleteFunc(idle, matches)
			continue
		}
		if name, _, _ := strings.Cut(test, "["); !slices.Contains(r.Passed, name) {
			r.Missing = append(r.Missing, name)
		}
	}
	if len(idle) > 0 {
		return fmt.Errorf("exclusions that exclude nothing: %v", idle)
	}
	return nil
}

// prepareTempest installs and configures it.
func (c *Cinder) prepareTempest(root string, o TempestOptions) error {
	if err := setUp(root, "tempest"); err != nil {
		return err
	}
	if o.Nova != nil {
		c.site.Flavor, c.site.Image = o.Nova.flavor, o.Image
	}
	config, err := template.ParseFiles(filepath.Join(root, "e2e", "openstack", "templates", "tempest.conf"))
	if err != nil {
		return err
	}
	return c.site.write(config)
}

// tempest has the program run or list tests, and returns what it said, which is added to tempest.log.
func (c *Cinder) tempest(ctx context.Context, arguments ...string) (string, error) {
	log := filepath.Join(c.LogDir(), "tempest.log")
	before, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	argv := []string{"/usr/bin/env", "--chdir=" + c.site.path("tempest"), // where it leaves its own state
		"/usr/bin/tempest", "run", "--config-file", c.site.path("tempest.conf")}
	failed := c.procs.run(ctx, "tempest", nil, append(argv, arguments...)...)
	after, err := os.ReadFile(log)
	return string(after[min(len(before), len(after)):]), errors.Join(failed, err)
}
