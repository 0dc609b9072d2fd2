package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/engine"
	"github.com/ashlar-storage/ashlar/dataplane/pack"
	"github.com/ashlar-storage/ashlar/dataplane/seal"
)

// Encryption sits between hosts and the engine. A session has its volume's cipher from the start, or there is
// no session: without the key nothing can be written in the clear, for nothing can be written at all.

// Keys makes the ciphers of encrypted volumes. Errors are for people: they become the reason why the volume
// is not served.
type Keys interface {
	Cipher(ctx context.Context, e *cluster.Encryption) (*seal.Cipher, error)
}

// errLocked is wrapped when a volume's key is not to be had; why has been logged.
var errLocked = errors.New("the volume is locked")

// keyTimeout bounds one attempt to get a volume's key.
const keyTimeout = 5 * time.Second

// unlock gets a volume's cipher, nil if the volume is not encrypted.
func (g *Gateway) unlock(v *Volume) (*seal.Cipher, error) {
	e := v.encryption.Load()
	if e == nil {
		return nil, nil
	}
	c, err := g.cipher(e)
	if err == nil {
		v.locked.Store(nil)
		return c, nil
	}
	why := fmt.Sprintf("its key cannot be had on node %d: %v", g.o.Self, err)
	if was := v.locked.Swap(&why); was == nil || *was != why {
		g.o.Log.WithError(err).WithField("volume", v.uuid.String()).Error("the volume's key cannot be had; the " +
			"volume is not served here")
	}
	return nil, fmt.Errorf("open volume %v: %w: %w", v.key, errLocked, err)
}

func (g *Gateway) cipher(e *cluster.Encryption) (*seal.Cipher, error) {
	if g.o.Keys == nil {
		return nil, errors.New("this node has no keys")
	}
	ctx, cancel := context.WithTimeout(g.ctx, keyTimeout)
	defer cancel()
	return g.o.Keys.Cipher(ctx, e)
}

// keyDestroyed reports that nobody can open the volume any more.
func (v *Volume) keyDestroyed() bool {
	e := v.encryption.Load()
	return e != nil && len(e.Wrapped) == 0
}

// refusal is what this node has to say of a volume that it should serve and cannot open.
func (g *Gateway) refusal(v *Volume) (cluster.VolumeStats, bool) {
	why := v.locked.Load()
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.mu.state.Owners[v.key]
	if why == nil || o == nil || o.Gateway != g.o.Self {
		return cluster.VolumeStats{}, false
	}
	return cluster.VolumeStats{Key: v.key, Epoch: o.Epoch, State: "refusing", Reason: *why}, true
}

// sealing are the ciphers of a volume, nil where nothing is to be done.
type sealing struct {
	hosts  *seal.Cipher // between hosts and the engine
	clones *seal.Cipher // of what a compressed volume lends to clones, and borrows as one
}

// protect takes the volume's cipher, nil if it is not encrypted, and makes the packer of a compressed volume:
// that compresses what hosts have sent, and seals what comes of it. The engine has such a volume in the
// clear.
func (s *session) protect(c *seal.Cipher) engine.Packer {
	if !s.v.compressed {
		s.seal.hosts = c
		return nil
	}
	s.seal.clones = c
	return pack.New(s.v.geometry.UnitBlocks, c)
}

// packedPercent is what is stored of the units that were packed, rounded up; 0 while there are none.
func packedPercent(c *engine.Counters) uint8 {
	if c.Packed == 0 {
		return 0
	}
	return uint8((100*c.PackedInto + c.Packed - 1) / c.Packed)
}

// sealLent makes of blocks that a clone's owner asked for, as they are read here, what lies in the clone's
// rows: its blocks are sealed with the same key, and in the same place. Blocks of zeroes pass, as if they had
// never been written.
func (s *session) sealLent(data []byte, lba uint64) {
	for c := s.seal.clones; c != nil && len(data) > 0; data = data[cluster.BlockSize:] {
		if b := data[:cluster.BlockSize]; b[0] != 0 || !bytes.Equal(b[1:], b[:len(b)-1]) {
			c.Seal(b, lba)
		}
		lba += cluster.BlockSize / cluster.LBASize
	}
}

// openBorrowed is the inverse, for a clone that is compressed itself: its engine has everything in the clear.
func (s *session) openBorrowed(read *engine.ParentRead) {
	if c := s.seal.clones; c != nil {
		c.Open(read.Data, read.Block*(cluster.BlockSize/cluster.LBASize))
	}
}

// seal encrypts what the host sent, in the target's buffer: nobody reads it in the clear again.
func (h *hostIO) seal() {
	if c := h.s.seal.hosts; c != nil {
		c.Seal(h.req.Data, h.req.Cmd.SLBA())
	}
}

// unseal decrypts what the engine read, in the buffer that goes to the host.
func (h *hostIO) unseal() {
	if c := h.s.seal.hosts; c != nil && h.op.Kind == engine.Read && h.op.Status == engine.OK {
		c.Open(h.op.Data, h.op.LBA)
	}
}
