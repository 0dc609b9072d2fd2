package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestExamplesAreCommands: what the help of commands shows as examples can be typed.
func TestExamplesAreCommands(t *testing.T) {
	each(dressed(), func(c *cobra.Command) {
		for _, line := range strings.Split(c.Example, "\n") {
			wantCommand(t, c.CommandPath(), line)
		}
	})
}

// TestDocumentsNameCommands: so can what stands in the documents as code, in blocks or in the text.
func TestDocumentsNameCommands(t *testing.T) {
	files, err := filepath.Glob("../../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	quoted := regexp.MustCompile("`(ashlar [^`]*)`")
	for _, file := range append(files, "../../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block := false
		for _, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "```") {
				block = !block
			}
			for _, m := range quoted.FindAllStringSubmatch(line, -1) {
				wantCommand(t, file, m[1])
			}
			if block && strings.HasPrefix(strings.TrimPrefix(strings.TrimSpace(line), "$ "), "ashlar ") {
				wantCommand(t, file, line)
			}
		}
	}
}

// dressed is the command line with a stand-in for `dev`, which takes anything.
func dressed() *cobra.Command {
	return New(&cobra.Command{Use: "dev", DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return nil }})
}

// wantCommand fails if a line that has `ashlar ` in it does not go on with a command, with flags that it has,
// values that they take, and as many arguments as it wants. A group of commands may be named alone, and so
// may a command without its arguments.
func wantCommand(t *testing.T, where, line string) {
	t.Helper()
	_, rest, ok := strings.Cut(line, "ashlar ")
	if !ok {
		return
	}
	root := dressed()
	found, words, err := root.Find(typed(rest))
	if err != nil || found == root && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		t.Errorf("%s: %q is no command: %v", where, line, err)
		return
	}
	if err := found.ParseFlags(words); err != nil {
		t.Errorf("%s: %q: %v", where, line, err)
		return
	}
	if args := found.Flags().Args(); len(args) > 0 {
		if err := found.ValidateArgs(args); err != nil {
			t.Errorf("%s: %q: %v", where, line, err)
		}
	}
}

// typed are the words of a command line, up to a comment or what a shell does with its output.
func typed(line string) (words []string) {
	const word = `'[^']*'|"[^"]*"|[^\s'"]+`
	for _, w := range regexp.MustCompile(word).FindAllString(line, -1) {
		if strings.HasPrefix(w, "#") || slices.Contains([]string{"&&", ">", "|", ";", "..."}, w) {
			break
		}
		words = append(words, strings.Trim(w, `'"`))
	}
	return words
}
