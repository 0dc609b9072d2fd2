package metrics

import (
	"fmt"
	"slices"
	"strings"
)

// kind is a type of Prometheus.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// family is all series of one name.
type family struct {
	name   string
	kind   kind
	labels string // separated by spaces
	help   string
}

// families is everything that a node shows of itself, in the order of docs/metrics.md.
func families() []family {
	return slices.Concat(volumeFamilies(), nodeFamilies(), deviceFamilies())
}

func volumeFamilies() []family {
	const volume, io = "volume pool", "volume pool direction"
	return []family{
		{"ashlar_build_info", gauge, "version commit go", "1; the labels say what the daemon was built from"},
		{"ashlar_owned_volumes", gauge, "", "volumes that this node owns"},
		{"ashlar_volumes_without_series", gauge, "", "owned volumes beyond the bound, counted in their pool"},

		{"ashlar_volume_info", gauge, "volume pool name", "1; the name of a volume"},
		{"ashlar_volume_size_bytes", gauge, volume, "size as hosts see it"},
		{"ashlar_volume_serving", gauge, volume, "1 while hosts are let in, 0 while the volume is being opened"},
		{"ashlar_volume_owner_epoch", gauge, volume, "owner epoch of this node"},
		{"ashlar_volume_operations_total", counter, io, "operations of hosts"},
		{"ashlar_volume_errors_total", counter, io, "operations of hosts that failed, path errors included"},
		{"ashlar_volume_bytes_total", counter, io, "bytes of operations that succeeded"},
		{"ashlar_volume_latency_seconds", histogram, io, "time in the engine; powers of 4"},
		{"ashlar_volume_stage_seconds_total", counter, "volume pool stage direction",
			"time that these were in a stage"},
		{"ashlar_volume_inflight", gauge, volume, "operations of hosts under way"},
		{"ashlar_volume_waiting", gauge, volume, "operations and rows that wait for a device"},
		{"ashlar_volume_degraded_reads_total", counter, volume, "reads that had to decode, or ask another copy"},
		{"ashlar_volume_repaired_blocks_total", counter, volume, "bad and lost blocks written again"},
		{"ashlar_volume_unrepaired_blocks", gauge, volume, "bad blocks that could not be repaired so far"},
		{"ashlar_volume_down_devices", gauge, volume, "devices that do not answer the owner"},
		{"ashlar_volume_away_chunks", gauge, volume, "chunks that are not at home"},
		{"ashlar_volume_stale_chunks", gauge, volume, "of these, chunks that missed writes and do not count"},
		{"ashlar_volume_journal_entries_total", counter, volume, "entries made in the placement journal"},
		{"ashlar_volume_moving", gauge, volume, "1 while the volume moves to another group table"},
		{"ashlar_volume_moved_groups", gauge, volume, "groups that have moved, of 65536; 0 when at rest"},
		{"ashlar_volume_copied_bytes_total", counter, volume, "bytes brought home or moved"},
		{"ashlar_volume_inherited_bytes_total", counter, volume, "bytes that a clone asked its parent for"},
		{"ashlar_volume_flattened_bytes_total", counter, volume, "of these, bytes copied by a flatten"},
		{"ashlar_volume_packed_bytes_total", counter, volume, "bytes of stripe units that were compressed"},
		{"ashlar_volume_packed_into_bytes_total", counter, volume, "bytes that are stored of them"},
		{"ashlar_volume_opened_rows_total", counter, volume + " outcome",
			"row versions that the open found unfinished: completed (forward) or undone"},
		{"ashlar_volume_comparisons_total", counter, volume, "passes that compared all rows"},
		{"ashlar_volume_disagreed_rows_total", counter, volume, "rows with wrong parities, written anew"},

		{"ashlar_pool_operations_total", counter, "pool direction", "operations of hosts on this node's volumes"},
		{"ashlar_pool_errors_total", counter, "pool direction", "of these, failed ones"},
		{"ashlar_pool_bytes_total", counter, "pool direction", "bytes of operations that succeeded"},
		{"ashlar_pool_latency_seconds", histogram, "pool direction", "time in the engine; powers of 2"},
		{"ashlar_pool_stage_seconds", histogram, "pool stage direction", "time in a stage; powers of 2"},
	}
}

