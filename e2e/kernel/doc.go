// Package kernel has the Linux NVMe/TCP initiator, nvme-cli, fio and ext4 use what we serve, in a guest
// (package guest). Two halves, both with the build tag e2e:
//
//   - the target alone (dataplane/nvmet) over a namespace in memory, in the test's own process: commands,
//     file system, resize, ANA, access, keep-alive, garbage. A failure here is the target's.
//   - a cluster of ashlard processes (package cluster): nodes and devices are lost under I/O.
//
// Wireshark reads along (package wire), and TestBlktests runs a foreign suite when it is told where one is.
package kernel
