package nvmet_test

import (
	"testing"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// identify reads an Identify structure.
func (h *host) identify(cns uint8, nsid uint32) []byte {
	h.Helper()
	b := make([]byte, nvme.IdentifySize)
	var cmd nvme.Command
	cmd.Identify(cns, nsid, 0, nvme.CSINVM)
	if st := h.status(&cmd, nil, b); !st.OK() {
		h.Fatalf("CNS %02Xh: %v", cns, st)
	}
	return b
}

// TestIdentifyController reads what the controller says about itself.
func TestIdentifyController(t *testing.T) {
	w := newWorld(t, nvmet.Options{Firmware: "1.0"})
	h := w.admin(connection{})
	id, err := nvme.DecodeIdentifyController(h.identify(nvme.CNSController, 0))
	if err != nil {
		t.Fatal(err)
	}
	if id.SUBNQN != volumeNQN || id.SN != "S1" || id.MN != "Ashlar" || id.FR != "1.0" || id.CNTLID != h.cntlid {
		t.Errorf("names: %+v", id)
	}
	if id.InCapsule() != 8192 || id.MaxTransfer(0) != 256<<10 || id.MAXCMD != 128 || id.KAS == 0 {
		t.Errorf("limits: %+v", id)
	}
	if id.NN != 1 || id.MNAN != 1 || id.NANAGRPID != 1 || id.CMIC&nvme.CMICANA == 0 || id.VWC&1 != 0 {
		t.Errorf("namespaces and ANA: %+v", id)
	}
	nvm, err := nvme.DecodeIdentifyControllerNVM(h.identify(nvme.CNSControllerCSI, 0))
	if err != nil || nvm.WZSL != 9 || nvm.VSL != 6 {
		t.Errorf("%+v, %v", nvm, err)
	}
	var cmd nvme.Command
	cmd.Identify(nvme.CNSIOCommandSets, 0, nvme.AnyController, 0)
	b := make([]byte, nvme.IdentifySize)
	if st := h.status(&cmd, nil, b); !st.OK() || b[0] != 1 {
		t.Errorf("command sets: %v, %x", st, b[0])
	}
}

// TestIdentifyNamespace reads what it says about the namespace: os-brick, Linux and nvme-cli depend on it.
func TestIdentifyNamespace(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{})
	for _, cns := range []uint8{nvme.CNSNamespace, nvme.CNSAllocatedNamespace} {
		id, err := nvme.DecodeIdentifyNamespace(h.identify(cns, 1))
		if err != nil {
			t.Fatal(err)
		}
		if len(id.LBAF) != 1 || id.LBAF[0] != (nvme.LBAFormat{LBADS: 9}) || id.NSZE != blocks {
			t.Errorf("one format of 512 B: %+v", id)
		}
		if id.NPWG != 7 || id.NPWA != 7 || id.NOWS != 7 || id.NSFEAT&nvme.NSFEATOptPerf == 0 {
			t.Errorf("preferred sizes: %+v", id)
		}
		if id.NGUID != w.ns.Identity().NGUID || id.ANAGRPID != 1 || id.NMIC&nvme.NMICShared == 0 {
			t.Errorf("identity: %+v", id)
		}
	}
	h.identify(nvme.CNSNamespaceCSI, 1)
	ind, err := nvme.DecodeIdentifyNamespaceIndependent(h.identify(nvme.CNSNamespaceIndependent, 1))
	if err != nil || ind.ANAGRPID != 1 || ind.NSTAT&nvme.NSTATReady == 0 {
		t.Errorf("%+v, %v", ind, err)
	}
	d, err := nvme.DecodeNSDescriptors(h.identify(nvme.CNSNSDescriptors, 1))
	if err != nil || d.UUID != w.ns.Identity().UUID || d.NGUID != w.ns.Identity().NGUID || !d.HasCSI {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestIdentifyLists reads the lists of namespaces and controllers.
func TestIdentifyLists(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{})
	for _, cns := range []uint8{nvme.CNSActiveNSList, nvme.CNSActiveNSListCSI, nvme.CNSAllocatedNSList} {
		if ids, _ := nvme.DecodeNSList(h.identify(cns, 0)); len(ids) != 1 || ids[0] != 1 {
			t.Errorf("CNS %02Xh: %v", cns, ids)
		}
		if ids, _ := nvme.DecodeNSList(h.identify(cns, 1)); len(ids) != 0 {
			t.Errorf("CNS %02Xh after 1: %v", cns, ids)
		}
	}
	ids, err := nvme.DecodeControllerList(h.identify(nvme.CNSControllerList, 0))
	if err != nil || len(ids) != 1 || ids[0] != h.cntlid {
		t.Errorf("controllers: %v, %v", ids, err)
	}
}

// TestIdentifyRefused asks for what is not there.
func TestIdentifyRefused(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{})
	for _, c := range []struct {
		cns  uint8
		nsid uint32
		csi  uint8
		want nvme.Status
	}{
		{0x99, 1, 0, nvme.InvalidField},
		{nvme.CNSNamespace, 0, 0, nvme.InvalidNamespaceOrFormat},
		{nvme.CNSNamespace, 2, 0, nvme.InvalidNamespaceOrFormat},
		{nvme.CNSNamespace, nvme.AllNamespaces, 0, nvme.InvalidNamespaceOrFormat},
		{nvme.CNSNSDescriptors, 7, 0, nvme.InvalidNamespaceOrFormat},
		{nvme.CNSActiveNSList, 0xfffffffe, 0, nvme.InvalidNamespaceOrFormat},
		{nvme.CNSNamespaceCSI, 1, 2, nvme.InvalidField},
		{nvme.CNSControllerCSI, 0, 1, nvme.InvalidField},
	} {
		var cmd nvme.Command
		cmd.Identify(c.cns, c.nsid, 0, c.csi)
		if st := h.status(&cmd, nil, make([]byte, nvme.IdentifySize)); st.Code() != c.want {
			t.Errorf("CNS %02Xh, namespace %#x, CSI %d: %v, want %v", c.cns, c.nsid, c.csi, st, c.want)
		}
	}
	var cmd nvme.Command
	cmd.Identify(nvme.CNSController, 0, 0, 0)
	if st := h.status(&cmd, nil, make([]byte, 512)); st.Code() != nvme.DataSGLLengthInvalid {
		t.Errorf("short buffer: %v", st)
	}
}