func nodeFamilies() []family {
	const target = "target"
	return []family{
		{"ashlar_lease_seconds", gauge, "", "how long hosts may still be answered"},
		{"ashlar_lease_renewals_total", counter, "outcome", "renewals, answered or failed"},
		{"ashlar_takeovers_total", counter, "outcome", "take-overs: taken, failed, served (hosts let in)"},
		{"ashlar_volumes_given_up_total", counter, "", "volumes given up, for whatever reason"},
		{"ashlar_peer_connected", gauge, "node", "1 while this node is connected to that one"},

		{"ashlar_nvmet_subsystems", gauge, target, "subsystems shown, to hosts or to nodes"},
		{"ashlar_nvmet_controllers", gauge, target, "associations"},
		{"ashlar_nvmet_connections", gauge, target, "TCP connections: one for each queue"},
		{"ashlar_nvmet_accepted_total", counter, target, "connections accepted, refused ones included"},
		{"ashlar_nvmet_commands_total", counter, target, "I/O commands carried out"},
		{"ashlar_nvmet_bytes_total", counter, target + " direction", "bytes read and written by commands"},
		{"ashlar_nvmet_memory_bytes", gauge, target, "buffers that queues hold beyond their reserves"},
		{"ashlar_nvmet_memory_limit_bytes", gauge, target, "most of these"},
		{"ashlar_api_request_seconds", histogram, "method route status",
			"REST calls answered by this node; status is 2xx, 4xx or 5xx"},
	}
}

func deviceFamilies() []family {
	const device = "device"
	return []family{
		{"ashlar_device_open", gauge, device, "1 while the device is served"},
		{"ashlar_device_operations_total", counter, "device kind", "operations of the page store on the disk"},
		{"ashlar_device_errors_total", counter, "device kind", "of these, failed ones"},
		{"ashlar_device_bytes_total", counter, "device kind", "bytes read, written and discarded"},
		{"ashlar_device_latency_seconds", histogram, "device kind", "time with queue and disk; powers of 2"},
		{"ashlar_device_inflight", gauge, device, "operations submitted and not done"},

		{"ashlar_store_blocks", gauge, "device state", "blocks of 4 KiB: free, live, pending"},
		{"ashlar_store_dropped_blocks", gauge, device, "of the pending ones, those of deleted volumes"},
		{"ashlar_store_tombstones", gauge, device, "versions that hold nothing"},
		{"ashlar_store_bad_versions", gauge, device, "versions known to be bad"},
		{"ashlar_store_map_memory_bytes", gauge, device, "memory of the map, outside the Go heap"},
		{"ashlar_store_mounts", gauge, device, "times that the device was opened, ever"},
		{"ashlar_store_data_bytes_total", counter, device, "data written"},
		{"ashlar_store_log_bytes_total", counter, device, "metadata log written"},
		{"ashlar_store_checkpoint_bytes_total", counter, device, "checkpoints written, both copies"},
		{"ashlar_store_commits_total", counter, device, "groups committed"},
		{"ashlar_store_records_total", counter, device, "log records"},
		{"ashlar_store_flushes_total", counter, device, "flushes"},
		{"ashlar_store_checkpoints_total", counter, device, "checkpoints"},
		{"ashlar_store_crc_errors_total", counter, device, "blocks found bad by reads"},
		{"ashlar_store_ring_bytes", gauge, "device ring", "size of the log and of a copy of the checkpoint ring"},
		{"ashlar_store_ring_used_bytes", gauge, "device ring", "what recovery would read of it"},

		{"ashlar_scrub_running", gauge, device, "1 while a pass is under way"},
		{"ashlar_scrub_found_total", counter, device, "bad blocks found, ever"},
		{"ashlar_scrub_passes_total", counter, device, "passes that ended"},
	}
}

// labelNames are the labels of a family.
func (f *family) labelNames() []string { return strings.Fields(f.labels) }

// Table is the documentation of the families (Markdown).
func Table() string {
	var b strings.Builder
	b.WriteString("| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, strings.Join(f.labelNames(), ", "), f.help)
	}
	return b.String()
}

// foreign are the families of libraries that are worth showing: of Go's runtime, of the process, and of the
// embedded etcd, whose disk decides how fast the control plane is.
func foreign() []string {
	return []string{"go_", "process_", "etcd_server_has_leader", "etcd_server_is_leader",
		"etcd_server_leader_changes_seen_total", "etcd_server_proposals_", "etcd_disk_wal_fsync_duration_seconds",
		"etcd_disk_backend_commit_duration_seconds", "etcd_mvcc_db_total_size_in_bytes"}
}
