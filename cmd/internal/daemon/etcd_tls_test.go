package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/embedetcd"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// encryptedOptions are those of a founder of an encrypted cluster.
func encryptedOptions(t testing.TB, name string) Options {
	o := testOptions(t, name)
	o.First, o.RESTTLS = First{Bootstrap: true, EncryptNodes: true}, TLSCluster
	return o
}

// joiner are the options of a node that joins the founder's cluster.
func joiner(t testing.TB, ctx context.Context, c *client.Client, founder Options, fingerprint,
	name string) Options {
	t.Helper()
	tok, err := c.CreateToken(ctx, wire.TokenCreate{Name: name, Role: "join", ExpiresSeconds: 600})
	if err != nil {
		t.Fatal(err)
	}
	o := testOptions(t, name)
	o.RESTTLS = TLSCluster
	o.First = First{JoinURLs: []string{"https://" + founder.Listen.REST}, JoinToken: tok.Secret,
		CAFingerprint: fingerprint}
	return o
}

// asNode gives the TLS of a client that has a node's certificate.
func asNode(t testing.TB, o Options) embedetcd.Encryption {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(o.DataDir, nodeFile), filepath.Join(o.DataDir, nodeFile))
	if err != nil {
		t.Fatal(err)
	}
	return func() *tls.Config {
		return &tls.Config{RootCAs: authorities(t, o).Pool(), Certificates: []tls.Certificate{pair}}
	}
}

