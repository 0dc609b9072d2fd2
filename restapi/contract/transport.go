package contract

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Transport passes calls on and holds their answers against the document, which it asks the first node for.
type Transport struct {
	Next   http.RoundTripper // nil: http.DefaultTransport
	Token  string            // for the document
	Report func(error)       // what is not as documented; called on any goroutine

	once     sync.Once
	contract *Contract
}

// RoundTrip implements http.RoundTripper. What has no end, as a stream of events, is not looked at.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next().RoundTrip(req)
	if err != nil || strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	t.once.Do(func() { t.contract, err = t.load(req) })
	switch {
	case err != nil:
		t.Report(err)
	case t.contract != nil:
		if err := t.contract.Check(resp, body); err != nil {
			t.Report(err)
		}
	}
	return resp, nil
}

func (t *Transport) next() http.RoundTripper {
	if t.Next != nil {
		return t.Next
	}
	return http.DefaultTransport
}

// load asks the node that a request went to for its document.
func (t *Transport) load(of *http.Request) (*Contract, error) {
	url := *of.URL
	url.Path, url.RawPath, url.RawQuery = "/v1/openapi.json", "", ""
	req, err := http.NewRequestWithContext(of.Context(), http.MethodGet, url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.Token)
	resp, err := t.next().RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %d %s", url.String(), resp.StatusCode, text)
	}
	return New(text)
}
