// Package pki is the cluster's own certificate authority, and how the certificates that it issues are
// presented, renewed and trusted.
//
// Contract: a cluster has one authority (ECDSA P-256, for [AuthorityLife]). It issues certificates of
// [LeafLife] for the addresses at which a node is reached; their keys are drawn by the node and live in its
// memory only, so a node that starts anew has a new one. [Source] presents the present one and replaces it
// when a third of its life is left, without a restart; [Files] does the same for files of an operator. The
// authority's certificate travels with every leaf: who knows its fingerprint ([Fingerprint]) can fetch and
// trust it ([Fetch]) before anything secret is sent.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Lives of certificates.
const (
	AuthorityLife = 20 * 365 * 24 * time.Hour
	LeafLife      = 90 * 24 * time.Hour
	clockSkew     = time.Hour // that a certificate may be older than the clock of who looks at it
)

// Authority issues certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority draws an authority for a cluster.
func NewAuthority(cluster string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("draw the authority's key: %w", err)
	}
	der, err := sign(&x509.Certificate{
		Subject:  pkix.Name{Organization: []string{"Ashlar"}, CommonName: "cluster " + cluster},
		NotAfter: now.Add(AuthorityLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, nil, key, &key.PublicKey, now)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("the authority's own certificate: %w", err)
	}
	return &Authority{cert: cert, key: key}, nil
}

// sign makes a certificate; parent nil: of itself.
func sign(c, parent *x509.Certificate, by *ecdsa.PrivateKey, of *ecdsa.PublicKey,
	now time.Time) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	c.SerialNumber, c.NotBefore = serial, now.Add(-clockSkew)
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, of, by)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return der, nil
}

// The types of PEM blocks.
const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// ParseAuthority reads what PEM wrote.
func ParseAuthority(certificate, key string) (*Authority, error) {
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	private, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("certificate authority: it is none")
	}
	return &Authority{cert: pair.Leaf, key: private}, nil
}

// PEM is the authority as text; whoever has the key can be any node.
func (a *Authority) PEM() (certificate, key string, err error) {
	key, err = encodeKey(a.key)
	return a.Certificate(), key, err
}

// Certificate is what to trust, as PEM.
func (a *Authority) Certificate() string { return encode(a.cert) }

// Fingerprint names the authority.
func (a *Authority) Fingerprint() string { return fingerprint(a.cert) }

// Issue makes a certificate for a node that is reached at hosts, which are IP addresses or names.
func (a *Authority) Issue(node string, hosts []string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	leaf, err := a.vouch(&key.PublicKey, node, hosts, now)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// vouch signs a node's certificate.
func (a *Authority) vouch(key *ecdsa.PublicKey, node string, hosts []string,
	now time.Time) (*x509.Certificate, error) {
	c := &x509.Certificate{
		Subject:  pkix.Name{Organization: []string{"Ashlar"}, CommonName: node},
		NotAfter: now.Add(LeafLife), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	der, err := sign(c, a.cert, a.key, key, now)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("the certificate that was made: %w", err)
	}
	return leaf, nil
}

func encode(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw}))
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}
