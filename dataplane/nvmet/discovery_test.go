package nvmet_test

import (
	"fmt"
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// discover reads the discovery log page as hosts do: the header first.
func (h *host) discover() *nvme.DiscoveryLog {
	h.Helper()
	_, n, err := nvme.DecodeDiscoveryHeader(h.mustLog(nvme.LogDiscovery, 1024, nvme.GetLogPage{RAE: true}))
	if err != nil {
		h.Fatal(err)
	}
	l, err := nvme.DecodeDiscoveryLog(h.mustLog(nvme.LogDiscovery, 1024*int(n+1), nvme.GetLogPage{}))
	if err != nil {
		h.Fatal(err)
	}
	return l
}

// TestDiscovery asks for the portals as two hosts: each sees what it may connect to, and hears of changes
// that it can see.
func TestDiscovery(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{subnqn: nvme.DiscoveryNQN})
	other := w.admin(connection{subnqn: nvme.DiscoveryNQN, hostnqn: otherNQN})
	l := h.discover()
	if len(l.Entries) != 2 {
		t.Fatalf("%+v", l)
	}
	for i, want := range []nvme.DiscoveryEntry{
		{TRADDR: "192.0.2.1", ADRFAM: nvme.ADRFAMIPv4, PORTID: 1},
		{TRADDR: "2001:db8::2", ADRFAM: nvme.ADRFAMIPv6, PORTID: 2},
	} {
		e := l.Entries[i]
		if e.TRADDR != want.TRADDR || e.ADRFAM != want.ADRFAM || e.PORTID != want.PORTID || e.TRSVCID != "4420" ||
			e.SUBNQN != volumeNQN || e.TRTYPE != nvme.TRTYPETCP || e.SUBTYPE != nvme.SUBTYPENVM ||
			e.CNTLID != nvme.AnyController {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
	if l := other.discover(); len(l.Entries) != 0 {
		t.Errorf("a host that is not allowed sees %+v", l)
	}

	h.configureEvents(nvme.AECDiscoveryLog)
	other.configureEvents(nvme.AECDiscoveryLog)
	cid, otherCID := h.asyncEvent(), other.asyncEvent()
	cfg := w.config()
	cfg.AllowedHosts = append(cfg.AllowedHosts, otherNQN)
	w.put(cfg)
	h.quiet() // nothing changed for it
	other.wantEvent(otherCID, nvme.NoticeDiscoveryLog, nvme.LogDiscovery)
	after := other.discover()
	if len(after.Entries) != 2 || after.GENCTR == l.GENCTR {
		t.Errorf("%+v", after)
	}
	w.target.Remove(volumeNQN)
	h.wantEvent(cid, nvme.NoticeDiscoveryLog, nvme.LogDiscovery)
	if l := h.discover(); len(l.Entries) != 0 {
		t.Errorf("after the removal: %+v", l)
	}
}

// TestDiscoveryController is what a discovery controller does not do.
func TestDiscoveryController(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{subnqn: nvme.DiscoveryNQN, hostnqn: otherNQN}) // anybody may ask
	b := make([]byte, nvme.IdentifySize)
	var cmd nvme.Command
	cmd.Identify(nvme.CNSController, 0, 0, 0)
	if st := h.status(&cmd, nil, b); !st.OK() {
		t.Fatal(st)
	}
	id, err := nvme.DecodeIdentifyController(b)
	if err != nil || id.CNTRLTYPE != nvme.CNTRLTYPEDiscovery || id.SUBNQN != nvme.DiscoveryNQN {
		t.Errorf("%+v, %v", id, err)
	}
	cmd.Identify(nvme.CNSNamespace, 1, 0, 0)
	if st := h.status(&cmd, nil, b); st.Code() != nvme.InvalidField {
		t.Errorf("identify namespace: %v", st)
	}
	cmd.Abort(0, 1)
	if st := h.status(&cmd, nil, nil); st.Code() != nvme.InvalidOpcode {
		t.Errorf("abort: %v", st)
	}
	if _, st := h.log(nvme.LogSMART, 512, nvme.GetLogPage{}); st.Code() != nvme.InvalidLogPage {
		t.Errorf("SMART: %v", st)
	}
	if c := w.dial().greet(0, 0).connect(connection{subnqn: nvme.DiscoveryNQN, qid: 1, cntlid: h.cntlid,
		hostnqn: otherNQN}); c.Status.Code() != nvme.ConnectInvalidParameters {
		t.Errorf("I/O queue: %v", c.Status)
	}
}

// TestDiscoveryOfMany reads a long log page in parts, as a host with a small buffer does.
func TestDiscoveryOfMany(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	for i := range 300 {
		cfg := w.config()
		cfg.NQN = fmt.Sprintf("nqn.2026-11.io.ashlar:test:vol:many-%04d", i)
		w.put(cfg)
	}
	h := w.admin(connection{subnqn: nvme.DiscoveryNQN})
	var page []byte
	for len(page) < 1024*603 {
		page = append(page, h.mustLog(nvme.LogDiscovery, 201*1024, nvme.GetLogPage{Offset: uint64(len(page))})...)
	}
	l, err := nvme.DecodeDiscoveryLog(page)
	if err != nil || len(l.Entries) != 602 {
		t.Fatalf("%d entries, %v", len(l.Entries), err)
	}
	seen := map[string]int{}
	for _, e := range l.Entries {
		seen[e.SUBNQN]++
	}
	if len(seen) != 301 {
		t.Errorf("%d subsystems", len(seen))
	}
}
