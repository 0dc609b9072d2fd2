package nvmet

import (
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// counter is a waiter that counts.
type counter struct{ woken int }

func (c *counter) memoryReturned() { c.woken++ }

// TestAccounts books at random for three queues, two purposes each: what is shared never passes the limit, a
// reserve is always there, and everything comes back.
func TestAccounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 100 << 10
		m := newMemory(limit, 64<<10, nil)
		accounts := make([]account, 6)
		held := make([][]int64, len(accounts))
		waiting := map[int]*counter{}
		for i := range accounts {
			accounts[i].reserve = 32 << 10
		}
		shared := func() (sum int64) {
			for i := range accounts {
				sum += accounts[i].beyond()
			}
			return sum
		}
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				i := rapid.IntRange(0, len(accounts)-1).Draw(t, "account")
				n := int64(m.sizeOf(rapid.IntRange(1, 32<<10).Draw(t, "bytes")))
				w := &counter{}
				if accounts[i].take(n, m, w) {
					held[i] = append(held[i], n)
				} else {
					if accounts[i].held+n <= accounts[i].reserve {
						t.Fatal("the reserve was refused")
					}
					waiting[i] = w
				}
			},
			"give": func(t *rapid.T) {
				i := rapid.IntRange(0, len(accounts)-1).Draw(t, "account")
				if len(held[i]) == 0 {
					t.Skip("holds nothing")
				}
				n := held[i][0]
				held[i] = held[i][1:]
				back := accounts[i].give(n)
				m.giveShared(back)
				if back > 0 {
					for j, w := range waiting {
						if w.woken != 1 {
							t.Fatalf("account %d was woken %d times", j, w.woken)
						}
					}
					clear(waiting)
				}
			},
			"": func(t *rapid.T) {
				if m.mu.shared != shared() || m.mu.shared > limit {
					t.Fatalf("%d bytes shared, booked %d, limit %d", shared(), m.mu.shared, limit)
				}
			},
		})
	})
}

// TestBuffers takes and returns buffers of every size: aligned, disjoint, and the kernel gets back what is
// too much.
func TestBuffers(t *testing.T) {
	m := newMemory(1<<20, 272<<10, nil)
	var out [][]byte
	for _, n := range []int{1, 4096, 4097, 8192, 100000, 256 << 10, 272 << 10, 512, 512, 512} {
		b, err := m.get(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != n || cap(b) != m.sizeOf(n) || uintptr(unsafe.Pointer(&b[0]))%pageSize != 0 {
			t.Fatalf("%d bytes: len %d cap %d at %p", n, len(b), cap(b), &b[0])
		}
		for i := range b {
			b[i] = byte(len(out))
		}
		out = append(out, b)
	}
	for i, b := range out {
		for _, v := range b {
			if v != byte(i) {
				t.Fatalf("buffer %d overlaps another one", i)
			}
		}
	}
	if _, err := m.get(272<<10 + 1); err == nil {
		t.Error("a buffer beyond the largest")
	}
	for _, b := range out {
		m.put(b)
	}
	for i := range m.mu.classes {
		if c := &m.mu.classes[i]; int64(len(c.free)*c.size) > m.limit/16+int64(c.size) {
			t.Errorf("class %d keeps %d warm buffers", c.size, len(c.free))
		}
	}
	m.close()
	if len(m.mu.slabs) != 0 {
		t.Error("slabs are still mapped")
	}
	if _, err := m.get(1); err == nil {
		t.Error("a buffer of a closed pool")
	}
}

// TestCloseWaitsForBuffers closes the pool while a buffer is out: its memory stays until it is back.
func TestCloseWaitsForBuffers(t *testing.T) {
	m := newMemory(1<<20, 64<<10, nil)
	b, err := m.get(4096)
	if err != nil {
		t.Fatal(err)
	}
	m.close()
	b[4095] = 1 // would be a fault if it were unmapped
	m.put(b)
	if len(m.mu.slabs) != 0 {
		t.Error("slabs are still mapped")
	}
}

// TestPinnedMemory takes more buffers than the caller's memory has: they come from there first, are kept when
// they come back, and never given to the kernel; buffers of whole slabs and more come from elsewhere.
func TestPinnedMemory(t *testing.T) {
	const pinned = 2 * slabSize
	arena := make([]byte, pinned+pageSize)
	arena = arena[-int(uintptr(unsafe.Pointer(&arena[0])))&(pageSize-1):][:pinned]
	m := newMemory(16*pageSize, 2*slabSize, arena)
	take := func(n int) []byte {
		b, err := m.get(n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] = 0xa5
		}
		return b
	}
	if large := take(2 * slabSize); m.isPinned(large) {
		t.Error("a buffer larger than a slab is of the caller's memory")
	}
	var out [][]byte
	for i := range pinned/pageSize + 10 {
		b := take(pageSize)
		if m.isPinned(b) != (i < pinned/pageSize) {
			t.Fatalf("buffer %d: pinned %v", i, m.isPinned(b))
		}
		out = append(out, b)
	}
	for _, b := range out {
		m.put(b)
	}
	for i := range pinned {
		if arena[i] != 0xa5 {
			t.Fatalf("byte %d of the caller's memory was given to the kernel", i)
		}
	}
	if c := m.class(pageSize); len(c.free) != pinned/pageSize || len(c.cold) < 10 {
		t.Errorf("%d buffers are warm, %d cold", len(c.free), len(c.cold))
	}
}
