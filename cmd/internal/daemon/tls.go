package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/api"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/pki"
)

// How the REST API is offered, Options.RESTTLS; else it is "certificate-file,key-file".
const (
	TLSOff     = "off"
	TLSCluster = "cluster" // by the cluster's own authority
)

// authorityFile is where a node leaves the certificate of the cluster's authority, for its clients.
const authorityFile = "ca.pem"

// certificateFiles splits Options.RESTTLS; ok is false when it names no files.
func (o *Options) certificateFiles() (certificate, key string, ok bool) {
	certificate, key, ok = strings.Cut(o.RESTTLS, ",")
	return certificate, key, ok && certificate != "" && key != ""
}

func (o *Options) encrypted() bool { return o.RESTTLS != "" && o.RESTTLS != TLSOff }

// restURL is the base URL of the API.
func (o *Options) restURL() string {
	if o.encrypted() {
		return "https://" + o.Advertise.REST
	}
	return "http://" + o.Advertise.REST
}

// peerTransport reaches other nodes' APIs; whom it trusts is known only when etcd has told.
type peerTransport struct {
	known atomic.Pointer[http.Transport]
}

// RoundTrip implements http.RoundTripper.
func (p *peerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t := p.known.Load(); t != nil {
		return t.RoundTrip(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// present gives a certificate for a connection.
type present = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// serveREST answers on ln; with TLS, once there is a certificate: at the latest when etcd answers. The data
// plane does not wait for that.
func (d *daemon) serveREST(ctx context.Context, server *api.Server, ln net.Listener,
	peers *peerTransport) error {
	if !d.opt.encrypted() {
		return server.Serve(ctx, ln)
	}
	certificate, err := d.certificates(ctx, peers)
	if err != nil {
		_ = ln.Close()
		return fmt.Errorf("TLS of the REST API: %w", err)
	}
	return server.Serve(ctx, tls.NewListener(ln, &tls.Config{GetCertificate: certificate,
		MinVersion: tls.VersionTLS12}))
}

// certificates gives what to present, renewed until ctx is done, and tells peers whom to trust.
func (d *daemon) certificates(ctx context.Context, peers *peerTransport) (present, error) {
	if certificate, key, ok := d.opt.certificateFiles(); ok {
		files, err := pki.OpenFiles(certificate, key)
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(certificate)
		if err != nil {
			return nil, err
		}
		transport, err := pki.TransportBesideSystem(string(text))
		peers.known.Store(transport)
		return files.Present, err
	}
	authority, err := d.authority(ctx)
	if err != nil {
		return nil, err
	}
	transport, err := pki.Transport(authority.Certificate())
	if err != nil {
		return nil, err
	}
	peers.known.Store(transport)
	source, err := pki.NewSource(ctx, func(context.Context) (*tls.Certificate, error) {
		return authority.Issue(d.state.NodeName, d.opt.restHosts(), time.Now())
	}, func(err error) { d.log.WithError(err).Error("TLS of the REST API") })
	if err != nil {
		return nil, err
	}
	path := filepath.Join(d.opt.DataDir, authorityFile)
	if err := writeFile(path, []byte(authority.Certificate())); err != nil {
		return nil, err
	}
	d.log.Infof("the authority that vouches for this API is in %s; its fingerprint is %s", path,
		authority.Fingerprint())
	go source.Run(ctx)
	return source.Present, nil
}

// authority reads the cluster's certificate authority, as soon as etcd answers.
func (d *daemon) authority(ctx context.Context) (a *pki.Authority, err error) {
	err = d.persist(ctx, "read the cluster's certificate authority", func() error {
		a, err = d.manager.Authority(ctx)
		return err
	})
	return a, err
}

// peerTLS is how nodes talk to each other; nil: in clear. The certificate is renewed until ctx is done.
func (d *daemon) peerTLS(ctx context.Context, c *cluster.ClusterInfo) (*tls.Config, error) {
	if !c.EncryptNodes {
		return nil, nil
	}
	authority, err := d.authority(ctx)
	if err != nil {
		return nil, err
	}
	name := cluster.NodeServerName(c.ID, d.state.Node)
	source, err := pki.NewSource(ctx, func(context.Context) (*tls.Certificate, error) {
		return authority.Issue(d.state.NodeName, []string{name}, time.Now())
	}, func(err error) { d.log.WithError(err).Error("TLS between nodes") })
	if err != nil {
		return nil, err
	}
	go source.Run(ctx)
	return pki.Mutual(authority.Certificate(), source)
}

// restHosts are the names and addresses by which the API is reached.
func (o *Options) restHosts() []string {
	var out []string
	for _, addr := range []string{o.Advertise.REST, o.Listen.REST} {
		host, _, err := net.SplitHostPort(addr)
		if err != nil || unspecified(host) || len(out) == 1 && out[0] == host {
			continue
		}
		out = append(out, host)
	}
	return out
}

// joinClient reaches the cluster that the node joins. With the fingerprint of its authority, that is fetched
// and trusted before the join token is sent to anybody.
func (d *daemon) joinClient(ctx context.Context) (*client.Client, error) {
	o := client.Options{Endpoints: d.opt.First.JoinURLs}
	if want := d.opt.First.CAFingerprint; want != "" {
		var text string
		err := d.persist(ctx, "find the authority of the cluster to join", func() (err error) {
			for _, url := range o.Endpoints {
				if text, err = pki.Fetch(ctx, url, want); err == nil {
					return nil
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if o.Transport, err = pki.Transport(text); err != nil {
			return nil, err
		}
	}
	return client.New(o)
}
