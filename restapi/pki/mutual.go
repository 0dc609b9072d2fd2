package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Mutual is for connections of which both ends are nodes: each shows its own certificate, and takes only
// those that its trust vouches for, both as they are when the connection is made. Who dials sets ServerName
// to whom it wants, which must be a name and no IP address.
func Mutual(trust *Trust, own Certificate) *tls.Config {
	c := mutual(own)
	// Whom to trust is not a matter of the configuration, which is one for all connections.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if s.ServerName == "" {
			return errors.New("called a node without its name")
		}
		return trust.verify(s)
	}
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		server := mutual(own)
		server.ClientCAs, server.ClientAuth = trust.Pool(), tls.RequireAndVerifyClientCert
		return server, nil
	}
	return c
}

// Client is for one connection of a node to a server that wants to see a certificate and may be called by an
// IP address.
func Client(trust *Trust, own Certificate) *tls.Config {
	c := mutual(own)
	c.RootCAs = trust.Pool()
	return c
}

// Certificate gives what to show now, as Present of a [Source] or of [Files].
type Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

func mutual(own Certificate) *tls.Config {
	return &tls.Config{
		GetCertificate: own,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return own(nil)
		},
		MinVersion: tls.VersionTLS13,
		// Connections live long and carry much: neither tickets nor small first records are of use.
		SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	}
}

// verify checks a server's certificate as crypto/tls would.
func (t *Trust) verify(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	o := x509.VerifyOptions{Roots: t.Pool(), DNSName: s.ServerName, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(o)
	return err
}
