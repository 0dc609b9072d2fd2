package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func newAuthority(t *testing.T, name string) *Authority {
	t.Helper()
	a, err := NewAuthority(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// serve answers over TLS with what present gives.
func serve(t *testing.T, present func(*tls.ClientHelloInfo) (*tls.Certificate, error)) string {
	t.Helper()
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.TLS = &tls.Config{GetCertificate: present, MinVersion: tls.VersionTLS12}
	h.Config.ErrorLog = nil
	h.Listener = tls.NewListener(h.Listener, h.TLS)
	h.Start()
	t.Cleanup(h.Close)
	return strings.Replace(h.URL, "http://", "https://", 1)
}

func issued(t *testing.T, a *Authority,
	hosts ...string) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	t.Helper()
	c, err := a.Issue("node1", hosts, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }
}

// get calls url, trusting an authority.
func get(t *testing.T, url, trusted string) error {
	t.Helper()
	transport, err := Transport(trusted)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(url)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

// TestTrust: an authority, written down and read again, vouches for its nodes where they are reached, and for
// nothing else.
func TestTrust(t *testing.T) {
	drawn, other := newAuthority(t, "a"), newAuthority(t, "b")
	certificate, key, err := drawn.PEM()
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseAuthority(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, issued(t, a, "127.0.0.1", "node1.example.net"))
	if err := get(t, url, drawn.Certificate()); err != nil {
		t.Errorf("its own node: %v", err)
	}
	if err := get(t, url, other.Certificate()); err == nil {
		t.Error("trusted the node of another cluster")
	}
	if err := get(t, serve(t, issued(t, a, "192.0.2.1")), a.Certificate()); err == nil {
		t.Error("trusted a node somewhere else")
	}
	leaf, err := issued(t, a, "127.0.0.1")(nil)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: leaf.Certificate[0]}))
	if _, err := ParseAuthority(text, key); err == nil {
		t.Error("a node's certificate with the authority's key is an authority")
	}
}

