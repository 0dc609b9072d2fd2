package wire

import "github.com/ashlar-storage/ashlar/dataplane/cluster"

// ScheduleCreate asks for snapshots to be taken and removed again. ID is the identity by which a repetition
// is recognised.
type ScheduleCreate struct {
	ID   cluster.UUID `json:"id,omitzero"`
	Name string       `json:"name"`
	// Volume or Group: one of the two.
	Volume cluster.UUID `json:"volume,omitzero"`
	Group  cluster.UUID `json:"group,omitzero"`
	// Cron, a line of crontab(5) in UTC, or Every, a period such as 90m, 12h, 1d, 2w: one of the two.
	Cron        string            `json:"cron,omitempty"`
	Every       string            `json:"every,omitempty"`
	Keep        cluster.Retention `json:"keep"`
	Prefix      string            `json:"prefix,omitempty"`  // default: the name
	Enabled     *bool             `json:"enabled,omitempty"` // default: true
	Description string            `json:"description,omitempty"`
	Metadata    cluster.Metadata  `json:"metadata,omitempty"`
}

// ScheduleUpdate changes what it names of a schedule, as a JSON merge patch (RFC 7396); Keep is replaced as a
// whole, and of Cron and Every one takes the place of the other.
type ScheduleUpdate struct {
	Name        *string            `json:"name,omitempty"`
	Cron        string             `json:"cron,omitempty"`
	Every       string             `json:"every,omitempty"`
	Keep        *cluster.Retention `json:"keep,omitempty"`
	Prefix      *string            `json:"prefix,omitempty"`
	Enabled     *bool              `json:"enabled,omitempty"`
	Description *string            `json:"description,omitempty"`
	Metadata    map[string]*string `json:"metadata,omitempty"`
}

// Schedule has snapshots of a volume or group taken and removed again.
type Schedule struct {
	Versioned
	ID      cluster.UUID      `json:"id"`
	Name    string            `json:"name"`
	Project string            `json:"project,omitempty"` // the volume's or group's
	Volume  cluster.UUID      `json:"volume,omitzero"`
	Group   cluster.UUID      `json:"group,omitzero"`
	Cron    string            `json:"cron,omitempty"`
	Every   string            `json:"every,omitempty"`
	Keep    cluster.Retention `json:"keep"`
	Prefix  string            `json:"prefix"`
	Enabled bool              `json:"enabled"`
	ScheduleRuns
	Description string           `json:"description"`
	Metadata    cluster.Metadata `json:"metadata"`
	Created     string           `json:"created"`
}

// ScheduleRuns is what has become of a schedule; its ETag does not change with it.
type ScheduleRuns struct {
	NextRun      string       `json:"next_run,omitempty"` // absent: never
	LastRun      string       `json:"last_run,omitempty"` // absent: there was none
	LastSnapshot cluster.UUID `json:"last_snapshot,omitzero"`
	LastError    string       `json:"last_error,omitempty"` // why none was taken when one was due last
	Held         int          `json:"held"`                 // snapshots that should be gone, and are used
}
