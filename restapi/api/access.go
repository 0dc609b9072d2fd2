package api

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/ashlar-storage/ashlar/restapi/auth"
)

//go:embed access.txt
var accessText string

// access is the table of calls: which roles may make each.
type access map[string][]auth.Role

// The words of the table.
const (
	cellOpen = "open"
	cellYes  = "yes"
	cellNo   = "-"
)

// loadAccess reads the table and holds it against the routes: each has one line, and none else has.
func loadAccess(text string, routes []route) (access, error) {
	table := make(access)
	open := make(map[string]bool)
	for n, line := range strings.Split(text, "\n") {
		cells := strings.Fields(line)
		if len(cells) == 0 || strings.HasPrefix(cells[0], "#") {
			continue
		}
		if len(cells) < 3 {
			return nil, fmt.Errorf("access.txt line %d: needs a method, a path and who may", n+1)
		}
		key := cells[0] + " " + cells[1]
		if _, twice := table[key]; twice {
			return nil, fmt.Errorf("access.txt line %d: %s is there twice", n+1, key)
		}
		roles, err := readCells(cells[2:])
		if err != nil {
			return nil, fmt.Errorf("access.txt line %d: %w", n+1, err)
		}
		table[key], open[key] = roles, cells[2] == cellOpen
	}
	for _, r := range routes {
		key := r.method + " " + r.path
		if _, ok := table[key]; !ok {
			return nil, fmt.Errorf("access.txt says nothing of %s", key)
		}
		if open[key] != r.public {
			return nil, fmt.Errorf("access.txt and the router disagree on whether %s is open", key)
		}
	}
	if len(table) != len(routes) {
		return nil, fmt.Errorf("access.txt has %d calls, the router %d", len(table), len(routes))
	}
	return table, nil
}

func readCells(cells []string) ([]auth.Role, error) {
	if slices.Equal(cells, []string{cellOpen}) {
		return nil, nil
	}
	all := auth.Roles()
	if len(cells) != len(all) {
		return nil, fmt.Errorf("%d columns, want one for each of %v", len(cells), all)
	}
	var out []auth.Role
	for i, cell := range cells {
		switch cell {
		case cellYes:
			out = append(out, all[i])
		case cellNo:
		default:
			return nil, fmt.Errorf("%q is neither %s nor %s", cell, cellYes, cellNo)
		}
	}
	return out, nil
}

// allows says whether p may make a call. A viewer that is confined to a project may what both a viewer and a
// tenant may: what shows the cluster as a whole is not for it. A tenant without project may nothing.
func (a access) allows(method, path string, p auth.Principal) bool {
	may := a[method+" "+path]
	if must, _ := p.Role.TakesProject(); must && p.Project == "" {
		return false
	}
	if p.Confined() != "" && !slices.Contains(may, auth.Tenant) {
		return false
	}
	return slices.Contains(may, p.Role)
}
