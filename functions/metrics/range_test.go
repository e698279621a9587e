package metrics

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

func day(text string) time.Time {
	d, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return d
}

func (s span) String() string { return formatDay(s.from) + ".." + formatDay(s.to) }

func TestRangesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ from, to, want string }{
		{"2026-03-02", "2026-03-01", "query.to"},
		{"2021-01-01", "2026-01-02", "query.from"}, // 1,828 days
		{"1969-12-31", "1970-01-02", "query.from"},
		{"", "1969-12-31", "query.to"},
		{"0001-01-01", "", "query.from"},
		{"2026-02-29", "", "query.from"},
		{"", "tomorrow", "query.to"},
		{"2026-03-06", "", "query.to"},   // to is tomorrow at most
		{"2021-03-02", "", "query.from"}, // 1,828 days to yesterday
	} {
		t.Run(test.from+".."+test.to, func(t *testing.T) {
			t.Parallel()
			_, err := parseRange(test.from, test.to, day("2026-03-04"))
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Fields[0].Location != test.want || f.Fields[0].Message == "" {
				t.Errorf("got %v, want a fault of %s", err, test.want)
			}
		})
	}
}

func TestOpenEndsOfARange(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ from, to, want string }{
		{"", "", "2025-12-15..2026-03-04"}, // a Wednesday
		{"", "2026-03-01", "2025-12-08..2026-03-01"},
		{"", "2026-03-02", "2025-12-15..2026-03-02"},
		{"2026-03-04", "", "2026-03-04..2026-03-04"},
		{"2021-01-01", "2026-01-01", "2021-01-01..2026-01-01"}, // five years: 1,827 days
		{"", "1970-02-01", "1970-01-01..1970-02-01"},
		{"2026-03-01", "2027-03-01", "2026-03-01..2027-03-01"},
	} {
		t.Run(test.from+".."+test.to, func(t *testing.T) {
			t.Parallel()
			a, err := parseRange(test.from, test.to, day("2026-03-04"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := a.on(day("2026-03-04"))
			if err != nil || got.String() != test.want {
				t.Errorf("got %v %v, want %s", got, err, test.want)
			}
		})
	}
}

// What is a range where it is tomorrow already, or still yesterday, is asked for.
func TestRangesOfOtherTimeZones(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"2026-03-05", "2021-03-03"} {
		if _, err := parseRange(from, "", day("2026-03-04").Add(18*time.Hour)); err != nil {
			t.Errorf("from %s: %v", from, err)
		}
	}
}

// Whatever time zone it is, what is read holds what is answered, and nothing is
// refused before that could be answered.
func TestAroundHoldsTheRangeEverywhere(t *testing.T) {
	t.Parallel()
	ends := rapid.SampledFrom([]string{"", "2021-03-03", "2021-03-05", "2026-01-01", "2026-03-03", "2026-03-04", "2026-03-05", "1970-01-01"})
	rapid.Check(t, func(r *rapid.T) {
		var a asked
		if from := ends.Draw(r, "from"); from != "" {
			a.from = day(from)
		}
		if to := ends.Draw(r, "to"); to != "" {
			a.to = day(to)
		}
		now := day("2026-03-04").Add(time.Duration(rapid.IntRange(0, 86_399).Draw(r, "second")) * time.Second)
		offset := rapid.IntRange(-12*3600, 14*3600).Draw(r, "offset")
		local := now.In(time.FixedZone("", offset))
		today := day(formatDay(local))
		s, err := a.on(today)
		if err != nil {
			r.Skip("no range")
		}
		if err := a.check(now); err != nil {
			r.Errorf("%v is refused as %v", s, err)
		}
		if around := a.around(now); !around.holds(s.from) || !around.holds(s.to) || around.days() > s.days()+9 {
			r.Errorf("%v does not fit %v", around, s)
		}
	})
}

