// Package client is the Go client of the REST API, for the CLI, for tests and for other programs.
//
// Contract: one method per call of the API, named verb and resource, with the bodies of package wire. Every
// answer that is not a success is an [*Error] that carries the problem document; [Is] asks for its code. Any
// node answers any call, so a client takes several endpoints and goes on to the next one when a node cannot
// be reached or says that it is unavailable. A call that might have been carried out is sent again only if
// repeating it is harmless.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Options of a client.
type Options struct {
	Endpoints []string      // base URLs of nodes, such as http://192.0.2.1:7443; at least one
	Token     string        // bearer token; may be empty for the calls that need none
	Timeout   time.Duration // of one attempt at one endpoint; default 30 s
	Transport http.RoundTripper
}

// Client talks to one cluster. It may be used from any goroutine.
type Client struct {
	endpoints []string
	token     string
	http      *http.Client
	open      *http.Client // for streams: without a bound on the time of an answer
	last      atomic.Int32 // index of the endpoint that answered last
}

const (
	defaultTimeout = 30 * time.Second
	maxAnswer      = 64 << 20
	userAgent      = "ashlar-go"
	maxPatience    = 5 // times that a call is sent to a node that takes no more of this caller for a while
)

// New makes a client. It does not connect.
func New(o Options) (*Client, error) {
	if len(o.Endpoints) == 0 {
		return nil, errors.New("no API endpoint given")
	}
	c := &Client{token: o.Token, http: &http.Client{Timeout: o.Timeout, Transport: o.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if o.Timeout == 0 {
		c.http.Timeout = defaultTimeout
	}
	c.open = &http.Client{Transport: o.Transport, CheckRedirect: c.http.CheckRedirect}
	for _, e := range o.Endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("API endpoint %q is no http(s)://address:port", e)
		}
		c.endpoints = append(c.endpoints, strings.TrimRight(e, "/"))
	}
	return c, nil
}

// Error is an answer of the API that is not a success.
type Error struct {
	wire.Problem
	Endpoint   string
	RetryAfter time.Duration // 0: the API does not say
}

// Error tells what went wrong in the API's own words.
func (e *Error) Error() string {
	text := e.Detail
	if text == "" {
		text = e.Title
	}
	if e.Field != "" && !strings.HasPrefix(text, e.Field) {
		text = e.Field + ": " + text
	}
	for _, x := range e.Errors {
		if x.Field != e.Field {
			text += "; " + x.Field + ": " + x.Detail
		}
	}
	return fmt.Sprintf("%s (%d %s)", text, e.Status, e.Code)
}

// Is reports whether err is an answer of the API with one of these codes.
func Is(err error, codes ...wire.Code) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// call is one request. repeatable says that sending it twice does no harm.
type call struct {
	method     string
	path       string
	query      url.Values
	header     map[string]string
	body       any
	repeatable bool
	stream     func(io.Reader) error // reads a success that has no end
}

// Option refines one call.
type Option func(*call)

// IfMatch lets a change happen only if what it changes still has this ETag; an empty one demands nothing.
func IfMatch(etag string) Option { return header("If-Match", etag) }

// IdempotencyKey lets a POST be carried out once, however often it is sent within an hour.
func IdempotencyKey(key string) Option {
	return func(r *call) {
		header("Idempotency-Key", key)(r)
		r.repeatable = r.repeatable || key != ""
	}
}

// RequestID names the call in the logs of the nodes that take part; without it the client draws one.
func RequestID(id string) Option { return header(requestIDHeader, id) }

const requestIDHeader = "X-Request-Id"

func header(name, value string) Option {
	return func(r *call) {
		if value == "" {
			return
		}
		if r.header == nil {
			r.header = make(map[string]string)
		}
		r.header[name] = value
	}
}

// versioned is an answer that keeps the ETag it came with.
type versioned interface{ SetVersion(etag string) }

