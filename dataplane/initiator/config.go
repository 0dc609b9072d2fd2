package initiator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// Limits and defaults of a Config.
const (
	DefaultDepth   = 128
	MaxDepth       = 1024
	DefaultTimeout = 30 * time.Second
	DefaultKATO    = 10 * time.Second

	// A target may keep a Connect waiting until the commands of the host's last association have ended.
	DefaultConnectTimeout = 30 * time.Second
	MaxQueues             = 64

	adminDepth = 32
	// Every controller takes so much data in the capsules of admin and of fabrics commands (TCP 3.3.2).
	fabricsInCapsule = 8192
	maxTransfer      = 4 << 20 // where the controller names no limit, and above it
)

// Config says how to reach a subsystem. The zero values of numbers and times mean the defaults.
type Config struct {
	Addr    string // host:port
	SubNQN  string
	HostNQN string
	HostID  [16]byte // not all zero

	Queues  int           // I/O queues wanted, default 1; the controller may grant fewer. Discovery: ignored
	Depth   int           // entries of an I/O queue, 2..MaxDepth; Depth-1 commands are in flight
	Timeout time.Duration // of a command, from Submit on, unless the IO names its own
	KATO    time.Duration // keep alive timeout; negative turns it off
	// ConnectTimeout bounds the building of an association.
	ConnectTimeout time.Duration

	HeaderDigest bool   // ask for header digests
	DataDigest   bool   // ask for data digests
	HPDA         uint8  // alignment asked for of data that comes in: (HPDA+1)*4 bytes
	Secret       []byte // when set, every queue is authenticated with it (nvme.ClusterAuth)

	// Dial opens a connection; nil means TCP without delay.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// OnEvent is told about asynchronous events, one at a time, on a goroutine of the Client's own. The next
	// event is asked for when it returns; it may use the Client.
	OnEvent func(*Client, nvme.AsyncEvent)
}

// withDefaults checks a configuration and fills it up.
func (c Config) withDefaults() (Config, error) {
	var zero [16]byte
	switch {
	case c.Addr == "":
		return c, errors.New("no address")
	case nvme.CheckNQN(c.SubNQN) != nil:
		return c, fmt.Errorf("subsystem NQN %q is malformed", c.SubNQN)
	case nvme.CheckNQN(c.HostNQN) != nil:
		return c, fmt.Errorf("host NQN %q is malformed", c.HostNQN)
	case c.HostID == zero:
		return c, errors.New("host identifier is zero")
	case c.Queues < 0 || c.Queues > MaxQueues:
		return c, fmt.Errorf("%d I/O queues, the limit is %d", c.Queues, MaxQueues)
	case c.Depth < 0 || c.Depth == 1 || c.Depth > MaxDepth:
		return c, fmt.Errorf("queue depth %d, allowed are 2 to %d", c.Depth, MaxDepth)
	case c.HPDA > nvme.MaxPDA:
		return c, fmt.Errorf("HPDA %d, the limit is %d", c.HPDA, nvme.MaxPDA)
	}
	if c.Queues == 0 {
		c.Queues = 1
	}
	if c.Depth == 0 {
		c.Depth = DefaultDepth
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = DefaultConnectTimeout
	}
	if c.KATO == 0 {
		c.KATO = DefaultKATO
	}
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	return c, nil
}

// dialTCP opens a plain TCP connection. MPTCP is not asked for: it has no zero copy and helps nobody here.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", addr)
}

// IO is one command. The caller fills the first part, the initiator the Completion.
type IO struct {
	// Cmd is the command: opcode, NSID and CDW10 to CDW15 are the caller's; CID, PSDT and SGL are set by Submit.
	// Bits 1:0 of the opcode say which way the data goes.
	Cmd nvme.Command
	// Data and then Tail are the data of the command, to be sent or to be filled; both may be empty.
	Data, Tail []byte
	// Timeout of this command; 0 means that of the queue, negative means none.
	Timeout time.Duration
	// Done gets the IO back. Completion is valid then.
	Done func(*IO)
	// Tag is the caller's own.
	Tag any

	// Completion is the answer. A command that was lost with its connection has Status HostPathingError.
	Completion nvme.Completion

	deadline time.Time // zero: none
	next     *IO       // in the waiting list
}

// Status is the status of a completed IO.
func (io *IO) Status() nvme.Status { return io.Completion.Status }

func (io *IO) length() uint64 { return uint64(len(io.Data)) + uint64(len(io.Tail)) }

// fail completes an IO that the controller did not answer.
func (io *IO) fail(st nvme.Status) {
	io.Completion = nvme.Completion{Status: st}
	io.Done(io)
}

// region calls f for the parts of Data|Tail that hold the n bytes at off; the caller has checked the range.
func (io *IO) region(off, n uint32, f func(b []byte)) {
	d := uint32(len(io.Data))
	if off < d {
		k := min(n, d-off)
		f(io.Data[off : off+k])
		off, n = off+k, n-k
	}
	if n > 0 {
		f(io.Tail[off-d : off-d+n])
	}
}
