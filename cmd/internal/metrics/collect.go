package metrics

import (
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/dataplane/gateway"
	"github.com/ashlar-storage/ashlar/dataplane/node"
	"github.com/ashlar-storage/ashlar/dataplane/nvmet"
	"github.com/ashlar-storage/ashlar/dataplane/stats"
)

// scrape is one answer under way.
type scrape struct {
	m  *Metrics
	ch chan<- prometheus.Metric
}

func (s scrape) desc(name string) *prometheus.Desc {
	d := s.m.descs[name]
	if d == nil {
		panic("metrics: " + name + " is not listed in families.go")
	}
	return d
}

func (s scrape) gauge(name string, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.desc(name), prometheus.GaugeValue, v, labels...)
}

func (s scrape) count(name string, v uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.desc(name), prometheus.CounterValue, float64(v), labels...)
}

// seconds shows a sum of nanoseconds.
func (s scrape) seconds(name string, ns uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.desc(name), prometheus.CounterValue, float64(ns)/1e9, labels...)
}

// histogram shows powers of 2^step from 2^from ns.
func (s scrape) histogram(name string, h *stats.Histogram, from, step int, labels ...string) {
	buckets := make(map[float64]uint64)
	for exp := from; exp < stats.MaxExp; exp += step {
		buckets[math.Ldexp(1, exp)/1e9] = h.Below(exp)
	}
	s.ch <- prometheus.MustNewConstHistogram(s.desc(name), h.Count(), float64(h.Sum)/1e9, buckets, labels...)
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// The bounds that histograms show.
const (
	coarseFrom, coarseStep = 14, 2
	fineFrom, fineStep     = stats.MinExp, 1
)

func (s scrape) volumes(f *node.Figures) {
	all := f.Gateway.Volumes
	s.gauge("ashlar_owned_volumes", float64(len(all)))
	s.gauge("ashlar_volumes_without_series", float64(max(0, len(all)-MaxVolumes)))
	if len(all) > MaxVolumes { // the same ones at every scrape
		slices.SortFunc(all, func(a, b gateway.VolumeFigures) int {
			return slices.Compare(a.UUID[:], b.UUID[:])
		})
		all = all[:MaxVolumes]
	}
	for i := range all {
		s.volume(&all[i], f.Names[all[i].Key])
	}
}

func (s scrape) volume(v *gateway.VolumeFigures, name string) {
	id := v.UUID.String()
	s.gauge("ashlar_volume_info", 1, id, v.Pool, name)
	c, st := &v.Counters, &v.State
	for name, value := range map[string]float64{
		"size_bytes": float64(v.Size), "serving": one(v.Serving), "owner_epoch": float64(v.Epoch),
		"inflight": float64(v.InFlight), "waiting": float64(st.Waiting), "unrepaired_blocks": float64(st.Bad),
		"down_devices": float64(len(st.Down)), "away_chunks": float64(st.Away), "stale_chunks": float64(st.Stale),
		"moving": one(st.MovingTo != 0), "moved_groups": float64(st.Cursor),
	} {
		s.gauge("ashlar_volume_"+name, value, id, v.Pool)
	}
	for name, value := range map[string]uint64{
		"degraded_reads": c.Degraded, "repaired_blocks": c.Repaired, "journal_entries": c.Entries,
		"copied_bytes": c.Copied * cluster.BlockSize, "comparisons": c.AuditPasses, "disagreed_rows": c.Disagreed,
		"inherited_bytes": c.Inherited * cluster.BlockSize, "flattened_bytes": c.Flattened * cluster.BlockSize,
		"packed_bytes": c.Packed * cluster.BlockSize, "packed_into_bytes": c.PackedInto * cluster.BlockSize,
	} {
		s.count("ashlar_volume_"+name+"_total", value, id, v.Pool)
	}
	s.count("ashlar_volume_opened_rows_total", c.Forward, id, v.Pool, "forward")
	s.count("ashlar_volume_opened_rows_total", c.Undone, id, v.Pool, "undone")
	s.io("ashlar_volume_", v.IO, coarseFrom, coarseStep, id, v.Pool)
	for stage := range v.Stages {
		for d := range v.Stages[stage] {
			s.seconds("ashlar_volume_stage_seconds_total", v.Stages[stage][d].Sum, id, v.Pool,
				stats.Stage(stage).String(), stats.Direction(d).String())
		}
	}
}

// io shows what hosts did; labels come before the direction.
func (s scrape) io(prefix string, io *stats.IO, from, step int, labels ...string) {
	for d := range io {
		s.flow(prefix, &io[d], from, step, append(slices.Clone(labels), stats.Direction(d).String())...)
	}
}

func (s scrape) flow(prefix string, f *stats.Flow, from, step int, labels ...string) {
	s.count(prefix+"operations_total", f.Ops(), labels...)
	s.count(prefix+"errors_total", f.Errors, labels...)
	s.count(prefix+"bytes_total", f.Bytes, labels...)
	s.histogram(prefix+"latency_seconds", &f.Latency, from, step, labels...)
}

func (s scrape) pools(f *node.Figures) {
	for i := range f.Gateway.Pools {
		p := &f.Gateway.Pools[i]
		s.io("ashlar_pool_", &p.IO, fineFrom, fineStep, p.Name)
		for stage := range p.Stages {
			for d := range p.Stages[stage] {
				s.histogram("ashlar_pool_stage_seconds", &p.Stages[stage][d], fineFrom, fineStep, p.Name,
					stats.Stage(stage).String(), stats.Direction(d).String())
			}
		}
	}
}

func (s scrape) gateway(f *node.Figures) {
	g := &f.Gateway
	s.gauge("ashlar_lease_seconds", g.Lease.Seconds())
	s.count("ashlar_lease_renewals_total", g.Renewed, "answered")
	s.count("ashlar_lease_renewals_total", g.Unrenewed, "failed")
	s.count("ashlar_takeovers_total", g.Taken, "taken")
	s.count("ashlar_takeovers_total", g.Failed, "failed")
	s.count("ashlar_takeovers_total", g.Served, "served")
	s.count("ashlar_volumes_given_up_total", g.Ended)
	for id, connected := range f.Peers {
		s.gauge("ashlar_peer_connected", one(connected), strconv.FormatUint(uint64(id), 10))
	}
}

func (s scrape) target(name string, t *nvmet.Figures) {
	s.gauge("ashlar_nvmet_subsystems", float64(t.Subsystems), name)
	s.gauge("ashlar_nvmet_controllers", float64(t.Controllers), name)
	s.gauge("ashlar_nvmet_connections", float64(t.Connections), name)
	s.count("ashlar_nvmet_accepted_total", t.Accepted, name)
	s.count("ashlar_nvmet_commands_total", t.Commands, name)
	s.count("ashlar_nvmet_bytes_total", t.BytesRead, name, "read")
	s.count("ashlar_nvmet_bytes_total", t.BytesWritten, name, "write")
	s.gauge("ashlar_nvmet_memory_bytes", float64(t.Memory), name)
	s.gauge("ashlar_nvmet_memory_limit_bytes", float64(t.MemoryLimit), name)
}

func (s scrape) device(d *node.DeviceFigures) {
	id := strconv.FormatUint(uint64(d.Device), 10)
	s.gauge("ashlar_device_open", one(d.Open), id)
	if !d.Open {
		return
	}
	s.flow("ashlar_device_", &d.Disk.Read, fineFrom, fineStep, id, "read")
	s.flow("ashlar_device_", &d.Disk.Write, fineFrom, fineStep, id, "write")
	s.flow("ashlar_device_", &d.Disk.Flush, fineFrom, fineStep, id, "flush")
	s.flow("ashlar_device_", &d.Disk.Discard, fineFrom, fineStep, id, "discard")
	s.gauge("ashlar_device_inflight", float64(d.Disk.InFlight), id)
	s.store(d, id)
	s.gauge("ashlar_scrub_running", one(d.Scrub.State == cluster.ScrubRunning), id)
	s.count("ashlar_scrub_found_total", d.Scrub.Found, id)
	s.count("ashlar_scrub_passes_total", d.Scrub.Passes, id)
}

func (s scrape) store(d *node.DeviceFigures, id string) {
	st := &d.Store
	s.gauge("ashlar_store_blocks", float64(st.FreeBlocks), id, "free")
	s.gauge("ashlar_store_blocks", float64(st.LiveBlocks), id, "live")
	s.gauge("ashlar_store_blocks", float64(st.PendingBlocks), id, "pending")
	s.gauge("ashlar_store_dropped_blocks", float64(st.DroppedBlocks), id)
	s.gauge("ashlar_store_tombstones", float64(st.Tombstones), id)
	s.gauge("ashlar_store_bad_versions", float64(st.BadVersions), id)
	s.gauge("ashlar_store_map_memory_bytes", float64(st.RAM.Total()), id)
	s.gauge("ashlar_store_mounts", float64(st.Incarnation), id)
	for name, value := range map[string]uint64{
		"data_bytes": st.Traffic.DataBytes, "log_bytes": st.Traffic.LogBytes,
		"checkpoint_bytes": st.Traffic.CheckpointBytes, "commits": st.Traffic.Commits,
		"records": st.Traffic.Records, "flushes": st.Traffic.Flushes, "checkpoints": st.Traffic.Checkpoints,
		"crc_errors": st.Traffic.CRCErrors,
	} {
		s.count("ashlar_store_"+name+"_total", value, id)
	}
	s.gauge("ashlar_store_ring_bytes", float64(st.Log.Bytes), id, "log")
	s.gauge("ashlar_store_ring_bytes", float64(st.Ring.Bytes), id, "checkpoint")
	s.gauge("ashlar_store_ring_used_bytes", float64(st.Log.Used), id, "log")
	s.gauge("ashlar_store_ring_used_bytes", float64(st.Ring.Used), id, "checkpoint")
}
