package nvmet

// Figures is what a target has counted since its start, and how it is now.
type Figures struct {
	Subsystems   int
	Controllers  int
	Connections  int
	Accepted     uint64 // connections so far, refused ones too
	Commands     uint64 // I/O commands of every kind
	Reads        uint64
	Writes       uint64
	BytesRead    uint64
	BytesWritten uint64
	Memory       int64 // bytes of buffers that queues hold beyond their reserves
	MemoryLimit  int64 // of these
}

// Figures adds everything up.
func (t *Target) Figures() Figures {
	t.mu.Lock()
	f := Figures{Subsystems: len(t.mu.subsystems), Connections: len(t.mu.conns), Accepted: t.mu.accepted,
		MemoryLimit: t.memory.limit}
	sum := t.mu.retired
	all := []*subsystem{t.discovery}
	for _, s := range t.mu.subsystems {
		all = append(all, s)
	}
	// A subsystem that goes now is counted once: reap needs the lock, and what it adds was read above.
	for _, s := range all {
		sum.merge(s.totals())
		f.Controllers += len(s.all())
	}
	t.mu.Unlock()
	f.Commands, f.Reads, f.Writes = sum.commands, sum.reads, sum.writes
	f.BytesRead, f.BytesWritten = sum.blocksRead*BlockSize, sum.blocksWritten*BlockSize
	t.memory.mu.Lock()
	f.Memory = t.memory.mu.shared
	t.memory.mu.Unlock()
	return f
}
