// Package chunkd serves the devices of one node: it carries out the chunk requests of local and remote
// gateways, as package chunk promises them.
//
// Life of a request (server.go): find the device -> package guard, which decides when it may begin -> page
// store -> guard, which counts it out and fills in what every answer says -> answer. The guard runs under the
// device's lock; nothing else does.
//
//   - Fences and exclusive requests: package guard. Credit: there too.
//   - Residencies, stability, view lists: package pagemap, behind the page store.
//   - The placement journal: journal.go.
//
// Fences and journals are metadata records of the page store:
//
//	"fence/<vuid>.<generation>"                      4 bytes, little endian: highest owner epoch seen
//	"journal/<vuid>.<generation>/<page>.<column>"    a journal record of package chunk, ordered by its Seq
package chunkd
