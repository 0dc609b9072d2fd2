package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"

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
	known atomic.Pointer[http.RoundTripper]
}

func (p *peerTransport) use(t http.RoundTripper) { p.known.Store(&t) }

// RoundTrip implements http.RoundTripper.
func (p *peerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t := p.known.Load(); t != nil {
		return (*t).RoundTrip(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}

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
func (d *daemon) certificates(ctx context.Context, peers *peerTransport) (pki.Certificate, error) {
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
		if err != nil {
			return nil, err
		}
		peers.use(transport)
		return files.Present, nil
	}
	c, err := d.certified(ctx)
	if err != nil {
		return nil, err
	}
	peers.use(c.trust)
	fingerprint, err := pki.Fingerprint(c.trust.Text())
	if err != nil {
		return nil, err
	}
	d.log.Infof("the authority that vouches for this API is in %s; its fingerprint is %s", c.path(authorityFile),
		fingerprint)
	return c.source.Present, nil
}

// peerTLS is how nodes talk to each other; nil: in clear.
func (d *daemon) peerTLS(ctx context.Context, info *cluster.ClusterInfo) (*tls.Config, error) {
	if !info.EncryptNodes {
		return nil, nil
	}
	c, err := d.certified(ctx)
	if err != nil {
		return nil, err
	}
	return pki.Mutual(c.trust, c.source.Present), nil
}

// hosts are the names and addresses by which the node is reached: by clients of its API and of its etcd
// member, by other members, and, by its number, by other nodes.
func (d *daemon) hosts() []string {
	var out []string
	for _, addr := range []string{d.opt.Advertise.REST, d.opt.Listen.REST, d.opt.Advertise.EtcdClient,
		d.opt.Advertise.EtcdPeer} {
		host, _, err := net.SplitHostPort(addr)
		if err == nil && !unspecified(host) && !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	if d.state.Node != 0 {
		out = append(out, cluster.NodeServerName(d.state.ClusterID, d.state.Node))
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
