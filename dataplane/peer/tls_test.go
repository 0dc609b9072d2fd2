package peer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/chunkd/chunkdtest"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return authority{c, key}
}

// node is the configuration of a node, for both directions.
func (a authority) node(t testing.TB, n cluster.NodeID) *tls.Config {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		DNSNames:    []string{cluster.NodeServerName(cluster.UUID{4}, n)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: a.key}},
		MinVersion:   tls.VersionTLS13, DynamicRecordSizingDisabled: true}
}

// TestRemoteOverTLS: everything that works between nodes works encrypted.
func TestRemoteOverTLS(t *testing.T) {
	chunkdtest.Run(t, func(t *testing.T) chunkdtest.Submitter {
		a := newAuthority(t)
		return connected(t, newRemoteOver(t, secret, a.node(t, 2), a.node(t, 1)))
	})
}

// TestStrangersOverTLS: who has the cluster secret but no certificate of the authority gets nothing, and a
// node is not taken for another one.
func TestStrangersOverTLS(t *testing.T) {
	a := newAuthority(t)
	nobody := a.node(t, 1)
	nobody.Certificates = nil
	for name, c := range map[string]struct{ server, client *tls.Config }{
		"in clear to an encrypted listener": {a.node(t, 2), nil},
		"encrypted to one in clear":         {nil, a.node(t, 1)},
		"without a certificate":             {a.node(t, 2), nobody},
		"of another authority":              {a.node(t, 2), newAuthority(t).node(t, 1)},
		"another node at the address":       {a.node(t, 3), a.node(t, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRemoteOver(t, secret, c.server, c.client)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			<-ctx.Done()
			if r.Connected(2) {
				t.Error("admitted")
			}
		})
	}
}

// BenchmarkRequestsOverTLS is BenchmarkRequests, encrypted.
func BenchmarkRequestsOverTLS(b *testing.B) {
	a := newAuthority(b)
	benchmarkRequests(b, newRemoteOver(b, secret, a.node(b, 2), a.node(b, 1)))
}

// BenchmarkTransfer reads 128 KiB at a time, 16 at once, in clear and encrypted: what encryption costs, in
// processor time of both ends, where bytes count.
func BenchmarkTransfer(b *testing.B) {
	const blocks, depth = 32, 16
	a := newAuthority(b)
	for _, c := range []struct {
		name string
		far  remote
	}{{"clear", newRemote(b, secret)}, {"tls", newRemoteOver(b, secret, a.node(b, 2), a.node(b, 1))}} {
		b.Run(c.name, func(b *testing.B) {
			r, free := connected(b, c.far), make(answered, depth)
			for range depth {
				free <- &chunk.Request{Op: chunk.OpRead, Device: chunkdtest.Device, Epoch: 1, Count: blocks,
					Vol: cluster.VolumeKey{VUID: 1, Generation: 1}, Residency: chunk.Home(0),
					Data:   make([]byte, blocks*cluster.BlockSize),
					Blocks: make([]chunk.BlockInfo, blocks), Completer: free}
			}
			b.SetBytes(blocks * cluster.BlockSize)
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				q := <-free
				if q.Status != chunk.OK {
					b.Fatal(q.Status)
				}
				r.Submit(q)
			}
			for range depth {
				<-free
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N)/1e3, "cpu-us/op")
		})
	}
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
