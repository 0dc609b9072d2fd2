package engine

import (
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// pools are free lists, so that steady state allocates nothing. They hold as much as was in use at one time.
type pools struct {
	extents  []*extent
	batches  []*batch
	requests []*chunk.Request
	parents  []*ParentRead
	stuck    []*batch         // sent, and waiting for a journal entry or a device
	refused  []*chunk.Request // that an engine which has stopped would still send
	scratch  [][]byte         // n+p slices, for the codec
	zeroes   [cluster.BlockSize]byte
}

func (p *pools) extent() *extent {
	if n := len(p.extents); n > 0 {
		x := p.extents[n-1]
		p.extents = p.extents[:n-1]
		return x
	}
	return new(extent)
}

func (e *Engine) freeExtent(x *extent) {
	bounce, info, absent := x.bounce, x.info, x.absent
	for i := range bounce {
		bounce[i] = bounce[i][:0]
	}
	*x = extent{bounce: bounce, info: info[:0], absent: absent[:0]}
	e.extents = append(e.extents, x)
}

func (e *Engine) newRequest() *chunk.Request {
	if n := len(e.requests); n > 0 {
		r := e.requests[n-1]
		e.requests = e.requests[:n-1]
		return r
	}
	return new(chunk.Request)
}

func (e *Engine) freeRequest(r *chunk.Request) {
	*r = chunk.Request{}
	e.requests = append(e.requests, r)
}

// grow returns b with a length of n bytes, reallocated if it has no room; its content is undefined.
func grow[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}
