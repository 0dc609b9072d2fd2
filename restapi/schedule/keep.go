package schedule

import "time"

// Keep is which snapshots of a schedule stay. Each count keeps the newest snapshot of so many minutes, hours,
// days, weeks, months that have one (Last: so many snapshots), counted back from the newest, in UTC, weeks
// from Monday on; a snapshot stays if one of them keeps it. Where no count is given all stay. What is MaxAge
// old goes whatever keeps it; 0: no such bound. The newest always stays.
type Keep struct {
	Last, Hourly, Daily, Weekly, Monthly int
	MaxAge                               time.Duration
}

// rule keeps the newest snapshots of so many buckets.
type rule struct {
	count  int
	bucket func(i int, taken time.Time) int64
}

func (k Keep) rules() []rule {
	days := func(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }
	return []rule{
		{k.Last, func(i int, _ time.Time) int64 { return int64(i) }},
		{k.Hourly, func(_ int, t time.Time) int64 { return t.Unix() / (60 * 60) }},
		{k.Daily, func(_ int, t time.Time) int64 { return days(t) }},
		{k.Weekly, func(_ int, t time.Time) int64 { return (days(t) + 3) / 7 }}, // 1970 began on a Thursday
		{k.Monthly, func(_ int, t time.Time) int64 { return int64(t.UTC().Year())*12 + int64(t.UTC().Month()) }},
	}
}

// Most is how many snapshots the counts may keep; 0: there is no count.
func (k Keep) Most() int { return k.Last + k.Hourly + k.Daily + k.Weekly + k.Monthly }

// stay tells of each of some snapshots, the newest first, whether it stays.
func (k Keep) stay(taken []time.Time, now time.Time) []bool {
	out := make([]bool, len(taken))
	for i := range out {
		out[i] = k.Most() == 0
	}
	for _, r := range k.rules() {
		var last int64
		for i, left := 0, r.count; i < len(taken) && left > 0; i++ {
			if b := r.bucket(i, taken[i]); i == 0 || b != last {
				out[i], last = true, b
				left--
			}
		}
	}
	for i := range taken {
		if k.MaxAge > 0 && !taken[i].Add(k.MaxAge).After(now) {
			out[i] = false
		}
	}
	if len(out) > 0 {
		out[0] = true
	}
	return out
}
