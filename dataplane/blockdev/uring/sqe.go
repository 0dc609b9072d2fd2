package uring

import "unsafe"

// The operations, as the kernel numbers them (enum io_uring_op).
const (
	opFsync      = 3
	opReadFixed  = 4
	opWriteFixed = 5
	opRead       = 22
	opWrite      = 23
)

// Flags of an SQE.
const (
	sqeFixedFile  = 1 << 0
	fsyncDatasync = 1 << 0 // in opFlags
)

// SQE is a submission queue entry: struct io_uring_sqe.
type SQE struct {
	opcode      uint8
	flags       uint8
	ioprio      uint16
	fd          int32
	off         uint64
	addr        uint64
	len         uint32
	opFlags     uint32
	userData    uint64
	bufIndex    uint16
	personality uint16
	spliceFD    int32
	addr3       uint64
	_           uint64
}

// CQE is a completion queue entry: struct io_uring_cqe.
type CQE struct {
	UserData uint64
	Res      int32 // what the system call would have returned: a count, or a negative errno
	flags    uint32
}

// Read fills buf from byte off of a file descriptor.
func (s *SQE) Read(fd int, buf []byte, off int64) { s.transfer(opRead, fd, buf, off) }

// Write stores buf at byte off of a file descriptor.
func (s *SQE) Write(fd int, buf []byte, off int64) { s.transfer(opWrite, fd, buf, off) }

func (s *SQE) transfer(op uint8, fd int, buf []byte, off int64) {
	*s = SQE{opcode: op, fd: int32(fd), off: uint64(off), len: uint32(len(buf)), addr: address(buf)}
}

// Datasync makes completed writes of a file descriptor durable, as fdatasync does.
func (s *SQE) Datasync(fd int) { *s = SQE{opcode: opFsync, fd: int32(fd), opFlags: fsyncDatasync} }

// FixedFile says that the file descriptor is an index into the registered files.
func (s *SQE) FixedFile() { s.flags |= sqeFixedFile }

// FixedBuffer says that the buffer of a Read or Write lies inside registered buffer number index.
func (s *SQE) FixedBuffer(index int) {
	s.bufIndex = uint16(index)
	switch s.opcode {
	case opRead:
		s.opcode = opReadFixed
	case opWrite:
		s.opcode = opWriteFixed
	}
}

// SetUserData sets the number that comes back in the CQE.
func (s *SQE) SetUserData(n uint64) { s.userData = n }

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