// TestFetch: the fingerprint is enough to find the authority, and keeps from taking another one.
func TestFetch(t *testing.T) {
	a := newAuthority(t, "a")
	url := serve(t, issued(t, a, "127.0.0.1"))
	got, err := Fetch(t.Context(), url, strings.ToUpper(a.Fingerprint()))
	if err != nil || got != a.Certificate() {
		t.Errorf("got %q, %v", got, err)
	}
	if f, err := Fingerprint(got); err != nil || f != a.Fingerprint() {
		t.Errorf("fingerprint %q, %v", f, err)
	}
	_, err = Fetch(t.Context(), url, newAuthority(t, "b").Fingerprint())
	if err == nil || !strings.Contains(err.Error(), "another cluster") {
		t.Errorf("another's fingerprint: %v", err)
	}
	leaf, err := issued(t, a, "127.0.0.1")(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Fetch(t.Context(), url, fingerprint(leaf.Leaf)); err == nil {
		t.Error("a node's own certificate passed for an authority")
	}
	for _, bad := range []string{"http://127.0.0.1:1", "127.0.0.1", "https://"} {
		if _, err := Fetch(t.Context(), bad, a.Fingerprint()); err == nil {
			t.Errorf("fetched from %q", bad)
		}
	}
}

// TestRenewal: a certificate is replaced when a third of its life is left, and a failure is not the last
// attempt.
func TestRenewal(t *testing.T) {
	a := newAuthority(t, "a")
	synctest.Test(t, func(t *testing.T) {
		var attempts, failures atomic.Int32
		issue := func(context.Context) (*tls.Certificate, error) {
			if n := attempts.Add(1); n == 2 || n == 3 {
				return nil, errors.New("etcd is away")
			}
			return a.Issue("node1", []string{"127.0.0.1"}, time.Now())
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, err := NewSource(ctx, issue, func(error) { failures.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		go s.Run(ctx)
		began := time.Now()
		first, _ := s.Present(nil)
		<-time.After(LeafLife*2/3 - 2*time.Hour)
		if now, _ := s.Present(nil); now != first || attempts.Load() != 1 {
			t.Errorf("renewed after %v", time.Since(began))
		}
		<-time.After(3 * time.Hour)
		second, _ := s.Present(nil)
		if second == first || failures.Load() != 2 {
			t.Errorf("not renewed after %v, %d failures", time.Since(began), failures.Load())
		}
		<-time.After(10 * LeafLife)
		if now, _ := s.Present(nil); now == second || !time.Now().Before(now.Leaf.NotAfter) {
			t.Errorf("over since %v", now.Leaf.NotAfter)
		}
	})
}

// TestFiles: what an operator puts there is presented from the next connection on; what does not fit is not.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	written := time.Now()
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		written = written.Add(time.Second) // file systems may count time in ticks
		if err := os.Chtimes(path, written, written); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenFiles(cert, key); err == nil {
		t.Error("opened files that are not there")
	}
	pair := func() (string, string) {
		t.Helper()
		c, k, err := newAuthority(t, "x").PEM()
		if err != nil {
			t.Fatal(err)
		}
		return c, k
	}
	c1, k1 := pair()
	write(cert, c1)
	write(key, k1)
	f, err := OpenFiles(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	want := func(what, text string) {
		t.Helper()
		got, err := f.Present(nil)
		if err != nil {
			t.Fatal(err)
		}
		shown := pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: got.Certificate[0]})
		if string(shown) != text {
			t.Errorf("%s: another certificate", what)
		}
	}
	want("first", c1)
	c2, k2 := pair()
	write(cert, c2)
	want("half replaced", c1)
	write(key, k2)
	want("replaced", c2)
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	want("half gone", c2)
}

// TestRequest: of a request the key counts, and who asks must have it.
func TestRequest(t *testing.T) {
	a := newAuthority(t, "a")
	request, key, err := Request()
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.Sign(request, "node2", []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(text), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := Bundle(&pair)
	if err != nil {
		t.Fatal(err)
	}
	if pair, err = tls.X509KeyPair([]byte(bundle), []byte(bundle)); err != nil {
		t.Fatal(err)
	}
	url := serve(t, func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil })
	if err := get(t, url, a.Certificate()); err != nil {
		t.Error(err)
	}
	block, _ := pem.Decode([]byte(request))
	block.Bytes[len(block.Bytes)-1] ^= 1 // the signature by which the asker shows that the key is his
	forged := string(pem.EncodeToMemory(block))
	for _, bad := range []string{"", a.Certificate(), forged, request[:100]} {
		if _, err := a.Sign(bad, "node2", nil, time.Now()); err == nil {
			t.Errorf("signed %q", bad)
		}
	}
}

// FuzzSign: what a node sends before anybody knows it must not bring the one down that reads it.
func FuzzSign(f *testing.F) {
	a, err := NewAuthority("a", time.Now())
	if err != nil {
		f.Fatal(err)
	}
	request, _, err := Request()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(request)
	f.Add(a.Certificate())
	f.Fuzz(func(t *testing.T, text string) {
		signed, err := a.Sign(text, "node", nil, time.Now())
		if err == nil && !strings.HasPrefix(signed, "-----BEGIN "+pemCertificate) {
			t.Errorf("signed %q as %q", text, signed)
		}
	})
}

// TestTrustChanges: who called before goes on calling, and trusts whom it is told to trust by then.
func TestTrustChanges(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	trust, err := NewTrust(a.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: trust}
	ofA, ofB := serve(t, issued(t, a, "127.0.0.1")), serve(t, issued(t, b, "127.0.0.1"))
	calls := func(url string) bool {
		resp, err := client.Get(url)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	}
	for _, c := range []struct {
		text string
		a, b bool
	}{{a.Certificate(), true, false}, {a.Certificate() + b.Certificate(), true, true},
		{b.Certificate(), false, true}} {
		if err := trust.Set(c.text); err != nil {
			t.Fatal(err)
		}
		if gotA, gotB := calls(ofA), calls(ofB); gotA != c.a || gotB != c.b {
			t.Errorf("trusts a %v, b %v, want %v, %v", gotA, gotB, c.a, c.b)
		}
	}
	if err := trust.Set("nobody"); err == nil || trust.Text() != b.Certificate() {
		t.Errorf("after %v trusts %q", err, trust.Text())
	}
}

// TestMutual: both ends of a connection between nodes look at the other's certificate, with whom they trust
// at that moment.
func TestMutual(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	node := func(by *Authority, name, trusted string) *tls.Config {
		t.Helper()
		trust, err := NewTrust(trusted)
		if err != nil {
			t.Fatal(err)
		}
		return Mutual(trust, issued(t, by, name))
	}
	both := a.Certificate() + b.Certificate()
	for _, c := range []struct {
		name           string
		server, client *tls.Config
		want           string // the server that is called
		ok             bool
	}{
		{"of one authority", node(a, "s", a.Certificate()), node(a, "c", a.Certificate()), "s", true},
		{"old and new, trusting both", node(b, "s", both), node(a, "c", both), "s", true},
		{"a client of another", node(a, "s", a.Certificate()), node(b, "c", both), "s", false},
		{"a server of another", node(b, "s", both), node(a, "c", a.Certificate()), "s", false},
		{"another server", node(a, "s", both), node(a, "c", both), "t", false},
		{"no name", node(a, "s", both), node(a, "c", both), "", false},
		{"a client without a certificate", node(a, "s", both),
			&tls.Config{RootCAs: mustPool(t, both), MinVersion: tls.VersionTLS13}, "s", false},
	} {
		near, far := net.Pipe()
		server, config := tls.Server(far, c.server), c.client.Clone()
		config.ServerName = c.want
		done := make(chan error, 1)
		go func() { err := server.Handshake(); _ = far.Close(); done <- err }()
		err := tls.Client(near, config).Handshake()
		_ = near.Close()
		if err = errors.Join(err, <-done); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func mustPool(t *testing.T, text string) *x509.CertPool {
	t.Helper()
	trust, err := NewTrust(text)
	if err != nil {
		t.Fatal(err)
	}
	return trust.Pool()
}
