package openstack

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Exclusion is a line of a file of tests that do not run.
type Exclusion struct {
	Tests *regexp.Regexp
	Why   string
}

// String is the expression.
func (e Exclusion) String() string { return e.Tests.String() }

// Exclusions reads a file of them. Each has to say why.
func Exclusions(file string) ([]Exclusion, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []Exclusion
	for line := range strings.Lines(string(text)) {
		pattern, why, _ := strings.Cut(line, "#")
		pattern, why = strings.TrimSpace(pattern), strings.TrimSpace(why)
		if pattern == "" {
			continue
		}
		tests, err := regexp.Compile(pattern)
		if err == nil && why == "" {
			err = errors.New("it says not why: # and a reason")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", file, line, err)
		}
		all = append(all, Exclusion{tests, why})
	}
	return all, nil
}

// parseTempest reads what Tempest says of a run: a line for each test, and totals at the end, which have to
// be the same.
func parseTempest(text string) (TempestReport, error) {
	r := TempestReport{Text: text}
	line := regexp.MustCompile(`(?m)^\{\d+\} (.+?)(?: \[[\d.]+s\])? \.\.\. (ok|FAILED|SKIPPED.*)$`)
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		switch name, result := m[1], m[2]; result {
		case "ok":
			r.Passed = append(r.Passed, name)
		case "FAILED":
			r.Failed = append(r.Failed, name)
		default:
			r.Skipped = append(r.Skipped, name+strings.TrimPrefix(result, "SKIPPED"))
		}
	}
	for what, n := range map[string]int{"Passed": len(r.Passed), "Failed": len(r.Failed),
		"Skipped": len(r.Skipped)} {
		m := regexp.MustCompile(`(?m)^ - ` + what + `: (\d+)$`).FindStringSubmatch(text)
		if m == nil {
			return r, fmt.Errorf("tempest ended without a total of tests: %s", text[max(0, len(text)-400):])
		}
		if m[1] != strconv.Itoa(n) {
			return r, fmt.Errorf("tempest has %s tests that are %s, its lines %d", m[1], what, n)
		}
	}
	return r, nil
}

// listedTests are the tests in a list that Tempest made, as its expressions see them: name[tags]. Other lines
// are complaints of what the libraries are imported with.
func listedTests(text string) []string {
	return regexp.MustCompile(`(?m)^[\w.]+\[.*\bid-.*\]$`).FindAllString(text, -1)
}
