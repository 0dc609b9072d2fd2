package engine

import "github.com/ashlar-storage/ashlar/dataplane/mutant"

// A revert makes the present what a pin sees: the view list hides what was written since. It is recorded
// while nothing is under way:
//
//	Hold --> hosts wait --> nothing new begins --> Ready.Held: record the list --> SetView --> every device
//	that serves has it --> all goes on
//
// So every hidden row write is complete and no open has to decide about one (resolve.go), and no row is read
// half as it was before and half as it is after.

type holding uint8

const (
	holdNone   holding = iota
	holdHosts          // no operation of a host begins; what is under way may need work of the engine's own
	holdAll            // nothing begins
	holdSpread         // the list is on its way to the devices
)

// Hold lets nothing begin any more. Ready.Held says when nothing is under way; until SetView or Resume is
// called then, that stays so. Hosts wait meanwhile, so do not be long.
func (e *Engine) Hold() {
	if e.mode == modeServing && e.lock.hold == holdNone {
		e.lock.hold = holdHosts
	}
}

// Resume ends a Hold.
func (e *Engine) Resume() {
	if e.lock.hold == holdNone {
		return
	}
	e.lock.hold = holdNone
	e.startAll()
}

func (e *Engine) startAll() {
	for i := range uint64(lockBuckets) {
		e.startWaiting(i)
	}
}

// HoldWrites lets no write of a host begin before ResumeWrites; reads, and what is under way, go on. A pin
// that is taken meanwhile sees none that was submitted since. It has nothing to do with Hold.
func (e *Engine) HoldWrites() { e.lock.writesHeld = e.mode == modeServing }

// ResumeWrites ends a HoldWrites.
func (e *Engine) ResumeWrites() {
	if e.lock.writesHeld {
		e.lock.writesHeld = false
		e.startAll()
	}
}

// holds reports that an extent has to wait before it begins.
func (e *Engine) holds(x *extent) bool {
	return e.lock.hold > holdHosts || e.lock.hold == holdHosts && x.kind != extInternal ||
		e.lock.writesHeld && x.kind == extWrite && !e.cfg.Mutant.Is(mutant.WritesUnheld)
}

// held moves a Hold on: work of the engine's own is held up when no operation of a host needs it any more.
func (e *Engine) held() bool {
	drained := e.cfg.Mutant.Is(mutant.HoldUndrained)
	if e.lock.hold == holdHosts && (drained || !e.lock.running(extWrite)) {
		e.lock.hold = holdAll
	}
	return e.lock.hold == holdAll && (drained || !e.lock.running(extInternal))
}

// running reports that an extent up to a kind holds its rows.
func (l *locks) running(most extKind) bool {
	for i := range l.buckets {
		for _, x := range l.buckets[i] {
			if x.started && x.kind <= most {
				return true
			}
		}
	}
	return false
}
