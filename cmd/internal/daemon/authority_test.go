package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/client"
	"github.com/ashlar-storage/ashlar/restapi/pki"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// trio is an encrypted cluster of three nodes.
type trio struct {
	nodes     []Options
	processes []*process
	token     string
}

func newTrio(t *testing.T, ctx context.Context) *trio {
	t.Helper()
	a := encryptedOptions(t, "a")
	pa := start(t, a)
	c, fingerprint := trusting(t, ctx, a)
	x := &trio{nodes: []Options{a}, processes: []*process{pa}}
	for i, name := range []string{"b", "c"} {
		o := joiner(t, ctx, c, a, fingerprint, name)
		x.nodes, x.processes = append(x.nodes, o), append(x.processes, start(t, o))
		eventually(t, ctx, name+" is online", func() error { return online(ctx, c, i+2) })
	}
	text, err := os.ReadFile(filepath.Join(a.DataDir, tokenFile))
	if err != nil {
		t.Fatal(err)
	}
	x.token = strings.TrimSpace(string(text))
	eventually(t, ctx, "three vote", func() error {
		n, err := listsMembers(t, ctx, "https://"+a.Listen.EtcdClient, asNode(t, a))
		if err == nil && n != 3 {
			err = fmt.Errorf("%d voters", n)
		}
		return err
	})
	return x
}

// api makes a client of all nodes that trusts whom a node trusts by now.
func (x *trio) api(t *testing.T, of int) *client.Client {
	t.Helper()
	var urls []string
	for _, o := range x.nodes {
		urls = append(urls, "https://"+o.Listen.REST)
	}
	c, err := client.New(client.Options{Endpoints: urls, Token: x.token, Transport: authorities(t, x.nodes[of])})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// reaches waits until a replacement has reached a stage, and waits for these nodes and no others.
func (x *trio) reaches(t *testing.T, ctx context.Context, stage cluster.AuthorityStage,
	waiting ...cluster.NodeID) wire.Authority {
	t.Helper()
	var a wire.Authority
	eventually(t, ctx, fmt.Sprintf("the authority is %s", stage), func() (err error) {
		a, err = x.api(t, 0).GetAuthority(ctx)
		var nodes []cluster.NodeID
		for _, w := range a.Waiting {
			nodes = append(nodes, w.Node)
		}
		if err == nil && (a.Stage != stage || fmt.Sprint(nodes) != fmt.Sprint(waiting)) {
			err = fmt.Errorf("it is %s, waiting for %v", a.Stage, nodes)
		}
		return err
	})
	return a
}

func issuer(a wire.Authority) string { return a.Authorities[0].Fingerprint }

func rotation(overlap uint64, leave bool) wire.AuthorityRotation {
	return wire.AuthorityRotation{Overlap: &overlap, LeaveAbsent: &leave}
}

// call calls the API all the time, as somebody who learns of new authorities in time, until stop is called;
// that tells how many calls there were, and the first error.
func (x *trio) call(t *testing.T, ctx context.Context) (stop func() (int, error)) {
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		calls int
		err   error
	}
	ended := make(chan result, 1)
	go func() {
		var r result
		for r.err == nil && pause(ctx, 50*time.Millisecond) == nil {
			r.calls++
			if _, err := x.api(t, r.calls%3).AllNodes(ctx); err != nil && ctx.Err() == nil {
				r.err = err
			}
		}
		ended <- r
	}()
	return func() (int, error) { cancel(); r := <-ended; return r.calls, r.err }
}

// TestReplacingTheAuthority of a running cluster: calls are answered all the time, every node ends up with
// certificates of the new authority alone, and all start again with what is on their disks.
func TestReplacingTheAuthority(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience) // every node restarts its member, twice
	defer cancel()
	x := newTrio(t, ctx)
	before, err := x.api(t, 0).GetAuthority(ctx)
	if err != nil {
		t.Fatal(err)
	}
	former := authorities(t, x.nodes[0])
	stop := x.call(t, ctx)
	if _, err := x.api(t, 0).RotateAuthority(ctx, rotation(0, false)); err != nil {
		t.Fatal(err)
	}
	a := x.reaches(t, ctx, cluster.AuthoritySettled)
	if n, err := stop(); n < 20 || err != nil {
		t.Errorf("after %d calls: %v", n, err)
	}
	if issuer(a) == issuer(before) || len(a.Authorities) != 1 {
		t.Fatalf("%+v", a)
	}
	for i, o := range x.nodes {
		if trust := authorities(t, o); trust.Knows(issuer(before)) || !trust.Knows(issuer(a)) {
			t.Errorf("node %d trusts %s", i+1, trust.Text())
		}
		if _, err := listsMembers(t, ctx, "https://"+o.Listen.EtcdClient, asNode(t, o)); err != nil {
			t.Errorf("etcd of node %d: %v", i+1, err)
		}
		c, err := client.New(client.Options{Endpoints: []string{"https://" + o.Listen.REST}, Transport: former})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.GetLiveness(ctx); err == nil {
			t.Errorf("the API of node %d still shows a certificate of the former authority", i+1)
		}
	}
	refusesStrangers(t, ctx, x.nodes[0])
	for i := range x.processes {
		x.processes[i].stop(t)
	}
	for i := range x.nodes {
		x.nodes[i].First = First{}
		x.processes[i] = start(t, x.nodes[i])
	}
	eventually(t, ctx, "all are back", func() error { return online(ctx, x.api(t, 1), 3) })
}

// TestANodeThatWasAway while the authority was replaced: within the overlap it follows when it comes back;
// one that was left behind says what to do, and that helps.
func TestANodeThatWasAway(t *testing.T) {
	if testing.Short() {
		t.Skip("replaces the authority twice, node by node: nearly a minute")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience) // every node restarts its member, twice
	defer cancel()
	x := newTrio(t, ctx)
	last := &x.nodes[2]
	last.First = First{}

	x.processes[2].stop(t)
	if _, err := x.api(t, 0).RotateAuthority(ctx, rotation(0, false)); err != nil {
		t.Fatal(err)
	}
	x.reaches(t, ctx, cluster.AuthorityAnnounced, 3)
	x.processes[2] = start(t, *last)
	first := x.reaches(t, ctx, cluster.AuthoritySettled)

	x.processes[2].stop(t)
	eventually(t, ctx, "it is down", func() error {
		if err := online(ctx, x.api(t, 0), 2); err != nil {
			return err
		}
		_, err := x.api(t, 0).RotateAuthority(ctx, rotation(0, true))
		return err
	})
	second := x.reaches(t, ctx, cluster.AuthoritySettled, 3)
	if issuer(first) == issuer(second) {
		t.Fatal("the same authority")
	}
	if err := Run(ctx, *last); !errors.Is(err, ErrLeftBehind) {
		t.Fatalf("started with what it trusts: %v", err)
	}
	again := joiner(t, ctx, x.api(t, 0), x.nodes[0], issuer(second), "c")
	last.First = again.First
	x.processes[2] = start(t, *last)
	x.reaches(t, ctx, cluster.AuthoritySettled)
	eventually(t, ctx, "it is back", func() error { return online(ctx, x.api(t, 2), 3) })
	if nodes, err := x.api(t, 2).AllNodes(ctx); err != nil || len(nodes) != 3 {
		t.Errorf("%d nodes, %v", len(nodes), err)
	}
}

// TestWhoDrivesAReplacement may die at any moment: the others go on.
func TestWhoDrivesAReplacement(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a node to count as down and for the others to go on")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience) // every node restarts its member, twice
	defer cancel()
	x := newTrio(t, ctx)
	a, err := x.api(t, 0).RotateAuthority(ctx, rotation(0, true))
	if err != nil {
		t.Fatal(err)
	}
	x.processes[0].stop(t) // the node that was asked, and the first to restart its member
	eventually(t, ctx, "the others have gone through with it", func() error {
		now, err := x.api(t, 1).GetAuthority(ctx)
		if err == nil && (now.Stage != cluster.AuthoritySettled || len(now.Waiting) != 1) {
			err = fmt.Errorf("it is %s, waiting for %v", now.Stage, now.Waiting)
		}
		if err == nil && issuer(now) != a.Authorities[1].Fingerprint {
			err = errors.New("another authority")
		}
		return err
	})
}

// TestMeets: only whoever does not trust the other's authority makes a stranger, not a clock or a name that
// is wrong.
func TestMeets(t *testing.T) {
	now := time.Now()
	a, b := newAuthority(t), newAuthority(t)
	both := a.Certificate() + b.Certificate()
	over := now.Add(-2 * pki.LeafLife)
	for _, c := range []struct {
		name                string
		server, client      *pki.Authority
		trusted             string // by the server
		believed            string // by the client
		issued              time.Time
		host                string
		stranger, reachable bool
	}{
		{"friends", a, a, a.Certificate(), a.Certificate(), now, "127.0.0.1", false, true},
		{"old and new", b, a, both, both, now, "127.0.0.1", false, true},
		{"a server of another", b, a, both, a.Certificate(), now, "127.0.0.1", true, false},
		{"a server that refuses", b, a, b.Certificate(), both, now, "127.0.0.1", true, true},
		{"a server whose certificate is over", a, a, both, both, over, "127.0.0.1", false, false},
		{"a server somewhere else", a, a, both, both, now, "192.0.2.1", false, false},
	} {
		shown, err := c.server.Issue("server", []string{c.host}, c.issued)
		if err != nil {
			t.Fatal(err)
		}
		own, err := c.client.Issue("client", []string{"127.0.0.1"}, now)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*shown},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(t, c.trusted), MinVersion: tls.VersionTLS13})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := ln.Accept()
			if err == nil {
				_, _ = conn.Read(make([]byte, 1)) // until the client has gone
				_ = conn.Close()
			}
		}()
		stranger, reached := meets(t.Context(), ln.Addr().String(), &tls.Config{RootCAs: pool(t, c.believed),
			Certificates: []tls.Certificate{*own}})
		if stranger != c.stranger || reached != c.reachable {
			t.Errorf("%s: stranger %v, reached %v", c.name, stranger, reached)
		}
		_ = ln.Close()
	}
	if stranger, reached := meets(t.Context(), freeServices(t).REST, &tls.Config{}); stranger || reached {
		t.Error("met somebody where nobody is")
	}
}

func newAuthority(t *testing.T) *pki.Authority {
	t.Helper()
	a, err := pki.NewAuthority("test", time.Now().Add(-3*pki.LeafLife))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pool(t *testing.T, text string) *x509.CertPool {
	t.Helper()
	trust, err := pki.NewTrust(text)
	if err != nil {
		t.Fatal(err)
	}
	return trust.Pool()
}
