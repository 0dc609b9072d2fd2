package keystone

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/ashlar-storage/ashlar/restapi/auth"
	"github.com/ashlar-storage/ashlar/restapi/keystone/keystonetest"
)

// clock is a clock that a test moves.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_800_000_000+c.at.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d / time.Second)) }

func options(k *keystonetest.Identity, c *clock) Options {
	return Options{Login: gophercloud.AuthOptions{IdentityEndpoint: k.URL, Username: "ashlar",
		Password: keystonetest.Password, DomainName: "Default", AllowReauth: true,
		Scope: &gophercloud.AuthScope{ProjectName: "service", DomainName: "Default"}},
		CacheFor: time.Minute, Now: c.now,
		Roles: map[string]auth.Role{"admin": auth.Admin, "member": auth.Tenant, "reader": auth.Viewer,
			"operator": auth.Operator}}
}

func newVerifier(t *testing.T, o Options) *Verifier {
	t.Helper()
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestWhatTokensMean: scope and roles become a principal, or one that may nothing.
func TestWhatTokensMean(t *testing.T) {
	c := &clock{}
	k := keystonetest.New(t, c.now)
	v := newVerifier(t, options(k, c))
	domain := map[string]any{"domain": map[string]any{"id": "d"}, "roles": keystonetest.RolesOf("admin")}
	for name, x := range map[string]struct {
		has     map[string]any
		role    auth.Role
		project string
	}{
		"member":            {keystonetest.Scoped("p1", "member", "reader"), auth.Tenant, "p1"},
		"reader":            {keystonetest.Scoped("p1", "reader"), auth.Viewer, "p1"},
		"other letters":     {keystonetest.Scoped("p1", "Member"), auth.Tenant, "p1"},
		"admin":             {keystonetest.Scoped("p1", "reader", "member", "admin"), auth.Admin, "p1"},
		"nothing of ours":   {keystonetest.Scoped("p1", "heat_stack_owner"), "", "p1"},
		"no role":           {keystonetest.Scoped("p1"), "", "p1"},
		"odd project":       {keystonetest.Scoped("a/b", "member"), "", ""},
		"unscoped":          {map[string]any{}, "", ""},
		"domain":            {domain, "", ""},
		"system admin":      {keystonetest.System(true, "admin"), auth.Admin, ""},
		"system operator":   {keystonetest.System(true, "operator"), auth.Operator, ""},
		"system reader":     {keystonetest.System(true, "reader"), "", ""},
		"part of a system?": {keystonetest.System(false, "admin"), "", ""},
	} {
		k.Issue(name, time.Hour, x.has)
		p, err := v.Verify(t.Context(), name)
		if err != nil || p.Role != x.role || p.Project != x.project || p.User != keystonetest.UserID(name) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if n := k.Logins.Load(); n != 1 {
		t.Errorf("the service user logged in %d times", n)
	}
}

// TestRevoked: a token passes without another question for CacheFor, and not any longer.
func TestRevoked(t *testing.T) {
	c := &clock{}
	k := keystonetest.New(t, c.now)
	v := newVerifier(t, options(k, c))
	k.Issue("t", time.Hour, keystonetest.Scoped("p1", "member"))
	for range 5 {
		if _, err := v.Verify(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.Asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	k.Revoke("t")
	c.advance(59 * time.Second)
	if _, err := v.Verify(t.Context(), "t"); err != nil {
		t.Errorf("within the minute: %v", err)
	}
	c.advance(time.Second)
	if _, err := v.Verify(t.Context(), "t"); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("after a minute: %v", err)
	}
}

// TestExpires: no answer is believed beyond the token's own end, and none at all with CacheFor 0.
func TestExpires(t *testing.T) {
	c := &clock{}
	k := keystonetest.New(t, c.now)
	k.Issue("t", 10*time.Second, keystonetest.Scoped("p1", "member"))
	v := newVerifier(t, options(k, c))
	if _, err := v.Verify(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	c.advance(10 * time.Second)
	if _, err := v.Verify(t.Context(), "t"); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("after its end: %v", err)
	}
	o := options(k, c)
	o.CacheFor = 0
	v = newVerifier(t, o)
	k.Issue("u", time.Hour, keystonetest.Scoped("p1", "member"))
	before := k.Asked.Load()
	for range 3 {
		if _, err := v.Verify(t.Context(), "u"); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.Asked.Load() - before; n != 3 {
		t.Errorf("asked %d times of 3", n)
	}
}

// TestUnknown: strangers are refused, and soon asked about again: Keystone may just not have known yet.
func TestUnknown(t *testing.T) {
	c := &clock{}
	k := keystonetest.New(t, c.now)
	v := newVerifier(t, options(k, c))
	for range 3 {
		if _, err := v.Verify(t.Context(), "t"); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("got %v", err)
		}
	}
	if n := k.Asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	k.Issue("t", time.Hour, keystonetest.Scoped("p1", "member"))
	c.advance(refusedFor)
	if _, err := v.Verify(t.Context(), "t"); err != nil {
		t.Errorf("once it is known: %v", err)
	}
}

// TestServiceTokenEnds: the service user logs in again by itself.
func TestServiceTokenEnds(t *testing.T) {
	c := &clock{}
	k := keystonetest.New(t, c.now)
	v := newVerifier(t, options(k, c))
	k.Issue("t", 24*time.Hour, keystonetest.Scoped("p1", "member"))
	for range 3 {
		if _, err := v.Verify(t.Context(), "t"); err != nil {
			t.Error(err)
		}
		if _, err := v.Verify(t.Context(), "none"); !errors.Is(err, auth.ErrRefused) {
			t.Errorf("a stranger: %v", err)
		}
		c.advance(2 * time.Hour)
	}
	k.Revoke("t")
	if _, err := v.Verify(t.Context(), "t"); !errors.Is(err, auth.ErrRefused) {
		t.Errorf("refused by the first answer after a new login: %v", err)
	}
}

// TestAway: while Keystone is away the error says so, names no secret, and what is known still passes.
func TestAway(t *testing.T) {
	c := &clock{}
	k := keystonetest.New(t, c.now)
	v := newVerifier(t, options(k, c))
	k.Issue("known", time.Hour, keystonetest.Scoped("p1", "member"))
	if _, err := v.Verify(t.Context(), "known"); err != nil {
		t.Fatal(err)
	}
	away := func(v *Verifier, what string) {
		t.Helper()
		_, err := v.Verify(t.Context(), "secret-token")
		if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "Keystone") ||
			strings.Contains(err.Error(), keystonetest.Password) || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("%s: %v", what, err)
		}
	}
	k.Broken.Store(true)
	away(v, "503")
	away(newVerifier(t, options(k, c)), "503 at the login")
	k.Broken.Store(false)
	o := options(k, c)
	o.Login.Password = "wrong"
	wrong := newVerifier(t, o)
	away(wrong, "wrong password")
	away(wrong, "at once again")
	k.CloseClientConnections()
	k.Close()
	away(v, "gone")
	away(newVerifier(t, options(k, c)), "gone at the login")
	if _, err := v.Verify(t.Context(), "known"); err != nil {
		t.Errorf("a token that is known: %v", err)
	}
}

// TestMemoryIsBounded: a flood of strangers costs no more than the bound.
func TestMemoryIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var m memory
	for i := range 2 * maxKnown {
		m.keep(digestOf(fmt.Sprint(i)), verdict{err: auth.ErrRefused, until: now.Add(refusedFor)})
	}
	if n := len(m.newest) + len(m.old); n > maxKnown {
		t.Errorf("%d are kept", n)
	}
	if _, ok := m.recall(digestOf(fmt.Sprint(2*maxKnown-1)), now); !ok {
		t.Error("the last one is not")
	}
}

