package daemon

import (
	"slices"
	"strings"
	"time"

	"github.com/ashlar-storage/ashlar/restapi/wire"
)

// Connections implements api.Surveyor.
func (d *daemon) Connections() []wire.Host {
	p := d.plane.Load()
	if p == nil {
		return nil // nothing is served yet
	}
	at := map[string]int{}
	var out []wire.Host
	for _, a := range (*p).Associations() {
		i, known := at[a.HostNQN]
		if !known {
			i = len(out)
			at[a.HostNQN], out = i, append(out, wire.Host{NQN: a.HostNQN})
		}
		out[i].Connections = append(out[i].Connections, wire.HostConnection{Node: d.state.Node, NQN: a.SubNQN,
			Address: a.Remote, Since: a.Since.UTC().Format(time.RFC3339), Queues: a.Queues})
	}
	slices.SortFunc(out, func(a, b wire.Host) int { return strings.Compare(a.NQN, b.NQN) })
	return out
}
