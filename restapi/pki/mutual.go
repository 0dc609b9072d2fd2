package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Mutual is for connections of which both ends are nodes: each shows the certificate of its source, and takes
// only those of the authority in a PEM text. Who dials sets ServerName to whom it wants.
func Mutual(text string, source *Source) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, errors.New("no certificate (PEM) in it")
	}
	return &tls.Config{
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		GetCertificate: source.Present,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return source.Present(nil)
		},
		MinVersion: tls.VersionTLS13,
		// Connections live long and carry much: neither tickets nor small first records are of use.
		SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	}, nil
}
