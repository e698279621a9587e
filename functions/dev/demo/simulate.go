package demo

import (
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/devops-dashboard/dashboard/functions/dev/history"
)

// person is who writes commits, when and how much.
type person struct {
	history.Author
	offset time.Duration // of their clock from UTC
	share  int           // of the work
	late   bool          // works in the evening, and on some weekends
}

var team = []person{
	{history.Author{Name: "Marisol Quenby", Email: "marisol@teapot.example"}, 1 * time.Hour, 5, false},
	{history.Author{Name: "Tobias Wrenfield", Email: "tobias@teapot.example"}, 1 * time.Hour, 4, false},
	{history.Author{Name: "Ines Halloway-Sato", Email: "ines@teapot.example"}, 9 * time.Hour, 4, false},
	{history.Author{Name: "Kofi Brandvold", Email: "kofi@teapot.example"}, -5 * time.Hour, 3, true},
	{history.Author{Name: "Priya Oakenshaw", Email: "priya@teapot.example"}, 5*time.Hour + 30*time.Minute, 3, false},
	{history.Author{Name: "Lev Marchetti", Email: "lev@teapot.example"}, -8 * time.Hour, 1, true},
}

// phase is how the team works for a while.
type phase struct {
	until    float64 // of the whole time
	work     float64 // branches merged on a working day
	waits    int     // days that a branch is open, at most
	release  func(time.Time) bool
	hotfixes float64 // chance that a release needs one
}

var phases = []phase{
	{until: 0.45, work: 1.4, waits: 8, hotfixes: 0.35, release: everyOtherThursday},
	{until: 0.75, work: 2.2, waits: 4, hotfixes: 0.2, release: on(time.Tuesday, time.Thursday)},
	{until: 1, work: 3, waits: 1, hotfixes: 0.08, release: on(time.Monday, time.Tuesday, time.Wednesday, time.Thursday)},
}

func everyOtherThursday(day time.Time) bool {
	return day.Weekday() == time.Thursday && day.Unix()/(7*24*3600)%2 == 0
}

func on(weekdays ...time.Weekday) func(time.Time) bool {
	return func(day time.Time) bool { return slices.Contains(weekdays, day.Weekday()) }
}

var (
	verbs  = []string{"Add", "Fix", "Simplify", "Speed up", "Document", "Test", "Rename", "Tighten", "Log", "Retry", "Remove", "Cache"}
	things = []string{"kettle pairing", "the brew queue", "temperature curves", "leaf inventory", "the order form", "steep timers",
		"spout calibration", "the tasting notes", "login by code", "refill alerts", "the price list", "delivery slots", "the weekly report", "lid sensors"}
	ends = []string{"", "", "", " on slow networks", " for guests", " after a restart", " in the app", " behind a flag", " for large orders"}
)

// simulation is the state of the repository while the days go by.
type simulation struct {
	h       *History
	random  *rand.Rand
	day     time.Time
	today   int    // commits made on this day
	main    []byte // tip of the main line
	release []byte // commit of the last release
	minor   int
	patch   int
	fix     bool // the last release needs a hotfix
}

func simulate(seed uint64, begin, end time.Time) *History {
	s := &simulation{h: &History{seed: seed}}
	span := time.Date(begin.Year(), begin.Month()+months, 1, 0, 0, 0, 0, time.UTC).Sub(begin)
	for s.day = begin; s.day.Before(end); s.day = s.day.AddDate(0, 0, 1) {
		// A day's dice do not depend on how many days follow it.
		s.random = rand.New(rand.NewPCG(seed, uint64(s.day.Unix())))
		s.today = 0
		passed := float64(s.day.Sub(begin)) / float64(span)
		at := slices.IndexFunc(phases, func(p phase) bool { return passed < p.until })
		if at < 0 {
			at = len(phases) - 1 // the days of the month that has begun
		}
		s.live(phases[at])
	}
	s.h.main = s.main
	s.h.tips = append(s.h.tips, s.main)
	for _, tag := range s.h.tags {
		s.h.tips = append(s.h.tips, tag.SHA)
	}
	return s.h
}

// live lets one day go by: the hotfix of yesterday's release in the morning, what
// is merged over the day, and a release in the afternoon.
func (s *simulation) live(p phase) {
	if s.main == nil {
		s.main = s.commit(s.someone(), s.clock(9), s.clock(9), "Begin")
	}
	if s.fix && s.weekday() {
		s.hotfix()
	}
	s.merge(p)
	if p.release(s.day) && s.weekday() && string(s.main) != string(s.release) && !s.holidays() {
		s.minor, s.patch, s.release = s.minor+1, 0, s.main
		s.tag(s.clock(19 + s.random.Float64()))
		s.fix = s.random.Float64() < p.hotfixes
	}
}

