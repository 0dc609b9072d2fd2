package nvmet_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// TestConnectRefused goes through what Connect checks, for the admin queue and for an I/O queue.
func TestConnectRefused(t *testing.T) {
	w := newWorld(t, nvmet.Options{MinCNTLID: 100, MaxCNTLID: 199, Queues: 4})
	admin := w.admin(connection{})
	param := func(offset uint16, data bool) uint32 { return nvme.ConnectFault(offset, data) }
	for _, c := range []struct {
		name string
		v    connection
		want nvme.Status
		dw0  uint32
	}{
		{"record format", connection{recfmt: 1}, nvme.ConnectIncompatibleFormat, 0},
		{"unknown subsystem", connection{subnqn: "nqn.2026-11.io.ashlar:none"}, nvme.ConnectInvalidParameters,
			param(nvme.ConnectOffsetSubNQN, true)},
		{"host not allowed", connection{hostnqn: otherNQN}, nvme.ConnectInvalidHost, 0},
		{"host not allowed, I/O queue", connection{hostnqn: otherNQN, qid: 1, cntlid: admin.cntlid},
			nvme.ConnectInvalidHost, 0},
		{"static controller", connection{cntlid: 5}, nvme.ConnectInvalidParameters,
			param(nvme.ConnectOffsetCNTLID, true)},
		{"queue too large", connection{sqsize: 128}, nvme.ConnectInvalidParameters,
			param(nvme.ConnectOffsetSQSize, false)},
		{"I/O queue of no controller", connection{qid: 1, cntlid: 7}, nvme.ConnectInvalidParameters,
			param(nvme.ConnectOffsetCNTLID, true)},
		{"I/O queue too large", connection{qid: 1, cntlid: admin.cntlid, sqsize: 4000},
			nvme.ConnectInvalidParameters, param(nvme.ConnectOffsetSQSize, false)},
		{"I/O queue beyond the limit", connection{qid: 5, cntlid: admin.cntlid}, nvme.ConnectInvalidParameters,
			param(nvme.ConnectOffsetQID, false)},
		{"I/O queue of another host id", connection{qid: 1, cntlid: admin.cntlid, hostid: [16]byte{9}},
			nvme.ConnectInvalidParameters, param(nvme.ConnectOffsetHostID, true)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := w.dial().greet(0, 0).connect(c.v)
			if got.Status.Code() != c.want || got.DW0 != c.dw0 {
				t.Errorf("got %v, result %#x; want %v, %#x", got.Status, got.DW0, c.want, c.dw0)
			}
		})
	}
	t.Run("queue number in use", func(t *testing.T) {
		admin.io(connection{qid: 2})
		got := w.dial().greet(0, 0).connect(connection{qid: 2, cntlid: admin.cntlid})
		if got.Status.Code() != nvme.InvalidQueueIdentifier {
			t.Error(got.Status)
		}
	})
	t.Run("I/O queue before enable", func(t *testing.T) {
		h := w.dial().greet(0, 0)
		h.connect(connection{})
		got := w.dial().greet(0, 0).connect(connection{qid: 1, cntlid: h.cntlid})
		if got.Status.Code() != nvme.CommandSequenceError {
			t.Error(got.Status)
		}
	})
	t.Run("identifiers of the node's range", func(t *testing.T) {
		seen := map[uint16]bool{admin.cntlid: true}
		for range 5 {
			id := w.admin(connection{}).cntlid
			if id < 100 || id > 199 || seen[id] {
				t.Errorf("controller identifier %d", id)
			}
			seen[id] = true
		}
	})
}

// TestCommandBeforeConnect sends other commands first.
func TestCommandBeforeConnect(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	var property, read, identify nvme.Command
	property.PropertyGet(nvme.PropertyCAP, 8)
	read.ReadWrite(nvme.OpRead, 1, 0, 1)
	identify.Identify(nvme.CNSController, 0, 0, 0)
	h := w.dial().greet(0, 0)
	for _, cmd := range []*nvme.Command{&property, &read, &identify} {
		if st := h.status(cmd, nil, nil); st.Code() != nvme.CommandSequenceError {
			t.Errorf("opcode %02Xh: %v", cmd.Opcode(), st)
		}
	}
	if c := h.connect(connection{}); !c.Status.OK() {
		t.Errorf("connect after that: %v", c.Status)
	}
}

