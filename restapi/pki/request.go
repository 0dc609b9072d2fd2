package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

const pemRequest = "CERTIFICATE REQUEST"

// Request draws a key and asks for a certificate of it, both as PEM: for a node that has no authority yet.
// The key stays with the node.
func Request() (request, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("draw a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	if err != nil {
		return "", "", fmt.Errorf("ask for a certificate: %w", err)
	}
	text, err := encodeKey(private)
	return string(pem.EncodeToMemory(&pem.Block{Type: pemRequest, Bytes: der})), text, err
}

// Sign answers a request: a certificate for a node that is reached at hosts, and the authority's own, as PEM.
// Of the request only the key counts, which the asker has shown to have.
func (a *Authority) Sign(request, node string, hosts []string, now time.Time) (string, error) {
	block, _ := pem.Decode([]byte(request))
	if block == nil || block.Type != pemRequest {
		return "", errors.New("no certificate request (PEM)")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return "", fmt.Errorf("certificate request: %w", err)
	}
	key, ok := r.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return "", errors.New("certificate request: the key is not of the kind ECDSA P-256")
	}
	leaf, err := a.vouch(key, node, hosts, now)
	if err != nil {
		return "", err
	}
	return encode(leaf) + a.Certificate(), nil
}

// Bundle is a certificate with its chain and its key as one PEM text, which [tls.X509KeyPair] takes as both.
func Bundle(c *tls.Certificate) (string, error) {
	private, ok := c.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return "", errors.New("the certificate's key is not of the kind ECDSA")
	}
	text, err := encodeKey(private)
	for _, der := range c.Certificate {
		text += string(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}))
	}
	return text, err
}

func encodeKey(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("write a key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})), nil
}
