package cluster

import "unicode/utf8"

// Limits of schedules.
const (
	MaxSchedules      = 8 // of one volume or group: they end with it, in one transaction
	MaxSchedulePrefix = MaxNameLength - len("-20060102T150405Z")
)

// Schedule has snapshots of a volume, or of a group, taken at certain times, and has them removed again. What
// its times and periods say is for restapi/schedule to read.
type Schedule struct {
	UUID    UUID   `json:"uuid"`
	Name    string `json:"name"`              // unique in its project
	Project string `json:"project,omitempty"` // that of the volume or group
	// Of a volume, or of a group: one of the two.
	Volume UUID `json:"volume,omitzero"`
	Group  UUID `json:"group,omitzero"`
	// Cron is a line of crontab(5), in UTC; Every a period since it was created: one of the two.
	Cron  string    `json:"cron,omitempty"`
	Every string    `json:"every,omitempty"`
	Keep  Retention `json:"keep"`
	// Prefix begins the names of its snapshots; the time at which they were asked for ends them.
	Prefix      string   `json:"prefix"`
	Disabled    bool     `json:"disabled,omitempty"` // nothing is taken, and nothing removed
	Description string   `json:"description,omitempty"`
	Metadata    Metadata `json:"metadata,omitempty"`
	Created     string   `json:"created"`
	// Request is a digest of the request that created it, by which its repetition is recognised.
	Request string `json:"request,omitempty"`
}

// Retention is which snapshots of a schedule stay: so many of the newest, the newest of each of so many
// hours, days, weeks and months, and none that is older than MaxAge, a period. 0 and "" say nothing.
type Retention struct {
	Last    int    `json:"last,omitempty"`
	Hourly  int    `json:"hourly,omitempty"`
	Daily   int    `json:"daily,omitempty"`
	Weekly  int    `json:"weekly,omitempty"`
	Monthly int    `json:"monthly,omitempty"`
	MaxAge  string `json:"max_age,omitempty"`
}

// ScheduleRuns is what has become of a schedule. Times are RFC 3339, in UTC.
type ScheduleRuns struct {
	Next string `json:"next,omitempty"` // when a snapshot is due; empty: never
	Wake string `json:"wake,omitempty"` // when it is looked at next; empty: never
	// Last is when a snapshot was asked for last, and Snapshot which.
	Last     string `json:"last,omitempty"`
	Snapshot UUID   `json:"snapshot,omitzero"`
	// Error is why none was taken when one was due last; empty: it was.
	Error string `json:"error,omitempty"`
	// Held counts the snapshots that should have been removed, and are used.
	Held int `json:"held,omitempty"`
}

// NodeClock is what time it was for a node, so that none goes by a clock that is ahead of all others.
type NodeClock struct {
	Node  NodeID `json:"node"`
	Time  int64  `json:"time"`            // in seconds since 1970
	Ahead bool   `json:"ahead,omitempty"` // it found that it was ahead
}

// SiblingsKey lists the schedules of the same volume or group.
func (s *Schedule) SiblingsKey() string {
	if s.Group.IsZero() {
		return KeySchedulesOfVolume(s.Volume)
	}
	return KeySchedulesOfGroup(s.Group)
}

// Validate checks the fields of a record.
func (s *Schedule) Validate() error {
	if err := ValidateName("name", s.Name); err != nil {
		return err
	}
	if err := ValidateName("prefix", s.Prefix); err != nil {
		return err
	}
	if s.Project != "" {
		if err := ValidateName("project", s.Project); err != nil {
			return err
		}
	}
	switch {
	case s.UUID.IsZero():
		return bad("uuid", "must not be zero")
	case s.Volume.IsZero() == s.Group.IsZero():
		return bad("volume", "it is of a volume or of a group: name one of the two")
	case (s.Cron == "") == (s.Every == ""):
		return bad("cron", "say when: either by cron or by every")
	case len(s.Prefix) > MaxSchedulePrefix:
		return bad("prefix", "is %d bytes long, at most %d leave room for the time in the name of a snapshot",
			len(s.Prefix), MaxSchedulePrefix)
	case len(s.Description) > MaxDescription || !utf8.ValidString(s.Description):
		return bad("description", "is longer than %d bytes, or no UTF-8", MaxDescription)
	}
	if err := s.Keep.Validate("keep"); err != nil {
		return err
	}
	return s.Metadata.Validate()
}

// Validate checks the counts: there is something that keeps a volume from having ever more snapshots, and
// they do not keep more than a volume can have.
func (r Retention) Validate(field string) error {
	sum := 0
	for _, n := range []int{r.Last, r.Hourly, r.Daily, r.Weekly, r.Monthly} {
		if n < 0 || n > MaxPins {
			return bad(field, "%d is no count from 0 to %d", n, MaxPins)
		}
		sum += n
	}
	switch {
	case sum > MaxPins:
		return bad(field, "%d snapshots are more than the %d that a volume can have", sum, MaxPins)
	case sum == 0 && r.MaxAge == "":
		return bad(field, "say how many snapshots stay, or how old they become: a volume can have %d", MaxPins)
	}
	return nil
}
