package embedetcd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"google.golang.org/grpc/credentials"
)

// Files encrypt a member's listeners and what it sends to other members: both ends show a certificate. The
// certificate and its key are looked at again at every handshake; whom to trust is read when the member
// starts, so [Member.Restart] follows a change of Authorities.
type Files struct {
	Certificate string // PEM: the chain, and the key, which makes the two change at the same moment
	Authorities string // PEM: members and clients are taken only with a certificate of one of these
}

func (f *Files) info() transport.TLSInfo {
	return transport.TLSInfo{CertFile: f.Certificate, KeyFile: f.Certificate, TrustedCAFile: f.Authorities,
		ClientCertAuth: true,
		// A certificate of the cluster is enough: behind NAT, nobody is seen at the address it names.
		SkipClientSANVerify: true}
}

// Encryption gives what a client uses for its next connection: its certificate and whom it trusts.
type Encryption func() *tls.Config

// ClientHandshake implements credentials.TransportCredentials.
func (e Encryption) ClientHandshake(ctx context.Context, authority string, c net.Conn) (net.Conn,
	credentials.AuthInfo, error) {
	return credentials.NewTLS(e()).ClientHandshake(ctx, authority, c)
}

// ServerHandshake implements credentials.TransportCredentials.
func (e Encryption) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("etcd clients accept no connections")
}

// Info implements credentials.TransportCredentials.
func (e Encryption) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (e Encryption) Clone() credentials.TransportCredentials { return e }

// OverrideServerName implements credentials.TransportCredentials.
func (e Encryption) OverrideServerName(string) error {
	return errors.New("etcd members are known by their own names")
}
