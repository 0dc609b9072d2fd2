// Package metrics shows the figures of a node to Prometheus.
//
// Nothing is counted here: the data path counts in plain arrays, and a scrape reads them (package node). So a
// series is there as long as what it is about is on this node: a volume's while the node owns it, a device's
// while it is the node's. Counters of a volume begin anew with every owner, those of a pool do not.
//
// Cardinality is bounded: MaxVolumes volumes have series of their own, the others count in their pool's only;
// every other label has a few values. docs/metrics.md lists all families; a test keeps it in step with
// families.go, both ways.
package metrics
