package nvmet_test

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet/memns"
)

func (h *host) asyncEvent() uint16 {
	h.Helper()
	var cmd nvme.Command
	cmd.SetOpcode(nvme.AdminAsyncEvent)
	return h.start(&cmd, nil, 0)
}

func (h *host) configureEvents(bits uint32) {
	h.Helper()
	var cmd nvme.Command
	cmd.SetFeatures(nvme.FeatAsyncEvent, 0, bits)
	if st := h.status(&cmd, nil, nil); !st.OK() {
		h.Fatal(st)
	}
}

// wantEvent wants the completion of an Asynchronous Event Request next.
func (h *host) wantEvent(cid uint16, info, lid uint8) {
	h.Helper()
	c := h.answer(nil, nil)
	want := nvme.AsyncEvent{Type: nvme.EventNotice, Info: info, LID: lid}
	if got := nvme.ParseAsyncEvent(c.DW0); !c.Status.OK() || c.CID != cid || got != want {
		h.Fatalf("command %d: %v, %+v; want command %d, %+v", c.CID, c.Status, got, cid, want)
	}
}

// quiet wants no event: the answer to the next command comes first.
func (h *host) quiet() {
	h.Helper()
	h.csts() // do checks the CID
}

// TestNamespaceEvent resizes a volume: one notice, masked until the host has read which namespace it was.
func TestNamespaceEvent(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{})
	h.asyncEvent() // 2
	first := h.cid
	w.target.NamespaceChanged(volumeNQN)
	h.quiet() // not switched on
	h.configureEvents(nvme.AECNamespaceAttr)
	w.target.NamespaceChanged(volumeNQN)
	h.wantEvent(first, nvme.NoticeNamespaceAttr, nvme.LogChangedNS)

	second := h.asyncEvent()
	w.target.NamespaceChanged(volumeNQN)
	h.quiet() // masked
	changed := func(rae bool) int {
		ids, err := nvme.DecodeNSList(h.mustLog(nvme.LogChangedNS, 4096, nvme.GetLogPage{RAE: rae}))
		if err != nil {
			t.Fatal(err)
		}
		return len(ids)
	}
	for range 2 {
		if changed(true) != 1 {
			t.Error("RAE emptied the list")
		}
	}
	w.target.NamespaceChanged(volumeNQN)
	h.quiet() // RAE keeps the mask
	if changed(false) != 1 {
		t.Error("RAE emptied the list")
	}
	if changed(false) != 0 {
		t.Error("reading did not empty the list")
	}
	w.target.NamespaceChanged(volumeNQN)
	h.wantEvent(second, nvme.NoticeNamespaceAttr, nvme.LogChangedNS)

	// An event with no request at hand waits for one.
	changed(false)
	w.target.NamespaceChanged(volumeNQN)
	h.quiet()
	h.wantEvent(h.asyncEvent(), nvme.NoticeNamespaceAttr, nvme.LogChangedNS)
}

// TestANAEvent flips the state; the log page tells state and change count.
func TestANAEvent(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{})
	h.configureEvents(nvme.AECANAChange)
	read := func(g nvme.GetLogPage) *nvme.ANALog {
		l, err := nvme.DecodeANALog(h.mustLog(nvme.LogANA, 64, g))
		if err != nil || len(l.Groups) != 1 || l.Groups[0].ID != 1 {
			t.Fatalf("%+v, %v", l, err)
		}
		return l
	}
	before := read(nvme.GetLogPage{})
	if st, ok := before.Find(1); !ok || st != nvme.ANAOptimized {
		t.Errorf("%+v", before)
	}
	for _, state := range []nvme.ANAState{nvme.ANAChange, nvme.ANAInaccessible, nvme.ANAOptimized} {
		cid := h.asyncEvent()
		w.ns.SetANAState(state)
		w.target.ANAChanged(volumeNQN)
		h.wantEvent(cid, nvme.NoticeANAChange, nvme.LogANA)
		after := read(nvme.GetLogPage{})
		if st, _ := after.Find(1); st != state || after.ChangeCount <= before.ChangeCount {
			t.Errorf("%+v after %+v", after, before)
		}
		before = after
	}
	if l := read(nvme.GetLogPage{LSP: nvme.ANALSPGroupsOnly}); len(l.Groups[0].NSIDs) != 0 {
		t.Errorf("groups only: %+v", l)
	}
}

