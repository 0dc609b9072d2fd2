package node

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// pinnedMemory is how much memory of each target stays where it is, bytes: what 2,000 operations of 4 KiB
// need, or 128 of 64 KiB. Devices have it registered with the kernel, which then need not pin the pages of
// each operation. docs/decisions/0016-io-uring-for-disks.md has the figures.
const pinnedMemory = 8 << 20

// pinned is the memory that targets take buffers from first: one part for each.
type pinned struct {
	all, hosts, nodes []byte
}

func mapPinned() (p pinned, err error) {
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANON
	if p.all, err = unix.Mmap(-1, 0, 2*pinnedMemory, prot, flags); err != nil {
		return p, fmt.Errorf("map %d bytes for buffers: %w", 2*pinnedMemory, err)
	}
	p.hosts, p.nodes = p.all[:pinnedMemory], p.all[pinnedMemory:]
	return p, nil
}

// free unmaps the memory. Targets and devices must be closed.
func (p *pinned) free() {
	if p.all != nil {
		_ = unix.Munmap(p.all) // of what Mmap returned: cannot fail
	}
	*p = pinned{}
}
