// Package seal encrypts volumes: the blocks with the volume's data key, and the data key with a cluster key.
//
// Blocks. A gateway seals what a host writes before the engine sees it, and opens what the engine read before
// the host sees it: all below, page store, wire between nodes, parity and checksums, is about ciphertext. The
// cipher is AES-256-XTS (package xts), its data unit the logical block of 512 B, its tweak the LBA. A clone
// has its parent's blocks at the same addresses, so it has its parent's data key, too.
//
// Zeroes. What was never written or was deallocated has no ciphertext; devices and engine say zeroes, also
// for the rest of a 4 KiB block of which 512 B were written. So a logical block whose ciphertext is all
// zeroes reads as zeroes, and Write Zeroes and Deallocate pass as they are. The ciphertext of real data is
// all zeroes with probability 2^-4096. What this tells to who reads the devices is which blocks are in use.
//
// Keys. A [DataKey] is drawn when its volume is made and never changes. It is kept wrapped by a [ClusterKey],
// which only key sources know (package keyring). Neither prints as anything. A wrapped data key is
// AES-256-GCM over the key, bound to the data key's id, so that a wrapped key in the wrong record is noticed:
//
//	+---------+------------------+----------------------+-----------+
//	| version | nonce            | data key, encrypted  | GCM tag   |    93 bytes
//	| 1: 0x01 | 12, random       | 64                   | 16        |
//	+---------+------------------+----------------------+-----------+
//	additional data: "ashlar data key", 0x00, version, id of the data key (16 bytes)
//
// Other secrets of the cluster, such as the key of its certificate authority, have the same form with as many
// bytes as they have in the middle, and are bound to a text that says what they belong to:
//
//	additional data: "ashlar secret", 0x00, version, the text
//
// The version is there because what wraps keys may have to change sooner than what they encrypt.
package seal
