package chunkd

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"

	"github.com/ashlar-storage/ashlar/dataplane/chunk"
	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"github.com/ashlar-storage/ashlar/dataplane/pagestore"
)

const (
	fencePrefix     = "fence/"
	residencyPrefix = "residency/"
)

// Server carries out chunk requests on the devices of this node. Safe for concurrent use.
type Server struct {
	mu      sync.RWMutex
	devices map[cluster.DeviceID]*device
}

// New makes a server without devices.
func New() *Server { return &Server{devices: make(map[cluster.DeviceID]*device)} }

// device is one page store with what it knows about the volumes on it.
type device struct {
	id    cluster.DeviceID
	store *pagestore.Store
	tasks sync.Pool

	mu      sync.Mutex
	volumes map[cluster.VolumeKey]*volume
}

// volume is the admission state of one volume on one device. Guarded by device.mu.
type volume struct {
	fence     uint32
	residency uint32
	inFlight  int
	// exclusive is the fence or begin under way; it starts when inFlight is 0. Requests that arrive meanwhile
	// wait here, bounded by the queue depth of the connections that brought them.
	exclusive *chunk.Request
	started   bool
	waiting   []*chunk.Request
}

// Attach begins to serve a device. What the store knows about fences and residencies is read back.
func (s *Server) Attach(id cluster.DeviceID, store *pagestore.Store) {
	d := &device{id: id, store: store, volumes: make(map[cluster.VolumeKey]*volume)}
	d.tasks.New = func() any { return newTask(d) }
	for key, v := range store.Meta(fencePrefix) {
		if vol, err := cluster.ParseVolumeKey(strings.TrimPrefix(key, fencePrefix)); err == nil && len(v) == 4 {
			d.volume(vol).fence = binary.LittleEndian.Uint32(v)
		}
	}
	for key, v := range store.Meta(residencyPrefix) {
		if vol, err := cluster.ParseVolumeKey(strings.TrimPrefix(key, residencyPrefix)); err == nil && len(v) == 4 {
			d.volume(vol).residency = binary.LittleEndian.Uint32(v)
		}
	}
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

// Submit carries out a request. It comes back through its Completer exactly once, perhaps before Submit
// returns.
func (s *Server) Submit(r *chunk.Request) {
	d := s.find(r.Device)
	if d == nil {
		r.Complete(chunk.NotMine)
		return
	}
	if r.Validate() != nil {
		r.Complete(chunk.Invalid)
		return
	}
	d.submit(r)
}

// volume finds or makes the state of a volume.
func (d *device) volume(key cluster.VolumeKey) *volume {
	v := d.volumes[key]
	if v == nil {
		v = &volume{residency: 1}
		d.volumes[key] = v
	}
	return v
}

func (d *device) submit(r *chunk.Request) {
	d.mu.Lock()
	v := d.volume(r.Vol)
	verdict := d.admit(v, r)
	d.mu.Unlock()
	d.act(v, r, verdict)
}

type verdict uint8

const (
	parked    verdict = iota // waits, or became the exclusive operation and waits for others
	execute                  // counted in
	exclusive                // runs alone now
	fenced
	notMine
	done
)

// admit decides about one request, with d.mu held.
func (d *device) admit(v *volume, r *chunk.Request) verdict {
	switch {
	case v.exclusive != nil && v.exclusive != r:
		if r.Epoch < v.exclusive.Epoch {
			return fenced
		}
		v.waiting = append(v.waiting, r)
		return parked
	case r.Epoch < v.fence:
		return fenced
	case r.Op == chunk.OpFence && r.Epoch == v.fence:
		return done
	case r.Op == chunk.OpBegin && r.Epoch == v.fence && r.Residency <= v.residency:
		if r.Residency == v.residency {
			return done
		}
		return notMine
	case r.Epoch > v.fence || r.Op == chunk.OpBegin:
		v.exclusive = r
		if v.inFlight > 0 {
			return parked
		}
		v.started = true
		return exclusive
	case r.Residency != v.residency:
		return notMine
	}
	v.inFlight++
	return execute
}

// act carries a verdict out, without the lock.
func (d *device) act(v *volume, r *chunk.Request, what verdict) {
	switch what {
	case execute:
		d.run(v, r)
	case exclusive:
		d.runExclusive(v, r)
	case fenced:
		r.Known = d.knownEpoch(v)
		d.answer(r, chunk.Fenced)
	case notMine:
		d.answer(r, chunk.NotMine)
	case done:
		r.Known = r.Epoch
		d.answer(r, chunk.OK)
	}
}

func (d *device) knownEpoch(v *volume) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v.exclusive != nil {
		return max(v.fence, v.exclusive.Epoch)
	}
	return v.fence
}

