package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
)

// Identity is a Keystone without any other service.
type Identity struct {
	site  *site
	procs *processes
	admin *gophercloud.ServiceClient
}

// StartIdentity brings up a Keystone with the service users and waits for it. It ends with the test.
func StartIdentity(t testing.TB) *Identity {
	t.Helper()
	c, _, err := prepare(t, Options{})
	if err != nil {
		t.Fatalf("start Keystone: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	i := &Identity{site: c.site, procs: c.procs}
	for _, step := range []func() error{
		func() error { return c.site.startDatabase(ctx, c.procs) },
		func() error { return c.site.startKeystone(ctx, c.procs) },
		func() error { return c.site.fillCatalog(ctx) },
		func() error {
			provider, err := c.site.login(ctx, "admin", "admin")
			if err != nil {
				return err
			}
			i.admin, err = openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{Region: region})
			return err
		},
	} {
		if err := step(); err != nil {
			t.Fatalf("start Keystone: %v", err)
		}
	}
	return i
}

// Login is how a user logs in, without a scope.
func (i *Identity) Login(user string) gophercloud.AuthOptions {
	return gophercloud.AuthOptions{IdentityEndpoint: i.site.KeystoneURL(), Username: user, Password: password,
		DomainID: "default", AllowReauth: true}
}

// AddUser makes a user who has a role, of those that Keystone always has, in a project of its own, and
// returns the id of that.
func (i *Identity) AddUser(ctx context.Context, user, project, role string) (string, error) {
	p, err := projects.Create(ctx, i.admin, projects.CreateOpts{Name: project, DomainID: "default"}).Extract()
	if err != nil {
		return "", fmt.Errorf("project %s: %w", project, err)
	}
	u, err := users.Create(ctx, i.admin, users.CreateOpts{Name: user, DomainID: "default",
		Password: password}).Extract()
	if err != nil {
		return "", fmt.Errorf("user %s: %w", user, err)
	}
	pages, err := roles.List(i.admin, roles.ListOpts{Name: role}).AllPages(ctx)
	if err != nil {
		return "", fmt.Errorf("role %s: %w", role, err)
	}
	known, err := roles.ExtractRoles(pages)
	if err != nil || len(known) != 1 {
		return "", fmt.Errorf("role %s: there are %d, %w", role, len(known), err)
	}
	return p.ID, roles.Assign(ctx, i.admin, known[0].ID, roles.AssignOpts{UserID: u.ID, ProjectID: p.ID}).Err
}

// AddCloud adds an entry to clouds.yaml by which a user logs in to a project, and returns where that is.
func (i *Identity) AddCloud(user, project string) (path string, err error) {
	path = i.site.path("clouds.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(path, append(text, i.site.cloud(user, project)...), 0o600)
}

// userID finds a user of the domain default.
func userID(ctx context.Context, identity *gophercloud.ServiceClient, user string) (string, error) {
	pages, err := users.List(identity, users.ListOpts{Name: user}).AllPages(ctx)
	if err != nil {
		return "", fmt.Errorf("user %s: %w", user, err)
	}
	known, err := users.ExtractUsers(pages)
	if err != nil || len(known) != 1 {
		return "", fmt.Errorf("user %s: there are %d, %w", user, len(known), err)
	}
	return known[0].ID, nil
}

// TokenEnds waits until a token ends that a user of the domain default gets now, and with it all older ones.
func (c *Cinder) TokenEnds(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	identity, err := c.site.identity(ctx)
	if err != nil {
		return err
	}
	last, err := c.site.login(ctx, user, "service")
	if err != nil {
		return err
	}
	token := last.Token()
	return c.procs.wait(ctx, "the end of a token", func(ctx context.Context) error {
		err := tokens.Get(ctx, identity, token).Err
		switch {
		case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			return nil
		case err == nil:
			err = errors.New("it is good still")
		}
		return err
	})
}

// RevokeTokens ends every token of a user of the domain default, and returns when the user gets good ones
// again.
func (c *Cinder) RevokeTokens(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	provider, err := c.site.login(ctx, "admin", "admin")
	if err != nil {
		return err
	}
	identity, err := openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{Region: region})
	if err != nil {
		return err
	}
	id, err := userID(ctx, identity, user)
	if err != nil {
		return err
	}
	for _, enabled := range []bool{false, true} {
		change := users.UpdateOpts{Enabled: &enabled}
		if err := users.Update(ctx, identity, id, change).Err; err != nil {
			return fmt.Errorf("enable %s: %v: %w", user, enabled, err)
		}
	}
	// Revocation and tokens have whole seconds: a token of the same one is ended as well.
	return c.procs.wait(ctx, "tokens of "+user, func(ctx context.Context) error {
		own, err := c.site.login(ctx, user, "service")
		if err != nil {
			return err
		}
		return tokens.Get(ctx, identity, own.Token()).Err
	})
}
