package dataplane

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

const maxColumns = 110

func textRules() []rule {
	return []rule{
		{"line-length", "break the line where a reader would breathe", checkLineLength},
		{"no-open-marks", "do it now, or write an issue and keep the code silent about it", checkOpenMarks},
		{"no-machine-paths", "name the file from the module's root, or take the path from a flag or a variable",
			checkMachinePaths},
		{"python-licence", "start the file with the Apache header, as OpenStack's files do", checkPythonLicence},
	}
}

// checkLineLength counts characters, a tab as one. Directives and links cannot be broken.
func checkLineLength(t *tree) (out []violation) {
	for _, s := range t.goFiles() {
		for i, line := range s.lines {
			n := utf8.RuneCountInString(line)
			if n > maxColumns && !strings.HasPrefix(line, "//go:") && !strings.Contains(line, "://") {
				out = append(out, violation{s.path, i + 1,
					fmt.Sprintf("%d columns, the limit is %d", n, maxColumns)})
			}
		}
	}
	return out
}

// checkOpenMarks looks for the usual marks of work left for later, whole words in capitals.
func checkOpenMarks(t *tree) []violation {
	marks := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	return grep(t, "unfinished work in ", func(s *source, line string) string {
		if strings.Contains(s.path, "testdata/") {
			return ""
		}
		return marks.FindString(line)
	})
}

// checkMachinePaths looks for paths that exist on one machine only.
func checkMachinePaths(t *tree) []violation {
	local := regexp.MustCompile(`(^|[^\w.}/-])/(wor` + `k|far` + `m|home/[a-z]+)/|\.\./shar` + `ed\b`)
	return grep(t, "a path of one machine: ", func(_ *source, line string) string {
		return strings.TrimSpace(local.FindString(line))
	})
}

func checkPythonLicence(t *tree) (out []violation) {
	for _, s := range t.sources {
		head := strings.Join(s.lines[:min(20, len(s.lines))], "\n")
		empty := strings.TrimSpace(head) == "" && path.Base(s.path) == "__init__.py"
		if path.Ext(s.path) == ".py" && !empty && !strings.Contains(head, "Apache License, Version 2.0") {
			out = append(out, violation{s.path, 1, "no Apache header in the first 20 lines"})
		}
	}
	return out
}

// grep reports the lines for which find returns something.
func grep(t *tree, what string, find func(*source, string) string) (out []violation) {
	for _, s := range t.sources {
		for i, line := range s.lines {
			if hit := find(s, line); hit != "" {
				out = append(out, violation{s.path, i + 1, what + hit})
			}
		}
	}
	return out
}
