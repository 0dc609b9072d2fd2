// Package chaos takes a real cluster of ashlard processes through faults while hosts write and read, and
// holds everything the hosts saw against the promises P1 to P3 (dataplane/sim/history).
//
//	go test -tags e2e ./e2e/chaos                          five minutes, one fault of each kind
//	go test -tags e2e,full ./e2e/chaos -chaos.for=20m      more of them, in an order that the seed decides
//	            -chaos.seed=7 -chaos.pools=disks -chaos.only=isolation
//
// The players:
//
//   - a configuration (pools_test.go): nodes, disks, and the policy of every volume's pool. Nothing else but
//     a look at the disks knows what a code is;
//   - a volume with its history and its writers (volume_test.go), multipath hosts that must never see an
//     error;
//   - witnesses (witness_test.go), one per volume and node: hosts that have only that node's portal, never
//     look at ANA and read all the time. A node may refuse them, but what it answers must fit the history.
//     While a node hangs, their commands pile up in its sockets; so it finds them the moment it goes on.
//     While it is cut off from the others, they keep asking it about what its successor has written;
//   - the faults, one at a time, each followed by a wait for the cluster to be whole again: what happens to
//     processes and disks (faults_test.go), and what happens to the network between nodes that sit in
//     namespaces of their own (partitions_test.go, package network);
//   - the world (world_test.go), which knows what is down and therefore whose I/O must go on;
//   - the end (end_test.go): every node goes away once, and everything that the others must be able to give
//     is read; then all nodes stop, every page store is checked, and of every block row each n columns must
//     yield the others, and all of them what the history says (rows_test.go).
//
// Every fault prints what hosts felt: the longest time without any completion on a volume, the slowest
// operation, and from the logs when the take-over began and when the new owner answered. The end of a test is
// a table of the longest pauses by kind of fault.
package chaos
