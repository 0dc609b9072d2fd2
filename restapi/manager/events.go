package manager

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Events are kept for eventLife, and no more than maxEvents of them.
const (
	eventLife = 30 * 24 * time.Hour
	maxEvents = 10_000
)

// note adds an event to the transaction that makes it true: there is one if and only if it happened. The
// identity counts time backward, so that a list begins with the newest.
func (m *Manager) note(t *store.Txn, severity wire.Severity, kind string, about wire.Subject, project,
	format string, args ...any) {
	var id [14]byte
	now := m.now()
	binary.BigEndian.PutUint64(id[:8], uint64(math.MaxInt64-now.UnixNano()))
	_, _ = io.ReadFull(m.random, id[8:]) // events of the same moment; without chance they are one
	key := cluster.KeyEvent(hex.EncodeToString(id[:]))
	e := wire.Event{Time: now.UTC().Format(time.RFC3339), Severity: severity, Kind: kind, Subject: about,
		Project: project, Message: fmt.Sprintf(format, args...)}
	t.Put = append(t.Put, put(key, e).Lasting(eventLife))
	t.Blind = append(t.Blind, key)
}

func about(kind string, id any) wire.Subject { return wire.Subject{Type: kind, ID: fmt.Sprint(id)} }

func aboutVolume(rec *cluster.Volume) wire.Subject { return about("volume", rec.UUID) }

// EventFilter narrows a list of events; empty fields do not.
type EventFilter struct {
	Severity wire.Severity
	Kind     string // or the beginning of one, up to a dot
	Subject  string // the id of what it is about
}

func (f EventFilter) admits(e *wire.Event) bool {
	return (f.Severity == "" || e.Severity == f.Severity) && (f.Subject == "" || e.Subject.ID == f.Subject) &&
		(f.Kind == "" || e.Kind == f.Kind || strings.HasPrefix(e.Kind, f.Kind+"."))
}

// Events lists events that the caller sees, the newest first.
func (m *Manager) Events(ctx context.Context, p Page, f EventFilter) (wire.Page[wire.Event], error) {
	none := wire.Page[wire.Event]{}
	after, limit, err := p.after("events")
	if err != nil {
		return none, err
	}
	switch f.Severity {
	case "", wire.Info, wire.Warning, wire.Alarm:
	default:
		return none, refuse(wire.InvalidField, "severity", "%q is none of %s, %s, %s", f.Severity, wire.Info,
			wire.Warning, wire.Alarm)
	}
	out := wire.Page[wire.Event]{Items: []wire.Event{}}
	q := store.Query{Prefix: cluster.PrefixEvents, Limit: limit + 1}
	if after != "" {
		q.After = cluster.PrefixEvents + after
	}
	for {
		snap, err := m.store.Read(ctx, q)
		if err != nil {
			return none, err
		}
		for _, it := range snap.Results[0].Items {
			q.After = it.Key
			e, err := readEvent(it.Key, it.Value)
			if err != nil {
				return none, err
			}
			if !sees(ctx, e.Project) || !f.admits(&e) {
				continue
			}
			if len(out.Items) == limit {
				out.Next = cursorAfter("events", out.Items[limit-1].ID)
				return out, nil
			}
			out.Items = append(out.Items, e)
		}
		if !snap.Results[0].More {
			return out, nil
		}
	}
}

func readEvent(key string, value []byte) (wire.Event, error) {
	e, err := decode[wire.Event](store.Item{Key: key, Value: value})
	e.ID = strings.TrimPrefix(key, cluster.PrefixEvents)
	return e, err
}

// TrimEvents forgets the oldest events beyond the most that are kept.
func (m *Manager) TrimEvents(ctx context.Context) error { return m.trimEvents(ctx, maxEvents) }

func (m *Manager) trimEvents(ctx context.Context, most int) error {
	snap, err := m.store.Read(ctx, store.Query{Prefix: cluster.PrefixEvents, Limit: most})
	if err != nil || !snap.Results[0].More {
		return err
	}
	last := snap.Results[0].Items[most-1].Key
	for {
		snap, err := m.store.Read(ctx, store.Query{Prefix: cluster.PrefixEvents, After: last, Limit: store.MaxOps})
		if err != nil || len(snap.Results[0].Items) == 0 {
			return err
		}
		var t store.Txn
		for _, it := range snap.Results[0].Items {
			t.Delete = append(t.Delete, it.Key)
		}
		t.Blind = t.Delete
		if _, err := m.store.Commit(ctx, t); err != nil {
			return err
		}
	}
}

