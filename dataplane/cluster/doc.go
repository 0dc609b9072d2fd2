// Package cluster is the vocabulary that every other package shares: identities, states, the immutable
// cluster map and the records kept beside it, their JSON, their etcd keys and the rules they must obey.
//
// It is pure: values and functions of values. Who may write which key is decided elsewhere (restapi/store);
// this package only says what a key is called and what a well-formed value looks like.
//
// Keys (all below [Prefix], values are JSON for people to read):
//
//	cluster                                   ClusterInfo, written once at bootstrap
//	map/epoch                                 decimal; raised by one in every transaction that changes the map
//	map/voters                                VoterList
//	map/nodes/<number>                        Node
//	map/devices/<number>                      Device (never deleted: a removed device stays as a tombstone)
//	map/pools/<name>                          Pool
//	counters/node, counters/device            last number given out
//	counters/pool                             last number given out
//	counters/vuid                             serial of the last VolumeKey given out; each is given out once
//	volumes/<uuid>                            Volume
//	names/<pool>/<name>                       the uuid of the volume of that name that is in no project
//	names/<pool>/<name>/<project>             and of the one in that project: a name is unique in its pool and
//	                                          project (names hold no slash, so the two kinds never meet)
//	projects/<name>                           Project: what it may use, and what it uses
//	provisioned/<pool>                        Provisioned: what the volumes of the pool ask for together
//	owners/<vuid>.<generation>                Owner: who serves the volume, where its journal is, which table
//	                                          places which group, what of its past is kept, how far its
//	                                          flatten or shrink is
//	snapshots/<uuid>                          Snapshot
//	snapnames/<volume's uuid>/<name>          the uuid of the volume's snapshot of that name
//	hidden/volumes/<uuid>                     a volume that was deleted and is kept for clones
//	hidden/snapshots/<volume's uuid>/<uuid>   a snapshot that was deleted and is kept for clones, or that was
//	                                          taken for one
//	hidden/unclaimed/<uuid>                   a snapshot that was taken for a clone which is not made yet
//	flattening/<uuid>                         a clone that is being flattened
//	shrinking/<uuid>                          a volume of which something is being cut off
//	purges/<vuid>.<generation>[/<pin>]        Purge of a volume that was deleted, or of a snapshot of it, until
//	                                          devices have given its space back
//	groups/<uuid>                             Group
//	groupnames/<name>                         the uuid of the group of that name that is in no project
//	groupnames/<name>/<project>               and of the one in that project
//	groupsnaps/<uuid>                         GroupSnapshot
//	groupsnapnames/<group's uuid>/<name>      the uuid of the group's snapshot of that name
//	schedules/<uuid>                          Schedule
//	scheduleruns/<uuid>                       ScheduleRuns: what has become of it, when it is looked at next
//	schedulenames/<name>                      the uuid of the schedule of that name that is in no project
//	schedulenames/<name>/<project>            and of the one in that project
//	schedulesof/volumes/<uuid>                the uuids of the schedules of a volume
//	schedulesof/groups/<uuid>                 and of a group
//	scheduledue/<time>/<uuid>                 lists a schedule by the time at which it is looked at next
//	stats/nodes/<number>                      NodeStats: what a node publishes about itself, at a low rate
//	stats/volumes/<slice>/<number>            VolumeSlice: and about the volumes of a slice that it serves
//	alive/nodes/<number>                      present while the node's daemon keeps its etcd lease; only shown
//	                                          to people, nothing about data is decided by it
//	clocks/nodes/<number>                     NodeClock: what time it was for a node, while there are schedules
//	secret                                    Secret: what admits a node to the listeners between nodes
//	authority                                 Authority: who issues the nodes' certificates
//	tokens/<id>                               credentials of the REST API, written and read by restapi only
//	events/<id>                               what happened, newest first; restapi only, ends by itself
//	seen/nodes/<number>                       whether a node was up when it was looked at last; restapi only
//	requests/<hash>                           calls with an idempotency key, restapi only; ends by itself
//
// The map (everything under map/) is replaced as a whole: all keys changed by one etcd transaction carry one
// revision and become visible together, with a higher epoch.
package cluster
