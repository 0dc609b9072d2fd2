package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/restapi/manager"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// fanWidth is how many nodes are asked at a time for their part of an answer.
const fanWidth = 32

// fan asks nodes the same call, all together for so long, and tells each what it gets, one at a time. This
// node is asked by own.
func fan[T any](s *Server, c *gin.Context, nodes []wire.Node, limit time.Duration,
	own func(context.Context) (T, error), each func(n wire.Node, part T, err error)) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), limit)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	turns := make(chan struct{}, fanWidth)
	for _, n := range nodes {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			var part T
			var err error
			switch {
			case n.Number == s.o.Self:
				part, err = own(ctx)
			case n.Status != manager.NodeOnline: // it would only take time
				err = refuse(wire.Unavailable, "", "node %d is not up", n.Number)
			default:
				part, err = askPart[T](ctx, s, c, n)
			}
			mu.Lock()
			defer mu.Unlock()
			each(n, part, err)
		})
	}
	wg.Wait()
}

// askPart asks one node.
func askPart[T any](ctx context.Context, s *Server, c *gin.Context, n wire.Node) (part T, err error) {
	resp, err := s.ask(ctx, c, n, nil)
	if err != nil {
		return part, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return part, refuse(wire.Unavailable, "", "node %d answers %s", n.Number, resp.Status)
	}
	return part, json.NewDecoder(io.LimitReader(resp.Body, maxForwarded)).Decode(&part)
}
