package manager

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// countDomains is the number of different failure domains of a level.
func countDomains(members []cluster.Member, level cluster.DomainLevel) int {
	seen := make(map[string]bool)
	for _, m := range members {
		seen[m.Path(level)] = true
	}
	return len(seen)
}

func domainsOf(p *cluster.Pool, members []cluster.Member) wire.PoolDomains {
	d := wire.PoolDomains{Present: countDomains(members, p.Domain), Needed: p.Width(), PerDomain: 1}
	if limit, err := p.ChunksPerDomain(members); err == nil {
		d.PerDomain = limit
		d.Needed = (p.Width() + limit - 1) / limit
	}
	return d
}

// enoughDomains refuses a pool that these members cannot hold, and says what they could.
func enoughDomains(p *cluster.Pool, members []cluster.Member) error {
	_, err := p.ChunksPerDomain(members)
	var fe *cluster.FieldError
	if !errors.As(err, &fe) || fe.Field != "domain" {
		return invalid(err)
	}
	return refuse(wire.NotEnoughDomains, "domain", "%s%s", fe.Reason, possible(p, members))
}

// possible says what else the members have room for: the same code with another rule, or a smaller one.
func possible(p *cluster.Pool, members []cluster.Member) string {
	var can []string
	relaxed := *p
	relaxed.Relax = true
	if limit, err := relaxed.ChunksPerDomain(members); err == nil && !p.Relax {
		can = append(can, fmt.Sprintf("the same with relax (up to %d chunks in one %s)", limit, p.Domain))
	}
	for level := p.Domain; level != cluster.DomainDevice; {
		level = level.Below()
		if n := countDomains(members, level); n >= p.Width() {
			can = append(can, fmt.Sprintf("the same at level %q (there are %d)", level, n))
			break
		}
	}
	if smaller := smallerShape(p, countDomains(members, p.Domain)); smaller != "" {
		can = append(can, fmt.Sprintf("%s at level %q", smaller, p.Domain))
	}
	if len(can) == 0 {
		return ""
	}
	return "; possible: " + strings.Join(can, ", ")
}

// smallerShape is the code with as much redundancy as asked for, or what is left of it, that so many domains
// hold; empty when they hold nothing that survives a loss.
func smallerShape(p *cluster.Pool, domains int) string {
	switch {
	case domains < 2:
		return ""
	case p.Code == cluster.CodeReplica:
		return fmt.Sprintf("%d copies", domains)
	case domains > p.Parity:
		return fmt.Sprintf("%s %d+%d", p.Code, domains-p.Parity, p.Parity)
	case p.Code == cluster.CodeRS:
		return fmt.Sprintf("%s 1+%d", p.Code, domains-1)
	}
	return ""
}