// TestOptions reads the service user from a file of OpenStack's form, and refuses what cannot work.
func TestOptions(t *testing.T) {
	c := &clock{}
	k := keystonetest.New(t, c.now)
	k.Issue("t", time.Hour, keystonetest.Scoped("p1", "member"))
	const good = `clouds:
  ashlar:
    auth: {auth_url: URL/v3, username: ashlar, password: PASSWORD, project_name: service,
           user_domain_name: Default, project_domain_name: Default}
`
	for want, change := range map[string]*strings.Replacer{
		"":           strings.NewReplacer(),
		"auth_url":   strings.NewReplacer("URL/v3", "k:5000"),
		"neither":    strings.NewReplacer("password: PASSWORD,", ""),
		"not found":  strings.NewReplacer("ashlar:", "other:"),
		"no role":    strings.NewReplacer(),
		"not for 2h": strings.NewReplacer(),
	} {
		text := strings.NewReplacer("URL", k.URL, "PASSWORD", keystonetest.Password).Replace(change.Replace(good))
		path := filepath.Join(t.TempDir(), "clouds.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o := Options{Roles: map[string]auth.Role{"member": auth.Tenant}, Now: c.now}
		if want == "no role" {
			o.Roles = nil
		}
		if strings.HasPrefix(want, "not for") {
			o.CacheFor = 2 * time.Hour
		}
		err := o.ReadCloud(path)
		var v *Verifier
		if err == nil {
			v, err = New(o)
		}
		if err == nil {
			_, err = v.Verify(t.Context(), "t")
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for list, ok := range map[string]bool{"member=tenant,reader=viewer": true, "member": false, "=tenant": false,
		"member=king": false, "member=join": false, "a=tenant,A=viewer": false} {
		if _, err := ParseRoles(strings.Split(list, ",")); (err == nil) != ok {
			t.Errorf("%s: %v", list, err)
		}
	}
}
