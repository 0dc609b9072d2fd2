package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Fingerprint names the first certificate of a PEM text: "sha256:" and 64 hexadecimal digits.
func Fingerprint(text string) (string, error) {
	c, err := first(text)
	if err != nil {
		return "", err
	}
	return fingerprint(c), nil
}

func first(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != pemCertificate {
		return nil, errors.New("no certificate (PEM) in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

// Description is what people see of an authority.
type Description struct {
	Fingerprint string
	Expires     time.Time
}

// Describe tells of the first certificate of a PEM text.
func Describe(text string) (Description, error) {
	c, err := first(text)
	if err != nil {
		return Description{}, err
	}
	return Description{Fingerprint: fingerprint(c), Expires: c.NotAfter}, nil
}

// Trust is a set of authorities that may change between two connections. It reaches servers over HTTPS as a
// http.RoundTripper. All of it may be used from any goroutine.
type Trust struct{ now atomic.Pointer[trusted] }

type trusted struct {
	text      string
	pool      *x509.CertPool
	transport *http.Transport
}

// NewTrust trusts the authorities in a PEM text, and no others.
func NewTrust(text string) (*Trust, error) {
	t := new(Trust)
	return t, t.Set(text)
}

// Set replaces whom to trust, for connections that are made from now on.
func (t *Trust) Set(text string) error {
	pool := x509.NewCertPool()
	transport, err := transport(pool, text)
	if err != nil {
		return err
	}
	if before := t.now.Swap(&trusted{text: text, pool: pool, transport: transport}); before != nil {
		before.transport.CloseIdleConnections()
	}
	return nil
}

// Knows says whether the authority with a fingerprint is trusted now.
func (t *Trust) Knows(want string) bool {
	for block, rest := pem.Decode([]byte(t.Text())); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err == nil && strings.EqualFold(fingerprint(c), strings.TrimSpace(want)) {
			return true
		}
	}
	return false
}

// Pool is whom to trust now.
func (t *Trust) Pool() *x509.CertPool { return t.now.Load().pool }

// Text is whom to trust now, as PEM.
func (t *Trust) Text() string { return t.now.Load().text }

// RoundTrip implements http.RoundTripper.
func (t *Trust) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.now.Load().transport.RoundTrip(r)
}

// Transport is an HTTP transport that trusts the authorities in a PEM text, and no others.
func Transport(text string) (*http.Transport, error) { return transport(x509.NewCertPool(), text) }

// TransportBesideSystem trusts those that the system trusts, too.
func TransportBesideSystem(text string) (*http.Transport, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("authorities of the system: %w", err)
	}
	return transport(pool, text)
}

func transport(pool *x509.CertPool, text string) (*http.Transport, error) {
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, errors.New("no certificate (PEM) in it")
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// ErrStranger is wrapped when a server is not who it was expected to be.
var ErrStranger = errors.New("it is another cluster, or somebody is in between: it shows no authority with " +
	"the fingerprint")

// Fetch asks the server behind an https URL for its authority and returns it as PEM if it has the
// fingerprint. Nothing else is sent, and nothing else is believed.
func Fetch(ctx context.Context, endpoint, want string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("%q is no https://address:port", endpoint)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	// Not verified by the usual rules: the fingerprint below decides.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return "", fmt.Errorf("fetch the authority of %s: %w", endpoint, err)
	}
	defer func() { _ = conn.Close() }()
	for _, c := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
		if c.IsCA && strings.EqualFold(fingerprint(c), strings.TrimSpace(want)) {
			return encode(c), nil
		}
	}
	return "", fmt.Errorf("%s: %w %s", endpoint, ErrStranger, want)
}
