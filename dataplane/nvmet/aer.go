package nvmet

import "github.com/ashlar-storage/ashlar/dataplane/nvme"

// maxAsyncEvents is how many Asynchronous Event Requests a host may have outstanding (AERL + 1).
const maxAsyncEvents = 4

// event is a kind of asynchronous event that we report. Each has a log page whose reading re-arms it.
type event uint8

const (
	eventNamespace event = iota
	eventANA
	eventDiscovery
	eventKinds
)

// notice is how the event looks on the wire.
func (e event) notice() nvme.AsyncEvent {
	switch e {
	case eventNamespace:
		return nvme.AsyncEvent{
			Type: nvme.EventNotice, Info: nvme.NoticeNamespaceAttr, LID: nvme.LogChangedNS,
		}
	case eventANA:
		return nvme.AsyncEvent{Type: nvme.EventNotice, Info: nvme.NoticeANAChange, LID: nvme.LogANA}
	}
	return nvme.AsyncEvent{
		Type: nvme.EventNotice, Info: nvme.NoticeDiscoveryLog, LID: nvme.LogDiscovery,
	}
}

// bit is the event's bit in Asynchronous Event Configuration.
func (e event) bit() uint32 {
	switch e {
	case eventNamespace:
		return nvme.AECNamespaceAttr
	case eventANA:
		return nvme.AECANAChange
	}
	return nvme.AECDiscoveryLog
}

// events is the asynchronous event state of a controller, guarded by the controller's mutex.
//
// An event that the host switched on is reported once, with the next request at hand, and then masked until
// the host reads its log page without RAE. What happens while it is masked is in the page that the host is
// yet to read. What happens while the event is switched off stays pending: Linux reads the ANA log first and
// switches the event on later, so a change in between would never be learnt.
type events struct {
	parked    []*Request // Asynchronous Event Requests, oldest first
	pending   [eventKinds]bool
	masked    [eventKinds]bool
	changedNS bool // what the changed namespaces page says about NSID 1
}

// raise notes that e happened and reports the request that now has to be completed, if any.
func (ev *events) raise(e event, config uint32) *Request {
	if ev.masked[e] {
		return nil
	}
	ev.pending[e] = true
	return ev.next(e, config)
}

// next pairs a pending event that is switched on with a parked request.
func (ev *events) next(e event, config uint32) *Request {
	if config&e.bit() == 0 || !ev.pending[e] || len(ev.parked) == 0 {
		return nil
	}
	ev.pending[e], ev.masked[e] = false, true
	r := ev.parked[0]
	ev.parked = append(ev.parked[:0], ev.parked[1:]...)
	return r
}

// read notes that the host read the event's log page without RAE: what was pending is known, what comes is
// new.
func (ev *events) read(e event) { ev.pending[e], ev.masked[e] = false, false }

// drain empties the state for a reset; the requests are the caller's to complete.
func (ev *events) drain() []*Request {
	parked := ev.parked
	*ev = events{changedNS: ev.changedNS}
	return parked
}

// asyncEvent parks an Asynchronous Event Request, or answers it with what is pending (Base 5.2).
func (k *controller) asyncEvent(r *Request) {
	k.mu.Lock()
	if k.mu.ended {
		k.mu.Unlock()
		r.Complete(nvme.AbortedSQDeletion)
		return
	}
	if len(k.mu.events.parked) == maxAsyncEvents {
		k.mu.Unlock()
		r.Complete(nvme.AsyncEventRequestLimitExceeded.NoRetry())
		return
	}
	k.mu.events.parked = append(k.mu.events.parked, r)
	k.mu.Unlock()
	k.reportPending()
}

// reportPending reports what waits for a request, or waited for being switched on.
func (k *controller) reportPending() {
	for e := range eventKinds {
		k.mu.Lock()
		r := k.mu.events.next(e, k.mu.features.asyncEvents)
		k.mu.Unlock()
		if r != nil {
			r.CompleteResult(nvme.Success, e.notice().DW0(), 0)
		}
	}
}

// raise reports an event to the host.
func (k *controller) raise(e event) {
	k.mu.Lock()
	if e == eventNamespace {
		k.mu.events.changedNS = true
	}
	r := k.mu.events.raise(e, k.mu.features.asyncEvents)
	k.mu.Unlock()
	if r != nil {
		r.CompleteResult(nvme.Success, e.notice().DW0(), 0)
	}
}

// withdrawEvent takes a parked request back, for Abort.
func (k *controller) withdrawEvent(cid uint16) *Request {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, r := range k.mu.events.parked {
		if r.Cmd.CID() == cid {
			k.mu.events.parked = append(k.mu.events.parked[:i], k.mu.events.parked[i+1:]...)
			return r
		}
	}
	return nil
}
