// Package peer is the traffic between nodes: chunk requests to the devices of other nodes, lease renewals,
// fences, the word of a former owner, what scrubbing has found, the steps of group snapshots, and what clones
// read. Both sides are here,
// because they are one protocol:
//
//   - [Manager] keeps one association to every other node, shared by all volumes, and sends;
//   - [Service] is the namespace behind the node-to-node listener, and answers.
//
// A connection is a session: requests that were under way when it broke come back as unreachable, and the
// listener admits the node's next association only when none of the old one's can still execute (nvmet,
// SubsystemConfig.Vendor).
//
// With Options.TLS, and a listener that matches, both sides show certificates of the cluster's authority, and
// a node is taken for the one whose number its certificate names. The cluster secret is proved inside, as
// without.
//
// Chunk commands are drawn in package chunk. The lease commands:
//
//	opcode  name    data                     fields
//	0xa0    Fence   none                     CDW10 VUID, CDW11 generation, CDW12 epoch;
//	                                         CDW13 a gateway; dword 0: highest epoch known,
//	                                         dword 1: ms since the voter last heard of that gateway
//	0xa4    Yield   none                     CDW10 VUID, CDW11 generation, CDW12 epoch of the new owner
//	0xac    Suspect none                     CDW10 VUID, CDW11 generation, CDW12 device that holds bad blocks
//	0xb2    Group   back: 16 bytes           CDW10 VUID, CDW11 generation, CDW12-13 round, CDW14 step;
//	                                         the data is the pin and the revision of the owner record,
//	                                         8 bytes each, little-endian; zeroes unless the step is "pin"
//	0xa2    Renew   back: lease.ReplySize    CDW10-11 boot and CDW12-13 sequence read so far, CDW14 node number
package peer