// log reads a log page whole.
func (h *host) log(lid uint8, n int, g nvme.GetLogPage) ([]byte, nvme.Status) {
	h.Helper()
	b := make([]byte, n)
	g.LID, g.Length = lid, uint64(n)
	var cmd nvme.Command
	cmd.GetLogPage(0, g)
	st := h.status(&cmd, nil, b)
	return b, st
}

func (h *host) mustLog(lid uint8, n int, g nvme.GetLogPage) []byte {
	h.Helper()
	b, st := h.log(lid, n, g)
	if !st.OK() {
		h.Fatalf("log page %02Xh: %v", lid, st)
	}
	return b
}

// TestLogPages reads the log pages and checks what they say about what was done before.
func TestLogPages(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h, q := w.volume(connection{})
	for i := range 10 {
		q.write(uint64(i), make([]byte, 4096))
		q.read(0, 8192)
	}
	var bad nvme.Command
	bad.Identify(0x99, 5, 0, 0)
	h.status(&bad, nil, make([]byte, nvme.IdentifySize))

	smart, err := nvme.DecodeSMART(h.mustLog(nvme.LogSMART, nvme.SMARTSize, nvme.GetLogPage{}))
	if err != nil || smart.HostReads != 10 || smart.HostWrites != 10 || smart.DataUnitsRead != 1 ||
		smart.ErrorLogEntries != 1 || smart.CriticalWarning != 0 {
		t.Errorf("SMART: %+v, %v", smart, err)
	}
	e, err := nvme.DecodeErrorLogEntry(h.mustLog(nvme.LogError, 64, nvme.GetLogPage{}))
	if err != nil || e.ErrorCount != 1 || e.Status.Code() != nvme.InvalidField || e.NSID != 5 {
		t.Errorf("error log: %+v, %v", e, err)
	}
	effects, err := nvme.DecodeEffects(h.mustLog(nvme.LogEffects, nvme.EffectsSize, nvme.GetLogPage{}))
	if err != nil || effects.IO[nvme.OpWrite] != 3 || effects.IO[nvme.OpRead] != 1 || effects.IO[0x81] != 0 {
		t.Errorf("effects: %v", err)
	}
	pages, err := nvme.DecodeSupportedLogPages(h.mustLog(nvme.LogSupportedPages, 1024, nvme.GetLogPage{}))
	if err != nil || !pages[nvme.LogANA] || pages[nvme.LogDiscovery] {
		t.Errorf("supported pages: %v", err)
	}
	h.mustLog(nvme.LogFirmwareSlot, nvme.FirmwareSlotSize, nvme.GetLogPage{})

	t.Run("parts", func(t *testing.T) {
		whole := h.mustLog(nvme.LogEffects, nvme.EffectsSize, nvme.GetLogPage{})
		part := h.mustLog(nvme.LogEffects, 512, nvme.GetLogPage{Offset: 1024})
		if string(part) != string(whole[1024:1536]) {
			t.Error("a part at an offset is not that part")
		}
		if _, st := h.log(nvme.LogSMART, 512, nvme.GetLogPage{Offset: 516}); st.Code() != nvme.InvalidField {
			t.Errorf("offset past the end: %v", st)
		}
		if _, st := h.log(0xc0, 512, nvme.GetLogPage{}); st.Code() != nvme.InvalidLogPage {
			t.Errorf("unknown page: %v", st)
		}
		if _, st := h.log(nvme.LogDiscovery, 1024, nvme.GetLogPage{}); st.Code() != nvme.InvalidLogPage {
			t.Errorf("discovery page of a volume: %v", st)
		}
	})
}

