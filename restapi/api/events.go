package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

const (
	streamType = "text/event-stream"
	// heartbeat keeps proxies from closing a quiet stream, and finds out that a reader is gone.
	heartbeat = 15 * time.Second
	// streamWrite is how long a reader may take for one message. Who is slower is let go, and goes on with
	// Last-Event-ID: nothing piles up here for it.
	streamWrite = 10 * time.Second
	maxStreams  = 256
)

// listEvents answers with a page of events, or with the stream of changes and events when that is asked for.
func (s *Server) listEvents(c *gin.Context) error {
	f := manager.EventFilter{Severity: wire.Severity(c.Query("severity")), Kind: c.Query("kind"),
		Subject: c.Query("subject")}
	if wantsStream(c.Request) {
		if c.Request.URL.RawQuery != "" {
			return refuse(wire.InvalidField, "Accept", "a stream takes no parameters")
		}
		return s.stream(c)
	}
	p, err := pageOf(c)
	if err != nil {
		return err
	}
	list, err := s.o.Manager.Events(c.Request.Context(), p, f)
	if err != nil {
		return err
	}
	return answer(c, list)
}

func wantsStream(r *http.Request) bool {
	for one := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		if kind, _, err := mime.ParseMediaType(one); err == nil && kind == streamType {
			return r.Method == http.MethodGet
		}
	}
	return false
}

// stream sends what changes until the reader goes, is too slow, or the node stops. A stream does not outlive
// the validity of its token by more than streamLife.
func (s *Server) stream(c *gin.Context) error {
	after, err := lastEventID(c)
	if err != nil {
		return err
	}
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		return refuse(wire.Unavailable, "", "this node has %d streams open already", maxStreams)
	}
	defer s.streams.Add(-1)
	ctx, cancel := context.WithTimeout(c.Request.Context(), streamLife)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	w := &streamWriter{c: c, rc: http.NewResponseController(c.Writer)}
	go w.beat(ctx, cancel)
	err = s.o.Manager.Feed(ctx, after, func(rev int64, news []wire.Message) error { return w.send(rev, news) })
	if errors.Is(err, store.ErrCompacted) {
		return w.reset(err)
	}
	if !w.begun() && ctx.Err() == nil {
		return err
	}
	return nil // the reader sees the end, and comes again
}

// streamLife bounds a stream: who may no longer read is not asked again before.
const streamLife = 10 * time.Minute

// lastEventID is the revision to go on after, 0 to begin now.
func lastEventID(c *gin.Context) (int64, error) {
	text := c.GetHeader("Last-Event-ID")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return 0, refuse(wire.InvalidField, "Last-Event-ID", "%q is none that this stream gave", text)
	}
	return n, nil
}

// streamWriter writes a stream (WHATWG HTML, server-sent events). Its methods may be called from any
// goroutine.
type streamWriter struct {
	c  *gin.Context
	rc *http.ResponseController

	mu      sync.Mutex
	started bool
}

func (w *streamWriter) begun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.started
}

// send writes the messages of one revision; only the last one bears its id, so that a stream that breaks off
// between them goes on with all of them.
func (w *streamWriter) send(rev int64, news []wire.Message) error {
	var b strings.Builder
	for i, m := range news {
		kind, body := "change", any(m.Change)
		if m.Event != nil {
			kind, body = "event", m.Event
		}
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		if i == len(news)-1 {
			fmt.Fprintf(&b, "id: %d\n", rev)
		}
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", kind, text)
	}
	if len(news) == 0 { // the beginning: whoever loses the stream now goes on from here
		fmt.Fprintf(&b, "id: %d\nevent: begin\ndata: {}\n\n", rev)
	}
	return w.write(b.String())
}

func (w *streamWriter) write(text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.started {
		w.started = true
		_ = w.rc.SetReadDeadline(time.Time{}) // the server's own bounds are those of a call
		w.c.Header("Content-Type", streamType)
		w.c.Status(http.StatusOK)
	}
	if err := w.rc.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	if _, err := w.c.Writer.WriteString(text); err != nil {
		return err
	}
	return w.rc.Flush()
}

// beat shows that the stream lives, until it does not.
func (w *streamWriter) beat(ctx context.Context, cancel context.CancelFunc) {
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if w.begun() && w.write(": alive\n\n") != nil {
			cancel()
			return
		}
	}
}

// reset tells a reader that what it missed cannot be told any more.
func (w *streamWriter) reset(err error) error {
	text, _ := json.Marshal(map[string]string{"detail": err.Error() + ": read everything again"})
	return w.write("event: reset\nid\ndata: " + string(text) + "\n\n")
}
