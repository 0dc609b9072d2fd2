package schedule

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Bounds of a period: what is shorter is replication, what is longer no schedule.
const (
	MinPeriod = time.Minute
	MaxPeriod = 10 * 366 * 24 * time.Hour
)

const (
	monthNames = `jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec`
	dayNames   = `sun|mon|tue|wed|thu|fri|sat`
)

// Times is when snapshots are due. The zero value is never.
type Times struct {
	cron   string
	every  time.Duration
	anchor time.Time
}

// Cron is the times of a line of crontab(5), in UTC: minute, hour, day of the month, month, day of the week.
// Names of months and days, lists, ranges and steps are understood; where both days are restricted, one of
// them suffices. A line that never comes (February 30) is an error.
func Cron(line string) (Times, error) {
	fields := strings.Fields(line)
	if len(fields) != 5 {
		return Times{}, fmt.Errorf("%q has %d fields, not the 5 of minute, hour, day of the month, month, day of "+
			"the week", line, len(fields))
	}
	// The grammar is held here: the library takes extensions, and some nonsense.
	for i, f := range fields {
		value := `([0-9]{1,2}` + [5]string{3: `|` + monthNames, 4: `|` + dayNames}[i] + `)`
		item := `(` + value + `|(\*|` + value + `-` + value + `)(/[0-9]{1,2})?)`
		if !regexp.MustCompile(`(?i)^` + item + `(,` + item + `)*$`).MatchString(f) {
			return Times{}, fmt.Errorf("%q is no field of crontab(5), such as 5, 1-5, */15, mon-fri", f)
		}
	}
	t := Times{cron: strings.Join(fields, " ")}
	if !gronx.IsValid(t.cron) {
		return Times{}, fmt.Errorf("%q is out of range, or no line of crontab(5)", line)
	}
	// From this day on each day of the month and of the week comes, February 29 within four years.
	if t.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Times{}, fmt.Errorf("%q never comes", line)
	}
	return t, nil
}

// Every is the moments that are whole periods after from.
func Every(period time.Duration, from time.Time) (Times, error) {
	if period < MinPeriod || period > MaxPeriod {
		return Times{}, fmt.Errorf("%s is not between a minute and ten years", period)
	}
	return Times{every: period, anchor: from}, nil
}

// Next is the first of the times that is later than a moment; zero if there is none.
func (t Times) Next(after time.Time) time.Time {
	after = after.UTC()
	if t.every > 0 {
		n := after.Sub(t.anchor) / t.every
		if after.Before(t.anchor) {
			n = 0
		}
		return t.anchor.Add((n + 1) * t.every).UTC()
	}
	if t.cron == "" {
		return time.Time{}
	}
	next, err := gronx.NextTickAfter(t.cron, after, false)
	if err != nil {
		return time.Time{}
	}
	return next
}

// ParsePeriod reads a length of time: 90m, 1h30m, 1d, 2w.
func ParsePeriod(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is no length of time in minutes, hours, days and weeks, such as 90m, 12h, 1d, 2w",
		text)
	if !regexp.MustCompile(`^([0-9]{1,6}[mhdw])+$`).MatchString(text) || len(text) > 32 {
		return 0, wrong
	}
	var sum time.Duration
	for _, part := range regexp.MustCompile(`[0-9]+[mhdw]`).FindAllString(text, -1) {
		n, err := strconv.Atoi(part[:len(part)-1])
		if err != nil {
			return 0, wrong
		}
		unit := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour,
			'w': 7 * 24 * time.Hour}[part[len(part)-1]]
		if sum += time.Duration(n) * unit; sum > MaxPeriod {
			return 0, fmt.Errorf("%q is longer than ten years", text)
		}
	}
	if sum < MinPeriod {
		return 0, wrong
	}
	return sum, nil
}
