// Package barbican finds cluster keys in OpenStack's key manager.
//
// Contract: a [Source] is a keyring.Source. The id of a cluster key is the id of a secret, whose payload is
// the 32 bytes of the key (application/octet-stream), as `openstack secret order create --bit-length 256 key`
// makes it. Nothing is written to Barbican, and nothing is asked of OpenStack before a key is wanted: a node
// starts without it. Who may read the secret is Barbican's policy; the credentials are those of an entry in
// clouds.yaml, which is read again after every failure.
package barbican

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"github.com/ashlar-storage/ashlar/dataplane/keyring"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

// Connect makes a client of the key manager.
type Connect func(ctx context.Context) (*gophercloud.ServiceClient, error)

// Cloud connects with an entry of clouds.yaml, which is looked for where OpenStack's own command line does.
func Cloud(name string) Connect {
	return func(ctx context.Context) (*gophercloud.ServiceClient, error) {
		auth, endpoint, tls, err := clouds.Parse(clouds.WithCloudName(name))
		if err != nil {
			return nil, fmt.Errorf("cloud %q in clouds.yaml: %w", name, err)
		}
		auth.AllowReauth = true
		provider, err := config.NewProviderClient(ctx, auth, config.WithTLSConfig(tls))
		if err != nil {
			return nil, fmt.Errorf("authenticate to cloud %q: %w", name, err)
		}
		return openstack.NewKeyManagerV1(provider, endpoint)
	}
}

// Source asks Barbican for keys.
type Source struct {
	connect Connect

	mu     sync.Mutex
	client *gophercloud.ServiceClient // nil: not connected yet
}

// New makes a source that connects when the first key is wanted.
func New(connect Connect) *Source { return &Source{connect: connect} }

// Key implements keyring.Source.
func (s *Source) Key(ctx context.Context, id string) (seal.ClusterKey, error) {
	c, err := s.open(ctx)
	if err != nil {
		return seal.ClusterKey{}, fmt.Errorf("key manager: %w", err)
	}
	raw, err := secrets.GetPayload(ctx, c, id,
		secrets.GetPayloadOpts{PayloadContentType: "application/octet-stream"}).Extract()
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return seal.ClusterKey{}, fmt.Errorf("%w: the key manager has no secret %q", keyring.ErrNoKey, id)
	}
	if err != nil {
		s.drop(c)
		return seal.ClusterKey{}, fmt.Errorf("key manager: payload of secret %q: %w", id, plain(err))
	}
	k, err := seal.ClusterKeyFrom(raw)
	clear(raw)
	if err != nil {
		return k, fmt.Errorf("key manager: secret %q: %w", id, err)
	}
	return k, nil
}

// open connects once; a failure is tried again with the next key.
func (s *Source) open(ctx context.Context) (*gophercloud.ServiceClient, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	c, err := s.connect(ctx)
	if err == nil {
		s.client = c
	}
	return c, err
}

// drop forgets a client that failed: credentials, or where the key manager is, may have changed since it was
// made.
func (s *Source) drop(c *gophercloud.ServiceClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == c {
		s.client = nil
	}
}

// plain leaves the body of an unexpected answer out of the error, whatever is in it.
func plain(err error) error {
	var code gophercloud.ErrUnexpectedResponseCode
	switch {
	case !errors.As(err, &code):
		return err
	case code.Actual == http.StatusForbidden:
		return errors.New("answered with status 403: its access list should have the user whom the entry of " +
			"clouds.yaml names")
	}
	return fmt.Errorf("answered with status %d", code.Actual)
}
