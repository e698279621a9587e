package metrics

import (
	"fmt"
	"slices"
	"time"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

// Days are local to a team and held as midnight UTC: they are names of days, not
// instants, so no clock change gets in the way of counting them.

const (
	// mostDays is the longest range that is answered: five years.
	mostDays = 1827
	// usualWeeks is how far back a range reaches when nobody says from where.
	usualWeeks = 12
)

// firstDay is the earliest day of a range, and of anything.
var firstDay = time.Date(1970, time.January, 1, 0, 0, 0, 0, time.UTC)

// asked is a range as it was asked for: either end may be left open, as zero.
type asked struct{ from, to time.Time }

// span is a range of days, both ends included.
type span struct{ from, to time.Time }

// parseRange reads the ends of a range. It fails with a fault that names the end
// to change, also when they make no span on any day that it may be at now.
func parseRange(from, to string, now time.Time) (asked, error) {
	var a asked
	var err error
	if a.from, err = parseDay("query.from", from); err != nil {
		return asked{}, err
	}
	if a.to, err = parseDay("query.to", to); err != nil {
		return asked{}, err
	}
	return a, a.check(now)
}

// parseDay reads a day; nothing is the zero time.
func parseDay(location, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, fault.InvalidField(location, "must be a day such as 2026-03-31")
	}
	if day.Before(firstDay) {
		return time.Time{}, fault.InvalidField(location, "must not be before "+formatDay(firstDay))
	}
	return day, nil
}

func formatDay(day time.Time) string { return day.Format(time.DateOnly) }

// check fails unless a is a span in some time zone. Somewhere on Earth it may be
// yesterday or tomorrow; what is wrong on both days is wrong between them.
func (a asked) check(now time.Time) error {
	today := utcDay(now)
	for _, days := range []int{-1, 1} {
		if _, err := a.on(today.AddDate(0, 0, days)); err == nil {
			return nil
		}
	}
	_, err := a.on(today)
	return err
}

// utcDay returns the day it is in UTC.
func utcDay(now time.Time) time.Time { return now.UTC().Truncate(24 * time.Hour) }

// on returns the range as it is on the day that is today.
func (a asked) on(today time.Time) (span, error) {
	s := a.filled(today)
	return s, s.check()
}

// filled closes open ends: today, and the Monday that makes it usualWeeks.
func (a asked) filled(today time.Time) span {
	s := span(a)
	if s.to.IsZero() {
		s.to = today
	}
	if s.from.IsZero() {
		s.from = startOf("week", s.to).AddDate(0, 0, -7*(usualWeeks-1))
		if s.from.Before(firstDay) {
			s.from = firstDay
		}
	}
	return s
}

// around returns a span that holds the range in whatever time zone it is now.
func (a asked) around(now time.Time) span {
	today := utcDay(now)
	return span{a.filled(today.AddDate(0, 0, -1)).from, a.filled(today.AddDate(0, 0, 1)).to}
}

// check fails unless s has a day and at most mostDays.
func (s span) check() error {
	if s.to.Before(s.from) {
		return fault.InvalidField("query.to", fmt.Sprintf("must not be before from (%s), and is %s", formatDay(s.from), formatDay(s.to)))
	}
	if s.days() > mostDays {
		return fault.InvalidField("query.from", fmt.Sprintf("must be less than %d days before to (%s): ask for five years at most", mostDays, formatDay(s.to)))
	}
	return nil
}

// days is how many days s has.
func (s span) days() int { return int(s.to.Sub(s.from)/(24*time.Hour)) + 1 }

func (s span) holds(day time.Time) bool { return !day.Before(s.from) && !day.After(s.to) }

// dated is what a row of a rollup has in common with the others.
type dated struct{ day time.Time }

func (d dated) on() time.Time { return d.day }

// within returns those of the rows, which are in order, that are on days of s.
func within[R interface{ on() time.Time }](rows []R, s span) []R {
	at := func(row R, day time.Time) int { return row.on().Compare(day) }
	first, _ := slices.BinarySearchFunc(rows, s.from, at)
	end, _ := slices.BinarySearchFunc(rows, s.to.AddDate(0, 0, 1), at)
	return rows[first:max(first, end)]
}

// period is a day, a week from Monday or a month, as far as a span has it.
type period struct {
	span
	complete bool // all of it is in the span, and over
}

// by cuts s into periods of a unit ("day", "week" or "month").
func (s span) by(unit string, today time.Time) []period {
	var periods []period
	for start := startOf(unit, s.from); !start.After(s.to); {
		next := nextOf(unit, start)
		p := period{span: span{start, next.AddDate(0, 0, -1)}}
		p.complete = s.holds(p.from) && s.holds(p.to) && p.to.Before(today)
		if p.from.Before(s.from) {
			p.from = s.from
		}
		if p.to.After(s.to) {
			p.to = s.to
		}
		periods = append(periods, p)
		start = next
	}
	return periods
}

// startOf returns the first day of the unit that day is in.
func startOf(unit string, day time.Time) time.Time {
	switch unit {
	case "week":
		return day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
	case "month":
		return day.AddDate(0, 0, 1-day.Day())
	}
	return day
}

// nextOf returns the first day of the unit after the one that begins at start.
func nextOf(unit string, start time.Time) time.Time {
	switch unit {
	case "week":
		return start.AddDate(0, 0, 7)
	case "month":
		return start.AddDate(0, 1, 0)
	}
	return start.AddDate(0, 0, 1)
}
