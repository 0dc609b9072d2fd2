package wire

// TaskKind names a kind of long work.
type TaskKind string

// The kinds, each with what its subject is and what its progress counts.
const (
	TaskFlatten   TaskKind = "flatten"   // volume; bytes
	TaskRevert    TaskKind = "revert"    // volume; volumes
	TaskRebalance TaskKind = "rebalance" // pool; groups
	TaskShrink    TaskKind = "shrink"    // volume; bytes
	TaskScrub     TaskKind = "scrub"     // device; percent
	TaskErase     TaskKind = "erase"     // volume; devices
	TaskPurge     TaskKind = "purge"     // volume or snapshot; devices
	TaskRotate    TaskKind = "rotate"    // key; volumes
)

// TaskState is what long work does.
type TaskState string

// The states.
const (
	TaskRunning   TaskState = "running"
	TaskPaused    TaskState = "paused"  // by somebody
	TaskWaiting   TaskState = "waiting" // all is done that can be done now; the detail says what for
	TaskDone      TaskState = "done"
	TaskCancelled TaskState = "cancelled"
)

// Task is long work in the background, as the records tell it.
type Task struct {
	ID          string    `json:"id"`
	Kind        TaskKind  `json:"kind"`
	Subject     Subject   `json:"subject"`
	Project     string    `json:"project,omitempty"`
	State       TaskState `json:"state"`
	Done        uint64    `json:"done"` // of Total
	Total       uint64    `json:"total"`
	Unit        string    `json:"unit"` // of Done and Total
	Detail      string    `json:"detail,omitempty"`
	Cancellable bool      `json:"cancellable"`
}
