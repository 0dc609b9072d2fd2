package manager

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Feed calls f with the changes of resources and the events that the caller sees, those of one transaction
// together, from after revision after on (0: from now on). The first call has none: what happens from then on
// is not missed. It ends as store.Etcd.Follow does.
func (m *Manager) Feed(ctx context.Context, after int64, f func(rev int64, news []wire.Message) error) error {
	first := true
	return m.store.Follow(ctx, cluster.Prefix, after, func(rev int64, changes []store.Change) error {
		var news []wire.Message
		for _, c := range changes {
			if msg, ok := message(ctx, c); ok {
				news = append(news, msg)
			}
		}
		if len(news) == 0 && !first {
			return nil
		}
		first = false
		return f(rev, news)
	})
}

// resource says which resource a key is the record of. What nodes publish is no record.
func resource(key string) (s wire.Subject, ok bool) {
	for _, x := range []struct{ prefix, kind string }{
		{cluster.PrefixVolumes, "volume"}, {cluster.PrefixPools, "pool"}, {cluster.PrefixDevices, "device"},
		{cluster.PrefixNodes, "node"}, {cluster.PrefixProjects, "project"},
		{cluster.PrefixSnapshots, "snapshot"}, {cluster.PrefixGroups, "group"},
		{cluster.PrefixGroupSnapshots, "group-snapshot"}, {cluster.PrefixSchedules, "schedule"},
	} {
		if id, ok := strings.CutPrefix(key, x.prefix); ok {
			return wire.Subject{Type: x.kind, ID: id}, true
		}
	}
	return s, false
}

// message is what a change of a record means to the caller, if anything.
func message(ctx context.Context, c store.Change) (wire.Message, bool) {
	if strings.HasPrefix(c.Key, cluster.PrefixEvents) {
		e, err := readEvent(c.Key, c.Value)
		return wire.Message{Event: &e}, err == nil && sees(ctx, e.Project)
	}
	s, ok := resource(c.Key)
	if !ok || !hide(&c) || !seesRecord(ctx, s.Type, c) {
		return wire.Message{}, false
	}
	out := wire.Change{Subject: s, Action: wire.Updated, ETag: etag(c.Rev)}
	switch {
	case c.Value == nil:
		out.Action, out.ETag = wire.Deleted, ""
	case c.Before == nil:
		out.Action = wire.Created
	}
	return wire.Message{Change: &out}, true
}

// hide makes the end of a volume or snapshot for people its end; false: that was before, or it never began
// for them.
func hide(c *store.Change) bool {
	hidden := func(value []byte) bool {
		var rec struct {
			Hidden bool `json:"hidden"`
		}
		return value != nil && json.Unmarshal(value, &rec) == nil && rec.Hidden
	}
	if hidden(c.Before) || c.Before == nil && hidden(c.Value) {
		return false
	}
	if hidden(c.Value) {
		c.Value = nil
	}
	return true
}

// seesRecord asks the record, or what was there before it was deleted, whose it is.
func seesRecord(ctx context.Context, kind string, c store.Change) bool {
	if confinedTo(ctx) == "" {
		return true
	}
	switch kind {
	case "pool": // is everybody's
		return true
	case "project":
		return sees(ctx, strings.TrimPrefix(c.Key, cluster.PrefixProjects))
	}
	value := c.Value
	if value == nil {
		value = c.Before
	}
	var whose struct {
		Project string `json:"project"`
	}
	return json.Unmarshal(value, &whose) == nil && whose.Project != "" && sees(ctx, whose.Project)
}