// do sends r to one endpoint after the other until one answers, and decodes a success into out (nil: no
// body; *[]byte: as it is).
func (c *Client) do(ctx context.Context, r call, out any, opts ...Option) error {
	RequestID(rand.Text())(&r)
	for _, o := range opts {
		o(&r)
	}
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return fmt.Errorf("%s %s: %w", r.method, r.path, err)
		}
	}
	first := int(c.last.Load())
	var failures []error
	for i := range c.endpoints {
		at := (first + i) % len(c.endpoints)
		err := c.patiently(ctx, c.endpoints[at], r, body, out)
		if err == nil || !c.goOn(ctx, r, err) {
			if err == nil || isAnswer(err) {
				c.last.Store(int32(at))
			}
			return err
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func isAnswer(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// goOn decides whether another endpoint is to be asked: this one could not be reached at all, or the request
// may be repeated and this one did not answer or is unavailable.
func (c *Client) goOn(ctx context.Context, r call, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	return r.repeatable && (!isAnswer(err) || Is(err, wire.Unavailable))
}

// patiently sends r to one endpoint and, when that takes no more calls of this caller now, again when it
// does.
func (c *Client) patiently(ctx context.Context, endpoint string, r call, body []byte, out any) error {
	for i := 1; ; i++ {
		err := c.send(ctx, endpoint, r, body, out)
		var e *Error
		if i == maxPatience || !errors.As(err, &e) || e.Code != wire.TooManyRequests {
			return err
		}
		t := time.NewTimer(e.RetryAfter)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

func (c *Client) send(ctx context.Context, endpoint string, r call, body []byte, out any) error {
	target := endpoint + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.method, target, err)
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json, "+wire.ProblemType)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	doer := c.http
	if r.stream != nil {
		doer = c.open
	}
	resp, err := doer.Do(req)
	if err != nil {
		return err // url.Error names method and URL
	}
	defer func() { _ = resp.Body.Close() }()
	if r.stream != nil && resp.StatusCode == http.StatusOK {
		return r.stream(resp.Body)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", r.method, target, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return problem(endpoint, resp, text)
	}
	if out == nil {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = text
		return nil
	}
	if v, ok := out.(versioned); ok {
		v.SetVersion(resp.Header.Get("ETag"))
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not understood: %w", r.method, target, err)
	}
	return nil
}

// problem makes the error of an answer, also when something that is no Ashlar node answered.
func problem(endpoint string, resp *http.Response, text []byte) error {
	e := &Error{Endpoint: endpoint}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != wire.ProblemType || json.Unmarshal(text, &e.Problem) != nil || e.Code == "" {
		code := wire.Internal
		if resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable ||
			resp.StatusCode == http.StatusGatewayTimeout {
			code = wire.Unavailable
		}
		e.Problem = wire.Problem{Title: http.StatusText(resp.StatusCode), Code: code,
			Detail: fmt.Sprintf("%s answered %q, which is no answer of this API", endpoint, resp.Status)}
	}
	e.Status = resp.StatusCode
	if s, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

// ListOpts says which part of a list is wanted; zero values mean the API's defaults.
type ListOpts struct {
	Limit  int
	Cursor string
	Fields []string // by their JSON names; the others stay empty
}

func (o ListOpts) query(pairs ...string) url.Values {
	q := url.Values{}
	if o.Limit != 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	if len(o.Fields) > 0 {
		q.Set("fields", strings.Join(o.Fields, ","))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// get is a GET whose answer is a T.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, repeatable: true}, &out)
	return out, err
}

// all collects the items of every page.
func all[T any](ctx context.Context, list func(ListOpts) (wire.Page[T], error)) ([]T, error) {
	out := []T{}
	for o := (ListOpts{Limit: pageSize}); ; {
		p, err := list(o)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Items...)
		if p.Next == "" {
			return out, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		o.Cursor = p.Next
	}
}

const pageSize = 500
