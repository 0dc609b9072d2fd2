// Package daemon is one ashlard: it puts etcd, the control plane and the data plane of a node together,
// starts them in order and ends them in the reverse order. It decides nothing about volumes.
//
// What the data directory of a node holds (mode 0700):
//
//	ashlard.json   who this node is and how far its birth got ([State]); replaced atomically, synced
//	admin-token    the first administrator's token, on the node that founded the cluster; mode 0600
//	etcd/          the node's etcd member, if it runs one
//	ca.pem         the authorities that vouch for nodes, for clients of an encrypted API
//	authority.json the record of the cluster's authority, key and all, where etcd is encrypted: the node
//	               issues its certificate by it before it reaches etcd; mode 0600
//	node.pem       that certificate with its key, as etcd reads it; or the one given to a node that joined
//	lock           held while a daemon runs on this directory
//
// Birth. Every step is recorded before the next one begins, and every step may be repeated, so a daemon
// that is killed anywhere goes on when it is started again with the same arguments:
//
//	               --bootstrap                                  --join URL --token T
//	                    |                                              |
//	new -- draw ids, secret, token --> founding          new -- draw uuid --> joining
//	           start etcd, found the cluster               ask any node of the cluster (POST /v1/join)
//	           write admin-token    --> member             --> member, then start etcd as a learner
//
// Life: etcd (member or client) -> watch of the map -> manager and REST -> data plane. The REST server
// answers as soon as it can, with 503 for what needs a part that is not up. Death, on SIGTERM: REST stops,
// the data plane hands its volumes over, then etcd. kill -9 at any time loses nothing that was
// acknowledged.
package daemon
