package initiator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// Client is an association with a controller: an admin queue and, unless the subsystem is a discovery
// subsystem, I/O queues. When one queue ends, all of it ends. Its methods may be used from any goroutine.
type Client struct {
	cfg    Config
	admin  *Queue
	queues []*Queue
	turn   atomic.Uint32

	cntlid uint16
	id     *nvme.IdentifyController
	cap    nvme.CAP

	mu     sync.Mutex
	err    error
	ending chan struct{} // closed by fail
	done   chan struct{} // closed when everything has ended
	events chan nvme.AsyncEvent
	aer    IO
	alive  IO // the keep alive command
}

// Dial builds an association: admin queue, controller enable, identify, keep alive, I/O queues. ctx bounds
// all of it together with Config.ConnectTimeout.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("initiator: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	c := &Client{
		cfg: cfg, ending: make(chan struct{}), done: make(chan struct{}), events: make(chan nvme.AsyncEvent, 1),
	}
	if err := c.bringUp(ctx); err != nil {
		for _, q := range c.all() {
			q.Close()
		}
		return nil, fmt.Errorf("initiator: %s at %s: %w", cfg.SubNQN, cfg.Addr, err)
	}
	go c.run()
	return c, nil
}

// all returns the queues that are open.
func (c *Client) all() []*Queue {
	if c.admin == nil {
		return nil
	}
	return append([]*Queue{c.admin}, c.queues...)
}

// bringUp follows the initialization sequence for fabrics (Base 3.5.2).
func (c *Client) bringUp(ctx context.Context) error {
	var err error
	c.admin, c.cntlid, err = openQueue(ctx, &c.cfg, queueSpec{
		qid: 0, cntlid: nvme.AnyController, depth: adminDepth, inCapsule: fabricsInCapsule, kato: c.cfg.KATO,
	})
	if err != nil {
		return err
	}
	if err := c.enable(ctx); err != nil {
		return fmt.Errorf("enable controller: %w", err)
	}
	b := make([]byte, nvme.IdentifySize)
	if err := c.Identify(ctx, nvme.CNSController, 0, b); err != nil {
		return err
	}
	if c.id, err = nvme.DecodeIdentifyController(b); err != nil {
		return fmt.Errorf("identify controller: %w", err)
	}
	if err := c.configureEvents(ctx); err != nil {
		return err
	}
	if c.id.CNTRLTYPE == nvme.CNTRLTYPEDiscovery || c.cfg.SubNQN == nvme.DiscoveryNQN {
		return nil
	}
	return c.openIOQueues(ctx)
}

// enable sets CC.EN and waits for CSTS.RDY, for as long as CAP.TO allows.
func (c *Client) enable(ctx context.Context) error {
	v, err := c.property(ctx, nvme.PropertyCAP, 8)
	if err != nil {
		return err
	}
	c.cap = nvme.ParseCAP(v)
	limit := time.Duration(max(c.cap.TO, 1)) * 500 * time.Millisecond
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("not ready in time"))
	defer cancel()
	cc := nvme.CC{EN: true, IOSQES: 6, IOCQES: 4}
	var cmd nvme.Command
	cmd.PropertySet(nvme.PropertyCC, 4, uint64(cc.Value()))
	if _, err := c.admin.Do(ctx, &cmd, nil); err != nil {
		return err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		v, err := c.property(ctx, nvme.PropertyCSTS, 4)
		if err != nil {
			return err
		}
		csts := nvme.ParseCSTS(uint32(v))
		if csts.CFS {
			return errors.New("controller fatal status")
		}
		if csts.RDY {
			return nil
		}
		if err := pause(ctx, wait); err != nil {
			return context.Cause(ctx)
		}
	}
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) property(ctx context.Context, offset uint32, size int) (uint64, error) {
	var cmd nvme.Command
	cmd.PropertyGet(offset, size)
	r, err := c.admin.Do(ctx, &cmd, nil)
	if err != nil {
		return 0, fmt.Errorf("get property %#x: %w", offset, err)
	}
	return r.Result(), nil
}

