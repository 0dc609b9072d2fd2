package manager

import (
	"slices"

	"github.com/ashlar-storage/ashlar/dataplane/cluster"
	"github.com/ashlar-storage/ashlar/restapi/store"
)

// schedules checks that every schedule has its runs, its name, and what it is of; that it is listed there and
// by the time at which it is looked at next; and that nothing of other schedules is left. records is all keys
// of schedules.
func (a *audit) schedules(records, volumes, groups store.Result) error {
	left := make(map[string]store.Item)
	for _, it := range records.Items {
		left[it.Key] = it
	}
	take := func(key string, id cluster.UUID) {
		to, err := decode[cluster.UUID](left[key])
		a.say(err == nil && to == id, "%s of schedule %s leads to %s", key, id, left[key].Value)
		delete(left, key)
	}
	exists := make(map[string]bool) // the keys of lists that may be
	for _, it := range volumes.Items {
		v, err := decode[cluster.Volume](it)
		if err != nil {
			return err
		}
		exists[cluster.KeySchedulesOfVolume(v.UUID)] = !v.Hidden
	}
	for _, it := range groups.Items {
		g, err := decode[cluster.Group](it)
		if err != nil {
			return err
		}
		exists[cluster.KeySchedulesOfGroup(g.UUID)] = true
	}
	lists := make(map[string][]cluster.UUID)
	for _, it := range records.Items {
		rec, err := decode[cluster.Schedule](it)
		if err != nil || it.Key != cluster.KeySchedule(rec.UUID) {
			continue // another key of schedules
		}
		a.say(rec.Validate() == nil, "schedule %s is malformed: %v", rec.UUID, rec.Validate())
		list, runsKey := rec.SiblingsKey(), cluster.KeyScheduleRuns(rec.UUID)
		a.say(exists[list], "schedule %s is of %s, which does not exist", rec.UUID, scheduled(&rec))
		lists[list] = append(lists[list], rec.UUID)
		runs, err := decode[cluster.ScheduleRuns](left[runsKey])
		a.say(err == nil, "the runs of schedule %s: %v", rec.UUID, err)
		a.say(rec.Disabled == (runs.Wake == ""), "schedule %s is disabled: %v, and woken at %q", rec.UUID,
			rec.Disabled, runs.Wake)
		take(cluster.KeyScheduleName(rec.Name, rec.Project), rec.UUID)
		if runs.Wake != "" {
			take(cluster.KeyScheduleDue(runs.Wake, rec.UUID), rec.UUID)
		}
		delete(left, runsKey)
		delete(left, it.Key)
	}
	for key, want := range lists {
		got, err := decode[[]cluster.UUID](left[key])
		slices.SortFunc(got, compareUUIDs)
		slices.SortFunc(want, compareUUIDs)
		a.say(err == nil && slices.Equal(got, want), "%s lists %v, and there are %v", key, got, want)
		delete(left, key)
	}
	for key := range left {
		a.say(false, "%s belongs to no schedule", key)
	}
	return nil
}

func compareUUIDs(a, b cluster.UUID) int { return slices.Compare(a[:], b[:]) }
