package nvmet

import (
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// tlsSocket is a connection that is encrypted. Every Write of its own costs a record and a system call, so
// what is to be sent is gathered first: copying is cheap beside sealing. A write waits also when it need not;
// the other side, an initiator, reads whatever it writes.
type tlsSocket struct {
	*tls.Conn
	tcp    *tcpSocket // beneath; nil in tests over pipes
	gather []byte
}

func newTLSSocket(c *tls.Conn) (*tlsSocket, error) {
	s := &tlsSocket{Conn: c}
	tcp, ok := c.NetConn().(*net.TCPConn)
	if !ok {
		return s, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s.tcp = &tcpSocket{TCPConn: tcp, raw: raw}
	return s, tcp.SetNoDelay(true)
}

func (s *tlsSocket) established() bool { return s.tcp == nil || s.tcp.established() }

func (s *tlsSocket) Readv(a, b []byte) (int, error) {
	if len(a) == 0 {
		a = b
	}
	return s.Read(a)
}

func (s *tlsSocket) Writev(vec [][]byte, _ bool) (int, error) {
	s.gather = s.gather[:0]
	for _, p := range vec {
		s.gather = append(s.gather, p...)
	}
	if err := s.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := s.Write(s.gather)
	return n, errors.Join(err, s.SetWriteDeadline(time.Time{}))
}
