package nvmet_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
)

// loadEnv makes this test binary the host of a benchmark: it holds the target's address.
const loadEnv = "NVMET_BENCH_TARGET"

func TestMain(m *testing.M) {
	if addr := os.Getenv(loadEnv); addr != "" {
		if err := serveLoad(addr); err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// BenchmarkTarget measures the target alone, on a memory namespace: the host is a process of its own, so the
// CPU time of this one is the target's. cpu-us/op is the figure to trust on a busy machine.
func BenchmarkTarget(b *testing.B) {
	for _, op := range []string{"read", "write"} {
		for _, conns := range []int{1, 4, 64} {
			for _, depth := range []int{1, 32, 128} {
				b.Run(fmt.Sprintf("%s4k/conns=%d/qd=%d", op, conns, depth), func(b *testing.B) {
					benchmarkTarget(b, job{Write: op == "write", Conns: conns, Depth: depth, Size: 4096})
				})
			}
		}
	}
	for _, op := range []string{"read", "write"} {
		b.Run(op+"64k/conns=4/qd=8", func(b *testing.B) {
			benchmarkTarget(b, job{Write: op == "write", Conns: 4, Depth: 8, Size: 65536})
		})
		for _, conns := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s4k-async/conns=%d/qd=%d", op, conns, 64/conns), func(b *testing.B) {
				benchmarkTarget(b, job{Write: op == "write", Async: true, Conns: conns, Depth: 64 / conns, Size: 4096})
			})
		}
	}
}

// worker is a namespace that completes requests on a goroutine of its own, as one with a disk behind it does.
type worker struct {
	nvmet.Namespace
	queue chan *nvmet.Request
}

func (w *worker) Submit(r *nvmet.Request) { w.queue <- r }

func (w *worker) run() {
	for r := range w.queue {
		w.Namespace.Submit(r)
	}
}

// job is what the load does: Ops commands over Conns queues with Depth outstanding each.
type job struct {
	Write, Async       bool
	Conns, Depth, Size int
	Ops                int
}

// report is what the load saw.
type report struct{ P50, P99 time.Duration }

func benchmarkTarget(b *testing.B, j job) {
	w := newWorld(b, nvmet.Options{Queues: 64})
	if j.Async {
		cfg := w.config()
		ns := &worker{w.ns, make(chan *nvmet.Request, 8192)}
		go ns.run()
		defer close(ns.queue)
		cfg.Namespace = ns
		w.put(cfg)
	}
	load := exec.Command(os.Args[0])
	load.Env = append(os.Environ(), loadEnv+"="+w.addr)
	load.Stderr = os.Stderr
	in, err := load.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := load.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := load.Start(); err != nil {
		b.Fatal(err)
	}
	answers := json.NewDecoder(out)
	run := func(ops int) (r report) {
		j.Ops = ops
		if err := json.NewEncoder(in).Encode(j); err != nil {
			b.Fatal(err)
		}
		if err := answers.Decode(&r); err != nil {
			b.Fatalf("the load failed: %v", err)
		}
		return r
	}
	run(20 * j.Conns * j.Depth) // connect and warm up
	cpu, mallocs := usage()
	b.ResetTimer()
	r := run(b.N)
	b.StopTimer()
	cpu2, mallocs2 := usage()
	b.ReportMetric((cpu2-cpu).Seconds()*1e6/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "iops")
	b.ReportMetric(float64(r.P50.Microseconds()), "p50-us")
	b.ReportMetric(float64(r.P99.Microseconds()), "p99-us")
	b.ReportMetric(float64(mallocs2-mallocs)/float64(b.N), "mallocs/op")
	_ = in.Close() // ends the load
	if err := load.Wait(); err != nil {
		b.Error(err)
	}
}

// usage is the CPU time and the number of heap allocations of this process so far.
func usage() (time.Duration, uint64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot fail with these arguments
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), m.Mallocs
}

