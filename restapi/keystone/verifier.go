package keystone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/auth"
)

const (
	// askTimeout bounds one question to Keystone: it must leave the caller's request time to be answered.
	askTimeout = 10 * time.Second
	// loginEvery spaces attempts to log in: those who waited for a vain one do not each make another.
	loginEvery = time.Second
)

// Verifier implements auth.Verifier. It may be used from any goroutine.
type Verifier struct {
	o      Options
	http   http.Client
	memory memory

	mu      sync.Mutex
	service *gophercloud.ServiceClient // nil until the service user was let in
	failed  error                      // why it was not, at the last attempt,
	again   time.Time                  // before which there is no other one
}

// New makes a verifier. It does not connect: a node starts also while Keystone is away.
func New(o Options) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Verifier{o: o, http: o.client()}, nil
}

// Verify implements auth.Verifier.
func (v *Verifier) Verify(ctx context.Context, token string) (auth.Principal, error) {
	now := v.o.Now()
	key := digestOf(token)
	if known, ok := v.memory.recall(key, now); ok {
		return known.principal, known.err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	t, err := v.ask(ctx, token)
	switch {
	case errors.Is(err, auth.ErrRefused):
		v.memory.keep(key, verdict{err: auth.ErrRefused, until: now.Add(min(v.o.CacheFor, refusedFor))})
		return auth.Principal{}, auth.ErrRefused
	case err != nil:
		return auth.Principal{}, err
	case !now.Before(t.Expires):
		return auth.Principal{}, auth.ErrRefused
	}
	p := v.principal(t)
	until := now.Add(v.o.CacheFor)
	if t.Expires.Before(until) {
		until = t.Expires
	}
	v.memory.keep(key, verdict{principal: p, until: until})
	return p, nil
}

// answer is what is looked at of Keystone's description of a token.
type answer struct {
	Expires time.Time `json:"expires_at"`
	User    struct {
		ID, Name string
	}
	Project *struct {
		ID string
	}
	System map[string]bool
	Roles  []struct {
		Name string
	}
}

// ask has Keystone validate a token. The error wraps ErrRefused or ErrUnavailable.
func (v *Verifier) ask(ctx context.Context, token string) (answer, error) {
	client, err := v.login(ctx)
	if err != nil {
		return answer{}, unavailable("it does not let the service user in", err)
	}
	var t answer
	r := tokens.Get(ctx, client, token)
	switch {
	case gophercloud.ResponseCodeIs(r.Err, http.StatusNotFound):
		return answer{}, auth.ErrRefused
	case r.Err != nil:
		return answer{}, unavailable("it did not validate the token", r.Err)
	}
	if err := r.ExtractInto(&t); err != nil {
		return answer{}, unavailable("its answer is not understood", err)
	}
	return t, nil
}

// login is the client of the service user. Its token is renewed by gophercloud when Keystone refuses it.
func (v *Verifier) login(ctx context.Context) (*gophercloud.ServiceClient, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.service != nil {
		return v.service, nil
	}
	if v.failed != nil && v.o.Now().Before(v.again) {
		return nil, v.failed
	}
	// It is for all who wait: that one caller goes away must not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	v.service, v.failed = v.authenticate(ctx)
	v.again = v.o.Now().Add(loginEvery)
	return v.service, v.failed
}

func (v *Verifier) authenticate(ctx context.Context) (*gophercloud.ServiceClient, error) {
	provider, err := openstack.NewClient(v.o.Login.IdentityEndpoint)
	if err != nil {
		return nil, err
	}
	provider.HTTPClient = v.http
	provider.UseTokenLock()
	login := v.o.Login
	if err := openstack.AuthenticateV3(ctx, provider, &login, gophercloud.EndpointOpts{}); err != nil {
		return nil, err
	}
	return openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
}

// unavailable makes an error without what Keystone said: gophercloud's errors hold whole answers. Its status,
// or what went wrong with the connection, is enough.
func unavailable(what string, err error) error {
	var code gophercloud.ErrUnexpectedResponseCode
	var reauth *gophercloud.ErrUnableToReauthenticate
	switch {
	case errors.As(err, &reauth):
		return unavailable("it does not let the service user in again", reauth.ErrReauth)
	case errors.As(err, &code):
		return fmt.Errorf("%w: Keystone: %s (it answered %d)", auth.ErrUnavailable, what, code.Actual)
	}
	return fmt.Errorf("%w: Keystone: %s: %w", auth.ErrUnavailable, what, err)
}

// principal maps what Keystone says to what it means here.
func (v *Verifier) principal(t answer) auth.Principal {
	p := auth.Principal{User: t.User.ID, Name: t.User.Name}
	switch {
	case t.Project != nil:
		p.Project = t.Project.ID
	case !t.System["all"]:
		return p
	}
	if p.Project != "" && cluster.ValidateName("project", p.Project) != nil {
		return auth.Principal{User: p.User, Name: p.Name}
	}
	for _, r := range t.Roles {
		role := v.o.Roles[strings.ToLower(r.Name)]
		if _, takes := role.TakesProject(); takes && p.Project == "" {
			continue
		}
		if role.Outranks(p.Role) {
			p.Role = role
		}
	}
	return p
}
