package stats

// Stage is a part of the way of an operation of a host: Waiting and Devices together are its latency, Limits
// is before that.
type Stage uint8

// The stages.
const (
	Limits  Stage = iota // until the limits of volume and pool let it begin; of those that have limits
	Waiting              // until the last time that it had to wait: for rows, a journal entry, a lost device
	Devices              // from then on
	Stages
)

// String names the stage.
func (s Stage) String() string { return [...]string{"limits", "waiting", "devices"}[s] }

// StageTimes is how long operations were in each stage.
type StageTimes [Stages][Directions]Histogram

// Merge adds the times of another.
func (t *StageTimes) Merge(o *StageTimes) {
	for s := range t {
		for d := range t[s] {
			t[s][d].Merge(&o[s][d])
		}
	}
}
