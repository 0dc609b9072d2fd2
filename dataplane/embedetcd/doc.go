// Package embedetcd runs an etcd member inside a process and talks to the etcd cluster it belongs to.
//
// Contract:
//
//   - Start returns once the member's listeners are open. Ready is closed when the member has joined its
//     cluster and a leader is known; a member that comes back without a majority stays alive and becomes
//     ready when the majority is back. Done is closed when the member ended, Err says why.
//   - The first member of a cluster starts with Config.Peers empty. Every later one first calls AddLearner
//     with a client of the running cluster and starts with the peers that call returned. Peers matters only
//     while the data directory is empty, so a restart may pass anything there.
//   - With Config.TLS members take clients and each other with certificates of its authorities only. What a
//     member shows follows the file; whom it trusts, Restart.
//   - A learner does not vote and does not serve clients. Settle promotes learners so that the number of
//     voters stays odd: with an even number one more member can fail no more, but one more can do harm. Two
//     nodes therefore have one voter, and the third node brings two.
//   - Nothing here keeps volume I/O going: steady I/O needs no etcd (DESIGN, promise P4).
//
// What a member costs: every tick (Config.Heartbeat) wakes the member, and a leader sends a heartbeat to
// each follower. An idle node, its member included, must stay below 3 % of one core (promise P7);
// BenchmarkIdleMembers measures it. Writes to disk are fsynced by etcd before they are acknowledged;
// BackendBatchInterval only says how often the already logged state is folded into etcd's own database.
package embedetcd