// LookAtNodes notes which nodes came and went since anybody looked last. Any number of nodes may look.
func (m *Manager) LookAtNodes(ctx context.Context) error {
	v, err := m.readMap(ctx, store.All(cluster.PrefixAlive), store.All(cluster.PrefixSeen))
	if err != nil {
		return err
	}
	alive, seen := revisions(v.extra[0]), revisions(v.extra[1])
	status := make(map[string]bool)
	for _, it := range v.extra[1].Items {
		if status[it.Key], err = decode[bool](it); err != nil {
			return err
		}
	}
	for _, n := range v.SortedNodes() {
		key, up := cluster.KeyNodeSeen(n.Number), alive[cluster.KeyNodeAlive(n.Number)] != 0
		if seen[key] != 0 && status[key] == up {
			continue
		}
		t := store.Txn{If: []store.Cond{{Key: key, Rev: seen[key]}}, Put: []store.Put{put(key, up)}}
		if up {
			m.note(&t, wire.Info, "node.up", about("node", n.Number), "", "node %d (%s) is up", n.Number, n.Name)
		} else {
			m.note(&t, wire.Alarm, "node.down", about("node", n.Number), "",
				"node %d (%s) does not keep itself alive", n.Number, n.Name)
		}
		_, err := m.store.Commit(ctx, t)
		if err != nil && !errors.Is(err, cluster.ErrConflict) { // or another node was faster
			return err
		}
	}
	return nil
}

func revisions(r store.Result) map[string]int64 {
	out := make(map[string]int64, len(r.Items))
	for _, it := range r.Items {
		out[it.Key] = it.Rev
	}
	return out
}

// noteStats adds what changed between two publications of a node to the transaction that writes the newer
// one.
func (m *Manager) noteStats(t *store.Txn, was, is *cluster.NodeStats) {
	before := make(map[cluster.DeviceID]*cluster.DeviceStats)
	for i := range was.Devices {
		before[was.Devices[i].Device] = &was.Devices[i]
	}
	for i := range is.Devices {
		if d := &is.Devices[i]; before[d.Device] != nil {
			m.noteDevice(t, before[d.Device], d)
		}
	}
	gone, back := onlyIn(is.Down, was.Down), onlyIn(was.Down, is.Down)
	for _, d := range gone[:min(len(gone), toldMost)] {
		m.note(t, wire.Warning, "device.unreachable", about("device", d), "",
			"device %d does not answer %d volumes of node %d", d, is.Down[d], is.Node)
	}
	if more := len(gone) - toldMost; more > 0 {
		m.note(t, wire.Warning, "device.unreachable", about("node", is.Node), "",
			"%d more devices do not answer volumes of node %d", more, is.Node)
	}
	for _, d := range back[:min(len(back), toldMost)] {
		m.note(t, wire.Info, "device.reachable", about("device", d), "",
			"device %d answers the volumes of node %d again", d, is.Node)
	}
	if more := len(back) - toldMost; more > 0 {
		m.note(t, wire.Info, "device.reachable", about("node", is.Node), "",
			"%d more devices answer the volumes of node %d again", more, is.Node)
	}
}

// toldMost bounds the devices that are lost, or come back, with an event of their own: when a rack goes, one
// transaction has to hold all that a node says.
const toldMost = 16

// onlyIn lists the devices that one of two publications counts and the other does not, by number.
func onlyIn(one, other map[cluster.DeviceID]int) []cluster.DeviceID {
	var out []cluster.DeviceID
	for d := range one {
		if other[d] == 0 {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

func (m *Manager) noteDevice(t *store.Txn, was, is *cluster.DeviceStats) {
	d := about("device", is.Device)
	switch {
	case was.Healthy && !is.Healthy:
		m.note(t, wire.Alarm, "device.unhealthy", d, "", "device %d is not healthy: %s", is.Device, is.Error)
	case !was.Healthy && is.Healthy:
		m.note(t, wire.Info, "device.healthy", d, "", "device %d is healthy again", is.Device)
	}
	switch {
	case was.Bad == 0 && is.Bad > 0:
		m.note(t, wire.Warning, "device.bad_blocks", d, "", "device %d has %d bad blocks", is.Device, is.Bad)
	case was.Bad > 0 && is.Bad == 0:
		m.note(t, wire.Info, "device.repaired", d, "", "no bad block of device %d is left", is.Device)
	}
	if was.Scrub == nil || is.Scrub == nil {
		return
	}
	if is.Scrub.Began != was.Scrub.Began {
		m.note(t, wire.Info, "scrub.began", d, "", "a pass over device %d began", is.Device)
	}
	if is.Scrub.Ended != was.Scrub.Ended {
		severity := wire.Info
		if is.Scrub.Bad > 0 {
			severity = wire.Warning
		}
		m.note(t, severity, "scrub.ended", d, "", "a pass over device %d read %d bytes and found %d bad blocks",
			is.Device, is.Scrub.Read, is.Scrub.Bad)
	}
}
