package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// trusting makes a client of the founder's API that trusts the authority which the founder left on its disk.
func trusting(t *testing.T, ctx context.Context, founder Options) (c *client.Client, fingerprint string) {
	t.Helper()
	eventually(t, ctx, "the founder answers", func() error {
		text, err := os.ReadFile(filepath.Join(founder.DataDir, authorityFile))
		if err != nil {
			return err
		}
		if fingerprint, err = pki.Fingerprint(string(text)); err != nil {
			return err
		}
		token, err := os.ReadFile(filepath.Join(founder.DataDir, tokenFile))
		if err != nil {
			return err
		}
		transport, err := pki.Transport(string(text))
		if err != nil {
			return err
		}
		c, err = client.New(client.Options{Endpoints: []string{"https://" + founder.Listen.REST},
			Token: strings.TrimSpace(string(token)), Transport: transport, Timeout: 5 * time.Second})
		if err != nil {
			return err
		}
		_, err = c.GetLiveness(ctx)
		return err
	})
	return c, fingerprint
}

// TestEncryptedREST: a founder draws the authority; a node joins through it by its fingerprint and no other;
// then nodes pass calls on to each other, all encrypted.
func TestEncryptedREST(t *testing.T) {
	ctx := testContext(t)
	a := testOptions(t, "a")
	a.First, a.RESTTLS = First{Bootstrap: true, EncryptNodes: true}, TLSCluster
	planes := make(chan *tls.Config, 2)
	a.NewDataPlane = func(o DataPlaneOptions) (DataPlane, error) { planes <- o.PeerTLS; return still{o}, nil }
	start(t, a)
	c, fingerprint := trusting(t, ctx, a)
	if resp, err := http.Get("http://" + a.Listen.REST + "/v1/health"); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("in clear: %d", resp.StatusCode)
		}
	}
	tok, err := c.CreateToken(ctx, wire.TokenCreate{Name: "b", Role: "join", ExpiresSeconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	b := testOptions(t, "b")
	b.RESTTLS, b.NewDataPlane = TLSCluster, a.NewDataPlane
	b.First = First{JoinURLs: []string{"https://" + a.Listen.REST}, JoinToken: tok.Secret,
		CAFingerprint: "sha256:" + strings.Repeat("0", 64)}
	if err := Run(ctx, b); !errors.Is(err, pki.ErrStranger) {
		t.Errorf("joined with a wrong fingerprint: %v", err)
	}
	b.First.CAFingerprint = fingerprint
	start(t, b)
	eventually(t, ctx, "both are online", func() error { return online(ctx, c, 2) })
	eventually(t, ctx, "the new node is reached through the first one", func() error {
		_, err := c.ListAudit(ctx, 2, client.ListOpts{})
		return err
	})
	meet(t, <-planes, <-planes)
	eventually(t, ctx, "both are known by https", func() error {
		nodes, err := c.AllNodes(ctx)
		for _, n := range nodes {
			if !strings.HasPrefix(n.Addresses.REST, "https://") {
				err = fmt.Errorf("node %d is at %s", n.Number, n.Addresses.REST)
			}
		}
		return err
	})
}

// meet lets two nodes shake hands: node 1 calls node 2.
func meet(t *testing.T, one, two *tls.Config) {
	t.Helper()
	if one == nil || two == nil {
		t.Fatal("a node that talks to others in clear")
	}
	names := func(c *tls.Config) []string {
		shown, err := c.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return shown.Leaf.DNSNames
	}
	near, far := net.Pipe()
	server, client := tls.Server(far, two), one.Clone()
	client.ServerName = names(two)[0]
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(tls.Client(near, client).Handshake(), <-done); err != nil {
		t.Error(err)
	}
	if names(one)[0] == names(two)[0] || !strings.HasPrefix(names(one)[0], "node-") {
		t.Errorf("called %v and %v", names(one), names(two))
	}
}

// TestCertificateOfAnOperator is presented instead of one of the cluster's.
func TestCertificateOfAnOperator(t *testing.T) {
	ctx := testContext(t)
	authority, err := pki.NewAuthority("operator", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := authority.PEM() // serves as its own: what counts is which one is shown
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions(t, "a")
	o.First.Bootstrap = true
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for i, text := range []string{certificate, key} {
		if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.RESTTLS = strings.Join(files, ",")
	start(t, o)
	eventually(t, ctx, "it shows the operator's certificate", func() error {
		_, err := pki.Fetch(ctx, "https://"+o.Listen.REST, authority.Fingerprint())
		return err
	})
}
