package keystone

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"

	"github.com/ashlar-storage/ashlar/restapi/auth"
)

// Options of a verifier.
type Options struct {
	// Login is where Keystone is and how the service user logs in, who may validate tokens (role service or
	// admin).
	Login    gophercloud.AuthOptions
	TLS      *tls.Config          // nil: the system's
	Roles    map[string]auth.Role // Keystone's role, in lower case, to ours; others mean nothing
	CacheFor time.Duration
	Now      func() time.Time // default time.Now
}

// CloudName is the entry of clouds.yaml that is read.
const CloudName = "ashlar"

// MaxCacheFor bounds how long a revoked token may pass.
const MaxCacheFor = time.Hour

// ReadCloud reads Login and TLS from a file of OpenStack's form clouds.yaml; a secure.yaml beside it may hold
// the secrets.
func (o *Options) ReadCloud(path string) error {
	var err error
	o.Login, _, o.TLS, err = clouds.Parse(clouds.WithLocations(path), clouds.WithCloudName(CloudName))
	if err != nil {
		return fmt.Errorf("cloud %q in %s: %w", CloudName, path, err)
	}
	o.Login.AllowReauth = true
	return nil
}

// ParseRoles reads a list of keystone-role=our-role.
func ParseRoles(pairs []string) (map[string]auth.Role, error) {
	out := make(map[string]auth.Role)
	for _, p := range pairs {
		theirs, ours, ok := strings.Cut(p, "=")
		role := auth.Role(ours)
		switch {
		case !ok || theirs == "":
			return nil, fmt.Errorf("%q is not keystone-role=role", p)
		case !role.Known() || role == auth.Join:
			return nil, fmt.Errorf("%q: the role is none of %v", p, auth.Roles())
		case out[strings.ToLower(theirs)] != "":
			return nil, fmt.Errorf("role %q is there twice", theirs)
		}
		out[strings.ToLower(theirs)] = role
	}
	return out, nil
}

// Validate refuses options that could never work. It does not ask Keystone.
func (o *Options) Validate() error {
	u, err := url.Parse(o.Login.IdentityEndpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("auth_url: %q is no http(s)://address:port", o.Login.IdentityEndpoint)
	case o.Login.Password == "" && o.Login.ApplicationCredentialSecret == "":
		return errors.New("the service user has neither a password nor an application credential")
	case len(o.Roles) == 0:
		return errors.New("no role of Keystone's is mapped to one of ours: nobody could do anything")
	case o.CacheFor < 0 || o.CacheFor > MaxCacheFor:
		return fmt.Errorf("answers can be believed for 0 to %v, not for %v", MaxCacheFor, o.CacheFor)
	}
	return nil
}

func (o *Options) client() http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
		t.TLSClientConfig.MinVersion = max(t.TLSClientConfig.MinVersion, tls.VersionTLS12)
	}
	return http.Client{Transport: t, Timeout: askTimeout}
}
