// Package placement computes which devices hold a page: hash(vuid, page) names one of 65,536 groups, and
// the pool's table names the n+p devices of the group, one per column, all in different failure domains.
// Nothing is stored: every node replays the history in the pool record and gets the same table. It is
// pure, and all arithmetic that decides is on integers, so every architecture computes the same (golden
// vectors in the tests).
//
//	table 0      drawn from the list bucket (draw.go), then levelled
//	table k      table k-1 folded by the k-th change of the pool: the slots of devices that left are handed
//	             out, then surplus moves to who lacks; every other slot stays (level.go)
//	alternate    the draw of the group and column goes on (alternate.go)
//
// Which devices may meet in a row is in rule.go, how many slots a device is to have in share.go, reports
// for people in balance.go.
//
// What moves is what must: a device's aim is its exact share, rounded to the side that is nearer to what
// it has, and a slot leaves a device only if the device left, the rule forbids it or the device has too
// many. A slot moves more often than that only when the rule keeps all surplus from all who lack
// (relay.go).
//
// A table's number counts the changes before it, and every slot knows since which table its device holds
// it: that is the residency number of what lies there.
package placement
