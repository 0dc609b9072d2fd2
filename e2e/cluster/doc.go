// Package cluster starts real ashlard processes for end-to-end tests and does to them what happens to
// servers: kill -9, a hang, a restart, a dead disk.
//
//	c := cluster.Start(t, cluster.Options{})     three nodes, a disk each, a pool of two copies
//	v := c.CreateVolume("v", 64<<20)             by REST; c.API has every other call
//	owner := c.Owner(v.ID)
//	owner.Kill(); …; owner.Restart()
//	c.Nodes[1].Disks[0].Lose()
//
// Programs are built from the tree; everything listens on loopback, at ports outside the range that the
// kernel gives to outgoing connections, so that a node comes back at the address it had. With
// Options.Network, nodes sit in namespaces of their own, and networks fail, too (package network). Disks are
// memory (see Disk): they outlive a killed daemon, not the test. Processes end with the test, or with the
// test process. When a test fails, data directories, logs and copies of the disks stay behind, and the test
// says where. Every wait is bounded by Options.Patience.
package cluster
