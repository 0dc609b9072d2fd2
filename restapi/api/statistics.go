package api

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Observer tells what happens on the node it runs on. The daemon provides it. since is how far back samples
// go; false: this node counts nothing of that.
type Observer interface {
	VolumeStatistics(id cluster.UUID, since time.Duration) (wire.Statistics, bool)
	PoolStatistics(id cluster.PoolID, since time.Duration) (wire.Statistics, bool)
	DeviceStatistics(id cluster.DeviceID, since time.Duration) (wire.Statistics, bool)
}

// History is how far back samples go when a call does not say, and at most.
const (
	defaultHistory = 10 * time.Minute
	maxHistory     = time.Hour
)

// fanTimeout is how long all nodes together may take.
const fanTimeout = 3 * time.Second

// historyOf reads how far back a call wants to see.
func historyOf(c *gin.Context) (time.Duration, error) {
	text := c.Query("history")
	if text == "" {
		return defaultHistory, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if d := time.Duration(n) * time.Second; err == nil && d <= maxHistory {
		return d, nil
	}
	return 0, refuse(wire.InvalidField, "history", "%q is no number of seconds from 0 to %d", text,
		maxHistory/time.Second)
}

// nobody is the answer when no node counts.
func nobody() wire.Statistics {
	return wire.Statistics{Time: time.Now().UTC().Format(time.RFC3339), Nodes: []cluster.NodeID{},
		Samples: []wire.Sample{}, Interval: 10}
}

func (s *Server) getVolumeStatistics(c *gin.Context) error {
	since, err := historyOf(c)
	if err != nil {
		return err
	}
	id, err := uuidParam(c, "volume")
	if err != nil {
		return err
	}
	v, err := s.o.Manager.Volume(c.Request.Context(), id)
	if err != nil {
		return err
	}
	if st, ok := s.o.Observer.VolumeStatistics(id, since); ok {
		return answer(c, st)
	}
	if v.Owner == nil || v.Owner.Gateway == s.o.Self || forwarded(c) {
		return answer(c, nobody())
	}
	return s.forwardTo(c, v.Owner.Gateway, nil)
}

func (s *Server) getDeviceStatistics(c *gin.Context) error {
	since, err := historyOf(c)
	if err != nil {
		return err
	}
	n, err := numberParam(c, "device")
	if err != nil {
		return err
	}
	d, err := s.o.Manager.Device(c.Request.Context(), cluster.DeviceID(n))
	if err != nil {
		return err
	}
	if d.Node != s.o.Self {
		return s.forwardTo(c, d.Node, nil)
	}
	st, ok := s.o.Observer.DeviceStatistics(d.Number, since)
	if !ok {
		st = nobody()
	}
	return answer(c, st)
}

func (s *Server) getPoolStatistics(c *gin.Context) error {
	since, err := historyOf(c)
	if err != nil {
		return err
	}
	p, err := s.o.Manager.Pool(c.Request.Context(), param(c, "pool"))
	if err != nil {
		return err
	}
	own, ok := s.o.Observer.PoolStatistics(p.ID, since)
	if !ok {
		own = nobody()
	}
	if forwarded(c) {
		return answer(c, own)
	}
	sum, err := s.gather(c, own)
	if err != nil {
		return err
	}
	return answer(c, sum)
}

// gather adds what the other nodes say to what this one says. Who does not answer in time is named.
func (s *Server) gather(c *gin.Context, own wire.Statistics) (sum wire.Statistics, err error) {
	nodes, err := s.o.Manager.AllNodes(c.Request.Context())
	if err != nil {
		return sum, err
	}
	sum = own
	nodes = slices.DeleteFunc(nodes, func(n wire.Node) bool { return n.Number == s.o.Self })
	fan(s, c, nodes, fanTimeout, nil, func(n wire.Node, part wire.Statistics, err error) {
		if err != nil {
			sum.Missing = append(sum.Missing, n.Number)
			return
		}
		sum = combine(sum, part)
	})
	slices.Sort(sum.Nodes)
	slices.Sort(sum.Missing)
	return sum, nil
}

// combine adds up what two nodes count of one pool. Samples are aligned to the clock.
func combine(a, b wire.Statistics) wire.Statistics {
	a.Nodes = append(a.Nodes, b.Nodes...)
	for _, x := range []struct {
		to   *wire.Flow
		from wire.Flow
	}{{&a.Totals.Read, b.Totals.Read}, {&a.Totals.Write, b.Totals.Write},
		{&a.Totals.Discard, b.Totals.Discard}} {
		x.to.Operations += x.from.Operations
		x.to.Errors += x.from.Errors
		x.to.Bytes += x.from.Bytes
		x.to.LatencySeconds += x.from.LatencySeconds
	}
	all := append(slices.Clone(a.Samples), b.Samples...)
	slices.SortStableFunc(all, func(x, y wire.Sample) int { return cmp.Compare(x.Time, y.Time) })
	a.Samples = all[:0]
	for _, x := range all {
		if n := len(a.Samples); n > 0 && a.Samples[n-1].Time == x.Time {
			last := &a.Samples[n-1]
			last.Read, last.Write = joint(last.Read, x.Read), joint(last.Write, x.Write)
			continue
		}
		a.Samples = append(a.Samples, x)
	}
	return a
}

// joint is two rates of one interval together. The quantile of both cannot be known: it is the longer one.
func joint(a, b wire.Rate) wire.Rate {
	out := wire.Rate{Operations: a.Operations + b.Operations, Bytes: a.Bytes + b.Bytes,
		P99US: max(a.P99US, b.P99US)}
	if out.Operations > 0 {
		out.MeanUS = (a.MeanUS*a.Operations + b.MeanUS*b.Operations) / out.Operations
	}
	return out
}
