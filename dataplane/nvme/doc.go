// Package nvme holds the wire types of NVMe over TCP: commands, completions, status codes, PDUs, properties,
// Identify structures, log pages, features and the fabrics commands.
//
// Contract: plain data in, plain data out. Nothing here owns a socket, a clock or a goroutine, and nothing
// here panics on bytes from the wire: a decoder gets a slice of any length and answers with a value or an
// error; an encoder gets a buffer that its documented size says is large enough (a shorter one is a bug of
// the caller). Decoding what was encoded gives the same value back. What is sent or received once per I/O
// (Command, Completion, the PDU headers, the digests) allocates nothing.
//
// Names are the mnemonics of the specifications: NVM Express Base Specification 2.0/2.1 ("Base"), NVM Command
// Set Specification ("NVM"), NVMe over TCP transport ("TCP"). All integers are little endian.
//
// A PDU on the connection; the digests are there only when both sides asked for them (TCP 3.3.1):
//
//	0      1       2      3     4       8              HLEN    HLEN+4    PDO       PLEN-4  PLEN
//	+------+-------+------+-----+-------+--------------+-------+---------+---------+-------+
//	| type | flags | HLEN | PDO | PLEN  | PDU specific | HDGST | padding | data    | DDGST |
//	+------+-------+------+-----+-------+--------------+-------+---------+---------+-------+
//	|<-------- covered by the header digest ---------->|                 |<- DDGST>|
//
// A command capsule carries a submission queue entry of 64 bytes:
//
//	0     1       2     4      8      16         24            40                                       64
//	+-----+-------+-----+------+------+----------+-------------+------+------+------+------+------+------+
//	| OPC | flags | CID | NSID | DW2-3| metadata | SGL desc. 1 | DW10 | DW11 | DW12 | DW13 | DW14 | DW15 |
//	+-----+-------+-----+------+------+----------+-------------+------+------+------+------+------+------+
//
// and a response capsule a completion queue entry of 16 bytes:
//
//	0     4     8      10     12    14       16
//	+-----+-----+------+------+-----+--------+
//	| DW0 | DW1 | SQHD | SQID | CID | status |   status: bit 0 phase (always 0 on fabrics), bits 15:1 a Status
//	+-----+-----+------+------+-----+--------+
package nvme

import (
	"encoding/binary"
	"errors"
)

// ErrShort says that the bytes end before the structure does.
var ErrShort = errors.New("nvme: structure is cut short")

// ErrFormat says that a field has a value its structure does not allow.
var ErrFormat = errors.New("nvme: malformed structure")

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

func put16(b []byte, v uint16) { binary.LittleEndian.PutUint16(b, v) }
func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }
func put64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }

// bit returns v when on, else 0: for flags made from a bool.
func bit[T uint8 | uint16 | uint32 | uint64](on bool, v T) T {
	if on {
		return v
	}
	return 0
}
