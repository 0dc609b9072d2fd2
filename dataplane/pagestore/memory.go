package pagestore

import (
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
	"golang.org/x/sys/unix"
)

// regionSize is how much address space is mapped at once. Large pages want large regions, and a page that was
// never touched takes no memory.
const regionSize = 64 << 20

// smallest is what is worth a mapping: the maps of devices below 256 MiB ask for less, and live on the heap.
const smallest = 1 << 14

// memory is what the map of a device has outside the Go heap. A lookup is a few loads from anywhere in it, so
// the kernel is asked for large pages, where it has them to spare.
type memory struct {
	regions [][]byte
	rest    []byte // of the last region
}

// newMap makes an empty map for a layout, and the memory that it lives in, to be closed when nobody asks the
// map any more.
func newMap(lay *layout) (*pagemap.Map, *memory, error) {
	mem := &memory{}
	m, err := pagemap.NewIn(lay.dataBlocks, mem.give)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, mem, nil
}

// give is a pagemap.Memory.
func (m *memory) give(n int) []byte {
	if n < smallest {
		return make([]byte, n)
	}
	if n > len(m.rest) {
		size := (n + regionSize - 1) / regionSize * regionSize
		region, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return make([]byte, n) // the heap has other ways to get memory, and to say that there is none
		}
		_ = unix.Madvise(region, unix.MADV_HUGEPAGE) // where it fails, pages are small
		m.regions, m.rest = append(m.regions, region), region
	}
	b := m.rest[:n:n]
	m.rest = m.rest[n:]
	return b
}

// close unmaps everything.
func (m *memory) close() {
	for _, r := range m.regions {
		_ = unix.Munmap(r) // of what Mmap returned: cannot fail
	}
	m.regions, m.rest = nil, nil
}
