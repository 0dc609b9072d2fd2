package schedule

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBadTimes: lines of crontab and periods that are none.
func TestBadTimes(t *testing.T) {
	for _, line := range []string{"", "* * * *", "* * * * * *", "@hourly", "60 * * * *", "0 24 * * *",
		"0 0 0 * *", "0 0 32 * *", "0 0 * 13 *", "0 0 * * 8", "0 0 31 2 *", "0 0 30 feb *", "*/0 * * * *",
		"a * * * *", "5-1 * * * *", "1,,2 * * * *", "0 0 L * *", "0 0 * * 5#2", "0 0 15W * *", "? ? ? ? ?",
		"TZ=UTC 0 0 * * *", "* * * * foo", "mon * * * *", "* * * mon *", "* * jan * *", "5/10 * * * *",
		"1-mon * * * *", "1-2-3 * * * *", "*/5/5 * * * *", "-1 * * * *", "0 0 1 jan,xyz *"} {
		if x, err := Cron(line); err == nil {
			t.Errorf("%q is taken for times, next %s", line, x.Next(time.Now()))
		}
	}
	for _, text := range []string{"", "1", "h", "0m", "30s", "-1h", "1.5h", "1y", "1h ", "11y", "999999w",
		"1 h", strings.Repeat("1m", 20)} {
		if d, err := ParsePeriod(text); err == nil {
			t.Errorf("%q is taken for %s", text, d)
		}
	}
	for _, d := range []time.Duration{0, -time.Hour, 30 * time.Second, MaxPeriod + 1} {
		if _, err := Every(d, time.Now()); err == nil {
			t.Errorf("every %s is taken for times", d)
		}
	}
}

// TestPeriods add up.
func TestPeriods(t *testing.T) {
	for text, want := range map[string]time.Duration{"1m": time.Minute, "90m": 90 * time.Minute,
		"1h30m": 90 * time.Minute, "1d": 24 * time.Hour, "2w": 14 * 24 * time.Hour,
		"520w": 520 * 7 * 24 * time.Hour} {
		if got, err := ParsePeriod(text); err != nil || got != want {
			t.Errorf("%q is %s, %v", text, got, err)
		}
	}
}

// TestEveryCountsFromItsAnchor, also for moments before it.
func TestEveryCountsFromItsAnchor(t *testing.T) {
	from := time.Date(2026, 11, 27, 8, 30, 0, 0, time.UTC)
	x, err := Every(time.Hour, from)
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]time.Duration{-48 * time.Hour: time.Hour, 0: time.Hour,
		time.Hour - 1: time.Hour, time.Hour: 2 * time.Hour, 25*time.Hour + 1: 26 * time.Hour} {
		if got := x.Next(from.Add(after)).Sub(from); got != want {
			t.Errorf("%s after the anchor the next is at %s, want %s", after, got, want)
		}
	}
}

// crontab is the meaning of a line: the days, and the minutes of a day.
type crontab struct{ day, minute func(time.Time) bool }

// next is the first minute after a moment, before an end, that it means.
func (c crontab) next(after, end time.Time) (at time.Time, found bool) {
	for at = after.Truncate(time.Minute).Add(time.Minute); at.Before(end); {
		switch {
		case !c.day(at):
			at = at.Truncate(24*time.Hour).AddDate(0, 0, 1)
		case !c.minute(at):
			at = at.Add(time.Minute)
		default:
			return at, true
		}
	}
	return at, false
}

// line draws a line of crontab, and what it means.
func line(t *rapid.T) (text string, c crontab) {
	field := func(name string, least, most int) (string, map[int]bool) {
		set := make(map[int]bool)
		var parts []string
		for range rapid.IntRange(1, 2).Draw(t, name+" parts") {
			lo := rapid.IntRange(least, most).Draw(t, name)
			hi, step := lo, 1
			part := strconv.Itoa(lo)
			switch rapid.IntRange(0, 4).Draw(t, name+" form") {
			case 0:
				return "*", nil
			case 1:
				hi = rapid.IntRange(lo, most).Draw(t, name+" to")
				part += "-" + strconv.Itoa(hi)
			case 2:
				lo, hi, step = least, most, rapid.IntRange(2, 7).Draw(t, name+" step")
				part = "*/" + strconv.Itoa(step)
			}
			parts = append(parts, part)
			for i := lo; i <= hi; i += step {
				set[i] = true
			}
		}
		return strings.Join(parts, ","), set
	}
	minute, minutes := field("minute", 0, 59)
	hour, hours := field("hour", 0, 23)
	day, days := field("day", 1, 31)
	month, months := field("month", 1, 12)
	weekday, weekdays := field("weekday", 0, 6)
	has := func(set map[int]bool, i int) bool { return set == nil || set[i] }
	both := strings.HasPrefix(day, "*") || strings.HasPrefix(weekday, "*") // as crontab(5) has it
	c.day = func(at time.Time) bool {
		d, w := has(days, at.Day()), has(weekdays, int(at.Weekday()))
		return has(months, int(at.Month())) && (d && w || !both && (d || w))
	}
	c.minute = func(at time.Time) bool { return has(minutes, at.Minute()) && has(hours, at.Hour()) }
	return strings.Join([]string{minute, hour, day, month, weekday}, " "), c
}

