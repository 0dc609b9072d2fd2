package nvmet

import "github.com/ashlar-storage/ashlar/dataplane/nvme"

// features are the values of a controller's features, guarded by its mutex. A reset brings the defaults back.
type features struct {
	arbitration   uint32
	tempOver      uint32 // over temperature threshold, kelvin
	tempUnder     uint32
	errorRecovery uint32
	atomicity     uint32
	asyncEvents   uint32
	behavior      [nvme.HostBehaviorSize]byte
}

func defaultFeatures() features { return features{tempOver: 0xffff} }

// Answers to SEL = supported capabilities.
const featureChangeable uint32 = 1 << 2

// getFeatures carries out Get Features (Base 5.15).
func (k *controller) getFeatures(r *Request) (dw0 uint32, st nvme.Status) {
	fid := r.Cmd.FID()
	if !k.sub.featureSupported(fid) {
		return 0, nvme.InvalidField.NoRetry()
	}
	switch r.Cmd.FeatureSelect() {
	case nvme.SelectCurrent:
		return k.currentFeature(r)
	case nvme.SelectDefault, nvme.SelectSaved: // nothing is saved, so the defaults come back
		return k.defaultFeature(fid), nvme.Success
	case nvme.SelectSupported:
		if fid == nvme.FeatHostID || fid == nvme.FeatPowerManagement {
			return 0, nvme.Success
		}
		return featureChangeable, nvme.Success
	}
	return 0, nvme.InvalidField.NoRetry()
}

// featureSupported lists the features. There is no volatile write cache, so there is no feature for it (Base
// 5.27.1.4).
func (s *subsystem) featureSupported(fid uint8) bool {
	switch fid {
	case nvme.FeatAsyncEvent, nvme.FeatKeepAlive:
		return true
	case nvme.FeatArbitration, nvme.FeatPowerManagement, nvme.FeatTemperature, nvme.FeatErrorRecovery,
		nvme.FeatNumberOfQueues, nvme.FeatWriteAtomicity, nvme.FeatHostBehavior, nvme.FeatHostID:
		return !s.discovery
	}
	return false
}

func (k *controller) currentFeature(r *Request) (dw0 uint32, st nvme.Status) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := &k.mu.features
	switch r.Cmd.FID() {
	case nvme.FeatArbitration:
		return f.arbitration, nvme.Success
	case nvme.FeatTemperature:
		v, st := f.threshold(r.Cmd.CDW11())
		if !st.OK() {
			return 0, st
		}
		return *v, nvme.Success
	case nvme.FeatErrorRecovery:
		return f.errorRecovery, nvme.Success
	case nvme.FeatNumberOfQueues:
		n := uint32(k.mu.limit)
		return nvme.QueueCounts(n, n), nvme.Success
	case nvme.FeatWriteAtomicity:
		return f.atomicity, nvme.Success
	case nvme.FeatAsyncEvent:
		return f.asyncEvents, nvme.Success
	case nvme.FeatKeepAlive:
		return k.alive.milliseconds(), nvme.Success
	case nvme.FeatHostBehavior:
		if len(r.Data) < nvme.HostBehaviorSize {
			return 0, nvme.DataSGLLengthInvalid.NoRetry()
		}
		copy(r.Data, f.behavior[:])
	case nvme.FeatHostID:
		return 0, k.hostID(r)
	}
	return 0, nvme.Success // power state 0 is the only one
}

// hostID returns the extended host identifier, the only form that fabrics have (Base 5.27.1.25).
func (k *controller) hostID(r *Request) nvme.Status {
	if r.Cmd.CDW11()&1 == 0 {
		return nvme.InvalidField.NoRetry()
	}
	if len(r.Data) < len(k.host.id) {
		return nvme.DataSGLLengthInvalid.NoRetry()
	}
	copy(r.Data, k.host.id[:])
	return nvme.Success
}

func (k *controller) defaultFeature(fid uint8) uint32 {
	switch fid {
	case nvme.FeatTemperature:
		return defaultFeatures().tempOver
	case nvme.FeatNumberOfQueues:
		n := uint32(k.target.options.Queues)
		return nvme.QueueCounts(n, n)
	}
	return 0
}

