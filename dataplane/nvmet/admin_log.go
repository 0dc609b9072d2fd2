package nvmet

import "github.com/ashlar-storage/ashlar/dataplane/nvme"

// What SMART reports as temperatures of a device that has none: constant, well below the warning.
const (
	nowKelvin      = 300
	warnKelvin     = 343
	criticalKelvin = 353
)

// logPage carries out Get Log Page (Base 5.16). A page is made whole, then the part asked for is copied; what
// is asked for beyond its end reads as zeroes.
func (k *controller) logPage(r *Request) nvme.Status {
	g := r.Cmd.LogPageFields()
	switch {
	case g.Length != uint64(len(r.Data)):
		return nvme.DataSGLLengthInvalid.NoRetry()
	case g.OT || g.Offset%4 != 0 || !k.sub.logSupported(g.LID):
		if !g.OT && g.Offset%4 == 0 {
			return nvme.InvalidLogPage.NoRetry()
		}
		return nvme.InvalidField.NoRetry()
	}
	if g.LID == nvme.LogDiscovery {
		return k.discoveryPage(r.Data, g)
	}
	page, st := k.page(g, r.Cmd.NSID())
	if !st.OK() {
		return st
	}
	if g.Offset > uint64(len(page)) {
		return nvme.InvalidField.NoRetry()
	}
	copy(r.Data, page[g.Offset:])
	return nvme.Success
}

// logSupported lists the log pages.
func (s *subsystem) logSupported(lid uint8) bool {
	switch lid {
	case nvme.LogDiscovery:
		return s.discovery
	case nvme.LogSupportedPages, nvme.LogError, nvme.LogSMART, nvme.LogFirmwareSlot, nvme.LogChangedNS,
		nvme.LogEffects, nvme.LogANA:
		return !s.discovery
	}
	return false
}

// page makes a log page.
func (k *controller) page(g nvme.GetLogPage, nsid uint32) ([]byte, nvme.Status) {
	switch g.LID {
	case nvme.LogSupportedPages:
		b := make([]byte, nvme.SupportedLogPagesSize)
		var ids []uint8
		for lid := range nvme.LogDiscovery {
			if k.sub.logSupported(lid) {
				ids = append(ids, lid)
			}
		}
		nvme.EncodeSupportedLogPages(b, ids)
		return b, nvme.Success
	case nvme.LogError:
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.mu.errors.encode(), nvme.Success
	case nvme.LogSMART:
		if nsid != 0 && nsid != NSID && nsid != nvme.AllNamespaces {
			return nil, nvme.InvalidNamespaceOrFormat.NoRetry()
		}
		return k.smartPage(), nvme.Success
	case nvme.LogFirmwareSlot:
		b := make([]byte, nvme.FirmwareSlotSize)
		b[0] = 1 // slot 1 is active
		copy(b[8:16], k.target.options.Firmware)
		return b, nvme.Success
	case nvme.LogChangedNS:
		return k.changedPage(g.RAE), nvme.Success
	case nvme.LogEffects:
		if g.CSI != nvme.CSINVM {
			return nil, nvme.InvalidField.NoRetry()
		}
		return effectsPage(), nvme.Success
	}
	return k.anaPage(g), nvme.Success
}

// smartPage counts what this host's association and all before it on this path did to the namespace.
func (k *controller) smartPage() []byte {
	t := k.sub.totals()
	k.mu.Lock()
	failed := k.mu.errors.count
	k.mu.Unlock()
	const unit = 1000 // data units are thousands of 512 B
	s := nvme.SMART{
		Temperature: nowKelvin, AvailableSpare: 100, SpareThreshold: 10,
		DataUnitsRead: (t.blocksRead + unit - 1) / unit, DataUnitsWritten: (t.blocksWritten + unit - 1) / unit,
		HostReads: t.reads, HostWrites: t.writes, ErrorLogEntries: failed,
	}
	b := make([]byte, nvme.SMARTSize)
	s.Encode(b)
	return b
}

// changedPage is the changed namespaces log page; reading it without RAE empties it and re-arms the event.
func (k *controller) changedPage(rae bool) []byte {
	b := make([]byte, nvme.ChangedNSListSize)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.events.changedNS {
		nvme.EncodeNSList(b, []uint32{NSID})
	}
	if !rae {
		k.mu.events.changedNS = false
		k.mu.events.read(eventNamespace)
	}
	return b
}

// anaPage is the ANA log page. The event is re-armed before the state is read, so a change that comes in
// between is reported rather than lost.
func (k *controller) anaPage(g nvme.GetLogPage) []byte {
	if !g.RAE {
		k.mu.Lock()
		k.mu.events.read(eventANA)
		k.mu.Unlock()
	}
	changes := k.sub.anaChanges.Load()
	group := nvme.ANAGroup{
		ID: anaGroup, ChangeCount: changes, State: k.sub.view.Load().cfg.Namespace.ANAState(),
	}
	if g.LSP&nvme.ANALSPGroupsOnly == 0 {
		group.NSIDs = []uint32{NSID}
	}
	l := nvme.ANALog{ChangeCount: changes, Groups: []nvme.ANAGroup{group}}
	b := make([]byte, l.Size())
	l.Encode(b)
	return b
}

// effectsPage lists the commands: those that change data say so.
func effectsPage() []byte {
	var e nvme.Effects
	for _, op := range []uint8{
		nvme.AdminGetLogPage, nvme.AdminIdentify, nvme.AdminAbort, nvme.AdminSetFeatures,
		nvme.AdminGetFeatures, nvme.AdminAsyncEvent, nvme.AdminKeepAlive,
	} {
		e.Admin[op] = nvme.EffectSupported
	}
	for _, op := range []uint8{nvme.OpFlush, nvme.OpRead, nvme.OpCompare, nvme.OpVerify} {
		e.IO[op] = nvme.EffectSupported
	}
	for _, op := range []uint8{nvme.OpWrite, nvme.OpWriteZeroes, nvme.OpDSM} {
		e.IO[op] = nvme.EffectSupported | nvme.EffectLBCC
	}
	b := make([]byte, nvme.EffectsSize)
	e.Encode(b)
	return b
}

// errorLog keeps the last failed admin commands of a controller, newest first on the wire.
type errorLog struct {
	count   uint64
	entries [errorSlots]nvme.ErrorLogEntry // entry of error n (from 1) at (n-1) % errorSlots
}

// noteError puts a failed command into the error log.
func (k *controller) noteError(qid uint16, r *Request, st nvme.Status) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := &k.mu.errors
	l.entries[l.count%errorSlots] = nvme.ErrorLogEntry{
		ErrorCount: l.count + 1, SQID: qid, CID: r.Cmd.CID(), Status: st, NSID: r.Cmd.NSID(),
		ParamError: 0xffff, // no particular parameter
		TRTYPE:     nvme.TRTYPETCP,
	}
	l.count++
}

func (l *errorLog) encode() []byte {
	b := make([]byte, errorSlots*nvme.ErrorLogEntrySize)
	for i := uint64(0); i < min(l.count, errorSlots); i++ {
		l.entries[(l.count-1-i)%errorSlots].Encode(b[i*nvme.ErrorLogEntrySize:])
	}
	return b
}
