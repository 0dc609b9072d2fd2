package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Any node serves any call. What only one node knows or can do is asked of that node: the same call, with the
// caller's own token, and a header by which it is not passed on again.

// forwardedHeader names the node that passed a call on.
const forwardedHeader = "Ashlar-Forwarded-By"

// maxForwarded bounds an answer that is passed back.
const maxForwarded = 64 << 20

// forwarded tells whether another node has passed this call on to this one.
func forwarded(c *gin.Context) bool { return c.GetHeader(forwardedHeader) != "" }

// forward passes the call on to a node and its answer back. body is the body of the call; nil: none.
func (s *Server) forward(c *gin.Context, node wire.Node, body []byte) error {
	if by := c.GetHeader(forwardedHeader); by != "" {
		return refuse(wire.Unavailable, "", "node %s took this node for node %d; it will know better soon",
			by, node.Number)
	}
	resp, err := s.ask(c.Request.Context(), c, node, body)
	if err != nil {
		return refuse(wire.Unavailable, "node", "node %d, whose business this is, does not answer: %v",
			node.Number, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxForwarded))
	if err != nil {
		return refuse(wire.Unavailable, "node", "node %d, whose business this is, broke off: %v", node.Number,
			err)
	}
	for _, name := range []string{"Location", "ETag"} {
		if value := resp.Header.Get(name); value != "" {
			c.Header(name, value)
		}
	}
	c.Data(resp.StatusCode, resp.Header.Get("Content-Type"), text)
	return nil
}

// forwardTo is forward to the node of that number.
func (s *Server) forwardTo(c *gin.Context, number cluster.NodeID, body []byte) error {
	node, err := s.o.Manager.Node(c.Request.Context(), number)
	if err != nil {
		return err
	}
	return s.forward(c, node, body)
}

// ask sends the call of c, with another body, to a node.
func (s *Server) ask(ctx context.Context, c *gin.Context, node wire.Node,
	body []byte) (*http.Response, error) {
	url := strings.TrimRight(node.Addresses.REST, "/") + c.Request.URL.RequestURI()
	req, err := http.NewRequestWithContext(ctx, c.Request.Method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range []string{"Authorization", tokenHeader} {
		if v := c.GetHeader(h); v != "" {
			req.Header.Set(h, v)
		}
	}
	req.Header.Set(requestIDHeader, c.GetString(keyRequestID))
	req.Header.Set(forwardedHeader, strconv.FormatUint(uint64(s.o.Self), 10))
	if s.o.Tracer != nil {
		s.o.Tracer.Inject(ctx, req.Header)
	}
	return s.peers.Do(req)
}
