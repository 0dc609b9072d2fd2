package dataplane

import (
	"fmt"
	"path"
	"regexp"
	"slices"
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
		{"doc-links", "correct the link, or move the file back", checkDocLinks},
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
	words := []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"}
	marks := regexp.MustCompile(`\b(` + strings.Join(words, "|") + `)\b`)
	return grep(t, "unfinished work in ", words, func(s *source, line string) string {
		if strings.Contains(s.path, "testdata/") {
			return ""
		}
		return marks.FindString(line)
	})
}

// checkMachinePaths looks for paths that exist on one machine only.
func checkMachinePaths(t *tree) []violation {
	words := []string{"/wor" + "k/", "/far" + "m/", "/home/", "../shar" + "ed"}
	local := regexp.MustCompile(`(^|[^\w.}/-])/(wor` + `k|far` + `m|home/[a-z]+)/|\.\./shar` + `ed\b`)
	return grep(t, "a path of one machine: ", words, func(_ *source, line string) string {
		return strings.TrimSpace(local.FindString(line))
	})
}

// checkDocLinks follows the relative links of Markdown files.
func checkDocLinks(t *tree) (out []violation) {
	known := map[string]bool{".": true}
	for _, s := range t.sources {
		for p := s.path; p != "."; p = path.Dir(p) {
			known[p] = true
		}
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)[^):]*\)`)
	for _, s := range t.sources {
		if path.Ext(s.path) != ".md" {
			continue
		}
		for i, line := range s.lines {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if !known[path.Join(s.dir(), m[1])] {
					out = append(out, violation{s.path, i + 1, "the link leads nowhere: " + m[1]})
				}
			}
		}
	}
	return out
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

// grep reports the lines that have one of the words and for which find returns something.
func grep(t *tree, what string, words []string, find func(*source, string) string) (out []violation) {
	for _, s := range t.sources {
		for i, line := range s.lines {
			if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, w) }) {
				continue
			}
			if hit := find(s, line); hit != "" {
				out = append(out, violation{s.path, i + 1, what + hit})
			}
		}
	}
	return out
}