// TestAccessTaken takes a host off the list: its connections close, another host's stay, and it cannot come
// back.
func TestAccessTaken(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	cfg := w.config()
	cfg.AllowedHosts = []string{hostNQN, otherNQN}
	w.put(cfg)
	admin, q := w.volume(connection{})
	_, stays := w.volume(connection{hostnqn: otherNQN, hostid: [16]byte{7}})
	w.ns.Hold() // a command is with the namespace meanwhile
	var cmd nvme.Command
	cmd.ReadWrite(nvme.OpWrite, 1, 0, 8)
	q.start(&cmd, pattern(4096, 1), 0)
	w.ns.AwaitHeld(1)

	cfg.AllowedHosts = []string{otherNQN}
	w.put(cfg)
	q.ended(nvme.Fault{})
	admin.ended(nvme.Fault{})
	w.ns.Release()
	if st := stays.write(0, make([]byte, 512)); !st.OK() {
		t.Errorf("the other host: %v", st)
	}
	if c := w.dial().greet(0, 0).connect(connection{}); c.Status.Code() != nvme.ConnectInvalidHost {
		t.Errorf("the host that lost access: %v", c.Status)
	}
	w.target.Remove(volumeNQN)
	stays.ended(nvme.Fault{})
}

// TestAssociations lists who is connected, while it is.
func TestAssociations(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	cfg := w.config()
	cfg.AllowedHosts = []string{hostNQN, otherNQN}
	w.put(cfg)
	before := time.Now()
	admin, q := w.volume(connection{})
	other := w.admin(connection{hostnqn: otherNQN, hostid: [16]byte{7}})
	all := w.target.Associations()
	if len(all) != 2 || all[0].CNTLID != admin.cntlid || all[1].CNTLID != other.cntlid {
		t.Fatalf("%+v", all)
	}
	want := nvmet.Association{SubNQN: volumeNQN, HostNQN: hostNQN, CNTLID: admin.cntlid, Queues: 1,
		Remote: admin.c.LocalAddr().String(), Since: all[0].Since}
	if all[0] != want || all[0].Since.Before(before) || all[1].HostNQN != otherNQN || all[1].Queues != 0 {
		t.Errorf("%+v, want %+v and one of %s", all, want, otherNQN)
	}
	cfg.AllowedHosts = []string{otherNQN}
	w.put(cfg)
	q.ended(nvme.Fault{})
	if all = w.target.Associations(); len(all) != 1 || all[0].HostNQN != otherNQN {
		t.Errorf("after one lost access: %+v", all)
	}
}

// TestSuccessorWaits opens a new association while a write of the old one is still with the namespace: the
// Connect is answered only when that write is over, so it cannot land on top of a newer one.
func TestSuccessorWaits(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	admin, q := w.volume(connection{})
	w.ns.Hold()
	var cmd nvme.Command
	cmd.ReadWrite(nvme.OpWrite, 1, 0, 8)
	q.start(&cmd, pattern(4096, 1), 0)
	cmd.ReadWrite(nvme.OpWrite, 1, 0, 64) // this one never gets its data: dropped, not waited for
	q.start(&cmd, pattern(32768, 1), 0)
	w.ns.AwaitHeld(1)
	_ = q.c.Close()
	_ = admin.c.Close()

	connected := make(chan nvme.Completion)
	next := w.dial().greet(0, 0)
	go func() { connected <- next.connect(connection{}) }()
	// Another host does not wait for it, and neither does another association's discovery.
	cfg := w.config()
	cfg.AllowAny = true
	w.put(cfg)
	w.admin(connection{hostnqn: otherNQN})
	w.admin(connection{subnqn: nvme.DiscoveryNQN})
	select {
	case c := <-connected:
		t.Fatalf("admitted while a command of the old association runs: %v", c.Status)
	default:
	}
	w.ns.Release()
	if c := <-connected; !c.Status.OK() {
		t.Fatalf("connect: %v", c.Status)
	}
}

// TestRemovedAndPutAgain takes a volume away and shows it again while a write of before is with the
// namespace: the host waits as in TestSuccessorWaits.
func TestRemovedAndPutAgain(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	_, q := w.volume(connection{})
	w.ns.Hold()
	var cmd nvme.Command
	cmd.ReadWrite(nvme.OpWrite, 1, 0, 8)
	q.start(&cmd, pattern(4096, 1), 0)
	w.ns.AwaitHeld(1)
	w.target.Remove(volumeNQN)
	if c := w.dial().greet(0, 0).connect(connection{}); c.Status.Code() != nvme.ConnectInvalidParameters {
		t.Fatalf("connect to a removed subsystem: %v", c.Status)
	}
	w.put(w.config())
	next := w.dial().greet(0, 0)
	connected := make(chan nvme.Completion)
	go func() { connected <- next.connect(connection{}) }()
	w.admin(connection{subnqn: nvme.DiscoveryNQN})
	select {
	case c := <-connected:
		t.Fatalf("admitted while a command of the old association runs: %v", c.Status)
	default:
	}
	w.ns.Release()
	if c := <-connected; !c.Status.OK() {
		t.Fatal(c.Status)
	}
}

