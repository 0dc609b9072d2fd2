package blockdevtest

import (
	"bytes"
	"runtime"
)

// onSameGoroutine is 1 when a Done is on the stack of the test that submitted it.
func onSameGoroutine() int32 {
	var buf [8192]byte
	if bytes.Contains(buf[:runtime.Stack(buf[:], false)], []byte("blockdevtest.manyOps(")) {
		return 1
	}
	return 0
}
