// Package etcdtest gives a test an etcd of its own: one real member on loopback, stopped when the test ends.
package etcdtest

import (
	"context"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ashlar-storage/ashlar/dataplane/embedetcd"
	"github.com/ashlar-storage/ashlar/dataplane/freeport"
)

// startTimeout bounds the start of the member; it takes 0.2 s.
const startTimeout = 60 * time.Second

// Server is a one-member etcd that can be stopped, started again and wiped.
type Server struct {
	tb     testing.TB
	cfg    embedetcd.Config
	member *embedetcd.Member
}

// Run starts a Server with an empty data directory.
func Run(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{tb: tb, cfg: embedetcd.Config{Name: "test", DataDir: tb.TempDir(), ListenClient: freeURL(tb),
		ListenPeer: freeURL(tb), ClusterToken: tb.Name()}}
	s.Start()
	tb.Cleanup(func() { s.Stop() })
	return s
}

// URL is where clients reach the server; it stays the same over restarts.
func (s *Server) URL() string { return s.cfg.ListenClient }

// Start starts the member again on what its data directory has, and waits until it serves.
func (s *Server) Start() {
	s.tb.Helper()
	m, err := embedetcd.Start(s.cfg)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.member = m
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := m.WaitReady(ctx); err != nil {
		s.tb.Fatal(err)
	}
}

// Stop stops the member; its data stays.
func (s *Server) Stop() { s.member.Stop() }

// Wipe removes the data of a stopped member.
func (s *Server) Wipe() {
	s.tb.Helper()
	if err := os.RemoveAll(s.cfg.DataDir); err != nil {
		s.tb.Fatal(err)
	}
}

// Client makes a client that is closed when the test ends.
func (s *Server) Client() *clientv3.Client {
	s.tb.Helper()
	c, err := embedetcd.Dial([]string{s.URL()}, false, nil, nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// freeURL finds a URL for etcd, which wants to know it before it listens.
func freeURL(tb testing.TB) string { return "http://" + freeport.Addr(tb) }
