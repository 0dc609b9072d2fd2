// Package delta tells what differs between two states of the cluster (cluster.State), for those who follow
// them.
//
// States are immutable, and share what did not change: every record, and a whole collection if none of its
// records did. So what followed the older state need look at little of the newer one. Who misses the states
// in between loses nothing by it.
package delta

import (
	"reflect"
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
)

// Keys lists the keys whose records are not the same in two collections of that kind, of an older state and
// of a newer one; those of records that are gone are among them. It costs nothing for a collection that is
// shared, else some nanoseconds a record. A nil collection is an empty one.
func Keys[K comparable, V any](was, is map[K]*V) []K {
	if reflect.ValueOf(was).UnsafePointer() == reflect.ValueOf(is).UnsafePointer() {
		return nil
	}
	var out []K
	for k, v := range is {
		if was[k] != v {
			out = append(out, k)
		}
	}
	for k := range was {
		if is[k] == nil {
			out = append(out, k)
		}
	}
	return out
}

// Volumes lists the volumes whose records are not the same in two states. Who knows the state before the
// newer one need not look at all of them.
func Volumes(was, is *cluster.State) []cluster.VolumeKey {
	if n := news(was, is); n != nil {
		return slices.Clone(n.Volumes)
	}
	return Keys(was.Volumes, is.Volumes)
}

// Owners does so for their owner records.
func Owners(was, is *cluster.State) []cluster.VolumeKey {
	if n := news(was, is); n != nil {
		return slices.Clone(n.Owners)
	}
	return Keys(was.Owners, is.Owners)
}

func news(was, is *cluster.State) *cluster.News {
	if n := is.News; n != nil && n.Since == was.Revision {
		return n
	}
	return nil
}
