// Package keyring finds the cluster keys that wrap the data keys of volumes.
//
// Contract: a cluster key has an id that says nothing about it; records name ids, sources know keys. A [Ring]
// asks a [Source] once for each key and keeps the answer while the process lives; that a key is missing it
// remembers for a moment only, so a key that comes later is found. Keys are never written to a log, a record
// or an answer.
//
// [File] is the source of a node without a key manager. Every node has its own copy of the file, owned by
// root or by whom ashlard runs as, and nobody else may read or write it:
//
//	# made 2026-11-26                                                anything after a # is for people
//	2026-11 ks7fO8w3Zb1yq0v1tqLx7b6cq9w2m4u5E3n8a0s6d1I=             id, blank, 32 bytes in base64
//
// Rotation adds a line on every node, then tells the cluster to use it; a line goes when nothing names it any
// more.
package keyring
