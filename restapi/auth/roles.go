package auth

import (
	"context"
	"slices"
)

// Role says what a principal may do; the table of calls is package api's (access.txt).
type Role string

// The roles.
const (
	Admin    Role = "admin"    // everything
	Operator Role = "operator" // everything but credentials and quotas
	Viewer   Role = "viewer"   // looks, and changes nothing
	Tenant   Role = "tenant"   // the volumes of its project
	Join     Role = "join"     // add one node, once
)

// Roles lists the roles that call the API, in the order of the table of calls. Join is none of them: its
// token is part of the one call it is for.
func Roles() []Role { return []Role{Admin, Operator, Viewer, Tenant} }

// Known reports whether there is such a role.
func (r Role) Known() bool { return r == Join || slices.Contains(Roles(), r) }

// Outranks says whether r may more than other, of one and the same project; "" may nothing.
func (r Role) Outranks(other Role) bool { return r.rank() > other.rank() }

func (r Role) rank() int { return slices.Index([]Role{Viewer, Tenant, Operator, Admin}, r) }

// TakesProject says whether a principal of the role must, or may, have a project.
func (r Role) TakesProject() (must, may bool) { return r == Tenant, r == Tenant || r == Viewer }

// Confined is the project beyond which nothing exists for p; "": it sees the whole cluster.
func (p Principal) Confined() string {
	if _, may := p.Role.TakesProject(); may {
		return p.Project
	}
	return ""
}

// String names p in logs and records: where it is known and by which id.
func (p Principal) String() string {
	if p.User != "" {
		return "keystone:" + p.User
	}
	return "token:" + p.Token.String()
}

type principalKey struct{}

// With keeps p in a context, for whoever decides what a call may see.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// Of is the principal in a context; ok is false when the node itself acts.
func Of(ctx context.Context) (p Principal, ok bool) {
	p, ok = ctx.Value(principalKey{}).(Principal)
	return p, ok
}
