package cluster

import (
	"fmt"
	"strconv"
	"strings"
)

// Prefix begins every key. The number is the version of this layout.
const Prefix = "/ashlar/v1/"

// Fixed keys.
const (
	KeyCluster       = Prefix + "cluster"
	KeySecret        = Prefix + "secret"
	KeyAuthority     = Prefix + "authority"
	KeyMapEpoch      = Prefix + "map/epoch"
	KeyVoters        = Prefix + "map/voters"
	KeyClusterKeys   = Prefix + "keys"
	KeyCounterNode   = Prefix + "counters/node"
	KeyCounterDevice = Prefix + "counters/device"
	KeyCounterPool   = Prefix + "counters/pool"
	KeyCounterVUID   = Prefix + "counters/vuid"
)

// Key prefixes of collections.
const (
	PrefixMap           = Prefix + "map/"
	PrefixNodes         = Prefix + "map/nodes/"
	PrefixDevices       = Prefix + "map/devices/"
	PrefixPools         = Prefix + "map/pools/"
	PrefixVolumes       = Prefix + "volumes/"
	PrefixNames         = Prefix + "names/"
	PrefixOwners        = Prefix + "owners/"
	PrefixSnapshots     = Prefix + "snapshots/"
	PrefixSnapshotNames = Prefix + "snapnames/"
	PrefixStats         = Prefix + "stats/nodes/"
	PrefixVolumeStats   = Prefix + "stats/volumes/"
	PrefixAlive         = Prefix + "alive/nodes/"
	PrefixClocks        = Prefix + "clocks/nodes/"
	PrefixTokens        = Prefix + "tokens/"

	PrefixHiddenVolumes   = Prefix + "hidden/volumes/"
	PrefixHiddenSnapshots = Prefix + "hidden/snapshots/"
	PrefixUnclaimed       = Prefix + "hidden/unclaimed/"
	PrefixFlattening      = Prefix + "flattening/"
	PrefixShrinking       = Prefix + "shrinking/"
	PrefixPurges          = Prefix + "purges/"

	PrefixGroups             = Prefix + "groups/"
	PrefixGroupNames         = Prefix + "groupnames/"
	PrefixGroupSnapshots     = Prefix + "groupsnaps/"
	PrefixGroupSnapshotNames = Prefix + "groupsnapnames/"

	PrefixSchedule      = Prefix + "schedule" // begins all keys of schedules
	PrefixSchedules     = PrefixSchedule + "s/"
	PrefixScheduleRuns  = PrefixSchedule + "runs/"
	PrefixScheduleNames = PrefixSchedule + "names/"
	PrefixSchedulesOf   = PrefixSchedule + "sof/"
	PrefixScheduleDue   = PrefixSchedule + "due/"

	PrefixProjects    = Prefix + "projects/"
	PrefixProvisioned = Prefix + "provisioned/"
	PrefixEvents      = Prefix + "events/"
	PrefixSeen        = Prefix + "seen/nodes/"
	PrefixRequests    = Prefix + "requests/"
)

// KeyNode is where a node's record lives.
func KeyNode(n NodeID) string { return PrefixNodes + strconv.FormatUint(uint64(n), 10) }

// KeyDevice is where a device's record lives.
func KeyDevice(d DeviceID) string { return PrefixDevices + strconv.FormatUint(uint64(d), 10) }

// KeyProvisioned is where what the volumes of a pool ask for is counted.
func KeyProvisioned(pool string) string { return PrefixProvisioned + pool }

// KeyPool is where a pool's record lives.
func KeyPool(name string) string { return PrefixPools + name }

// KeyVolume is where a volume's record lives.
func KeyVolume(u UUID) string { return PrefixVolumes + u.String() }

// KeyVolumeName reserves a volume name within its pool and project; no project: "".
func KeyVolumeName(pool, name, project string) string {
	if project == "" {
		return PrefixNames + pool + "/" + name
	}
	return PrefixVolumeName(pool, name) + project
}

// PrefixVolumeName begins the keys of that name in all projects.
func PrefixVolumeName(pool, name string) string { return PrefixNames + pool + "/" + name + "/" }

// KeyProject is where the record of a project lives.
func KeyProject(name string) string { return PrefixProjects + name }

// KeyOwner is where the owner record of a volume lives.
func KeyOwner(v VolumeKey) string { return PrefixOwners + v.String() }

// KeySnapshot is where a snapshot's record lives.
func KeySnapshot(u UUID) string { return PrefixSnapshots + u.String() }

// PrefixSnapshotsOf begins the keys that name the snapshots of a volume.
func PrefixSnapshotsOf(volume UUID) string { return PrefixSnapshotNames + volume.String() + "/" }

// KeySnapshotName reserves a snapshot name within its volume.
func KeySnapshotName(volume UUID, name string) string { return PrefixSnapshotsOf(volume) + name }

// KeyHiddenVolume lists a volume that is kept for clones of its snapshots.
func KeyHiddenVolume(u UUID) string { return PrefixHiddenVolumes + u.String() }

// PrefixHiddenSnapshotsOf begins the keys that list the hidden snapshots of a volume.
func PrefixHiddenSnapshotsOf(volume UUID) string {
	return PrefixHiddenSnapshots + volume.String() + "/"
}