// configureEvents asks for the notices that the controller offers and we understand.
func (c *Client) configureEvents(ctx context.Context) error {
	mask := c.id.OAES & (nvme.AECNamespaceAttr | nvme.AECANAChange | nvme.AECDiscoveryLog)
	if mask == 0 {
		return nil
	}
	var cmd nvme.Command
	cmd.SetFeatures(nvme.FeatAsyncEvent, 0, mask)
	if _, err := c.admin.Do(ctx, &cmd, nil); err != nil {
		return fmt.Errorf("configure asynchronous events: %w", err)
	}
	return nil
}

func (c *Client) openIOQueues(ctx context.Context) error {
	var cmd nvme.Command
	want := uint32(c.cfg.Queues)
	cmd.SetFeatures(nvme.FeatNumberOfQueues, 0, nvme.QueueCounts(want, want))
	r, err := c.admin.Do(ctx, &cmd, nil)
	if err != nil {
		return fmt.Errorf("set number of queues: %w", err)
	}
	sub, comp := nvme.ParseQueueCounts(r.DW0)
	depth := min(c.cfg.Depth, int(c.cap.MQES)+1)
	if c.id.MAXCMD != 0 {
		depth = min(depth, int(c.id.MAXCMD))
	}
	if depth < 2 {
		return fmt.Errorf("the controller offers queues of %d entries", depth)
	}
	for i := range min(want, sub, comp) {
		q, _, err := openQueue(ctx, &c.cfg, queueSpec{
			qid: uint16(i + 1), cntlid: c.cntlid, depth: depth, inCapsule: c.id.InCapsule(), readSize: 128 << 10,
		})
		if err != nil {
			return err
		}
		c.queues = append(c.queues, q)
	}
	return nil
}

// run looks after a working association and ends all of it when a part ends.
func (c *Client) run() {
	var parts sync.WaitGroup
	parts.Go(c.keepAlive)
	parts.Go(c.deliverEvents)
	for _, q := range c.all() {
		parts.Go(func() {
			<-q.Done()
			c.fail(q.Err())
		})
	}
	<-c.ending
	for _, q := range c.all() {
		q.fail(c.Err(), nvme.Fault{})
	}
	parts.Wait()
	close(c.done)
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
		close(c.ending)
	}
}

// keepAlive sends Keep Alive twice per timeout; a missing answer ends the association.
func (c *Client) keepAlive() {
	if c.cfg.KATO < 0 || c.id.KAS == 0 {
		<-c.ending
		return
	}
	tick := time.NewTicker(c.cfg.KATO / 2)
	defer tick.Stop()
	free := make(chan struct{}, 1)
	free <- struct{}{}
	c.alive = IO{Timeout: c.cfg.KATO, Done: func(io *IO) {
		if !io.Status().OK() {
			c.fail(fmt.Errorf("keep alive: %w", io.Status()))
		}
		free <- struct{}{}
	}}
	for {
		select {
		case <-c.ending:
			return
		case <-tick.C:
		}
		select {
		case <-free:
			c.alive.Cmd = nvme.Command{0: nvme.AdminKeepAlive}
			c.admin.Submit(&c.alive)
		default: // the last one is still out; its own timeout watches it
		}
	}
}

// deliverEvents keeps one Asynchronous Event Request with the controller and tells OnEvent what comes back.
func (c *Client) deliverEvents() {
	if c.cfg.OnEvent == nil {
		<-c.ending
		return
	}
	c.aer = IO{Timeout: -1, Done: func(io *IO) {
		if io.Status().OK() {
			c.events <- nvme.ParseAsyncEvent(io.Completion.DW0) // has room: one request is out at a time
		}
	}}
	for {
		c.aer.Cmd = nvme.Command{0: nvme.AdminAsyncEvent}
		c.admin.Submit(&c.aer)
		select {
		case <-c.ending:
			return
		case e := <-c.events:
			c.cfg.OnEvent(c, e)
		}
	}
}

