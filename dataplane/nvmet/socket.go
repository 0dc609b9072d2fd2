package nvmet

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is the byte stream under a connection: the seam where an engine of another kind (io_uring) comes in.
// Reads and writes may run at the same time, but one of each at most.
type socket interface {
	// Readv fills a, then b (either may be empty), with what there is; it waits for at least one byte.
	Readv(a, b []byte) (int, error)
	// Writev sends vec in order and returns the bytes sent. Without wait it stops, with no error, where it would
	// have to wait. With wait it sends everything, or fails when the other side takes nothing for writeTimeout.
	Writev(vec [][]byte, wait bool) (int, error)
	SetReadDeadline(t time.Time) error
	CloseWrite() error
	Close() error
}

// writeTimeout is how long a host may leave its receive window shut before its connection is given up: memory
// of answers that nobody takes must come back.
const writeTimeout = 30 * time.Second

// largeWrite is the size in bytes from which on a write tells the scheduler that it may take a while: 50 us
// or so.
const largeWrite = 256 << 10

// maxVec is the most slices of one Writev.
const maxVec = 2*maxBatch + 1

// newSocket picks the engine for a connection.
func newSocket(c net.Conn) (socket, error) {
	if encrypted, ok := c.(*tls.Conn); ok {
		return newTLSSocket(encrypted)
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return &streamSocket{c}, nil
	}
	if err := tcp.SetNoDelay(true); err != nil {
		return nil, err
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &tcpSocket{TCPConn: tcp, raw: raw}
	s.in.ready, s.out.ready = s.readReady, s.writeReady
	return s, nil
}

// streamSocket is any net.Conn: pipes in tests.
type streamSocket struct{ net.Conn }

func (s *streamSocket) Readv(a, b []byte) (int, error) {
	if len(a) == 0 {
		a = b
	}
	return s.Read(a)
}

func (s *streamSocket) Writev(vec [][]byte, _ bool) (int, error) {
	bufs := net.Buffers(append([][]byte(nil), vec...))
	n, err := bufs.WriteTo(s.Conn)
	return int(n), err
}

func (s *streamSocket) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// tcpSocket reads and writes by readv and writev on a non-blocking descriptor; Go's poller does the waiting.
// RawSyscall leaves the scheduler out of calls that never block: that is worth 5 to 25 % of a small transfer.
// A large one takes long enough to let the scheduler know.
type tcpSocket struct {
	*net.TCPConn
	raw syscall.RawConn

	in struct {
		vec   [2]unix.Iovec
		used  int
		n     int
		errno syscall.Errno
		ready func(fd uintptr) bool
	}
	out struct {
		vec   [maxVec]unix.Iovec
		rest  []unix.Iovec // of vec, not sent yet
		n     int
		errno syscall.Errno
		wait  bool
		large bool
		ready func(fd uintptr) bool
	}
}

// established reports that neither side has closed, as far as the kernel knows by now: the reader may not
// have come to it yet.
func (s *tcpSocket) established() bool {
	const tcpEstablished = 1
	up := false
	err := s.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		up = err == nil && info.State == tcpEstablished
	})
	return err == nil && up
}

func (s *tcpSocket) Readv(a, b []byte) (int, error) {
	s.in.used = 0
	for _, p := range [2][]byte{a, b} {
		if len(p) > 0 {
			s.in.vec[s.in.used].Base = &p[0]
			s.in.vec[s.in.used].SetLen(len(p))
			s.in.used++
		}
	}
	if err := s.raw.Read(s.in.ready); err != nil {
		return 0, err
	}
	switch {
	case s.in.errno != 0:
		return 0, os.NewSyscallError("readv", s.in.errno)
	case s.in.n == 0:
		return 0, io.EOF
	}
	return s.in.n, nil
}

func (s *tcpSocket) readReady(fd uintptr) bool {
	s.in.n, s.in.errno = vector(unix.SYS_READV, fd, s.in.vec[:s.in.used], false)
	return s.in.errno != syscall.EAGAIN
}

func (s *tcpSocket) Writev(vec [][]byte, wait bool) (int, error) {
	total := 0
	for i, p := range vec {
		s.out.vec[i].Base = unsafe.SliceData(p)
		s.out.vec[i].SetLen(len(p))
		total += len(p)
	}
	s.out.rest, s.out.large = s.out.vec[:len(vec)], total > largeWrite
	sent, err := s.writeSome(false)
	if !wait || err != nil || sent == total {
		return sent, err
	}
	for sent < total && err == nil {
		if err = s.SetWriteDeadline(time.Now().Add(writeTimeout)); err == nil {
			var n int
			n, err = s.writeSome(true)
			sent += n
		}
	}
	return sent, errors.Join(err, s.SetWriteDeadline(time.Time{}))
}

// writeSome sends what the kernel takes of rest, waiting for room for some first if told to.
func (s *tcpSocket) writeSome(wait bool) (int, error) {
	s.out.wait = wait
	if err := s.raw.Write(s.out.ready); err != nil {
		return 0, err
	}
	switch s.out.errno {
	case 0:
		s.out.rest = advance(s.out.rest, s.out.n)
		return s.out.n, nil
	case syscall.EAGAIN:
		return 0, nil
	}
	return 0, os.NewSyscallError("writev", s.out.errno)
}

func (s *tcpSocket) writeReady(fd uintptr) bool {
	s.out.n, s.out.errno = vector(unix.SYS_WRITEV, fd, s.out.rest, s.out.large)
	return s.out.errno != syscall.EAGAIN || !s.out.wait
}

// vector is readv or writev on a non-blocking descriptor.
func vector(call, fd uintptr, vec []unix.Iovec, large bool) (int, syscall.Errno) {
	for {
		var n uintptr
		var errno syscall.Errno
		if large {
			n, _, errno = syscall.Syscall(call, fd, uintptr(unsafe.Pointer(&vec[0])), uintptr(len(vec)))
		} else {
			n, _, errno = syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(&vec[0])), uintptr(len(vec)))
		}
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// advance drops the first n bytes of vec.
func advance(vec []unix.Iovec, n int) []unix.Iovec {
	for len(vec) > 0 && uint64(n) >= uint64(vec[0].Len) {
		n -= int(vec[0].Len)
		vec = vec[1:]
	}
	if n > 0 {
		vec[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(vec[0].Base), n))
		vec[0].SetLen(int(vec[0].Len) - n)
	}
	return vec
}
