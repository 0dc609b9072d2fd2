package loophost

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
)

// attachTime bounds one attempt to attach.
const attachTime = time.Minute

// maxBody bounds a request, in bytes.
const maxBody = 64 << 10

// Agent attaches volumes to this machine for whoever asks by HTTP, as the package doc says.
type Agent struct {
	mux  *http.ServeMux
	base string // directory of the mounts

	mu    sync.Mutex
	slots map[uuid.UUID]*slot
}

// slot is the place of one volume's device: what is done to one is done one after the other.
type slot struct {
	mu     sync.Mutex
	device *device // nil: not attached
}

// NewAgent makes an agent whose mounts are below a directory that is empty.
func NewAgent(base string) *Agent {
	a := &Agent{mux: http.NewServeMux(), base: base, slots: map[uuid.UUID]*slot{}}
	a.mux.HandleFunc("PUT /devices/{id}", a.on(a.attach))
	a.mux.HandleFunc("GET /devices/{id}", a.on(a.show))
	a.mux.HandleFunc("POST /devices/{id}/rescan", a.on(a.rescan))
	a.mux.HandleFunc("DELETE /devices/{id}", a.on(a.detach))
	return a
}

func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Close detaches every device.
func (a *Agent) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, s := range a.slots {
		errs = append(errs, s.detach())
	}
	return errors.Join(errs...)
}

var (
	errBadRequest  = errors.New("bad request")
	errNotAttached = errors.New("the volume is not attached")
)

// on finds the slot of a request, holds it during the call, and writes the answer.
func (a *Agent) on(call func(*slot, uuid.UUID, *http.Request) (*Device, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var out *Device
		id, err := uuid.Parse(r.PathValue("id"))
		if err != nil {
			err = errors.Join(errBadRequest, err)
		} else {
			s := a.slot(id)
			s.mu.Lock()
			defer s.mu.Unlock()
			out, err = call(s, id, r)
		}
		answer(w, out, err)
	}
}

func (a *Agent) slot(id uuid.UUID) *slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.slots[id] == nil {
		a.slots[id] = &slot{}
	}
	return a.slots[id]
}

func (a *Agent) attach(s *slot, id uuid.UUID, r *http.Request) (*Device, error) {
	var t Target
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody)).Decode(&t); err != nil {
		return nil, errors.Join(errBadRequest, err)
	}
	if s.device == nil {
		ctx, cancel := context.WithTimeout(r.Context(), attachTime)
		defer cancel()
		d, err := attach(ctx, id, t, a.base)
		if err != nil {
			return nil, err
		}
		s.device = d
	}
	return s.show()
}

func (a *Agent) show(s *slot, _ uuid.UUID, _ *http.Request) (*Device, error) { return s.show() }

func (a *Agent) rescan(s *slot, _ uuid.UUID, _ *http.Request) (*Device, error) {
	if s.device == nil {
		return nil, errNotAttached
	}
	if err := s.device.resize(); err != nil {
		return nil, err
	}
	return s.show()
}

func (a *Agent) detach(s *slot, _ uuid.UUID, _ *http.Request) (*Device, error) {
	return nil, s.detach()
}

func (s *slot) show() (*Device, error) {
	if s.device == nil {
		return nil, errNotAttached
	}
	d, err := s.device.show()
	return &d, err
}

func (s *slot) detach() error {
	if s.device == nil {
		return nil
	}
	if err := s.device.close(); err != nil {
		return err
	}
	s.device = nil
	return nil
}

// problem is the body of an error.
type problem struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, d *Device, err error) {
	status := http.StatusOK
	switch {
	case err == nil && d == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	case errors.Is(err, errBadRequest):
		status = http.StatusBadRequest
	case errors.Is(err, errNotAttached):
		status = http.StatusNotFound
	case errors.Is(err, errInUse):
		status = http.StatusConflict
	case err != nil:
		status = http.StatusBadGateway
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err != nil {
		_ = json.NewEncoder(w).Encode(problem{err.Error()}) // who asked may have gone
		return
	}
	_ = json.NewEncoder(w).Encode(d)
}