// feature carries out Get Features, setFeature Set Features; both return the result dword.
func (h *host) feature(fid, sel uint8, in []byte) (uint32, nvme.Status) {
	h.Helper()
	var cmd nvme.Command
	cmd.GetFeatures(fid, sel, 0)
	cmd.SetCDW11(1) // EXHID, where it means something
	c := h.do(&cmd, nil, in)
	return c.DW0, c.Status
}

func (h *host) setFeature(fid uint8, v uint32, out []byte) (uint32, nvme.Status) {
	h.Helper()
	var cmd nvme.Command
	cmd.SetFeatures(fid, 0, v)
	c := h.do(&cmd, out, nil)
	return c.DW0, c.Status
}

// TestFeatures sets the features that are a dword and gets them.
func TestFeatures(t *testing.T) {
	w := newWorld(t, nvmet.Options{Queues: 6})
	h := w.admin(connection{kato: 7500})
	for _, c := range []struct {
		name          string
		fid           uint8
		set           uint32
		st            nvme.Status
		result, after uint32
	}{
		{"arbitration", nvme.FeatArbitration, 0x07, nvme.Success, 0, 7},
		{"over temperature", nvme.FeatTemperature, 350, nvme.Success, 0, 350},
		{"power state 1", nvme.FeatPowerManagement, 1, nvme.InvalidField, 0, 0},
		{"error recovery", nvme.FeatErrorRecovery, 10, nvme.Success, 0, 10},
		{"errors for deallocated blocks", nvme.FeatErrorRecovery, 1 << 16, nvme.InvalidField, 0, 10},
		{"number of queues", nvme.FeatNumberOfQueues, nvme.QueueCounts(20, 30), nvme.Success,
			nvme.QueueCounts(6, 6), nvme.QueueCounts(6, 6)},
		{"fewer queues", nvme.FeatNumberOfQueues, nvme.QueueCounts(2, 30), nvme.Success,
			nvme.QueueCounts(2, 2), nvme.QueueCounts(2, 2)},
		{"65536 queues", nvme.FeatNumberOfQueues, 0xffff, nvme.InvalidField, 0, nvme.QueueCounts(2, 2)},
		{"atomicity", nvme.FeatWriteAtomicity, 1, nvme.Success, 0, 1},
		{"events", nvme.FeatAsyncEvent, nvme.AECNamespaceAttr | nvme.AECANAChange, nvme.Success, 0,
			nvme.AECNamespaceAttr | nvme.AECANAChange},
		{"unknown event", nvme.FeatAsyncEvent, 1 << 20, nvme.InvalidField, 0,
			nvme.AECNamespaceAttr | nvme.AECANAChange},
		{"keep alive", nvme.FeatKeepAlive, 12001, nvme.Success, 0, 13000},
	} {
		t.Run(c.name, func(t *testing.T) {
			result, st := h.setFeature(c.fid, c.set, nil)
			if st.Code() != c.st || result != c.result {
				t.Errorf("set: %v, %#x; want %v, %#x", st, result, c.st, c.result)
			}
			if after, st := h.feature(c.fid, nvme.SelectCurrent, nil); after != c.after || !st.OK() {
				t.Errorf("get: %v, %#x; want %#x", st, after, c.after)
			}
		})
	}
}

