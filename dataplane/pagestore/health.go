package pagestore

// Err tells why the store takes no more changes: the device failed a write or a flush that later ones build
// on. nil while it works. Only opening it again, which recovers what is durable, can mend it.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.failed
}