// KeyHiddenSnapshot lists a snapshot that is kept for its clones.
func KeyHiddenSnapshot(volume, snapshot UUID) string {
	return PrefixHiddenSnapshotsOf(volume) + snapshot.String()
}

// KeyUnclaimed lists a hidden snapshot that was taken for a clone, and has none yet.
func KeyUnclaimed(snapshot UUID) string { return PrefixUnclaimed + snapshot.String() }

// KeyPurge is where what is known of a volume that was deleted is kept or, with the pin that it had, of a
// snapshot of the volume.
func KeyPurge(v VolumeKey, pin Seq) string {
	if pin == 0 {
		return PrefixPurges + v.String()
	}
	return PrefixPurges + v.String() + "/" + pin.String()
}

// KeyFlattening lists a clone that is being flattened.
func KeyFlattening(u UUID) string { return PrefixFlattening + u.String() }

// KeyShrinking lists a volume that is being shrunk.
func KeyShrinking(u UUID) string { return PrefixShrinking + u.String() }

// KeyGroup is where the record of a group of volumes lives.
func KeyGroup(u UUID) string { return PrefixGroups + u.String() }

// KeyGroupName reserves the name of a group within its project; no project: "".
func KeyGroupName(name, project string) string {
	if project == "" {
		return PrefixGroupNames + name
	}
	return PrefixGroupNames + name + "/" + project
}

// KeyGroupSnapshot is where the record of a group snapshot lives.
func KeyGroupSnapshot(u UUID) string { return PrefixGroupSnapshots + u.String() }

// PrefixGroupSnapshotsOf begins the keys that name the snapshots of a group.
func PrefixGroupSnapshotsOf(group UUID) string {
	return PrefixGroupSnapshotNames + group.String() + "/"
}

// KeyGroupSnapshotName reserves the name of a group snapshot within its group.
func KeyGroupSnapshotName(group UUID, name string) string {
	return PrefixGroupSnapshotsOf(group) + name
}

// KeySchedule is where the record of a schedule lives.
func KeySchedule(u UUID) string { return PrefixSchedules + u.String() }

// KeyScheduleRuns is where what has become of a schedule is kept.
func KeyScheduleRuns(u UUID) string { return PrefixScheduleRuns + u.String() }

// KeyScheduleName reserves the name of a schedule within its project; no project: "".
func KeyScheduleName(name, project string) string {
	if project == "" {
		return PrefixScheduleNames + name
	}
	return PrefixScheduleNames + name + "/" + project
}

// KeySchedulesOfVolume lists the schedules of a volume.
func KeySchedulesOfVolume(u UUID) string { return PrefixSchedulesOf + "volumes/" + u.String() }

// KeySchedulesOfGroup lists the schedules of a group.
func KeySchedulesOfGroup(u UUID) string { return PrefixSchedulesOf + "groups/" + u.String() }

// KeyScheduleDue lists a schedule by the time (RFC 3339, in UTC) at which it is looked at next.
func KeyScheduleDue(at string, u UUID) string { return PrefixScheduleDue + at + "/" + u.String() }

// KeyNodeStats is where a node publishes its figures.
func KeyNodeStats(n NodeID) string { return PrefixStats + strconv.FormatUint(uint64(n), 10) }

// KeyVolumeStats is where a node publishes those of the volumes of one slice.
func KeyVolumeStats(slice uint32, n NodeID) string {
	return PrefixVolumeStatsOf(slice) + strconv.FormatUint(uint64(n), 10)
}

// PrefixVolumeStatsOf begins the keys of what nodes publish of the volumes of one slice.
func PrefixVolumeStatsOf(slice uint32) string {
	return PrefixVolumeStats + strconv.FormatUint(uint64(slice), 10) + "/"
}

// KeyNodeAlive is the key that a running daemon keeps alive by a lease.
func KeyNodeAlive(n NodeID) string { return PrefixAlive + strconv.FormatUint(uint64(n), 10) }

// KeyNodeClock is where a node tells its time.
func KeyNodeClock(n NodeID) string { return PrefixClocks + strconv.FormatUint(uint64(n), 10) }

// KeyToken is where a credential of the REST API lives (its hash, never its secret).
func KeyToken(id UUID) string { return PrefixTokens + id.String() }

// KeyRequest is where a call of the REST API that bears an idempotency key is remembered.
func KeyRequest(name string) string { return PrefixRequests + name }

// KeyEvent is where an event lives.
func KeyEvent(id string) string { return PrefixEvents + id }

// KeyNodeSeen is how a node was seen last, so that what is seen next is news only once.
func KeyNodeSeen(n NodeID) string { return PrefixSeen + strconv.FormatUint(uint64(n), 10) }

// ParseOwnerKey is the inverse of KeyOwner.
func ParseOwnerKey(key string) (VolumeKey, error) {
	rest, ok := strings.CutPrefix(key, PrefixOwners)
	if !ok {
		return VolumeKey{}, fmt.Errorf("%w: owner key %q", ErrBadKey, key)
	}
	return ParseVolumeKey(rest)
}
