// Package openstack compares what Cinder has with what a cluster has.
//
// Contract: [Login], [ReadCinder] and [ReadCluster] get the two sides, [Compare] is pure and says how they
// differ, [Repair] ends one difference where that takes nothing from anybody who uses it. Cinder is asked
// through its public API, as an administrator, and never changed.
//
// Both sides change all the time, so the cluster is looked at before and after Cinder: what was there both
// times, while Cinder did not know it, is left over; what was there neither time, while Cinder shows it as
// done, is missing. What Cinder is working on (creating, deleting, uploading, ...) and what ended in an error
// is no difference: cinder-volume goes on with it when it starts again, or a user deletes it.
//
// Whose a volume is: its place in Cinder is a pool of the scheduler whose location_info is the cluster's, as
// the driver reports it. What the cluster has was made by Cinder if its name is volume-ID or snapshot-ID with
// its own id, which is how the driver names; anything else is none of Cinder's business. A volume that was
// given out of Cinder's hands (unmanaged) keeps such a name: that is why leftovers are deleted only when a
// person says so.
//
// Groups are compared whose type in Cinder has consistent_group_snapshot_enabled; the driver names them, and
// group snapshots, group-ID. Their own volumes say in which cluster they are, so of a group without volumes
// nothing is missing, and it is left over only where no other Cinder can have made it.
//
// A snapshot that Cinder took over (managed) goes by an id that Cinder's API does not show. Where the volume
// has a snapshot that Cinder did not name, one that seems to be missing may be that one, and is not reported.
package openstack
