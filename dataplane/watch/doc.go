// Package watch turns the cluster's keys in etcd into a stream of immutable cluster states.
//
// Contract:
//
//   - A *cluster.State shows all keys as of one etcd revision: the changes of one transaction become
//     visible together, never in part. States are published in revision order; a reader that is slow misses
//     intermediate states, never the newest. Nobody may change a state.
//   - While etcd is away the last state stays (promise P4), and Status says so. When etcd is back the
//     stream goes on after the last revision; if that was compacted away meanwhile, everything is read
//     again.
//   - A record that cannot be read or breaks its rules is reported and ignored: its last good version
//     stays, until everything is read again.
//   - An etcd that knows less than we saw was restored from a backup. Nothing of it is applied: an owner
//     epoch that goes backward would let two gateways serve one volume. Status says so until a node
//     restarts.
//
// Flow of one change: restapi/store commits a transaction -> etcd sends its events in one watch response ->
// [table] applies them -> the next state is built by copying only the collections that changed ->
// published.
//
// Memory is two states at most (the newest and the one being built) plus what readers hold.
package watch