// serveLoad is the host's process: it opens the queues of the first job and carries out one job per line of
// its standard input.
func serveLoad(addr string) error {
	lines := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	var queues []*loadQueue
	for lines.Scan() {
		var j job
		if err := json.NewDecoder(strings.NewReader(lines.Text())).Decode(&j); err != nil {
			return err
		}
		if queues == nil {
			var err error
			if queues, err = openLoad(addr, j); err != nil {
				return err
			}
		}
		var wg sync.WaitGroup
		errs := make([]error, len(queues))
		for i, q := range queues {
			ops := j.Ops / len(queues)
			if i < j.Ops%len(queues) {
				ops++
			}
			wg.Go(func() { errs[i] = q.run(ops) })
		}
		wg.Wait()
		var all []time.Duration
		for i, q := range queues {
			if errs[i] != nil {
				return errs[i]
			}
			all = append(all, q.times...)
		}
		slices.Sort(all)
		r := report{}
		if len(all) > 0 {
			r = report{P50: all[len(all)/2], P99: all[len(all)*99/100]}
		}
		if err := answers.Encode(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

func openLoad(addr string, j job) ([]*loadQueue, error) {
	admin := &world{TB: fatal{}, addr: addr}
	h := admin.admin(connection{})
	var queues []*loadQueue
	for i := range j.Conns {
		q := h.io(connection{qid: uint16(i + 1), sqsize: uint16(max(j.Depth, 2) - 1)})
		if err := q.c.SetDeadline(time.Time{}); err != nil {
			return nil, err
		}
		queues = append(queues, &loadQueue{
			c: q.c, admin: h, job: j, began: make([]time.Time, j.Depth), rnd: uint64(i + 1),
			in: make([]byte, 1<<20), data: pattern(j.Size, byte(i)),
		})
	}
	return queues, h.c.SetDeadline(time.Time{})
}

// fatal lets the helpers of the tests serve a process that is no test.
type fatal struct{ testing.TB }

func (fatal) Helper()                   {}
func (fatal) Cleanup(func())            {}
func (fatal) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (fatal) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// loadQueue keeps Depth commands outstanding: as many new ones as answers came with one read, sent with one
// write.
type loadQueue struct {
	c     net.Conn
	admin *host // keeps the admin connection from being closed as garbage, and the association with it
	job   job
	began []time.Time // by CID
	times []time.Duration
	rnd   uint64
	in    []byte
	have  int
	out   []byte
	data  []byte
}

func (q *loadQueue) run(ops int) error {
	q.times = q.times[:0]
	issued, done := 0, 0
	for ; issued < min(ops, q.job.Depth); issued++ {
		q.issue(uint16(issued))
	}
	for done < ops {
		if len(q.out) > 0 {
			if _, err := q.c.Write(q.out); err != nil {
				return err
			}
			q.out = q.out[:0]
		}
		n, err := q.c.Read(q.in[q.have:])
		if err != nil {
			return err
		}
		q.have += n
		now := time.Now()
		err = q.parse(func(cid uint16) {
			q.times = append(q.times, now.Sub(q.began[cid]))
			done++
			if issued < ops {
				issued++
				q.issue(cid)
			}
		}, func(r nvme.R2T) {
			var b [nvme.MaxHeaderSize]byte
			d := nvme.H2CData{CCCID: r.CCCID, TTAG: r.TTAG, DATAL: r.R2TL}
			k := nvme.Framing{}.PutH2CData(b[:], d, nvme.FlagLast)
			q.out = append(append(q.out, b[:k]...), q.data...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// issue appends a command for a random place.
func (q *loadQueue) issue(cid uint16) {
	q.rnd ^= q.rnd << 13
	q.rnd ^= q.rnd >> 7
	q.rnd ^= q.rnd << 17
	units := uint64(blocks * 512 / q.job.Size)
	var cmd nvme.Command
	cmd.SetCID(cid)
	op, inCapsule := nvme.OpRead, uint32(0)
	sgl := nvme.SGL{Length: uint32(q.job.Size), ID: nvme.SGLTransport}
	if q.job.Write {
		op = nvme.OpWrite
		if q.job.Size <= 8192 {
			inCapsule, sgl.ID = uint32(q.job.Size), nvme.SGLInCapsule
		}
	}
	cmd.ReadWrite(op, 1, q.rnd%units*uint64(q.job.Size/512), uint32(q.job.Size/512))
	cmd.SetSGL(sgl)
	var b [nvme.MaxHeaderSize]byte
	n := nvme.Framing{}.PutCapsuleCmd(b[:], &cmd, inCapsule)
	q.out = append(q.out, b[:n]...)
	q.out = append(q.out, q.data[:inCapsule]...)
	q.began[cid] = time.Now()
}

// parse takes whole PDUs out of in.
func (q *loadQueue) parse(done func(cid uint16), r2t func(nvme.R2T)) error {
	b := q.in[:q.have]
	for len(b) >= nvme.CommonHeaderSize {
		h, err := nvme.DecodeHeader(b)
		if err != nil || len(b) < int(h.PLEN) {
			break
		}
		switch h.Type {
		case nvme.PDUCapsuleResp:
			c, err := nvme.DecodeCapsuleResp(b)
			if err != nil || !c.Status.OK() {
				return fmt.Errorf("command failed: %w", c.Status)
			}
			done(c.CID)
		case nvme.PDUC2HData:
			d, err := nvme.DecodeC2HData(b)
			if err != nil || h.Flags&nvme.FlagSuccess == 0 {
				return fmt.Errorf("unexpected data PDU %+v: %v", h, err)
			}
			done(d.CCCID)
		case nvme.PDUR2T:
			r, err := nvme.DecodeR2T(b)
			if err != nil {
				return err
			}
			r2t(r)
		default:
			return fmt.Errorf("unexpected PDU %v", h.Type)
		}
		b = b[h.PLEN:]
	}
	q.have = copy(q.in, b)
	return nil
}