// TestNodeReplacesItself opens a second association of a node: it takes the place of the first, but only once
// the secret is proved. Whoever does not know it disturbs nobody.
func TestNodeReplacesItself(t *testing.T) {
	w := vendorWorld(t, "s3cret")
	first := w.dial().greet(0, 0)
	first.connect(connection{})
	first.authenticate("s3cret", 0)
	first.enable()
	liar := w.dial().greet(0, 0)
	liar.connect(connection{})
	liar.authenticate("guess", 0)
	if !first.csts().RDY {
		t.Fatal("not ready")
	}
	second := w.dial().greet(0, 0)
	second.connect(connection{})
	if !first.csts().RDY {
		t.Fatal("not ready")
	}
	second.authenticate("s3cret", 0)
	first.ended(nvme.Fault{})
	second.enable()
}

// TestDisconnect ends an I/O queue by command; its number is free again.
func TestDisconnect(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	admin, q := w.volume(connection{})
	var cmd nvme.Command
	cmd.Disconnect()
	if st := q.status(&cmd, nil, nil); !st.OK() {
		t.Fatal(st)
	}
	q.ended(nvme.Fault{})
	_ = q.c.Close()
	cmd.Disconnect()
	if st := admin.status(&cmd, nil, nil); st.Code() != nvme.InvalidQueueType {
		t.Errorf("disconnect of the admin queue: %v", st)
	}
	// The number is busy until the target has seen the last of the old queue: a host tries again.
	for {
		next := w.dial().greet(0, 0)
		c := next.connect(connection{qid: 1, cntlid: admin.cntlid})
		if c.Status.OK() {
			break
		}
		_ = next.c.Close()
		if c.Status.Code() != nvme.ConnectControllerBusy {
			t.Fatal(c.Status)
		}
	}
}

// vendorWorld is a node-to-node target.
func vendorWorld(t *testing.T, secret string) *world {
	w := newWorld(t, nvmet.Options{Secret: []byte(secret)})
	cfg := w.config()
	cfg.Vendor = true
	cfg.Namespace = &echo{Namespace: w.ns}
	w.put(cfg)
	return w
}

// echo completes vendor commands: reads are filled with 5Ah.
type echo struct{ nvmet.Namespace }

func (e *echo) Submit(r *nvmet.Request) {
	if !r.Cmd.IsVendor() {
		e.Namespace.Submit(r)
		return
	}
	if r.Cmd.Direction() == nvme.ControllerToHost {
		for i := range r.Data {
			r.Data[i] = 0x5a
		}
	}
	r.CompleteResult(nvme.Success, uint32(len(r.Data)), 7)
}

// authenticate runs the host's side of the cluster-secret transaction.
func (h *host) authenticate(secret string, qid uint16) (send nvme.Status) {
	h.Helper()
	a := nvme.ClusterAuth{HostNQN: hostNQN, SubNQN: volumeNQN, QID: qid}
	rand.Read(a.Nonce[:])
	var cmd nvme.Command
	cmd.AuthReceive(nvme.Authentication{SECP: nvme.SECPCluster, Length: nvme.ChallengeSize})
	if st := h.status(&cmd, nil, a.Challenge[:]); !st.OK() {
		h.Fatalf("challenge: %v", st)
	}
	proof := make([]byte, nvme.ClusterSendSize)
	a.EncodeClusterSend(proof, []byte(secret))
	cmd.AuthSend(nvme.Authentication{SECP: nvme.SECPCluster, Length: nvme.ClusterSendSize})
	if st := h.status(&cmd, proof, nil); !st.OK() {
		return st
	}
	answer := make([]byte, nvme.ProofSize)
	cmd.AuthReceive(nvme.Authentication{SECP: nvme.SECPCluster, Length: nvme.ProofSize})
	if st := h.status(&cmd, nil, answer); !st.OK() {
		h.Fatalf("the controller's proof: %v", st)
	}
	if !a.AcceptController(answer, []byte(secret)) {
		h.Fatal("the controller does not know the secret")
	}
	return nvme.Success
}

