package node

import (
	"context"
	"sync/atomic"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

// counts is what the nodes of a world have asked of each other and of their devices so far.
type counts struct {
	requests atomic.Int64 // of gateways to devices, wherever those are
	messages atomic.Int64 // of these, to devices of other nodes
	reads    atomic.Int64 // operations of block devices, as the page stores submit them
	writes   atomic.Int64
	flushes  atomic.Int64
	read     atomic.Int64 // bytes
	written  atomic.Int64
}

// values are the counts at this moment, by the name of the metric.
func (c *counts) values() map[string]int64 {
	return map[string]int64{"requests/op": c.requests.Load(), "messages/op": c.messages.Load(),
		"dev-reads/op": c.reads.Load(), "dev-writes/op": c.writes.Load(), "dev-flushes/op": c.flushes.Load(),
		"dev-read-B/op": c.read.Load(), "dev-written-B/op": c.written.Load()}
}

// countedChunks counts what a gateway asks of devices.
type countedChunks struct {
	n *Node
	c *counts
}

func (k countedChunks) Submit(r *chunk.Request) {
	k.c.requests.Add(1)
	if k.n.state.Load().Map.Devices[r.Device].Node != k.n.o.Self {
		k.c.messages.Add(1)
	}
	k.n.Submit(r)
}

// countedDevice counts what a page store asks of its device.
type countedDevice struct {
	blockdev.Device
	c *counts
}

func (d countedDevice) Submit(ops ...*blockdev.Op) {
	for _, o := range ops {
		switch o.Kind {
		case blockdev.Read:
			d.c.reads.Add(1)
			d.c.read.Add(int64(len(o.Buf)))
		case blockdev.Write:
			d.c.writes.Add(1)
			d.c.written.Add(int64(len(o.Buf)))
		case blockdev.Flush:
			d.c.flushes.Add(1)
		}
	}
	d.Device.Submit(ops...)
}

// startCounted starts a node that adds to the counts. Gateway and devices are put in place before it runs:
// the node does not open a device that it has already.
func (w *world) startCounted(n cluster.NodeID, c *counts) {
	node := w.build(n)
	if err := node.gateway.Close(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	node.gateway = gateway.New(gateway.Options{Self: n, Chunks: countedChunks{node, c}, Peers: node.peers,
		Arbiter: node.o.Arbiter, Votes: votes{node}, Events: &node.shown,
		Patience: node.o.Patience, Log: node.log})
	for id, rec := range w.ctl.Newest().Map.Devices {
		if rec.Node != n {
			continue
		}
		file, err := blockdev.OpenFile(rec.Path, blockdev.FileOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		dev := countedDevice{file, c}
		store, err := pagestore.Open(context.Background(), dev,
			pagestore.Options{ClusterID: w.id, DeviceUUID: rec.UUID})
		if err != nil {
			w.t.Fatal(err)
		}
		node.disks.mu.open[id] = &disk{rec: rec, newest: rec, dev: dev, store: store, cancel: func() {},
			scrub: node.startScrub(context.Background(), rec, store)}
		node.chunks.Attach(id, store)
	}
	w.run(n, node)
}
