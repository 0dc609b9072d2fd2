package pagestore

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/blockdev"
	"github.com/ashlar-storage/ashlar/dataplane/pagemap"
)

// childEnv holds the device path and the first counter for the child process of TestKilledProcess.
const childEnv = "ASHLAR_PAGESTORE_CHILD"

const (
	childBlocks = 3000
	childPages  = 64
)

// TestKilledProcess runs a process that writes stamped blocks to a file and reports each acknowledgement,
// kills it with SIGKILL, and finds every acknowledged block, or a later one, in the file. It proves nothing
// about power loss (the kernel keeps what was written); it proves that the store comes back from wherever a
// real process was. A write that was in flight may be torn: an owner would remove it then, and so does this.
func TestKilledProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	dev := openFile(t, path)
	must(t, Format(t.Context(), dev, formatOptions()))
	must(t, dev.Close())
	acked := map[uint64]uint64{} // page: counter of the last acknowledged write
	next, total := uint64(1), 0
	for round := range 5 {
		total += runChild(t, path, next, 500+200*round, acked)
		next = verifyFile(t, path, acked) + 1000
	}
	if total < 2000 {
		t.Fatalf("only %d writes were acknowledged", total)
	}
}

func openFile(t *testing.T, path string) *blockdev.File {
	dev, err := blockdev.OpenFile(path, blockdev.FileOptions{Create: childBlocks * BlockSize})
	must(t, err)
	return dev
}

// runChild lets a child write until it has acknowledged n writes, and kills it in the middle.
func runChild(t *testing.T, path string, first uint64, n int, acked map[uint64]uint64) int {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChildProcess$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s,%d", childEnv, path, first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines, count := bufio.NewReader(out), 0
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what it printed before it died was acknowledged, all of it counts
		}
		var page, counter uint64
		if _, err := fmt.Sscanf(line, "acked %d %d\n", &page, &counter); err != nil {
			t.Fatalf("child says %q", line)
		}
		acked[page] = max(acked[page], counter)
		if count++; count == n {
			must(t, cmd.Process.Kill())
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("child ended by itself: %v", err)
	}
	return count
}

// verifyFile returns the largest counter found.
func verifyFile(t *testing.T, path string, acked map[uint64]uint64) (largest uint64) {
	dev := openFile(t, path)
	defer dev.Close()
	if _, err := Check(t.Context(), dev, CheckOptions{Data: true}); err != nil {
		t.Fatalf("check: %v", err)
	}
	s := open(t, dev)
	for page := range uint64(childPages) {
		data, info := read(t, s, ext(1, page, 0, 1), 0)
		counter := info[0].W.Counter()
		largest = max(largest, counter)
		for info[0].State == pagemap.Torn && counter > acked[page] { // in flight when the process died: torn
			must(t, wait(func(done func(error)) { s.Undo(ext(1, page, 0, 1), info[0].W, done) }))
			data, info = read(t, s, ext(1, page, 0, 1), 0)
			counter = info[0].W.Counter()
		}
		if counter < acked[page] || acked[page] > 0 && info[0].State != pagemap.Data {
			t.Fatalf("page %d: %+v, acknowledged was %d", page, info[0], acked[page])
		}
		if info[0].State == pagemap.Data && binary.LittleEndian.Uint64(data) != counter {
			t.Fatalf("page %d version %d holds %d", page, counter, binary.LittleEndian.Uint64(data))
		}
	}
	closeAndCheck(t, s)
	return largest
}

// TestChildProcess is the child of TestKilledProcess: 16 writes in flight, until it is killed.
func TestChildProcess(t *testing.T) {
	path, first, ok := strings.Cut(os.Getenv(childEnv), ",")
	if !ok {
		return // not a child
	}
	var counter uint64
	_, err := fmt.Sscan(first, &counter)
	must(t, err)
	s := open(t, openFile(t, path))
	slots := make(chan *Write, 16)
	for range cap(slots) {
		slots <- &Write{Data: make([]byte, BlockSize), CRC: make([]uint32, 1),
			Columns: columnsOf(1, 1)}
	}
	busy := map[uint64]bool{}
	freed := make(chan uint64, childPages)
	for w := range slots {
		for len(freed) > 0 {
			delete(busy, <-freed)
		}
		page := rand.Uint64N(childPages)
		for busy[page] {
			page = (page + 1) % childPages
		}
		busy[page] = true
		counter++
		binary.LittleEndian.PutUint64(w.Data, counter)
		w.CRC[0] = checksum(w.Data)
		w.Extent, w.W, w.Stable = ext(1, page, 0, 1), seq(1, counter), seq(1, max(counter, 40)-40)
		n := counter
		w.Done = func(w *Write, err error) {
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			_, _ = io.WriteString(os.Stdout, fmt.Sprintf("acked %d %d\n", page, n))
			freed <- page
			slots <- w
		}
		s.Write(w)
	}
}