func TestPeriods(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		unit, from, to, today string
		want                  []string
	}{
		{"day", "2024-02-28", "2024-03-01", "2024-03-01", []string{"2024-02-28..2024-02-28", "2024-02-29..2024-02-29", "2024-03-01..2024-03-01 partial"}},
		{"week", "2026-03-02", "2026-03-08", "2026-03-09", []string{"2026-03-02..2026-03-08"}},
		{"week", "2026-03-02", "2026-03-08", "2026-03-08", []string{"2026-03-02..2026-03-08 partial"}},
		{"week", "2026-03-01", "2026-03-10", "2026-06-01", []string{"2026-03-01..2026-03-01 partial", "2026-03-02..2026-03-08", "2026-03-09..2026-03-10 partial"}},
		{"week", "2026-03-04", "2026-03-05", "2026-06-01", []string{"2026-03-04..2026-03-05 partial"}},
		{"week", "2025-12-29", "2026-01-04", "2026-06-01", []string{"2025-12-29..2026-01-04"}},
		{"month", "2024-01-31", "2024-03-31", "2024-04-01", []string{"2024-01-31..2024-01-31 partial", "2024-02-01..2024-02-29", "2024-03-01..2024-03-31"}},
		{"month", "2023-02-01", "2023-02-28", "2023-02-28", []string{"2023-02-01..2023-02-28 partial"}},
		{"month", "2026-12-01", "2027-01-31", "2026-12-15", []string{"2026-12-01..2026-12-31 partial", "2027-01-01..2027-01-31 partial"}},
		{"week", "1970-01-01", "1970-01-04", "2026-01-01", []string{"1970-01-01..1970-01-04 partial"}},
	} {
		t.Run(test.unit+" "+test.from+".."+test.to, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, p := range (span{day(test.from), day(test.to)}).by(test.unit, day(test.today)) {
				text := p.span.String()
				if !p.complete {
					text += " partial"
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Periods have every day of the range once, in order, and begin where they should.
func TestPeriodsCoverTheRange(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := span{from: firstDay.AddDate(0, 0, rapid.IntRange(0, 25_000).Draw(r, "from"))}
		s.to = s.from.AddDate(0, 0, rapid.IntRange(0, mostDays-1).Draw(r, "days"))
		unit := rapid.SampledFrom([]string{"day", "week", "month"}).Draw(r, "unit")
		next := s.from
		for i, p := range s.by(unit, s.to.AddDate(1, 0, 0)) {
			if !p.from.Equal(next) || p.to.Before(p.from) {
				r.Fatalf("%v follows %s", p.span, formatDay(next))
			}
			if i > 0 && !startOf(unit, p.from).Equal(p.from) {
				r.Fatalf("%v does not begin a %s", p.span, unit)
			}
			if !startOf(unit, p.from).Equal(startOf(unit, p.to)) {
				r.Fatalf("%v is more than a %s", p.span, unit)
			}
			if whole := startOf(unit, p.from).Equal(p.from) && startOf(unit, p.to.AddDate(0, 0, 1)).After(p.to); p.complete != whole {
				r.Fatalf("%v: complete=%v", p.span, p.complete)
			}
			next = p.to.AddDate(0, 0, 1)
		}
		if !next.Equal(s.to.AddDate(0, 0, 1)) {
			r.Fatalf("ends at %s, want %s", formatDay(next), formatDay(s.to))
		}
	})
}

func TestWithin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		present := rapid.SliceOfNDistinct(rapid.IntRange(0, 20), 0, 10, rapid.ID).Draw(r, "days")
		var rows []dated
		for n := range 21 {
			for _, p := range present {
				if p == n {
					rows = append(rows, dated{firstDay.AddDate(0, 0, n)})
				}
			}
		}
		s := span{firstDay.AddDate(0, 0, rapid.IntRange(0, 22).Draw(r, "from")), firstDay.AddDate(0, 0, rapid.IntRange(0, 22).Draw(r, "to"))}
		var want []string
		for _, row := range rows {
			if s.holds(row.day) {
				want = append(want, formatDay(row.day))
			}
		}
		var got []string
		for _, row := range within(rows, s) {
			got = append(got, formatDay(row.day))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			r.Error(diff)
		}
	})
}

func FuzzParseRange(f *testing.F) {
	f.Add("", "")
	f.Add("2026-01-01", "2026-12-31")
	f.Add("2026-13-01", "9999-12-31")
	f.Add("-001-01-01", "2026-1-1")
	f.Fuzz(func(t *testing.T, from, to string) {
		a, err := parseRange(from, to, day("2026-03-04"))
		if err != nil {
			if fault.From(err).Kind != fault.Invalid {
				t.Errorf("not a fault of the request: %v", err)
			}
			return
		}
		if from != "" && formatDay(a.from) != from || to != "" && formatDay(a.to) != to {
			t.Errorf("%q..%q was read as %v", from, to, span(a))
		}
		if s, err := a.on(day("2026-03-04")); err == nil && (s.days() < 1 || s.days() > mostDays) {
			t.Errorf("%v has %d days", s, s.days())
		}
	})
}
