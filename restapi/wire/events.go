package wire

// Severity says who should look at an event.
type Severity string

// The severities.
const (
	Info    Severity = "info"    // nobody needs to
	Warning Severity = "warning" // somebody soon: redundancy is low, or was
	Alarm   Severity = "error"   // somebody now
)

// Subject is what an event or a change is about.
type Subject struct {
	Type string `json:"type"` // volume, pool, device, node ...
	ID   string `json:"id"`   // as in the path of the resource
}

// Event is something that happened.
type Event struct {
	ID       string   `json:"id,omitempty"` // in the record it is the key
	Time     string   `json:"time"`
	Severity Severity `json:"severity"`
	Kind     string   `json:"kind"` // stable, such as volume.created
	Subject  Subject  `json:"subject"`
	Project  string   `json:"project,omitempty"`
	Message  string   `json:"message"` // for people
}

// The actions of a Change.
const (
	Created = "created"
	Updated = "updated"
	Deleted = "deleted"
)

// Change is a resource that is not what it was.
type Change struct {
	Subject
	Action string `json:"action"`
	ETag   string `json:"etag,omitempty"` // that it has now
}

// Message is one entry of the stream of changes: a change or an event.
type Message struct {
	Change *Change
	Event  *Event
}
