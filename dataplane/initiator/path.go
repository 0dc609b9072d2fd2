package initiator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// Backoff is the policy of reconnecting: the first attempt after First, then twice as long each time up to
// Max. Up to a quarter of each wait is left out by chance, so that the hosts of a node that returns do not
// come all at once. An association that lived for Max starts the sequence again. Attempts never end; the
// owner of the Path decides when to give up.
type Backoff struct {
	First, Max time.Duration // default 100 ms and 5 s
}

func (b Backoff) withDefaults() Backoff {
	if b.First <= 0 {
		b.First = 100 * time.Millisecond
	}
	if b.Max <= 0 {
		b.Max = 5 * time.Second
	}
	b.Max = max(b.Max, b.First)
	return b
}

// PathConfig says how to keep an association alive. The functions are called one at a time, on the goroutine
// of the Path; all may be nil.
type PathConfig struct {
	Config  Config
	Backoff Backoff
	// Prepare looks at a new association before it is used; an error closes it, and the Path tries again later.
	Prepare func(ctx context.Context, c *Client) error
	// OnUp and OnDown tell that Submit now works, or no longer works and all its IOs have been given back.
	OnUp   func(c *Client)
	OnDown func(c *Client, err error)
}

// Path is an association that is built again whenever it ends. While it is down, Submit fails at once:
// whether to wait or to go elsewhere is for the caller to decide.
type Path struct {
	cfg    PathConfig
	client atomic.Pointer[Client] // nil: down
	ctx    context.Context        // of the background work
	cancel context.CancelFunc
	ended  chan struct{}

	mu    sync.Mutex
	err   error         // why it is down
	state chan struct{} // closed and replaced when client changes
}

// NewPath starts to connect, in the background.
func NewPath(cfg PathConfig) (*Path, error) {
	p, err := idlePath(cfg)
	if err == nil {
		go p.run()
	}
	return p, err
}

// idlePath makes a Path that does not connect before its run is called.
func idlePath(cfg PathConfig) (*Path, error) {
	if _, err := cfg.Config.withDefaults(); err != nil {
		return nil, fmt.Errorf("initiator: %w", err)
	}
	cfg.Backoff = cfg.Backoff.withDefaults()
	p := &Path{cfg: cfg, ended: make(chan struct{}), state: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

func (p *Path) run() {
	defer close(p.ended)
	ctx := p.ctx
	wait := p.cfg.Backoff.First
	for ctx.Err() == nil {
		began := time.Now()
		p.attempt(ctx)
		if time.Since(began) >= p.cfg.Backoff.Max {
			wait = p.cfg.Backoff.First
		}
		if pause(ctx, wait-rand.N(wait/4+1)) != nil {
			return
		}
		wait = min(2*wait, p.cfg.Backoff.Max)
	}
}

// attempt builds one association and stays with it until it ends.
func (p *Path) attempt(ctx context.Context) {
	c, err := Dial(ctx, p.cfg.Config)
	if err == nil && p.cfg.Prepare != nil {
		prepare, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
		if err = p.cfg.Prepare(prepare, c); err != nil {
			c.Close()
		}
		cancel()
	}
	if err != nil {
		p.set(nil, err)
		return
	}
	p.set(c, nil)
	if p.cfg.OnUp != nil {
		p.cfg.OnUp(c)
	}
	select {
	case <-ctx.Done():
	case <-c.ending:
	}
	p.set(nil, c.Err())
	c.Close()
	if p.cfg.OnDown != nil {
		p.cfg.OnDown(c, c.Err())
	}
}

func (p *Path) set(c *Client, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.client.Store(c)
	p.err = err
	close(p.state)
	p.state = make(chan struct{})
}

// Submit starts an I/O command if the path is up and fails it with HostPathingError if not.
func (p *Path) Submit(io *IO) {
	if c := p.client.Load(); c != nil {
		c.Submit(io)
		return
	}
	io.fail(nvme.HostPathingError)
}

// Client returns the association, nil while the path is down.
func (p *Path) Client() *Client { return p.client.Load() }

// Err says why the path is down; nil while it is up and before the first attempt has ended.
func (p *Path) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Wait waits until the path is up. When ctx ends first, the error says why the path is down.
func (p *Path) Wait(ctx context.Context) (*Client, error) {
	for {
		p.mu.Lock()
		c, err, changed := p.client.Load(), p.err, p.state
		p.mu.Unlock()
		if c != nil {
			return c, nil
		}
		select {
		case <-changed:
		case <-p.ended:
			return nil, ErrClosed
		case <-ctx.Done():
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
			}
			return nil, ctx.Err()
		}
	}
}

// Close ends the association and the attempts. All IOs have been given back when it returns.
func (p *Path) Close() error {
	p.cancel()
	<-p.ended
	return nil
}
