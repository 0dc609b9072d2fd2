package openstack

import (
	"context"
	"fmt"
	"path"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/acls"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/orders"
	"github.com/gophercloud/gophercloud/v2/openstack/keymanager/v1/secrets"

	"github.com/ashlar-storage/ashlar/e2e/build"
)

const barbican = "barbican"

// KeyManager is a Barbican that keeps its secrets in MariaDB, encrypted by its plugin simple_crypto.
type KeyManager struct {
	identity *Identity
	client   *gophercloud.ServiceClient // as a cloud administrator
}

// StartKeyManager brings up a Barbican beside a Keystone and waits for it. It ends with the Keystone.
func StartKeyManager(t testing.TB, i *Identity) *KeyManager {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	k := &KeyManager{identity: i}
	if err := k.bringUp(ctx); err != nil {
		t.Fatalf("start Barbican: %v", err)
	}
	return k
}

func (k *KeyManager) bringUp(ctx context.Context) error {
	root, err := build.Root()
	if err != nil {
		return err
	}
	if err := setUp(root, barbican); err != nil {
		return err
	}
	s, p := k.identity.site, k.identity.procs
	if err := s.makeDatabases(ctx, p, barbican); err != nil {
		return err
	}
	if err := register(ctx, k.identity.admin, barbican, "key-manager", s.URL(s.Ports.Barbican)); err != nil {
		return err
	}
	if err := k.Start(ctx); err != nil {
		return err
	}
	provider, err := s.login(ctx, "admin", "admin")
	if err != nil {
		return err
	}
	k.client, err = openstack.NewKeyManagerV1(provider, gophercloud.EndpointOpts{Region: region})
	return err
}

// Start starts the service, the first time or after Kill, and waits for it.
func (k *KeyManager) Start(ctx context.Context) error {
	s, p := k.identity.site, k.identity.procs
	env := []string{"HOME=" + s.State} // where Barbican looks for barbican.conf
	argv := []string{"/usr/bin/uwsgi_python3", "--ini", s.path("barbican-uwsgi.ini")}
	if err := p.start(barbican, env, argv...); err != nil {
		return err
	}
	return p.wait(ctx, "Barbican", answering(s.URL(s.Ports.Barbican)+"/healthcheck"))
}

// Kill ends the service at once; what it keeps stays.
func (k *KeyManager) Kill() error { return k.identity.procs.kill(barbican) }

// NewKey has Barbican draw a key of 256 bits, which belongs to the project admin, and returns the id of the
// secret.
func (k *KeyManager) NewKey(ctx context.Context, name string) (string, error) {
	o, err := orders.Create(ctx, k.client, orders.CreateOpts{Type: orders.KeyOrder, Meta: orders.MetaOpts{
		Name: name, Algorithm: "aes", BitLength: 256, Mode: "cbc",
		PayloadContentType: "application/octet-stream"}}).Extract()
	if err != nil {
		return "", fmt.Errorf("order key %s: %w", name, err)
	}
	id := path.Base(o.OrderRef)
	err = k.identity.procs.wait(ctx, "key "+name, func(ctx context.Context) error {
		if o, err = orders.Get(ctx, k.client, id).Extract(); err == nil && o.SecretRef == "" {
			err = fmt.Errorf("its order is %s: %s", o.Status, o.ErrorReason)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return path.Base(o.SecretRef), nil
}

// Allow lets a user read a secret, whatever roles that one has elsewhere.
func (k *KeyManager) Allow(ctx context.Context, secret, user string) error {
	id, err := userID(ctx, k.identity.admin, user)
	if err != nil {
		return err
	}
	return acls.SetSecretACL(ctx, k.client, secret,
		acls.SetOpts{{Type: "read", Users: &[]string{id}}}).Err
}

// Payload is a secret.
func (k *KeyManager) Payload(ctx context.Context, secret string) ([]byte, error) {
	return secrets.GetPayload(ctx, k.client, secret,
		secrets.GetPayloadOpts{PayloadContentType: "application/octet-stream"}).Extract()
}

// Delete ends a secret.
func (k *KeyManager) Delete(ctx context.Context, secret string) error {
	return secrets.Delete(ctx, k.client, secret).Err
}
