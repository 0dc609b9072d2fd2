package initiator

import (
	"context"
	"errors"
	"fmt"

	"github.com/ashlar-storage/ashlar/dataplane/nvme"
)

// maxDiscoveryEntries bounds what a discovery controller can make us read.
const maxDiscoveryEntries = 16384

// Discover asks the discovery controller at cfg.Addr which subsystems this host may reach. cfg.SubNQN may be
// empty: then it is the well known discovery NQN.
func Discover(ctx context.Context, cfg Config) (*nvme.DiscoveryLog, error) {
	if cfg.SubNQN == "" {
		cfg.SubNQN = nvme.DiscoveryNQN
	}
	cfg.KATO = -1
	c, err := Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for range 8 { // the log may change while we read it
		l, err := c.discoveryLog(ctx)
		if !errors.Is(err, errChanged) {
			return l, err
		}
	}
	return nil, errChanged
}

var errChanged = errors.New("initiator: the discovery log changes faster than it can be read")

// discoveryLog reads the log in pieces, as the specification wants: header, entries, header again.
func (c *Client) discoveryLog(ctx context.Context) (*nvme.DiscoveryLog, error) {
	header := make([]byte, nvme.DiscoveryHeaderSize)
	if err := c.LogPage(ctx, nvme.GetLogPage{LID: nvme.LogDiscovery}, header); err != nil {
		return nil, err
	}
	gen, n, err := nvme.DecodeDiscoveryHeader(header)
	if err != nil {
		return nil, fmt.Errorf("discovery log: %w", err)
	}
	if n > maxDiscoveryEntries {
		return nil, fmt.Errorf("discovery log of %d entries", n)
	}
	l := &nvme.DiscoveryLog{GENCTR: gen}
	piece := make([]byte, 16*nvme.DiscoveryEntrySize)
	for at := uint64(0); at < n; {
		b := piece[:min(uint64(len(piece)), (n-at)*nvme.DiscoveryEntrySize)]
		off := nvme.DiscoveryHeaderSize + at*nvme.DiscoveryEntrySize
		if err := c.LogPage(ctx, nvme.GetLogPage{LID: nvme.LogDiscovery, Offset: off}, b); err != nil {
			return nil, err
		}
		for ; len(b) > 0; b = b[nvme.DiscoveryEntrySize:] {
			e, err := nvme.DecodeDiscoveryEntry(b)
			if err != nil {
				return nil, fmt.Errorf("discovery log entry %d: %w", at, err)
			}
			l.Entries = append(l.Entries, e)
			at++
		}
	}
	if err := c.LogPage(ctx, nvme.GetLogPage{LID: nvme.LogDiscovery}, header); err != nil {
		return nil, err
	}
	if again, _, err := nvme.DecodeDiscoveryHeader(header); err != nil || again != gen {
		return nil, errChanged
	}
	return l, nil
}
