package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// table is a result for people: one line per resource, or one line per field when head is empty.
type table struct {
	head []string
	rows [][]string
	// key is the column that names a resource to other commands; without a head that is the first line's.
	key int
	// wide columns, the last ones, are shown by --output wide only.
	wide int
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		if row[i] = fmt.Sprint(c); row[i] == "" {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// names are what other commands know the resources by.
func (t *table) names() []string {
	var out []string
	for _, r := range t.rows {
		if len(t.head) == 0 {
			return []string{r[min(1, len(r)-1)]}
		}
		out = append(out, r[t.key])
	}
	return out
}

// write lays the columns out. Colours are no part of the layout.
func (t *table) write(w io.Writer, wide, colour bool) error {
	lines := t.rows
	if len(t.head) > 0 {
		lines = append([][]string{t.head}, t.rows...)
	}
	if !wide && t.wide > 0 {
		cut := make([][]string, len(lines))
		for i, l := range lines {
			cut[i] = l[:len(l)-t.wide]
		}
		lines = cut
	}
	var widths []int
	for _, l := range lines {
		for i, cell := range l {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, l := range lines {
		for i, cell := range l {
			text := cell
			if colour {
				text = t.paint(n, i, cell)
			}
			b.WriteString(text)
			if i < len(l)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// The forms of --output.
const (
	formTable = "table"
	formWide  = "wide"
	formJSON  = "json"
	formYAML  = "yaml"
	formName  = "name"
)

func forms() []string { return []string{formTable, formWide, formJSON, formYAML, formName} }

// print writes a result in the form that --output asks for: value is the API's own shape, t is for people.
func (g *global) print(cmd *cobra.Command, value any, t table) error {
	w := cmd.OutOrStdout()
	switch form := g.v.GetString("output"); form {
	case formTable, formWide:
		return t.write(w, form == formWide, g.colourful(w))
	case formJSON:
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(value)
	case formYAML:
		return writeYAML(w, value)
	case formName:
		for _, name := range t.names() {
			if _, err := fmt.Fprintln(w, name); err != nil {
				return err
			}
		}
		return nil
	default:
		return usage("--output %q is none of %s", form, strings.Join(forms(), ", "))
	}
}

// structured tells that --output is for programs.
func (g *global) structured() bool {
	form := g.v.GetString("output")
	return form != formTable && form != formWide
}

// writeYAML writes the JSON form of value as YAML, so that both have the same names in the same order.
func writeYAML(w io.Writer, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil { // JSON is YAML
		return err
	}
	block(&doc)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return err
	}
	return enc.Close()
}

// block takes the braces and quotes of JSON away, where YAML can do without them.
func block(n *yaml.Node) {
	n.Style &^= yaml.FlowStyle
	if n.Kind == yaml.ScalarNode && n.Style&yaml.DoubleQuotedStyle != 0 {
		n.Style = 0
		n.Tag = "!!str"
	}
	for _, c := range n.Content {
		block(c)
	}
}

// bytesText writes a size for people: in the largest binary unit that keeps it exact to one decimal.
func bytesText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + " " + units[i]
}

// ParseSize reads "10GiB", "500 MB", "1.5TiB" or a plain number of bytes. A unit must say which kind it is:
// 10G could be either.
func ParseSize(text string) (uint64, error) {
	s := strings.TrimSpace(text)
	cut := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	number, unit := s, ""
	if cut >= 0 {
		number, unit = s[:cut], strings.TrimSpace(s[cut:])
	}
	factor, ok := unitFactor(unit)
	if !ok {
		return 0, usage("size %q: unit %q is none of B, KiB, MiB, GiB, TiB, PiB (powers of 1024), "+
			"KB, MB, GB, TB, PB (powers of 1000)", text, unit)
	}
	if whole, err := strconv.ParseUint(number, 10, 64); err == nil {
		if factor > 0 && whole > (1<<63-1)/factor {
			return 0, usage("size %q is too large", text)
		}
		return whole * factor, nil
	}
	f, err := strconv.ParseFloat(number, 64)
	v := f * float64(factor)
	if err != nil || v != float64(uint64(v)) || v >= 1<<63 {
		return 0, usage("size %q is no whole number of bytes; write it like 10GiB", text)
	}
	return uint64(v), nil
}

func unitFactor(unit string) (uint64, bool) {
	if unit == "" || unit == "B" {
		return 1, true
	}
	i := strings.IndexByte("KMGTP", unit[0])
	if i < 0 {
		return 0, false
	}
	base := uint64(0)
	switch unit[1:] {
	case "iB":
		base = 1024
	case "B":
		base = 1000
	default:
		return 0, false
	}
	factor := uint64(1)
	for range i + 1 {
		factor *= base
	}
	return factor, true
}

// numbers writes device or node numbers as a list.
func numbers[T ~uint32](ns []T) string {
	out := make([]string, len(ns))
	for i, n := range ns {
		out[i] = strconv.FormatUint(uint64(n), 10)
	}
	return strings.Join(out, ",")
}

// parseNumber reads the number of a node or device.
func parseNumber[T ~uint32](what, text string) (T, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, usage("%q is no number of a %s", text, what)
	}
	return T(n), nil
}

// parseUUID reads an id and says of what.
func parseUUID(what, text string) (cluster.UUID, error) {
	u, err := cluster.ParseUUID(text)
	if err != nil {
		return u, usage("%q is no id of a %s (8-4-4-4-12 hexadecimal digits)", text, what)
	}
	return u, nil
}
