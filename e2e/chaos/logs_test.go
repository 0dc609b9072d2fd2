//go:build e2e

package chaos

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/e2e/cluster"
)

// ownerships lists what the nodes' logs say about the owners of a volume since a moment, as times after it.
func ownerships(c *cluster.Cluster, v *volume, since time.Time) []string {
	type line struct {
		at   time.Time
		text string
	}
	var all []line
	field := regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*"|\S+)`)
	for _, n := range c.Nodes {
		f, err := os.Open(n.LogFile())
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			if !strings.Contains(s.Text(), "volume="+v.ID.String()) {
				continue
			}
			values := map[string]string{}
			for _, m := range field.FindAllStringSubmatch(s.Text(), -1) {
				values[m[1]] = strings.Trim(m[2], `"`)
			}
			at, err := time.Parse(time.RFC3339Nano, values["time"])
			if err != nil || at.Before(since) {
				continue
			}
			text := fmt.Sprintf("+%5d ms %s, epoch %s: %s", at.Sub(since).Milliseconds(), n.Name,
				values["epoch"], values["msg"])
			for _, k := range []string{"reason", "out", "error"} {
				if x := values[k]; x != "" {
					text += fmt.Sprintf(" (%s: %s)", k, x)
				}
			}
			all = append(all, line{at, text})
		}
		_ = f.Close()
	}
	slices.SortFunc(all, func(a, b line) int { return a.at.Compare(b.at) })
	var out []string
	for _, l := range all {
		out = append(out, l.text)
	}
	return out
}
