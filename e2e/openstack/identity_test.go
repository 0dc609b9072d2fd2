//go:build e2e

package openstack_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	gophercloudopenstack "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/ashlar-storage/ashlar/e2e/openstack"
	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/keystone"
)

// TestIdentity has a real Keystone say whose tokens are whose: for users of every kind, and after a token was
// revoked.
func TestIdentity(t *testing.T) {
	k := openstack.StartIdentity(t)
	ctx := t.Context()
	service := k.Login("cinder")
	service.TenantName = "service"
	v, err := keystone.New(keystone.Options{Login: service, CacheFor: time.Second,
		Roles: map[string]auth.Role{"member": auth.Tenant, "reader": auth.Viewer, "admin": auth.Operator}})
	if err != nil {
		t.Fatal(err)
	}
	token := func(o gophercloud.AuthOptions) *gophercloud.ProviderClient {
		t.Helper()
		p, err := gophercloudopenstack.AuthenticatedClient(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	want := func(what string, o gophercloud.AuthOptions, role auth.Role, project string) string {
		t.Helper()
		text := token(o).Token()
		p, err := v.Verify(ctx, text)
		if err != nil || p.Role != role || p.Project != project || p.User == "" {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
		return text
	}
	member, err := k.AddUser(ctx, "alice", "wonderland", "member")
	if err != nil {
		t.Fatal(err)
	}
	reader, err := k.AddUser(ctx, "bob", "library", "reader")
	if err != nil {
		t.Fatal(err)
	}
	alice, bob, admin := k.Login("alice"), k.Login("bob"), k.Login("admin")
	alice.TenantID, bob.TenantID = member, reader
	first := want("a member", alice, auth.Tenant, member)
	want("a reader", bob, auth.Viewer, reader)
	admin.Scope = &gophercloud.AuthScope{System: true}
	want("an administrator of the system", admin, auth.Operator, "")
	unscoped := k.Login("bob")
	want("somebody without a scope", unscoped, "", "")
	if _, err := v.Verify(ctx, first+"x"); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("a token that was changed: %v", err)
	}
	if _, err := v.Verify(ctx, "gAAAA"); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("no token at all: %v", err)
	}

	own, err := gophercloudopenstack.NewIdentityV3(token(alice), gophercloud.EndpointOpts{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tokens.Revoke(ctx, own, first).Err; err != nil {
		t.Fatal(err)
	}
	// Believed for a second at most; a loaded machine may take a while to ask again.
	for end := time.Now().Add(30 * time.Second); ; {
		_, err := v.Verify(ctx, first)
		if errors.Is(err, auth.ErrRefused) {
			return
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("a token that was revoked: %v", err)
		}
		<-time.After(50 * time.Millisecond)
	}
}