// TestOtherFeatures are those with data, and the rules that hold for all.
func TestOtherFeatures(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{})
	get, set := h.feature, h.setFeature
	t.Run("host identifier", func(t *testing.T) {
		in := make([]byte, 16)
		if _, st := get(nvme.FeatHostID, nvme.SelectCurrent, in); !st.OK() || in[0] != 1 || in[2] != 3 {
			t.Errorf("%v, %x", st, in)
		}
		if _, st := set(nvme.FeatHostID, 1, in); st.Code() != nvme.CommandSequenceError {
			t.Error(st)
		}
	})
	t.Run("host behavior", func(t *testing.T) {
		out := pattern(nvme.HostBehaviorSize, 1)
		in := make([]byte, nvme.HostBehaviorSize)
		if _, st := set(nvme.FeatHostBehavior, 0, out); !st.OK() {
			t.Error(st)
		}
		if _, st := get(nvme.FeatHostBehavior, nvme.SelectCurrent, in); !st.OK() || string(in) != string(out) {
			t.Error(st)
		}
	})
	t.Run("no volatile write cache", func(t *testing.T) {
		if _, st := get(nvme.FeatVolatileCache, nvme.SelectCurrent, nil); st.Code() != nvme.InvalidField {
			t.Error(st)
		}
	})
	t.Run("select", func(t *testing.T) {
		if v, st := get(nvme.FeatTemperature, nvme.SelectDefault, nil); v != 0xffff || !st.OK() {
			t.Errorf("default: %v, %#x", st, v)
		}
		if v, st := get(nvme.FeatTemperature, nvme.SelectSupported, nil); v != 4 || !st.OK() {
			t.Errorf("capabilities: %v, %#x", st, v)
		}
		if _, st := get(nvme.FeatTemperature, 5, nil); st.Code() != nvme.InvalidField {
			t.Error(st)
		}
	})
	t.Run("save", func(t *testing.T) {
		var cmd nvme.Command
		cmd.SetFeatures(nvme.FeatArbitration, 0, 3)
		cmd.SetCDW10(cmd.CDW10() | 1<<31)
		if st := h.status(&cmd, nil, nil); st.Code() != nvme.FeatureNotSaveable {
			t.Error(st)
		}
	})
	h.io(connection{qid: 2})
	_, st := set(nvme.FeatNumberOfQueues, nvme.QueueCounts(1, 1), nil)
	if st.Code() != nvme.CommandSequenceError {
		t.Errorf("number of queues with queues open: %v", st)
	}
}

