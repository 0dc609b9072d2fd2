// Package keystone lets OpenStack's users call the API with the tokens that they have.
//
// Contract: [Verifier] asks Keystone (identity API v3, through gophercloud) whose token it is, with the
// credentials of a service user, and believes the answer for Options.CacheFor, never beyond the token's own
// end: so long at most passes from revoking a token until it is refused. What it finds becomes a principal:
//
//	Keystone                                  here
//	project of a token scoped to it           project, by its id
//	roles, by name                            the most able role that Options.Roles maps any of them to
//	token scoped to the system                no project: only the roles admin and operator count
//	token scoped to a domain, or not at all   no role: what it names says nothing about volumes
//
// A token that Keystone does not know is refused with [auth.ErrRefused]; when Keystone cannot be asked, the
// error wraps [auth.ErrUnavailable], and tokens of the cluster's own are not concerned. Only digests of
// tokens are kept in memory, nothing on disk, and neither tokens nor the password are part of any error.
package keystone