// TestEventsBeforeTheyAreSwitchedOn changes the state between the host's first look at the log page and the
// moment when it switches the event on, which is the order in which Linux connects: the change is reported
// then. What the host has read since is not.
func TestEventsBeforeTheyAreSwitchedOn(t *testing.T) {
	for _, requestFirst := range []bool{true, false} {
		w := newWorld(t, nvmet.Options{})
		h := w.admin(connection{})
		h.mustLog(nvme.LogANA, 64, nvme.GetLogPage{})
		w.target.ANAChanged(volumeNQN)
		if requestFirst {
			cid := h.asyncEvent()
			h.quiet() // not switched on
			h.configureEvents(nvme.AECANAChange)
			h.wantEvent(cid, nvme.NoticeANAChange, nvme.LogANA)
		} else {
			h.configureEvents(nvme.AECANAChange)
			h.wantEvent(h.asyncEvent(), nvme.NoticeANAChange, nvme.LogANA)
		}

		h.configureEvents(0)
		h.mustLog(nvme.LogANA, 64, nvme.GetLogPage{})
		w.target.ANAChanged(volumeNQN)
		h.mustLog(nvme.LogANA, 64, nvme.GetLogPage{}) // it knows now
		h.asyncEvent()
		h.configureEvents(nvme.AECANAChange)
		h.quiet()
	}
}

// TestEventRequests fills the places for requests, and takes some back.
func TestEventRequests(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{})
	for range 4 {
		h.asyncEvent()
	}
	var cmd nvme.Command
	cmd.SetOpcode(nvme.AdminAsyncEvent)
	if st := h.status(&cmd, nil, nil); st.Code() != nvme.AsyncEventRequestLimitExceeded {
		t.Errorf("a fifth request: %v", st)
	}
	victim := h.cid - 1
	cmd.Abort(0, victim)
	abort := h.start(&cmd, nil, 0)
	if c := h.answer(nil, nil); c.CID != victim || c.Status.Code() != nvme.AbortRequested {
		t.Errorf("the aborted request: %d %v", c.CID, c.Status)
	}
	if c := h.answer(nil, nil); c.CID != abort || c.DW0 != 0 {
		t.Errorf("abort: %v, result %d", c.Status, c.DW0)
	}
	cmd.Abort(3, 77)
	if c := h.do(&cmd, nil, nil); c.DW0 != 1 || !c.Status.OK() {
		t.Errorf("abort of nothing: %v, result %d", c.Status, c.DW0)
	}
}

// pipeListener is a listener in memory, for tests with a clock of their own.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, errors.New("closed")
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble runs a story with a clock that jumps: dial opens a connection in memory.
func inBubble(t *testing.T, story func(t *testing.T, dial func() *host)) {
	synctest.Test(t, func(t *testing.T) {
		ns, err := memns.New(uuid.New(), 1024, 1024)
		if err != nil {
			t.Fatal(err)
		}
		target, err := nvmet.New(nvmet.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{TB: t, target: target, ns: ns}
		w.put(w.config())
		ln := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		served := make(chan error)
		go func() { served <- target.Serve(ln) }()
		t.Cleanup(func() {
			ns.Release()
			if err := errors.Join(target.Close(), <-served, ns.Close()); err != nil {
				t.Error(err)
			}
		})
		story(t, func() *host {
			here, there := net.Pipe()
			t.Cleanup(func() { _ = here.Close() })
			ln.conns <- there
			return &host{world: w, c: here}
		})
	})
}

// TestKeepAlive lets a host fall silent: its association ends after the timeout, and not before.
func TestKeepAlive(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() *host) {
		h := dial().greet(0, 0)
		if c := h.connect(connection{kato: 4500}); !c.Status.OK() {
			t.Fatal(c.Status)
		}
		h.enable()
		q := dial().greet(0, 0)
		if c := q.connect(connection{qid: 1, cntlid: h.cntlid}); !c.Status.OK() {
			t.Fatal(c.Status)
		}
		var alive nvme.Command
		alive.SetOpcode(nvme.AdminKeepAlive)
		for range 10 {
			<-time.After(4 * time.Second)
			if st := h.status(&alive, nil, nil); !st.OK() {
				t.Fatal(st)
			}
		}
		for range 10 { // any command counts (TBKAS)
			<-time.After(4 * time.Second)
			q.read(0, 512)
		}
		began := time.Now()
		q.ended(nvme.Fault{})
		h.ended(nvme.Fault{})
		if d := time.Since(began); d < 5*time.Second || d > 10*time.Second {
			t.Errorf("ended after %v of silence, the timeout is 5 s", d)
		}
	})
}

