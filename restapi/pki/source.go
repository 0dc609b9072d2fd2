package pki

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// retryEvery spaces attempts to renew a certificate: there are weeks left when the first one is made.
const (
	retryEvery = time.Minute
	renewMin   = time.Second // between two renewals
)

// Source presents a certificate and renews it. Present may be used from any goroutine.
type Source struct {
	issue func(context.Context) (*tls.Certificate, error)
	say   func(error) // of a renewal that failed
	now   atomic.Pointer[tls.Certificate]
}

// NewSource issues a first certificate.
func NewSource(ctx context.Context, issue func(context.Context) (*tls.Certificate, error),
	say func(error)) (*Source, error) {
	s := &Source{issue: issue, say: say}
	first, err := issue(ctx)
	if err != nil {
		return nil, err
	}
	s.now.Store(first)
	return s, nil
}

// Present is a tls.Config's GetCertificate.
func (s *Source) Present(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.now.Load(), nil }

// Run renews the certificate until ctx is done.
func (s *Source) Run(ctx context.Context) {
	wait := s.untilRenewal()
	for sleep(ctx, wait) {
		if wait = s.untilRenewal(); wait > renewMin {
			continue // it was replaced meanwhile
		}
		if err := s.Renew(ctx); err != nil {
			s.say(fmt.Errorf("renew the certificate, which ends at %v: %w", s.now.Load().Leaf.NotAfter, err))
			wait = retryEvery
			continue
		}
		wait = s.untilRenewal()
	}
}

// Renew issues another certificate now; after an error the present one stays.
func (s *Source) Renew(ctx context.Context) error {
	next, err := s.issue(ctx)
	if err == nil {
		s.now.Store(next)
	}
	return err
}

// untilRenewal leaves a third of the certificate's life.
func (s *Source) untilRenewal() time.Duration {
	leaf := s.now.Load().Leaf
	third := leaf.NotAfter.Sub(leaf.NotBefore) / 3
	return max(time.Until(leaf.NotAfter.Add(-third)), renewMin)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Files presents a certificate and key of an operator's, and notices when the files are replaced.
type Files struct {
	certificate, key string

	mu     sync.Mutex
	now    *tls.Certificate
	loaded [2]time.Time // when the files were written that now is of
}

// OpenFiles reads the files once, so that what is wrong with them shows at once.
func OpenFiles(certificate, key string) (*Files, error) {
	f := &Files{certificate: certificate, key: key}
	if _, err := f.Present(nil); err != nil {
		return nil, err
	}
	return f, nil
}

// Present is a tls.Config's GetCertificate. While the files do not fit together, as in the middle of being
// replaced, the last pair that did is presented.
func (f *Files) Present(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var written [2]time.Time
	for i, path := range []string{f.certificate, f.key} {
		if info, err := os.Stat(path); err == nil {
			written[i] = info.ModTime()
		}
	}
	if f.now != nil && written == f.loaded {
		return f.now, nil
	}
	pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
	if err != nil && f.now == nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.certificate, f.key, err)
	}
	if err == nil {
		f.now, f.loaded = &pair, written
	}
	return f.now, nil
}
