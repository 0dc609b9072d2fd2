package cli

import (
	"crypto/tls"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/pki"
)

// TestEncryptedAPI: the command line talks to nobody whom it was not told to trust, by a file or, once and
// for all, by a fingerprint.
func TestEncryptedAPI(t *testing.T) {
	x := newTerminal(t)
	authority, err := pki.NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Issue("node1", []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(x.c.Server)
	h.Listener = tls.NewListener(h.Listener, &tls.Config{Certificates: []tls.Certificate{*certificate},
		MinVersion: tls.VersionTLS12})
	h.Start()
	t.Cleanup(h.Close)
	url := strings.Replace(h.URL, "http://", "https://", 1)
	t.Setenv("ASHLAR_ENDPOINT", url)
	x.fails("--ca-fingerprint", "node", "list")

	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte(authority.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, x.run("node", "list", "--ca-file", file), "node1")
	_, notes, err := x.try("node", "join-token", "--ca-file", file)
	if err != nil || !strings.Contains(notes, "--join "+url+" --ca-fingerprint "+authority.Fingerprint()) {
		t.Errorf("%q, %v", notes, err)
	}
	x.fails("ca-file", "node", "list", "--ca-file", file+"x")

	x.fails("another cluster", "context", "set", "lab", "--ca-fingerprint", "sha256:00")
	x.run("context", "set", "lab", "--ca-fingerprint", authority.Fingerprint())
	t.Setenv("ASHLAR_ENDPOINT", "")
	t.Setenv("ASHLAR_TOKEN", "")
	contains(t, x.run("node", "list"), "node1")
}

// TestReplacingTheAuthority: a context learns of the next authority in time, and prints whom to trust.
func TestReplacingTheAuthority(t *testing.T) {
	x := newTerminal(t)
	x.fails("nothing is encrypted", "ca", "status")
	rec, err := x.c.Manager.Authority(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	issuer := rec.Certificate
	key := rec.Key
	h := httptest.NewUnstartedServer(x.c.Server)
	h.Listener = tls.NewListener(h.Listener, &tls.Config{MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			a, err := pki.ParseAuthority(issuer, key)
			if err != nil {
				return nil, err
			}
			return a.Issue("node1", []string{"127.0.0.1"}, time.Now())
		}})
	h.Start()
	t.Cleanup(h.Close)
	first, err := pki.Fingerprint(issuer)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ASHLAR_ENDPOINT", strings.Replace(h.URL, "http://", "https://", 1))
	x.run("context", "set", "lab", "--ca-fingerprint", first)
	t.Setenv("ASHLAR_ENDPOINT", "")
	t.Setenv("ASHLAR_TOKEN", "")
	contains(t, x.run("ca", "status"), first, "settled")
	x.fails("--overlap", "ca", "rotate", "--overlap", "-1s")
	contains(t, x.run("ca", "rotate", "--overlap", "1h"), first, "announced", "NEXT", "node 1 (down)")

	if rec, err = x.c.Manager.Authority(t.Context()); err != nil {
		t.Fatal(err)
	}
	issuer, key = rec.Next.Certificate, rec.Next.Key // as if it issued already
	if got := x.run("ca", "trust"); got != rec.Certificate+rec.Next.Certificate {
		t.Errorf("printed %s", got)
	}
	_, notes, err := x.try("node", "join-token")
	if err != nil || !strings.Contains(notes, "--ca-fingerprint "+first) {
		t.Errorf("%q, %v", notes, err)
	}
}