func authorities(t testing.TB, o Options) *pki.Trust {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(o.DataDir, authorityFile))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := pki.NewTrust(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// listsMembers says how many voters an etcd client finds.
func listsMembers(t testing.TB, ctx context.Context, url string, e embedetcd.Encryption) (int, error) {
	t.Helper()
	c, err := embedetcd.Dial([]string{url}, false, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	once, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	n, err := embedetcd.Settle(once, c)
	return n.Voters, err
}

// TestEncryptedEtcd: in an encrypted cluster members take clients and other members only with certificates of
// the cluster; nodes join and all start again from what is on their disks.
func TestEncryptedEtcd(t *testing.T) {
	ctx := testContext(t)
	a := encryptedOptions(t, "a")
	pa := start(t, a)
	c, fingerprint := trusting(t, ctx, a)
	b := joiner(t, ctx, c, a, fingerprint, "b")
	pb := start(t, b)
	eventually(t, ctx, "two are online", func() error { return online(ctx, c, 2) })
	d := joiner(t, ctx, c, a, fingerprint, "c")
	pd := start(t, d)
	eventually(t, ctx, "three are online", func() error { return online(ctx, c, 3) })
	threeVoters := func() error {
		n, err := listsMembers(t, ctx, "https://"+d.Listen.EtcdClient, asNode(t, d))
		if err == nil && n != 3 {
			err = fmt.Errorf("%d voters", n)
		}
		return err
	}
	eventually(t, ctx, "three vote", threeVoters)
	refusesStrangers(t, ctx, a)

	for _, p := range []*process{pa, pb, pd} {
		p.stop(t)
	}
	for _, o := range []*Options{&a, &b, &d} {
		o.First = First{}
		start(t, *o)
	}
	eventually(t, ctx, "all are back", func() error { return online(ctx, c, 3) })
	eventually(t, ctx, "three vote again", threeVoters)
	nodes, err := c.AllNodes(ctx)
	if err != nil || len(nodes) != 3 {
		t.Fatalf("%v, %v", nodes, err)
	}
	for _, n := range nodes {
		if !strings.HasPrefix(n.Addresses.Etcd, "https://") {
			t.Errorf("the etcd of node %d is at %s", n.Number, n.Addresses.Etcd)
		}
	}
}

// refusesStrangers calls the member of a node in every wrong way.
func refusesStrangers(t *testing.T, ctx context.Context, o Options) {
	t.Helper()
	right := asNode(t, o)
	wrong, err := pki.NewAuthority("another", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	forged, err := wrong.Issue("a", []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.NewTrust(wrong.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*tls.Config)) embedetcd.Encryption {
		return func() *tls.Config { c := right(); change(c); return c }
	}
	ways := map[string]embedetcd.Encryption{
		"in clear":               nil,
		"without a certificate":  with(func(c *tls.Config) { c.Certificates = nil }),
		"of another authority":   with(func(c *tls.Config) { c.Certificates = []tls.Certificate{*forged} }),
		"trusting another":       with(func(c *tls.Config) { c.RootCAs = other.Pool() }),
		"by an old version only": with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }),
	}
	for name, e := range ways {
		url := "https://" + o.Listen.EtcdClient
		if e == nil {
			url = "http://" + o.Listen.EtcdClient
		}
		if _, err := listsMembers(t, ctx, url, e); err == nil {
			t.Errorf("a client %s is admitted", name)
		}
		if e == nil {
			continue
		}
		if err := greets(ctx, o.Listen.EtcdPeer, e()); err == nil {
			t.Errorf("a member %s is admitted", name)
		}
	}
	if err := greets(ctx, o.Listen.EtcdPeer, right()); err != nil {
		t.Errorf("a member with a certificate of the cluster: %v", err)
	}
}

// greets connects, and waits for what a server of TLS 1.3 says to a certificate: nothing, or that it is bad.
func greets(ctx context.Context, addr string, c *tls.Config) error {
	conn, err := (&tls.Dialer{Config: c}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err
	}
	if _, err = conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// TestOpenness: a node that joins a cluster whose etcd is not encrypted, on an address that
// others reach, wants to hear that this is meant.
func TestOpenness(t *testing.T) {
	for _, c := range []struct {
		name  string
		first First
		state *State
		open  string // what the refusal names; empty: none
	}{
		{"a founder in clear", First{Bootstrap: true}, nil, "etcd"},
		{"a founder of an encrypted cluster", First{Bootstrap: true, EncryptNodes: true}, nil, ""},
		{"who joins does not know yet", First{JoinURLs: []string{"https://x"}}, nil, ""},
		{"who joined one in clear", First{JoinURLs: []string{"https://x"}}, &State{Stage: Member}, "etcd"},
		{"who joined an encrypted one", First{}, &State{Stage: Member, EncryptEtcd: true}, ""},
	} {
		o := testOptions(t, "a")
		o.RESTTLS, o.First = TLSCluster, c.first
		o.Listen.EtcdClient, o.Listen.EtcdPeer = "192.0.2.1:2379", "192.0.2.1:2380"
		err := o.validateOpenness(c.state)
		if (err != nil) != (c.open != "") || err != nil && !strings.Contains(err.Error(), c.open) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestRenewedCertificateReachesEtcd: what the node issues anew is what its member shows next.
func TestRenewedCertificateReachesEtcd(t *testing.T) {
	ctx := testContext(t)
	o := testOptions(t, "a")
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	d := &daemon{opt: o, log: o.Log, state: &State{NodeName: "a", ClusterID: cluster.UUID{1}, EncryptEtcd: true,
		EtcdMember: true, Stage: Founding}}
	if err := d.draw(d.state); err != nil {
		t.Fatal(err)
	}
	if err := d.openEtcd(ctx); err != nil {
		t.Fatal(err)
	}
	defer d.closeEtcd()
	if err := d.member.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	serial := func() string {
		conn, err := (&tls.Dialer{Config: d.etcdTLS()()}).DialContext(ctx, "tcp", o.Listen.EtcdPeer)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	shown := []string{serial()}
	for range 2 {
		if err := d.cred.source.Renew(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := d.client.MemberList(ctx); err != nil {
			t.Fatal(err)
		}
		if now := serial(); slices.Contains(shown, now) {
			t.Error("still shows the former certificate")
		} else {
			shown = append(shown, now)
		}
	}
}

// TestExternalEtcdOverTLS: an operator's etcd wants certificates of the operator's authority; files that are
// replaced count from the next connection on.
func TestExternalEtcdOverTLS(t *testing.T) {
	ctx := testContext(t)
	dir := t.TempDir()
	authority, err := pki.NewAuthority("operator", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair, err := authority.Issue("etcd", []string{"127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := pki.Bundle(pair)
	if err != nil {
		t.Fatal(err)
	}
	own, trusted := write("own.pem", bundle), write("ca.pem", authority.Certificate())
	at := freeServices(t)
	m, err := embedetcd.Start(embedetcd.Config{Name: "external", DataDir: filepath.Join(dir, "etcd"),
		ListenClient: "https://" + at.EtcdClient, ListenPeer: "https://" + at.EtcdPeer,
		TLS: &embedetcd.Files{Certificate: own, Authorities: trusted}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	for _, bad := range []string{own, own + "," + own, "/nowhere," + own + "," + own,
		trusted + "," + trusted + "," + own, write("empty", "") + "," + own + "," + own} {
		if _, err := EtcdFiles(bad); err == nil {
			t.Errorf("took %q", bad)
		}
	}
	o := testOptions(t, "a")
	o.First.Bootstrap = true
	if o.Etcd.TLS, err = EtcdFiles(trusted + "," + own + "," + own); err != nil {
		t.Fatal(err)
	}
	if err := Run(ctx, o); err == nil || !strings.Contains(err.Error(), "etcd-tls") {
		t.Errorf("etcd-tls without etcd-endpoints: %v", err)
	}
	o.Etcd.Endpoints = []string{"https://" + at.EtcdClient}
	start(t, o)
	waitUp(t, ctx, o)
	eventually(t, ctx, "it uses that etcd", func() error {
		c, err := embedetcd.Dial(o.Etcd.Endpoints, false, o.Etcd.TLS, nil)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		got, err := c.Get(ctx, cluster.KeyCluster)
		if err == nil && got.Count != 1 {
			err = errors.New("no cluster in it")
		}
		return err
	})
	write("ca.pem", "in the middle of being replaced")
	if o.Etcd.TLS().RootCAs == nil {
		t.Error("trusts nobody while the file is replaced")
	}
}
