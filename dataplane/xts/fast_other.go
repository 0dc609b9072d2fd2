//go:build !amd64

package xts

func best() path { return portable }

func (s *schedules) expand(_, _ []byte) { panic("xts: no accelerated path on this architecture") }

func (c *Cipher) accelerated(_, _ []byte, _ uint64, _ bool) {
	panic("xts: no accelerated path on this architecture")
}