// TestClusterSecret is the node-to-node listener: nothing works before the transaction, vendor commands work
// after.
func TestClusterSecret(t *testing.T) {
	w := vendorWorld(t, "s3cret")
	admin := w.dial().greet(0, 0)
	if c := admin.connect(connection{}); !c.Status.OK() || c.DW0&nvme.ConnectAuthATR == 0 {
		t.Fatalf("connect: %v, result %#x", c.Status, c.DW0)
	}
	var cmd nvme.Command
	cmd.PropertyGet(nvme.PropertyCSTS, 4)
	if st := admin.status(&cmd, nil, nil); st.Code() != nvme.AuthenticationRequired {
		t.Fatalf("property before the transaction: %v", st)
	}
	admin.authenticate("s3cret", 0)
	admin.enable()

	q := w.dial().greet(0, 0)
	q.connect(connection{qid: 1, cntlid: admin.cntlid})
	for _, op := range []uint8{0x80, 0x81, 0x82, nvme.OpRead, nvme.OpFlush} {
		var c nvme.Command
		c.ReadWrite(op, 1, 0, 1)
		if st := q.status(&c, nil, nil); st.Code() != nvme.AuthenticationRequired {
			t.Errorf("opcode %02Xh before the transaction: %v", op, st)
		}
	}
	q.authenticate("s3cret", 1)
	vendor := func(op uint8) (c nvme.Command) { c.SetOpcode(op); c.SetNSID(1); return c }
	in := make([]byte, 272<<10) // MDTS and 16 KiB
	c := vendor(0x82)
	got := q.do(&c, nil, in)
	if !got.Status.OK() || got.DW0 != 272<<10 || got.DW1 != 7 || in[len(in)-1] != 0x5a {
		t.Errorf("vendor read: %v %d %d", got.Status, got.DW0, got.DW1)
	}
	c = vendor(0x81)
	if got := q.do(&c, make([]byte, 20000), nil); !got.Status.OK() || got.DW0 != 20000 {
		t.Errorf("vendor write: %v %d", got.Status, got.DW0)
	}
	c = vendor(0x80)
	if got := q.do(&c, nil, nil); !got.Status.OK() {
		t.Errorf("vendor command without data: %v", got.Status)
	}
	c = vendor(0x82)
	if st := q.status(&c, nil, make([]byte, 272<<10+4)); st.Code() != nvme.InvalidField {
		t.Errorf("vendor read beyond the limit: %v", st)
	}
	c = vendor(0x83)
	if st := q.status(&c, nil, make([]byte, 512)); st.Code() != nvme.InvalidField {
		t.Errorf("bidirectional vendor command: %v", st)
	}
}

// TestWrongSecret ends the connection; there is no second guess.
func TestWrongSecret(t *testing.T) {
	w := vendorWorld(t, "s3cret")
	admin := w.dial().greet(0, 0)
	admin.connect(connection{})
	if st := admin.authenticate("guess", 0); st.Code() != nvme.OperationDenied || st.MayRetry() {
		t.Fatal(st)
	}
	admin.ended(nvme.Fault{})
	t.Run("proof of another queue", func(t *testing.T) {
		h := w.dial().greet(0, 0)
		h.connect(connection{})
		if st := h.authenticate("s3cret", 3); st.Code() != nvme.OperationDenied {
			t.Fatal(st)
		}
	})
	t.Run("out of order", func(t *testing.T) {
		h := w.dial().greet(0, 0)
		h.connect(connection{})
		var cmd nvme.Command
		cmd.AuthSend(nvme.Authentication{SECP: nvme.SECPCluster, Length: nvme.ClusterSendSize})
		if st := h.status(&cmd, make([]byte, nvme.ClusterSendSize), nil); st.Code() != nvme.CommandSequenceError {
			t.Fatal(st)
		}
		h.ended(nvme.Fault{})
	})
}

// TestConfigurationsRefused are mistakes that Put and New find.
func TestConfigurationsRefused(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	for name, spoil := range map[string]func(*nvmet.SubsystemConfig){
		"no NQN":                 func(c *nvmet.SubsystemConfig) { c.NQN = "volume" },
		"discovery NQN":          func(c *nvmet.SubsystemConfig) { c.NQN = nvme.DiscoveryNQN },
		"no namespace":           func(c *nvmet.SubsystemConfig) { c.Namespace = nil },
		"vendor, no secret":      func(c *nvmet.SubsystemConfig) { c.Vendor = true },
		"host that is no NQN":    func(c *nvmet.SubsystemConfig) { c.AllowedHosts = []string{"*"} },
		"portal without address": func(c *nvmet.SubsystemConfig) { c.Portals = []nvmet.Portal{{Addr: "node-1"}} },
	} {
		cfg := w.config()
		spoil(&cfg)
		if err := w.target.Put(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, o := range map[string]nvmet.Options{
		"MDTS":      {MDTS: 100000},
		"CNTLID":    {MinCNTLID: 5, MaxCNTLID: 4},
		"depth":     {QueueDepth: 1},
		"queues":    {Queues: -1},
		"inCapsule": {InCapsule: 1 << 20},
	} {
		if _, err := nvmet.New(o); err == nil {
			t.Errorf("option %s: accepted", name)
		}
	}
}