// TestControllerStates goes through CC and CSTS.
func TestControllerStates(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h, q := w.volume(connection{})
	setCC := func(cc nvme.CC) {
		t.Helper()
		var cmd nvme.Command
		cmd.PropertySet(nvme.PropertyCC, 4, uint64(cc.Value()))
		if st := h.status(&cmd, nil, nil); !st.OK() {
			t.Fatal(st)
		}
	}
	var identify nvme.Command
	identify.Identify(nvme.CNSController, 0, 0, 0)
	id := func() nvme.Status { return h.status(&identify, nil, make([]byte, nvme.IdentifySize)) }

	t.Run("reset", func(t *testing.T) {
		setCC(nvme.CC{})
		if h.csts().RDY {
			t.Error("ready after EN went to 0")
		}
		q.ended(nvme.Fault{})
		if st := id(); st.Code() != nvme.CommandSequenceError {
			t.Errorf("identify while disabled: %v", st)
		}
	})
	t.Run("wrong entry size", func(t *testing.T) {
		setCC(nvme.CC{EN: true, IOSQES: 7, IOCQES: 4})
		if c := h.csts(); c.RDY || !c.CFS {
			t.Errorf("%+v", c)
		}
		setCC(nvme.CC{})
	})
	t.Run("enable again", func(t *testing.T) {
		h.enable()
		if st := id(); !st.OK() {
			t.Error(st)
		}
		_ = q.c.Close()
		h.io(connection{qid: 3})
	})
	t.Run("shutdown", func(t *testing.T) {
		setCC(nvme.CC{EN: true, SHN: nvme.SHNNormal, IOSQES: 6, IOCQES: 4})
		if c := h.csts(); c.SHST != nvme.SHSTComplete {
			t.Errorf("%+v", c)
		}
	})
	t.Run("properties", func(t *testing.T) {
		get := func(offset uint32, size int) nvme.Completion {
			var cmd nvme.Command
			cmd.PropertyGet(offset, size)
			return h.do(&cmd, nil, nil)
		}
		c := get(nvme.PropertyCAP, 8)
		if v := nvme.ParseCAP(c.Result()); v.MQES != 127 || !v.CQR || v.CSS&nvme.CAPCSSNVM == 0 {
			t.Errorf("CAP: %+v, %v", v, c.Status)
		}
		if c := get(nvme.PropertyVS, 4); nvme.Version(c.DW0) != nvme.Version20 {
			t.Errorf("VS: %#x", c.DW0)
		}
		for _, p := range []struct {
			offset uint32
			size   int
		}{{nvme.PropertyCAP, 4}, {nvme.PropertyVS, 8}, {0x10, 4}, {1 << 20, 4}} {
			if c := get(p.offset, p.size); c.Status.Code() != nvme.InvalidField {
				t.Errorf("property %#x of %d bytes: %v", p.offset, p.size, c.Status)
			}
		}
	})
}

// TestAdminRefused are admin commands that we do not have or that are wrong.
func TestAdminRefused(t *testing.T) {
	w := newWorld(t, nvmet.Options{})
	h := w.admin(connection{})
	for _, op := range []uint8{
		nvme.AdminCreateIOSQ, nvme.AdminDeleteIOCQ, nvme.AdminFormatNVM, nvme.AdminFirmwareCommit,
		nvme.AdminSanitize, nvme.AdminNamespaceMgmt, nvme.AdminSecuritySend, 0xc0, 0xff,
	} {
		var cmd nvme.Command
		cmd.SetOpcode(op)
		if st := h.status(&cmd, nil, nil); st.Code() != nvme.InvalidOpcode || st.MayRetry() {
			t.Errorf("opcode %02Xh: %v", op, st)
		}
	}
	var cmd nvme.Command
	cmd.Identify(nvme.CNSController, 0, 0, 0)
	if st := h.status(&cmd, nil, make([]byte, 1<<20)); st.Code() != nvme.InvalidField {
		t.Errorf("identify of 1 MiB: %v", st)
	}
}
