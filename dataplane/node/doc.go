// Package node assembles the data plane of one node: devices with their page stores, the chunk server, the
// voter, the connections to other nodes, the gateway, and the two NVMe/TCP targets (for hosts; for nodes). It
// follows the cluster state and decides nothing itself.
//
//	                     states (watch)
//	                         |
//	      .--------- follow: one state after the other ---------.
//	      v            v             v            v              v
//	  devices       peers        gateway      subsystems       purge
//	(open, attach) (connect)  (volumes, owners) (NQN, hosts)  (deleted volumes)
//
// Start: bind the listeners, open the voter, then everything else as the first state says. Stop: hand the
// volumes over while the listeners are still open (a closed listener proves to others that nothing is served
// here any more), then close from the top down.
package node
