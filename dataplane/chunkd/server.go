package chunkd

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/guard"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

const fencePrefix = "fence/"

// Server carries out chunk requests on the devices of this node. Safe for concurrent use.
type Server struct {
	mu      sync.RWMutex
	devices map[cluster.DeviceID]*device
}

// New makes a server without devices.
func New() *Server { return &Server{devices: make(map[cluster.DeviceID]*device)} }

// device is one page store with what it knows about the volumes on it.
type device struct {
	id       cluster.DeviceID
	store    *pagestore.Store
	tasks    sync.Pool
	journals journals

	mu       sync.Mutex
	guard    *guard.Device
	requests uint64 // that have arrived
}

// Attach begins to serve a device. What the store knows about fences and journals is read back.
func (s *Server) Attach(id cluster.DeviceID, store *pagestore.Store) {
	d := &device{id: id, store: store, guard: guard.New(guard.Reserve(store.Stats().TotalBlocks))}
	d.tasks.New = func() any { return newTask(d) }
	for key, v := range store.Meta(fencePrefix) {
		if vol, err := cluster.ParseVolumeKey(strings.TrimPrefix(key, fencePrefix)); err == nil && len(v) == 4 {
			d.guard.Volume(vol).Restore(binary.LittleEndian.Uint32(v))
		}
	}
	d.journals.load(store.Meta(journalPrefix))
	s.mu.Lock()
	s.devices[id] = d
	s.mu.Unlock()
}

// Detach stops serving a device: later requests get NotMine. Requests under way are answered by the store.
func (s *Server) Detach(id cluster.DeviceID) {
	s.mu.Lock()
	delete(s.devices, id)
	s.mu.Unlock()
}

// Has reports whether the device is served here.
func (s *Server) Has(id cluster.DeviceID) bool { return s.find(id) != nil }

func (s *Server) find(id cluster.DeviceID) *device {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.devices[id]
}

// Requests counts what was asked of a device since it is served; 0 when it is not.
func (s *Server) Requests(id cluster.DeviceID) uint64 {
	d := s.find(id)
	if d == nil {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.requests
}

// Submit carries out a request. It comes back through its Completer exactly once, perhaps before Submit
// returns.
func (s *Server) Submit(r *chunk.Request) {
	r.Result = chunk.Result{Entries: r.Entries[:0]}
	d := s.find(r.Device)
	if d == nil {
		r.Complete(chunk.NotMine)
		return
	}
	if r.Validate() != nil {
		r.Complete(chunk.Invalid)
		return
	}
	var room [2]guard.Act
	d.mu.Lock()
	d.requests++
	v := d.guard.Volume(r.Vol)
	acts := v.Arrive(r, room[:0])
	d.mu.Unlock()
	d.act(v, acts)
}

// act does what the guard says, without the lock.
func (d *device) act(v *guard.Volume, acts []guard.Act) {
	for _, a := range acts {
		switch a.Verdict {
		case guard.Execute:
			d.run(v, a.Request)
		case guard.Store:
			d.storeFence(v, a.Request)
		case guard.Fenced:
			a.Request.Complete(chunk.Fenced)
		case guard.NoSession:
			a.Request.Complete(chunk.NotMine)
		}
	}
}

// storeFence makes the epoch of a request durable before the request goes on. A volume that is new to a
// device on which metadata has hardly room is refused: the next owners of those that are there need some.
func (d *device) storeFence(v *guard.Volume, r *chunk.Request) {
	stored := func(err error) {
		d.mu.Lock()
		acts := v.Stored(r, err == nil, nil)
		d.mu.Unlock()
		if err != nil {
			r.Complete(statusOf(err))
		}
		d.act(v, acts)
	}
	if _, known := d.store.Volume(r.Vol); !known && d.store.Crowded() {
		stored(pagestore.ErrFull)
		return
	}
	epoch := binary.LittleEndian.AppendUint32(nil, r.Epoch)
	d.store.PutMeta(fencePrefix+r.Vol.String(), epoch, stored)
}

// ended counts a request out and answers it. In this order: whoever gets the answer may send a fence that
// needs nothing in flight.
func (d *device) ended(v *guard.Volume, r *chunk.Request, err error) {
	var room [2]guard.Act
	d.mu.Lock()
	acts := v.Ended(r, d.store.Spare(r.Vol), room[:0])
	d.mu.Unlock()
	r.Complete(statusOf(err))
	d.act(v, acts)
}

func statusOf(err error) chunk.Status {
	switch {
	case err == nil:
		return chunk.OK
	case errors.Is(err, pagestore.ErrFull):
		return chunk.Full
	case errors.Is(err, pagestore.ErrNotMine):
		return chunk.NotMine
	case errors.Is(err, pagestore.ErrInvalid), errors.Is(err, pagestore.ErrConflict):
		return chunk.Invalid
	default:
		return chunk.IOError
	}
}

// extentOf is where a request's blocks lie.
func extentOf(r *chunk.Request) pagemap.Extent {
	return pagemap.Extent{Vol: r.Vol, Page: r.Page, Residency: r.Residency, Column: r.Column, First: r.Block,
		N: r.Count}
}
