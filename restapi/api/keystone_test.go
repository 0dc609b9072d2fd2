package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/keystone"
	"github.com/ashlar-storage/ashlar/restapi/keystone/keystonetest"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// TestKeystone: a user of OpenStack works in its project with the token that it has, until the token is
// revoked; the cluster's own tokens never depend on Keystone.
func TestKeystone(t *testing.T) {
	w := newWorld(t)
	w.Pool()
	k := keystonetest.New(t, w.Now)
	var err error
	w.Others, err = keystone.New(keystone.Options{CacheFor: time.Minute, Now: w.Now,
		Roles: map[string]auth.Role{"member": auth.Tenant},
		Login: gophercloud.AuthOptions{IdentityEndpoint: k.URL, Username: "ashlar", DomainName: "Default",
			Password: keystonetest.Password, AllowReauth: true,
			Scope: &gophercloud.AuthScope{ProjectName: "service", DomainName: "Default"}}})
	if err != nil {
		t.Fatal(err)
	}
	_, url := w.Serve(1)
	as := func(token, method, path, body string) reply {
		t.Helper()
		return w.callAt(url, method, path, body, "Authorization", "", "X-Auth-Token", token)
	}
	const project = "0123456789abcdef0123456789abcdef"
	k.Issue("member", time.Hour, keystonetest.Scoped(project, "member"))
	k.Issue("guest", time.Hour, keystonetest.Scoped(project, "guest"))
	var v, other wire.Volume
	as("member", "POST", volumes, named("disk")).into(t, &v)
	k.Issue("rival", time.Hour, keystonetest.Scoped("rival", "member"))
	w.callAt(url, "POST", volumes, named("disk"), "Authorization", "", "X-Auth-Token", "rival",
		"Idempotency-Key", "k").into(t, &v)
	w.callAt(url, "POST", volumes, named("disk2"), "Authorization", "", "X-Auth-Token", "member",
		"Idempotency-Key", "k").into(t, &other)
	if v.Project != "rival" || other.Project != project || v.ID == other.ID {
		t.Errorf("one key of two callers made %+v and %+v", v, other)
	}
	as("member", "GET", volumes+"/"+other.ID.String(), "").into(t, &v)
	if v.Project != project {
		t.Errorf("made %+v", v)
	}
	if r := w.callAt(url, "GET", volumes, "", "Authorization", "Bearer member"); r.status != 200 {
		t.Errorf("as a bearer token: %d %s", r.status, r.body)
	}
	if r := as(w.Token, "GET", volumes, ""); r.status != 200 {
		t.Errorf("an own token in X-Auth-Token: %d %s", r.status, r.body)
	}
	guest := keystonetest.UserID("guest")
	if r := as("guest", "GET", volumes, ""); r.status != 403 || !strings.Contains(r.problem.Detail, guest) {
		t.Errorf("a user without a role of ours: %d %s", r.status, r.body)
	}
	if r := as("nobody", "GET", volumes, ""); r.status != 401 {
		t.Errorf("a stranger: %d %s", r.status, r.body)
	}
	r := w.callAt(url, "GET", volumes, "", "X-Auth-Token", "member")
	if r.status != 401 || r.problem.Field != "X-Auth-Token" {
		t.Errorf("two tokens: %d %s", r.status, r.body)
	}
	k.Revoke("member")
	w.Advance(time.Minute)
	if r := as("member", "GET", volumes, ""); r.status != 401 {
		t.Errorf("a minute after it was revoked: %d %s", r.status, r.body)
	}
	k.Broken.Store(true)
	r = as("another", "GET", volumes, "")
	if r.status != 503 || !strings.Contains(r.problem.Detail, "Keystone") {
		t.Errorf("without Keystone: %d %s", r.status, r.body)
	}
	if r := w.callAt(url, "GET", volumes, ""); r.status != 200 {
		t.Errorf("an own token without Keystone: %d %s", r.status, r.body)
	}
	w.Audit()
}
