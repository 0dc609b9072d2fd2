// Package chaos takes a real cluster of ashlard processes through faults while hosts write and read, and
// holds everything the hosts saw against the promises P1 to P3 (dataplane/sim/history).
//
//	go test -tags e2e ./e2e/chaos                          two minutes, one fault of each kind
//	go test -tags e2e,full ./e2e/chaos -chaos.for=20m      more of them, in an order that the seed decides
//	                                   -chaos.seed=7
//
// The players:
//
//   - a volume with its history and its writers (volume_test.go), multipath hosts that must never see an
//     error;
//   - witnesses (witness_test.go), one per volume and node: hosts that have only that node's portal, never
//     look at ANA and read all the time. A node may refuse them, but what it answers must fit the history.
//     While a node hangs, their commands pile up in its sockets; so it finds them the moment it goes on;
//   - the faults (faults_test.go), one at a time, each followed by a wait for the cluster to be whole again;
//   - the end (replicas_test.go): every node becomes owner once and everything is read through it; then all
//     nodes stop, every page store is checked, all copies must be equal and hold what the history says.
//
// Every fault prints what hosts felt: the longest time without any completion on a volume, the slowest
// operation, and from the logs when the take-over began and when the new owner answered.
package chaos
