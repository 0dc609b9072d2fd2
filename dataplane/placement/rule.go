package placement

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// rule says which devices may meet in a row: at most limit in one failure domain of the pool's level
// (upper), and no two in one domain of the level below (lower). limit is 1 unless the pool relaxes.
type rule struct {
	limit int
	upper []int32 // by position of the roster: number of its domain
	lower []int32
}

// newRule numbers the domains in the order in which their first device joined, so that a number means the
// same domain for ever.
func newRule(policy *cluster.Pool, r *cluster.Roster) (rule, error) {
	limit, err := policy.ChunksPerDomain(r.Present())
	if err != nil {
		return rule{}, err
	}
	return rule{limit: limit, upper: number(r.Members, policy.Domain),
		lower: number(r.Members, policy.Domain.Below())}, nil
}

func number(members []cluster.Member, level cluster.DomainLevel) []int32 {
	known := make(map[string]int32)
	out := make([]int32, len(members))
	for i, m := range members {
		path := m.Path(level)
		n, ok := known[path]
		if !ok {
			n = int32(len(known))
			known[path] = n
		}
		out[i] = n
	}
	return out
}

// fits reports whether a device may be in a column of a row, beside the others that are there.
func (r *rule) fits(row []int32, column int, pos int32) bool {
	return r.roomIn(row, column, r.upper[pos]) && r.apart(row, column, pos)
}

func (r *rule) roomIn(row []int32, column int, domain int32) bool {
	room := r.limit
	for c, other := range row {
		if c != column && other != vacant && r.upper[other] == domain {
			if room--; room == 0 {
				return false
			}
		}
	}
	return true
}

// apart needs no look when a domain takes only one: then those below are different, too.
func (r *rule) apart(row []int32, column int, pos int32) bool {
	if r.limit == 1 {
		return true
	}
	for c, other := range row {
		if c != column && other != vacant && r.lower[other] == r.lower[pos] {
			return false
		}
	}
	return true
}