// TestHandshakeTimeout drops a client that never gets to Connect, and keeps one that did, for ever.
func TestHandshakeTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() *host) {
		stays := dial().greet(0, 0)
		if c := stays.connect(connection{}); !c.Status.OK() { // KATO 0: no keep alive
			t.Fatal(c.Status)
		}
		began := time.Now()
		dial().greet(0, 0).ended(nvme.Fault{})
		dial().ended(nvme.Fault{})
		if d := time.Since(began); d > 30*time.Second {
			t.Errorf("took %v", d)
		}
		<-time.After(24 * time.Hour)
		stays.enable()
	})
}

// TestBusyPredecessor is TestSuccessorWaits with a namespace that does not complete: Connect gives up in time
// and says that it may be tried again.
func TestBusyPredecessor(t *testing.T) {
	inBubble(t, func(t *testing.T, dial func() *host) {
		h := dial().greet(0, 0)
		h.connect(connection{})
		h.enable()
		q := dial().greet(0, 0)
		q.connect(connection{qid: 1, cntlid: h.cntlid})
		h.ns.Hold()
		var cmd nvme.Command
		cmd.ReadWrite(nvme.OpRead, 1, 0, 1)
		q.start(&cmd, nil, 512)
		synctest.Wait()
		_ = q.c.Close()
		_ = h.c.Close()
		synctest.Wait()
		next := dial().greet(0, 0)
		if c := next.connect(connection{}); c.Status != nvme.ConnectControllerBusy {
			t.Fatal(c.Status)
		}
		h.ns.Release()
		next = dial().greet(0, 0)
		if c := next.connect(connection{}); !c.Status.OK() {
			t.Fatal(c.Status)
		}
	})
}

// TestWriteProtection comes and goes while a host is connected: one notice each time, the namespace says so,
// and only then are writes refused, whatever kind they are.
func TestWriteProtection(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{})
	q := h.io(connection{})
	h.configureEvents(nvme.AECNamespaceAttr)
	data := make([]byte, 512)
	var clearing nvme.Command
	clearing.SetOpcode(nvme.OpWriteZeroes)
	clearing.SetNSID(1)
	for _, protected := range []bool{true, false, true} {
		cid := h.asyncEvent()
		cfg := w.config()
		cfg.ReadOnly = protected
		w.put(cfg)
		h.wantEvent(cid, nvme.NoticeNamespaceAttr, nvme.LogChangedNS)
		h.mustLog(nvme.LogChangedNS, 4096, nvme.GetLogPage{})
		w.put(cfg)
		h.quiet() // the same again is no news
		id, err := nvme.DecodeIdentifyNamespace(h.identify(nvme.CNSNamespace, 1))
		if err != nil || (id.NSATTR == nvme.NSATTRReadOnly) != protected {
			t.Errorf("write protected %v: %+v, %v", protected, id, err)
		}
		want := nvme.Success
		if protected {
			want = nvme.NamespaceWriteProtected.NoRetry()
		}
		if st := q.write(0, data); st != want {
			t.Errorf("write protected %v: a write ends with %v", protected, st)
		}
		if st := q.status(&clearing, nil, nil); st != want {
			t.Errorf("write protected %v: Write Zeroes ends with %v", protected, st)
		}
		q.read(0, 512)
	}
}