// Submit starts an I/O command on one of the I/O queues. See the package documentation for the contract.
func (c *Client) Submit(io *IO) {
	if len(c.queues) == 0 {
		io.fail(nvme.InvalidOpcode.NoRetry())
		return
	}
	c.queues[c.turn.Add(1)%uint32(len(c.queues))].Submit(io)
}

// Queues returns the I/O queues, for callers that spread their commands themselves.
func (c *Client) Queues() []*Queue { return c.queues }

// Admin runs one admin command and waits for it; Do says what happens when ctx ends first.
func (c *Client) Admin(ctx context.Context, cmd *nvme.Command, data []byte) (nvme.Completion, error) {
	return c.admin.Do(ctx, cmd, data)
}

// Controller returns the Identify Controller data structure. It is not to be changed.
func (c *Client) Controller() *nvme.IdentifyController { return c.id }

// ControllerID returns CNTLID.
func (c *Client) ControllerID() uint16 { return c.cntlid }

// MaxTransfer is the most data one command may move, in bytes.
func (c *Client) MaxTransfer() int {
	if n := c.id.MaxTransfer(c.cap.MPSMIN); n != 0 {
		return int(min(n, maxTransfer))
	}
	return maxTransfer
}

// maxWriteZeroes is the most that one Write Zeroes may clear, in bytes (WZSL). A controller that does not
// tell, as before NVMe 2.0, is taken to mean what it takes of data.
func (c *Client) maxWriteZeroes(ctx context.Context) (int64, error) {
	b := make([]byte, nvme.IdentifySize)
	err := c.Identify(ctx, nvme.CNSControllerCSI, 0, b)
	var refused nvme.Status
	if errors.As(err, &refused) {
		return int64(c.MaxTransfer()), nil
	}
	if err != nil {
		return 0, err
	}
	id, err := nvme.DecodeIdentifyControllerNVM(b)
	if err != nil {
		return 0, fmt.Errorf("identify controller, NVM command set: %w", err)
	}
	return id.MaxWriteZeroes(c.cap.MPSMIN), nil
}

// Identify fills b (nvme.IdentifySize bytes) with a data structure of the controller or of a namespace.
func (c *Client) Identify(ctx context.Context, cns uint8, nsid uint32, b []byte) error {
	var cmd nvme.Command
	cmd.Identify(cns, nsid, 0, 0)
	if _, err := c.admin.Do(ctx, &cmd, b); err != nil {
		return fmt.Errorf("identify CNS %02Xh: %w", cns, err)
	}
	return nil
}

// LogPage fills b, of a multiple of 4 bytes, with a log page from an offset on.
func (c *Client) LogPage(ctx context.Context, g nvme.GetLogPage, b []byte) error {
	g.Length = uint64(len(b))
	var cmd nvme.Command
	cmd.GetLogPage(nvme.AllNamespaces, g)
	if _, err := c.admin.Do(ctx, &cmd, b); err != nil {
		return fmt.Errorf("get log page %02Xh: %w", g.LID, err)
	}
	return nil
}

// Done is closed when the association has ended and every IO has been given back.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the association ended, nil while it works.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the association: it tells the controller, for as long as a second, and closes the connections.
// It waits for the end, so it must not be called by Done or OnEvent.
func (c *Client) Close() error {
	if c.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var cmd nvme.Command
		cc := nvme.CC{EN: true, SHN: nvme.SHNNormal, IOSQES: 6, IOCQES: 4}
		cmd.PropertySet(nvme.PropertyCC, 4, uint64(cc.Value()))
		// The controller notices the end of the connection as well; this is a courtesy.
		_, _ = c.admin.Do(ctx, &cmd, nil)
	}
	c.fail(ErrClosed)
	<-c.done
	return nil
}