// TestCronIsWhatCrontabSays: the next time is the first minute that the line means. What comes within eight
// years is taken.
func TestCronIsWhatCrontabSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, means := line(t)
		seconds := rapid.Int64Range(0, 4*366*24*60*60).Draw(t, "from")
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
		want, comes := means.next(from, from.AddDate(60, 0, 0))
		x, err := Cron(text)
		if err != nil {
			if comes && want.Before(from.AddDate(8, 0, 0)) {
				t.Fatalf("%v, and it comes at %s", err, want)
			}
			return
		}
		if got := x.Next(from); !got.Equal(want) {
			t.Fatalf("%q after %s: %s, want %s", text, from, got, want)
		}
	})
}

// TestDecisions: whatever happens, there is at most one snapshot for each time that is due and never a second
// one while one is not taken; the newest that is taken never goes, nor what is used; what goes is what the
// counts do not keep; and deciding comes to an end until the clock goes on.
func TestDecisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 27, 8, 30, 0, 0, time.UTC)
		period := time.Duration(rapid.IntRange(1, 600).Draw(t, "minutes")) * time.Minute
		count := func(name string) int { return rapid.IntRange(0, 4).Draw(t, name) }
		s := State{Enabled: true, Keep: Keep{Last: count("last"), Hourly: count("hourly"), Daily: count("daily"),
			Weekly: count("weekly"), Monthly: count("monthly"),
			MaxAge: time.Duration(count("max age")) * 10 * time.Hour}}
		s.Times, _ = Every(period, now)
		s.Next = s.Times.Next(now)
		var all []Snapshot
		for range 60 {
			for i := range all {
				all[i].Pending = all[i].Pending && rapid.Bool().Draw(t, "stuck")
				all[i].Used = !all[i].Pending && rapid.IntRange(0, 3).Draw(t, "used") == 0
			}
			due, pending := !s.Next.After(now), len(all) > 0 && all[len(all)-1].Pending
			p := Decide(s, all, now)
			if p.Take != (due && !pending) || p.Late != (due && pending) {
				t.Fatalf("due %v, pending %v, and %+v", due, pending, p)
			}
			if !p.Next.After(now) || !p.Wake.After(now) || p.Wake.After(p.Next) && !p.Take {
				t.Fatalf("at %s: %+v", now, p)
			}
			all = carryOut(t, s, p, all, now)
			s.Next = p.Next
			now = p.Wake.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "late")) * 7 * time.Hour)
		}
	})
}

// carryOut does what a plan says, and checks what goes.
func carryOut(t *rapid.T, s State, p Plan, all []Snapshot, now time.Time) []Snapshot {
	var stay []Snapshot
	settled := 0
	gone := make(map[int]bool)
	for _, i := range p.Expire {
		gone[i] = true
		if all[i].Used || all[i].Pending {
			t.Fatalf("%+v goes", all[i])
		}
	}
	for i, x := range all {
		if !x.Pending {
			settled++
		}
		if !gone[i] {
			stay = append(stay, x)
		}
	}
	left := settled - len(p.Expire)
	if settled > 0 && left == 0 {
		t.Fatalf("all %d go", settled)
	}
	if k := s.Keep; k.MaxAge == 0 && len(p.Expire) > 0 && (k.Most() == 0 || left < min(k.Last, settled)) {
		t.Fatalf("%d of %d go, of %+v", len(p.Expire), settled, k)
	}
	if k := s.Keep; !p.Take && k.Most() > 0 && left-len(p.Held) > k.Most() {
		t.Fatalf("%d stay, %d of them held, of %+v", left, len(p.Held), k)
	}
	if p.Take {
		stay = append(stay, Snapshot{Taken: now, Pending: true})
	}
	return stay
}
