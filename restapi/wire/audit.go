package wire

// AuditRecord is one call that may have changed something, on the node that served it.
type AuditRecord struct {
	Number    uint64 `json:"number"` // counts up by one on each node
	Time      string `json:"time"`   // when it ended
	RequestID string `json:"request_id"`
	Caller    string `json:"caller,omitempty"` // token:<id> or keystone:<user id>; empty: nobody who is known
	Name      string `json:"name,omitempty"`   // of the token, or the user
	Role      string `json:"role,omitempty"`
	Project   string `json:"project,omitempty"`
	From      string `json:"from"`           // address:port
	Action    string `json:"action"`         // method and route
	Subject   string `json:"subject"`        // the path; of something new, where it is
	Status    int    `json:"status"`         // of HTTP
	Code      Code   `json:"code,omitempty"` // of the refusal
}