// hotfix mends the last release on a line of its own, and takes the mend home.
func (s *simulation) hotfix() {
	s.fix = false
	who := s.someone()
	s.release = s.commit(who, s.clock(7.5), s.clock(7.6), "Mend "+pick(s.random, things), s.release)
	s.patch++
	s.tag(s.clock(8 + s.random.Float64()/2))
	s.main = s.commit(who, s.clock(8.7), s.clock(8.7), fmt.Sprintf("Merge hotfix v1.%d.%d", s.minor, s.patch), s.main, s.release)
}

// merge takes in the branches that are done on this day.
func (s *simulation) merge(p phase) {
	work := p.work
	switch {
	case !s.weekday():
		work *= 0.12
	case s.holidays():
		work *= 0.15
	case s.day.Month() == time.August:
		work *= 0.6
	}
	count := int(work + s.random.Float64()*2 - 0.5)
	hours := make([]float64, count)
	for i := range hours {
		hours[i] = 9.5 + 9*s.random.Float64()
	}
	slices.Sort(hours) // the main line's clock does not go back
	for _, hour := range hours {
		s.branch(s.someone(), p, s.clock(hour))
	}
}

// branch is the work of a few hours or days, merged or squashed at done.
func (s *simulation) branch(who person, p phase, done time.Time) {
	subject := fmt.Sprintf("%s %s%s", pick(s.random, verbs), pick(s.random, things), pick(s.random, ends))
	written := []time.Time{}
	for range 1 + s.random.IntN(4) {
		written = append(written, s.work(who, done, p.waits))
	}
	slices.SortFunc(written, time.Time.Compare)
	if s.random.IntN(3) == 0 {
		// A squash keeps the time of the first commit, as its author's.
		s.main = s.commit(who, written[0], done, subject, s.main)
		return
	}
	tip := s.main
	for i, at := range written {
		text := subject
		if i > 0 {
			text = fmt.Sprintf("%s %s", pick(s.random, verbs), pick(s.random, things))
		}
		tip = s.commit(who, at, at, text, tip)
	}
	s.main = s.commit(s.someone(), done, done, "Merge: "+subject, s.main, tip)
}

// work returns a time before done at which somebody would be at work.
func (s *simulation) work(who person, done time.Time, waits int) time.Time {
	for range 20 {
		day := done.Truncate(24*time.Hour).AddDate(0, 0, -s.random.IntN(waits+1))
		hour := 9 + 4.5*(s.random.Float64()+s.random.Float64()) // most around the middle of the day
		if hour > 12 && hour < 13 {
			hour++ // lunch
		}
		if who.late {
			hour += 4
		}
		at := day.Add(time.Duration(hour * float64(time.Hour))).Add(-who.offset).Truncate(time.Second)
		weekend := at.Add(who.offset).Weekday() == time.Saturday || at.Add(who.offset).Weekday() == time.Sunday
		if at.Before(done) && (!weekend || who.late && s.random.IntN(4) == 0) {
			return at
		}
	}
	return done.Add(-time.Duration(1+s.random.IntN(90)) * time.Minute)
}

// commit adds a commit and returns its sha.
func (s *simulation) commit(who person, authored, committed time.Time, subject string, parents ...[]byte) []byte {
	s.today++
	sum := sha1.Sum(fmt.Appendf(nil, "%d %d %d", s.h.seed, s.day.Unix(), s.today))
	s.h.commits = append(s.h.commits, history.Commit{
		SHA: sum[:], Parents: parents, Author: who.Author, Authored: authored, Committed: committed, Subject: subject,
	})
	return sum[:]
}

// tag releases the commit s.release.
func (s *simulation) tag(at time.Time) {
	s.h.tags = append(s.h.tags, history.Tag{Name: fmt.Sprintf("v1.%d.%d", s.minor, s.patch), SHA: s.release, At: at})
}

// someone returns a member of the team, the busy ones more often.
func (s *simulation) someone() person {
	total := 0
	for _, p := range team {
		total += p.share
	}
	at := s.random.IntN(total)
	i := slices.IndexFunc(team, func(p person) bool { at -= p.share; return at < 0 })
	return team[i]
}

// clock returns a time of this day, in UTC.
func (s *simulation) clock(hour float64) time.Time {
	return s.day.Add(time.Duration(hour * float64(time.Hour))).Truncate(time.Second)
}

func (s *simulation) weekday() bool {
	return s.day.Weekday() != time.Sunday && s.day.Weekday() != time.Saturday
}

// holidays are the quiet days at the turn of the year.
func (s *simulation) holidays() bool {
	_, month, day := s.day.Date()
	return month == time.December && day > 22 || month == time.January && day < 3
}

func pick(random *rand.Rand, from []string) string { return from[random.IntN(len(from))] }
