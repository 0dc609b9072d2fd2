// Package chunkd serves the devices of one node: it admits chunk requests of local and remote gateways by
// fence and residency, and hands them to the page stores.
//
// Life of a request (server.go): find the device -> find what the device knows of the volume -> wait while an
// exclusive operation (fence, begin) is under way -> check epoch and residency -> count it in -> page store
// -> count it out, answer.
//
// Two operations are exclusive per (device, volume), because what they promise speaks about all requests
// before them:
//
//   - Fence e is answered when the epoch is durable and nothing that was admitted under a smaller epoch can
//     still execute. A request with a higher epoch than any before first stores the fence like that.
//   - Begin k is answered when the old residency's requests are done, its data is gone and k is durable.
//
// Fence and residency are metadata records of the page store:
//
//	"fence/<vuid>.<generation>"       4 bytes, little endian: highest owner epoch seen
//	"residency/<vuid>.<generation>"   4 bytes, little endian: present residency; absent means 1
package chunkd
