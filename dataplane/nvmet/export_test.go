package nvmet

// Outstanding counts what a target holds for connections: buffers handed out, bytes booked beyond reserves,
// connections and controllers.
func (t *Target) Outstanding() (buffers int, shared int64, conns, controllers int) {
	t.memory.mu.Lock()
	buffers, shared = t.memory.mu.out, t.memory.mu.shared
	t.memory.mu.Unlock()
	t.mu.Lock()
	conns = len(t.mu.conns)
	subsystems := []*subsystem{t.discovery}
	for _, s := range t.mu.subsystems {
		subsystems = append(subsystems, s)
	}
	t.mu.Unlock()
	for _, s := range subsystems {
		controllers += len(s.all())
	}
	return buffers, shared, conns, controllers
}
