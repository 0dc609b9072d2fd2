package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// EventListOpts narrows a list of events.
type EventListOpts struct {
	ListOpts
	Severity wire.Severity
	Kind     string // or its beginning up to a dot
	Subject  string // id of the resource
}

// ListEvents lists one page of events, the newest first.
func (c *Client) ListEvents(ctx context.Context, opts EventListOpts) (wire.Page[wire.Event], error) {
	return get[wire.Page[wire.Event]](ctx, c, "/v1/events", opts.query("severity", string(opts.Severity),
		"kind", opts.Kind, "subject", opts.Subject))
}

// Follow calls f with everything that changes and happens from now on, in order and without a gap; the first
// message is empty and says that the stream began. When a node goes, it goes on at another one. It ends with
// ctx, with the error of f, or when no node answers or what was missed is not known any more.
func (c *Client) Follow(ctx context.Context, f func(wire.Message) error) error {
	last := ""
	for failed := 0; ; {
		began := last
		err := c.follow(ctx, &last, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if failed++; last != began {
			failed = 0
		}
		if failed > len(c.endpoints) {
			return fmt.Errorf("the stream of events breaks off again and again")
		}
	}
}

// follow reads one stream until it breaks off, which is no error.
func (c *Client) follow(ctx context.Context, last *string, f func(wire.Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(silence, cancel)
	defer watchdog.Stop()
	var failed error // ours, not the stream's: no other node is to be asked
	r := call{method: http.MethodGet, path: "/v1/events", repeatable: true, stream: func(body io.Reader) error {
		s := bufio.NewScanner(body)
		s.Buffer(nil, maxMessage)
		var m message
		for s.Scan() {
			watchdog.Reset(silence)
			if s.Text() != "" {
				m.add(s.Text())
				continue
			}
			if failed = m.deliver(last, f); failed != nil {
				return nil
			}
			m = message{}
		}
		return nil
	}}
	err := c.do(ctx, r, nil, header("Accept", "text/event-stream, "+wire.ProblemType),
		header("Last-Event-ID", *last))
	if failed != nil {
		return failed
	}
	return err
}

const (
	maxMessage = 1 << 20
	silence    = 60 * time.Second // four heartbeats
)

// message is a server-sent event under construction.
type message struct{ id, kind, data string }

func (m *message) add(line string) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "id":
		m.id = value
	case "event":
		m.kind = value
	case "data":
		m.data += value
	}
}

func (m *message) deliver(last *string, f func(wire.Message) error) error {
	var out wire.Message
	var err error
	switch m.kind {
	case "begin":
		if *last != "" {
			return nil
		}
	case "change":
		out.Change = new(wire.Change)
		err = json.Unmarshal([]byte(m.data), out.Change)
	case "event":
		out.Event = new(wire.Event)
		err = json.Unmarshal([]byte(m.data), out.Event)
	case "reset":
		return fmt.Errorf("the stream of events cannot go on: %s", m.data)
	default:
		return nil // a comment, or of a later version
	}
	if err != nil {
		return fmt.Errorf("message %s: %w", m.id, err)
	}
	if err := f(out); err != nil {
		return err
	}
	if m.id != "" {
		*last = m.id
	}
	return nil
}
