package schedule

import "time"

// A node whose clock runs ahead would take snapshots before their time, have those removed that are not as
// old as it believes, and leave times to the others that they have to wait for. It cannot know; but every
// node tells the others its time, and one of them is right as long as not all are wrong.

const (
	// TellEvery is how old what a node has told may get before it tells its time anew.
	TellEvery = time.Minute
	// MaxAhead is how far a node goes ahead of the newest time that it was told: that is old by now.
	MaxAhead = 2 * TellEvery
)

// Clock is the time by which a node decides: its own, unless that is ahead of the newest time that other
// nodes have told. Who was told nothing has only its own. Being late is harmless: the others are not.
func Clock(own time.Time, told []time.Time) (now time.Time, ahead bool) {
	var newest time.Time
	for _, t := range told {
		if t.After(newest) {
			newest = t
		}
	}
	if limit := newest.Add(MaxAhead); len(told) > 0 && own.After(limit) {
		return limit, true
	}
	return own, false
}