// threshold finds the temperature threshold that CDW11 selects: only the composite temperature has one.
func (f *features) threshold(cdw11 uint32) (*uint32, nvme.Status) {
	sensor, kind := cdw11>>16&0xf, cdw11>>20&3
	switch {
	case sensor != 0 && sensor != 0xf, kind > 1:
		return nil, nvme.InvalidField.NoRetry()
	case kind == 1:
		return &f.tempUnder, nvme.Success
	}
	return &f.tempOver, nvme.Success
}

// setFeatures carries out Set Features (Base 5.27). Nothing is kept over a reset.
func (k *controller) setFeatures(r *Request) (dw0 uint32, st nvme.Status) {
	fid := r.Cmd.FID()
	if !k.sub.featureSupported(fid) {
		return 0, nvme.InvalidField.NoRetry()
	}
	if r.Cmd.FeatureSave() {
		return 0, nvme.FeatureNotSaveable.NoRetry()
	}
	if id := r.Cmd.NSID(); id != 0 && id != nvme.AllNamespaces && fid != nvme.FeatErrorRecovery {
		return 0, nvme.FeatureNotNamespaceSpecific.NoRetry()
	}
	if fid == nvme.FeatKeepAlive {
		k.alive.set(r.Cmd.CDW11())
		return 0, nvme.Success
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.setFeature(r, fid, r.Cmd.CDW11())
}

// setFeature stores a value. The caller holds mu.
func (k *controller) setFeature(r *Request, fid uint8, v uint32) (dw0 uint32, st nvme.Status) {
	f := &k.mu.features
	switch fid {
	case nvme.FeatArbitration:
		f.arbitration = v
	case nvme.FeatPowerManagement:
		if v&0x1f != 0 {
			return 0, nvme.InvalidField.NoRetry() // power state 0 is the only one
		}
	case nvme.FeatTemperature:
		t, st := f.threshold(v)
		if !st.OK() {
			return 0, st
		}
		*t = v & 0xffff
	case nvme.FeatErrorRecovery:
		if v>>16&1 != 0 {
			return 0, nvme.InvalidField.NoRetry() // no error for deallocated blocks (DULBE)
		}
		f.errorRecovery = v & 0xffff
	case nvme.FeatNumberOfQueues:
		return k.grantQueues(v)
	case nvme.FeatWriteAtomicity:
		f.atomicity = v & 1
	case nvme.FeatAsyncEvent:
		if v&^k.sub.asyncEvents()&^nvme.AECSmartWarnings != 0 {
			return 0, nvme.InvalidField.NoRetry()
		}
		f.asyncEvents = v
	case nvme.FeatHostBehavior:
		if len(r.Data) < nvme.HostBehaviorSize {
			return 0, nvme.DataSGLLengthInvalid.NoRetry()
		}
		copy(f.behavior[:], r.Data)
	case nvme.FeatHostID:
		return 0, nvme.CommandSequenceError.NoRetry() // Connect has set it
	}
	return 0, nvme.Success
}

// grantQueues is Number of Queues (Base 5.27.1.5): what the host wants, as far as we go. The caller holds mu.
func (k *controller) grantQueues(v uint32) (dw0 uint32, st nvme.Status) {
	if v&0xffff == 0xffff || v>>16 == 0xffff {
		return 0, nvme.InvalidField.NoRetry()
	}
	if len(k.mu.queues) > 1 {
		return 0, nvme.CommandSequenceError.NoRetry() // I/O queues exist
	}
	sq, cq := nvme.ParseQueueCounts(v)
	n := min(sq, cq, uint32(k.target.options.Queues)) // a queue over fabrics is a pair
	k.mu.limit = int(n)
	return nvme.QueueCounts(n, n), nvme.Success
}

// asyncEvents is OAES and the part of Asynchronous Event Configuration that does something.
func (s *subsystem) asyncEvents() uint32 {
	if s.discovery {
		return nvme.AECDiscoveryLog
	}
	return nvme.AECNamespaceAttr | nvme.AECANAChange
}
