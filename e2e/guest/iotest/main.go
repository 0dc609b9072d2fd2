package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// config is what the command line says.
type config struct {
	mode   string
	dev    string
	size   int64 // bytes of the device to use, from offset 0
	bs     int
	gen    uint64
	rate   int // writes per second of steady
	span   time.Duration
	direct bool
}

// Report is the last line of output.
type Report struct {
	Writes     int    `json:"writes"`
	Reads      int    `json:"reads"`
	Errors     int    `json:"errors"`     // failed reads and writes
	Mismatches int    `json:"mismatches"` // blocks that came back wrong
	First      string `json:"first,omitempty"`

	// Of steady only: the longest time without a completion, when it began, and the longest single I/O; in
	// microseconds since the start.
	PauseUS   int64 `json:"pause_us,omitempty"`
	PauseAtUS int64 `json:"pause_at_us,omitempty"`
	SlowestUS int64 `json:"slowest_us,omitempty"`
}

func (r *Report) fail(err error) {
	r.Errors++
	r.note(err)
}

func (r *Report) wrong(err error) {
	r.Mismatches++
	r.note(err)
}

func (r *Report) note(err error) {
	if r.First == "" {
		r.First = err.Error()
	}
}

func main() {
	c, err := parse(os.Args[1:])
	if err == nil {
		var r Report
		if r, err = run(c); err == nil {
			_ = json.NewEncoder(os.Stdout).Encode(r)
			if r.Errors+r.Mismatches > 0 {
				os.Exit(1)
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, "iotest:", err)
	os.Exit(2)
}

func parse(args []string) (config, error) {
	if len(args) == 0 {
		return config{}, errors.New("usage: iotest write|check|steady -dev D [flags]")
	}
	c := config{mode: args[0], size: 8 << 20}
	f := flag.NewFlagSet("iotest", flag.ContinueOnError)
	f.StringVar(&c.dev, "dev", "", "block device or file")
	f.Func("size", "bytes to use, with K, M or G (8M)", func(s string) (err error) {
		c.size, err = parseSize(s)
		return err
	})
	f.IntVar(&c.bs, "bs", 4096, "bytes per block")
	f.Uint64Var(&c.gen, "gen", 1, "generation to stamp, or the first of steady")
	f.IntVar(&c.rate, "rate", 50, "writes per second of steady")
	f.DurationVar(&c.span, "for", 10*time.Minute, "longest run of steady")
	f.BoolVar(&c.direct, "direct", true, "O_DIRECT")
	if err := f.Parse(args[1:]); err != nil {
		return c, err
	}
	switch {
	case c.dev == "":
		return c, errors.New("-dev is missing")
	case c.bs < 512 || c.bs%512 != 0 || c.bs > 1<<20:
		return c, fmt.Errorf("-bs %d: a multiple of 512 up to 1 MiB", c.bs)
	case c.size < int64(c.bs) || c.rate <= 0:
		return c, errors.New("-size and -rate must leave something to do")
	}
	return c, nil
}

func parseSize(s string) (int64, error) {
	unit := int64(1)
	if i := strings.IndexByte("KMG", s[len(s)-1]); i >= 0 {
		unit, s = 1<<(10*(i+1)), s[:len(s)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n * unit, err
}

func run(c config) (Report, error) {
	d, err := open(c)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = d.file.Close() }()
	switch c.mode {
	case "write":
		return d.writeAll(c.gen), nil
	case "check":
		return d.checkAll(func(int) uint64 { return c.gen }), nil
	case "steady":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
		return d.steady(c, stop), nil
	}
	return Report{}, fmt.Errorf("no mode %q", c.mode)
}

// disk is the open device with two aligned buffers: what is written or expected, what was read.
type disk struct {
	file   *os.File
	bs     int
	blocks int
	want   []byte
	got    []byte
}

func open(c config) (*disk, error) {
	flags := os.O_RDWR
	if c.direct {
		flags |= unix.O_DIRECT
	}
	f, err := os.OpenFile(c.dev, flags, 0)
	if err != nil {
		return nil, err
	}
	// O_DIRECT wants aligned memory; a mapping is.
	buf, err := unix.Mmap(-1, 0, 2*(c.bs+4095)&^4095, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("map buffers: %w", err)
	}
	half := len(buf) / 2
	return &disk{f, c.bs, int(c.size / int64(c.bs)), buf[:c.bs], buf[half : half+c.bs]}, nil
}

func (d *disk) write(block int, gen uint64) error {
	stamp(d.want, uint64(block), gen)
	_, err := d.file.WriteAt(d.want, int64(block)*int64(d.bs))
	return err
}

func (d *disk) check(r *Report, block int, gen uint64) {
	r.Reads++
	if _, err := d.file.ReadAt(d.got, int64(block)*int64(d.bs)); err != nil {
		r.fail(err)
		return
	}
	stamp(d.want, uint64(block), gen)
	if err := compare(d.got, d.want, uint64(block), gen); err != nil {
		r.wrong(err)
	}
}

func (d *disk) writeAll(gen uint64) Report {
	var r Report
	for _, block := range rand.Perm(d.blocks) {
		r.Writes++
		if err := d.write(block, gen); err != nil {
			r.fail(err)
		}
	}
	if err := d.file.Sync(); err != nil {
		r.fail(err)
	}
	return r
}

// checkAll reads every block whose generation is not 0, in random order.
func (d *disk) checkAll(gen func(block int) uint64) Report {
	var r Report
	for _, block := range rand.Perm(d.blocks) {
		if g := gen(block); g != 0 {
			d.check(&r, block, g)
		}
	}
	return r
}
