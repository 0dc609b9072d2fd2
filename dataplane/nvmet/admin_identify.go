package nvmet

import (
	"encoding/binary"
	"math/bits"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

const (
	// anaTransition is ANATT, seconds: hosts give a transition up after it. Longer than a hand-over with a lease
	// to wait out.
	anaTransition = 10
	anaGroup      = 1 // the only ANA group of every subsystem
	// preferred is NPWG, NPWA, NPDG, NPDA and NOWS: 4 KiB in logical blocks, 0's based.
	preferred = 4096/BlockSize - 1
	// errorSlots is how many entries the error log keeps (ELPE + 1).
	errorSlots = 16
)

// identify carries out Identify (Base 5.17) for every CNS that Linux and nvme-cli ask for.
func (k *controller) identify(r *Request) nvme.Status {
	if len(r.Data) < nvme.IdentifySize {
		return nvme.DataSGLLengthInvalid.NoRetry()
	}
	cns := r.Cmd.CNS()
	if cns == nvme.CNSController {
		k.identifyController(r.Data)
		return nvme.Success
	}
	if k.sub.discovery {
		return nvme.InvalidField.NoRetry()
	}
	switch cns {
	case nvme.CNSNamespaceCSI, nvme.CNSControllerCSI, nvme.CNSActiveNSListCSI:
		if r.Cmd.IdentifyCSI() != nvme.CSINVM {
			return nvme.InvalidField.NoRetry()
		}
	}
	switch cns {
	case nvme.CNSActiveNSList, nvme.CNSActiveNSListCSI, nvme.CNSAllocatedNSList:
		return identifyList(r)
	case nvme.CNSControllerCSI:
		nvme.IdentifyControllerNVM{
			VSL: k.target.mdts(), WZSL: log2Pages(writeZeroesLimit),
		}.Encode(r.Data)
		return nvme.Success
	case nvme.CNSControllerList:
		nvme.EncodeControllerList(r.Data, k.sub.controllerIDs(r.Cmd.CNTID()))
		return nvme.Success
	case nvme.CNSIOCommandSets:
		if id := r.Cmd.CNTID(); id != nvme.AnyController && id != k.id {
			return nvme.InvalidField.NoRetry()
		}
		nvme.EncodeIOCommandSets(r.Data)
		return nvme.Success
	}
	return k.identifyNamespace(cns, r)
}

// identifyNamespace handles the CNS values that are about one namespace.
func (k *controller) identifyNamespace(cns uint8, r *Request) nvme.Status {
	switch cns {
	case nvme.CNSNamespace, nvme.CNSAllocatedNamespace, nvme.CNSNSDescriptors, nvme.CNSNamespaceCSI,
		nvme.CNSNamespaceIndependent:
	default:
		return nvme.InvalidField.NoRetry()
	}
	if r.Cmd.NSID() != NSID {
		return nvme.InvalidNamespaceOrFormat.NoRetry()
	}
	view := k.sub.view.Load()
	ns := view.cfg.Namespace
	switch id := ns.Identity(); cns {
	case nvme.CNSNSDescriptors:
		nvme.NSDescriptors{NGUID: id.NGUID, UUID: id.UUID, CSI: nvme.CSINVM, HasCSI: true}.Encode(r.Data)
	case nvme.CNSNamespaceCSI:
		nvme.IdentifyNamespaceNVM{}.Encode(r.Data)
	case nvme.CNSNamespaceIndependent:
		nvme.IdentifyNamespaceIndependent{
			NSFEAT: nvme.NSFEATOptPerf, NMIC: nvme.NMICShared, ANAGRPID: anaGroup, NSTAT: nvme.NSTATReady,
			NSATTR: view.attrs,
		}.Encode(r.Data)
	default:
		n := describe(ns, id)
		n.NSATTR = view.attrs
		n.Encode(r.Data)
	}
	return nvme.Success
}

// describe is the Identify Namespace structure. One LBA format and 512 B blocks are what os-brick's quick
// online extend depends on; the preferred sizes tell hosts that 4 KiB is the unit that costs no read.
func describe(ns Namespace, id Identity) *nvme.IdentifyNamespace {
	blocks := ns.Blocks()
	n := &nvme.IdentifyNamespace{
		NSZE: blocks, NCAP: blocks, NUSE: blocks,
		NSFEAT: nvme.NSFEATOptPerf, NMIC: nvme.NMICShared, DLFEAT: nvme.DLFEATZeroes | nvme.DLFEATWZDEAC,
		NPWG: preferred, NPWA: preferred, NPDG: preferred, NPDA: preferred, NOWS: preferred,
		ANAGRPID: anaGroup, NGUID: id.NGUID,
		LBAF: []nvme.LBAFormat{{LBADS: uint8(bits.TrailingZeros(BlockSize))}},
	}
	binary.LittleEndian.PutUint64(n.NVMCAP[:], blocks*BlockSize)
	return n
}

// identifyList is a list of the namespaces after the given NSID: 1, if anything.
func identifyList(r *Request) nvme.Status {
	after := r.Cmd.NSID()
	if after >= nvme.AllNamespaces-1 {
		return nvme.InvalidNamespaceOrFormat.NoRetry()
	}
	var ids []uint32
	if after < NSID {
		ids = []uint32{NSID}
	}
	nvme.EncodeNSList(r.Data, ids)
	return nvme.Success
}

func (k *controller) identifyController(b []byte) {
	o := &k.target.options
	cfg := &k.sub.view.Load().cfg
	id := nvme.IdentifyController{
		SN: cfg.Serial, MN: cfg.Model, FR: o.Firmware, SUBNQN: cfg.NQN,
		CNTLID: k.id, VER: nvme.Version20, MDTS: k.target.mdts(),
		OAES: k.sub.asyncEvents(), CTRATT: nvme.CTRATTHostID128 | nvme.CTRATTTBKAS,
		CNTRLTYPE: nvme.CNTRLTYPEIO, AERL: maxAsyncEvents - 1, LPA: nvme.LPAExtended,
		KAS: keepAliveGranularity, MAXCMD: uint16(o.QueueDepth),
		SGLS:   nvme.SGLSSupported | nvme.SGLSOffset | nvme.SGLSTransport,
		IOCCSZ: uint32(nvme.CommandSize+o.InCapsule) / 16, IORCSZ: nvme.CompletionSize / 16, MSDBD: 1,
		ELPE: errorSlots - 1,
	}
	if k.sub.discovery {
		id.CNTRLTYPE = nvme.CNTRLTYPEDiscovery
		id.Encode(b)
		return
	}
	id.CMIC = nvme.CMICMultiPort | nvme.CMICMultiCtrl | nvme.CMICANA
	id.LPA |= nvme.LPASMARTPerNS | nvme.LPAEffects | nvme.LPASupportedPages
	id.ACL, id.FRMW = 3, 1<<1|1 // one firmware slot, read only
	id.WCTEMP, id.CCTEMP = warnKelvin, criticalKelvin
	id.ANATT, id.ANAGRPMAX, id.NANAGRPID = anaTransition, 1, 1
	id.ANACAP = nvme.ANACAPOptimized | nvme.ANACAPNonOptimized | nvme.ANACAPInaccessible |
		nvme.ANACAPPersistent | nvme.ANACAPChange | nvme.ANACAPStatic
	id.SQES, id.CQES = 6<<4|6, 4<<4|4
	id.NN, id.MNAN = NSID, NSID
	id.ONCS = nvme.ONCSCompare | nvme.ONCSDSM | nvme.ONCSWriteZeroes | nvme.ONCSSaveSelect | nvme.ONCSVerify
	id.VWC = nvme.VWCFlushAll // no volatile write cache; Flush takes the broadcast NSID
	id.OFCS = nvme.OFCSDisconnect
	id.Encode(b)
}

// log2Pages is the logarithm of n bytes in pages of CAP.MPSMIN (4 KiB), as MDTS and its relatives count.
func log2Pages(n int) uint8 { return uint8(bits.Len(uint(n/pageSize)) - 1) }

// mdts is MDTS for the configured transfer limit.
func (t *Target) mdts() uint8 { return log2Pages(t.options.MDTS) }