// answer completes a request with the device's free space.
func (d *device) answer(r *chunk.Request, s chunk.Status) {
	r.Free = d.store.Stats().FreeBlocks
	r.Complete(s)
}

// leave counts a request out and starts an exclusive operation that waited for it.
func (d *device) leave(v *volume) {
	d.mu.Lock()
	v.inFlight--
	next := v.exclusive
	if v.inFlight > 0 || next == nil || v.started {
		next = nil
	} else {
		v.started = true
	}
	d.mu.Unlock()
	if next != nil {
		d.runExclusive(v, next)
	}
}

// runExclusive makes a higher epoch durable first, then begins a residency if that is what the request wants,
// then answers or goes on with the request, then lets the waiting ones in.
func (d *device) runExclusive(v *volume, r *chunk.Request) {
	d.mu.Lock()
	raise := r.Epoch > v.fence
	d.mu.Unlock()
	if !raise {
		d.begin(v, r)
		return
	}
	d.store.PutMeta(fencePrefix+r.Vol.String(), le32(r.Epoch), func(err error) {
		if err != nil {
			d.endExclusive(v, r, statusOf(err), true)
			return
		}
		d.mu.Lock()
		v.fence = r.Epoch
		d.mu.Unlock()
		switch r.Op {
		case chunk.OpFence:
			d.endExclusive(v, r, chunk.OK, true)
		case chunk.OpBegin:
			d.begin(v, r)
		default:
			d.endExclusive(v, r, chunk.OK, false)
		}
	})
}

// begin empties the volume and makes the new residency durable, in this order: a crash in between leaves the
// old number with nothing under it, and the begin is asked for again.
func (d *device) begin(v *volume, r *chunk.Request) {
	d.mu.Lock()
	have := v.residency
	d.mu.Unlock()
	if r.Residency <= have {
		s := chunk.NotMine
		if r.Residency == have {
			s = chunk.OK
		}
		d.endExclusive(v, r, s, true)
		return
	}
	d.store.DropVolume(r.Vol, func(err error) {
		if err != nil {
			d.endExclusive(v, r, statusOf(err), true)
			return
		}
		d.store.PutMeta(residencyPrefix+r.Vol.String(), le32(r.Residency), func(err error) {
			if err == nil {
				d.mu.Lock()
				v.residency = r.Residency
				d.mu.Unlock()
			}
			d.endExclusive(v, r, statusOf(err), true)
		})
	})
}

// endExclusive answers the request (or, if it only raised the fence on its way, submits it as the ordinary
// one it is) and lets in what waited.
func (d *device) endExclusive(v *volume, r *chunk.Request, s chunk.Status, answered bool) {
	d.mu.Lock()
	v.exclusive, v.started = nil, false
	waiting := v.waiting
	v.waiting = nil
	if answered {
		r.Known = v.fence
	}
	d.mu.Unlock()
	if answered {
		d.answer(r, s)
	} else {
		d.submit(r)
	}
	for _, w := range waiting {
		d.submit(w)
	}
}

func le32(x uint32) []byte { return binary.LittleEndian.AppendUint32(nil, x) }

func statusOf(err error) chunk.Status {
	switch {
	case err == nil:
		return chunk.OK
	case errors.Is(err, pagestore.ErrFull):
		return chunk.Full
	case errors.Is(err, pagestore.ErrInvalid), errors.Is(err, pagestore.ErrConflict):
		return chunk.Invalid
	default:
		return chunk.IOError
	}
}

// extentOf is where a request's blocks lie.
func extentOf(r *chunk.Request) pagemap.Extent {
	return pagemap.Extent{Vol: r.Vol, Page: r.Page, Column: r.Column, First: r.Block, N: r.Count}
}
