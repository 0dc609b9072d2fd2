package pagemap

import "encoding/binary"

// Everything outside the Go heap, and every image, is little-endian bytes.

func get16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func get32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func get64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

func put16(b []byte, v uint16) { binary.LittleEndian.PutUint16(b, v) }
func put32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }
func put64(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }

func add32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
func add64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }
