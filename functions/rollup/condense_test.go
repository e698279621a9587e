package rollup_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/sample"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCondenseComputesADayFromItsFacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.newPlace("UTC")
	ctx := t.Context()
	must(t, p.putCommit(ctx, w.pool, commit{1, at("2026-03-01T00:00:00Z"), 1}))
	must(t, p.putCommit(ctx, w.pool, commit{2, at("2026-03-01T23:59:59Z"), 0}))
	must(t, p.putCommit(ctx, w.pool, commit{3, at("2026-03-01T12:00:00Z"), 2})) // a merge
	must(t, p.putCommit(ctx, w.pool, commit{4, at("2026-03-02T00:00:00Z"), 1}))
	must(t, p.putDeployment(ctx, w.pool, deployment{uuid.New(), at("2026-03-01T10:00:00Z"), "success", []int64{50, -3, 0, math.MaxInt32, math.MaxInt32 + 1}}))
	must(t, p.putDeployment(ctx, w.pool, deployment{uuid.New(), at("2026-03-01T11:00:00Z"), "success", []int64{7}}))
	must(t, p.putDeployment(ctx, w.pool, deployment{uuid.New(), at("2026-03-01T12:00:00Z"), "failure", []int64{8}}))
	must(t, p.putDeployment(ctx, w.pool, deployment{uuid.New(), at("2026-03-01T13:00:00Z"), "running", nil}))
	must(t, p.putDeployment(ctx, w.pool, deployment{uuid.New(), at("2026-03-02T13:00:00Z"), "success", nil}))
	must(t, p.putDeployment(ctx, w.pool, deployment{uuid.New(), at("2026-03-03T13:00:00Z"), "success", []int64{-1}}))
	w.condense(`{"condensed":5,"left":0}`)
	want := `change_lead_time 2026-03-01 4 2 {0,7,50,2147483647}
change_lead_time 2026-03-03 0 1 {}
commits 2026-03-01 2
commits 2026-03-02 1
deployments 2026-03-01 2 1 6
deployments 2026-03-02 1 0 0
deployments 2026-03-03 1 0 1`
	if diff := cmp.Diff(want, w.rollups(p)); diff != "" {
		t.Error(diff)
	}
	w.condense(`{"condensed":0,"left":0}`)
}

func TestCondenseForgetsDaysWithoutFacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.newPlace("UTC")
	c := commit{1, at("2026-03-01T10:00:00Z"), 1}
	d := deployment{uuid.New(), at("2026-03-01T10:00:00Z"), "success", []int64{1}}
	must(t, p.putCommit(t.Context(), w.pool, c))
	must(t, p.putDeployment(t.Context(), w.pool, d))
	w.condense(`{"condensed":2,"left":0}`)
	must(t, p.deleteCommit(t.Context(), w.pool, c))
	must(t, p.deleteDeployment(t.Context(), w.pool, d))
	w.condense(`{"condensed":2,"left":0}`)
	if got := w.rollups(p); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func TestDaysAreLocal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct{ zone, from, to, want string }{
		{"UTC", "2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z", "2026-03-28 24, 2026-03-29 24"},
		{"Europe/Berlin", "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z", "2026-03-28 24, 2026-03-29 23, 2026-03-30 24"},
		{"Europe/Berlin", "2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z", "2026-10-24 24, 2026-10-25 25, 2026-10-26 24"},
		{"Asia/Shanghai", "2026-03-27T16:00:00Z", "2026-03-29T16:00:00Z", "2026-03-28 24, 2026-03-29 24"},
		// The clocks skip midnight, and go back over it.
		{"America/Sao_Paulo", "2018-11-03T03:00:00Z", "2018-11-06T02:00:00Z", "2018-11-03 24, 2018-11-04 23, 2018-11-05 24"},
		{"America/Havana", "2026-10-31T04:00:00Z", "2026-11-03T05:00:00Z", "2026-10-31 24, 2026-11-01 25, 2026-11-02 24"},
		// A whole day is missing.
		{"Pacific/Apia", "2011-12-29T10:00:00Z", "2011-12-31T10:00:00Z", "2011-12-29 24, 2011-12-31 24"},
	} {
		t.Run(test.zone+" "+test.from, func(t *testing.T) {
			t.Parallel()
			p := w.newPlace(test.zone)
			var hours []time.Time
			for hour := at(test.from); hour.Before(at(test.to)); hour = hour.Add(time.Hour) {
				hours = append(hours, hour)
			}
			err := p.write(t.Context(), w.pool, "commits", hours, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), `
					INSERT INTO commits (repository_id, sha, author_id, authored_at, committed_at, parents, subject)
					SELECT $1, substr(sha256(convert_to(h::text, 'UTF8')), 1, 20), 1, h, h, 1, '' FROM unnest($2::timestamptz[]) h`, p.repository, hours)
				return err
			})
			must(t, err)
			// Other subtests may hold the scope for a moment.
			for w.text("SELECT count(*)::text FROM dirty_days WHERE scope = $1", p.repository) != "0" {
				w.condense("")
			}
			got := w.text("SELECT string_agg(day || ' ' || commits, ', ' ORDER BY day) FROM rollup_commits WHERE repository_id = $1", p.repository)
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestBigDaysAreSketched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.newPlace("UTC")
	leads := func(n int) []int64 {
		all := make([]int64, n)
		for i := range all {
			all[i] = int64(i * i % 100_003)
		}
		return all
	}
	d := deployment{uuid.New(), at("2026-03-01T10:00:00Z"), "success", leads(sample.Exact)}
	stored := func() string {
		return w.text("SELECT concat_ws(' ', n, excluded, cardinality(samples), encode(sketch, 'hex')) FROM rollup_samples WHERE environment_id = $1", p.environment)
	}
	must(t, p.putDeployment(t.Context(), w.pool, d))
	w.condense("")
	if got, want := stored(), "2000 0 2000"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	d.leads = append(leads(sample.Exact+1), -1)
	must(t, p.putDeployment(t.Context(), w.pool, d))
	w.condense("")
	var values []int32
	for _, lead := range leads(sample.Exact + 1) {
		values = append(values, int32(lead))
	}
	slices.Sort(values)
	if got, want := stored(), "2001 1 "+hex.EncodeToString(sample.Sketch(values)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	before := w.rollups(p)
	w.rebuild(p)
	if diff := cmp.Diff(before, w.rollups(p)); diff != "" {
		t.Errorf("a rebuild differs: %s", diff)
	}
	d.leads = []int64{5}
	must(t, p.putDeployment(t.Context(), w.pool, d))
	w.condense("")
	if got, want := stored(), "1 0 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCondenseStopsInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.newPlace("UTC")
	w.exec("INSERT INTO dirty_days (rollup, scope, day) SELECT 'commits', $1, date '2020-01-01' + n FROM generate_series(0, 1199) n", p.repository)
	// Each look at the clock takes 40 s: the call has time for two slices.
	clock := time.Now()
	slow := serve(t, w.url, func() time.Time {
		clock = clock.Add(40 * time.Second)
		return clock
	})
	if got, want := call(slow).Body.String(), `{"condensed":1000,"left":200}`+"\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w.condense(`{"condensed":200,"left":0}`)
}

func TestAScopeThatFailsKeepsItsMarksAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken, whole := w.newPlace("UTC"), w.newPlace("UTC")
	w.exec("UPDATE teams SET time_zone = 'Nowhere/Land' WHERE id = (SELECT team_id FROM repositories WHERE id = $1)", broken.repository)
	for _, p := range []place{broken, whole} {
		must(t, p.putCommit(t.Context(), w.pool, commit{1, at("2026-03-01T10:00:00Z"), 1}))
		must(t, p.putDeployment(t.Context(), w.pool, deployment{uuid.New(), at("2026-03-01T10:00:00Z"), "success", []int64{9}}))
	}
	answer := call(w.handler)
	if answer.Code != http.StatusInternalServerError || strings.Contains(answer.Body.String(), "Nowhere") {
		t.Errorf("%d %s, want 500 and nothing about the cause", answer.Code, answer.Body)
	}
	if got := w.text("SELECT string_agg(scope::text, ' ' ORDER BY rollup) FROM dirty_days"); got != broken.repository.String()+" "+broken.environment.String() {
		t.Errorf("marks of %s are left", got)
	}
	if got := w.rollups(whole); got == "" {
		t.Error("the other team's days were not computed")
	}
}

func TestMarksOfWhatIsGoneAreDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, rollup := range []string{"commits", "deployments"} {
		w.exec("INSERT INTO dirty_days (rollup, scope, day) VALUES ($1, gen_random_uuid(), '2026-01-01')", rollup)
	}
	w.condense(`{"condensed":2,"left":0}`)
}

// A writer's mark and facts are seen together: a call that runs while they are
// uncommitted neither waits nor uses up the mark.
func TestAMarkIsNotUsedUpBeforeItsFactsAreThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.newPlace("UTC")
	tx, err := w.pool.Begin(t.Context())
	must(t, err)
	must(t, p.putCommit(t.Context(), w.pool, commit{1, at("2026-03-01T10:00:00Z"), 1}))
	must(t, p.putCommit(t.Context(), tx, commit{2, at("2026-03-01T11:00:00Z"), 1}))
	w.condense(`{"condensed":1,"left":0}`)
	must(t, tx.Commit(t.Context()))
	w.condense(`{"condensed":1,"left":0}`)
	if got, want := w.rollups(p), "commits 2026-03-01 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A scope that another call is at work on is left to it.
func TestAScopeIsComputedByOneCallAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held, free := w.newPlace("UTC"), w.newPlace("UTC")
	for _, p := range []place{held, free} {
		must(t, p.putCommit(t.Context(), w.pool, commit{1, at("2026-03-01T10:00:00Z"), 1}))
	}
	tx, err := w.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), "SELECT pg_advisory_xact_lock(hashtextextended('rollup commits ' || $1::uuid, 0))", held.repository)
	must(t, err)
	w.condense(`{"condensed":1,"left":1}`)
	must(t, tx.Commit(t.Context()))
	w.condense(`{"condensed":1,"left":0}`)
}

func TestCondenseIsUnavailableWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.newPlace("UTC")
	must(t, p.putCommit(t.Context(), w.pool, commit{1, at("2026-03-01T10:00:00Z"), 1}))
	must(t, p.putDeployment(t.Context(), w.pool, deployment{uuid.New(), at("2026-03-01T10:00:00Z"), "success", make([]int64, sample.Exact+1)}))
	w.condense("")
	want := w.rollups(p)
	for n, proxy := range pgtest.Breaks(t, w.url) {
		w.exec(`INSERT INTO dirty_days (rollup, scope, day) VALUES ('commits', $1, '2026-03-01'), ('deployments', $2, '2026-03-01')`, p.repository, p.environment)
		answer := call(serve(t, proxy.URL, time.Now))
		if proxy.Broken() && (answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "") {
			t.Errorf("step %d: %d %s, want 503", n, answer.Code, answer.Body)
		}
		if !proxy.Broken() && answer.Code != http.StatusOK {
			t.Errorf("nothing broke: %d %s", answer.Code, answer.Body)
		}
	}
	w.condense("")
	if diff := cmp.Diff(want, w.rollups(p)); diff != "" {
		t.Error(diff)
	}
}

// history is a plain account of the facts, and the oracle of the rollups.
type history struct {
	commits     map[int]commit
	deployments map[uuid.UUID]deployment
}

func (h history) rollups(p place) string {
	type counts struct {
		deployed, failed, changes, excluded int
		samples                             []int32
	}
	commits, days := map[string]int{}, map[string]*counts{}
	for _, c := range h.commits {
		if c.parents < 2 {
			commits[p.day(c.at)]++
		}
	}
	for _, d := range h.deployments {
		day := days[p.day(d.at)]
		if day == nil {
			day = &counts{}
		}
		switch d.status {
		case "success":
			day.deployed++
			day.changes += len(d.leads)
			for _, lead := range d.leads {
				if lead < 0 || lead > math.MaxInt32 {
					day.excluded++
				} else {
					day.samples = append(day.samples, int32(lead))
				}
			}
		case "failure":
			day.failed++
		default:
			continue
		}
		days[p.day(d.at)] = day
	}
	var lines []string
	for day, n := range commits {
		lines = append(lines, fmt.Sprintf("commits %s %d", day, n))
	}
	for day, c := range days {
		lines = append(lines, fmt.Sprintf("deployments %s %d %d %d", day, c.deployed, c.failed, c.changes))
		if c.changes == 0 {
			continue
		}
		slices.Sort(c.samples)
		stored := strings.NewReplacer("[", "{", "]", "}", " ", ",").Replace(fmt.Sprint(c.samples))
		if len(c.samples) > sample.Exact {
			stored = `\x` + hex.EncodeToString(sample.Sketch(c.samples))
		}
		lines = append(lines, fmt.Sprintf("change_lead_time %s %d %d %s", day, len(c.samples), c.excluded, stored))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Facts written, changed and deleted in any order, with calls in between and at
// the same time, come out as a rebuild does, and as the oracle has it.
func TestRollupsFollowFacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	var zones = []string{"UTC", "Asia/Shanghai", "America/New_York", "America/Havana", "Pacific/Apia"}
	rapid.Check(t, func(r *rapid.T) {
		p := w.newPlace(rapid.SampledFrom(zones).Draw(r, "zone"))
		h := history{map[int]commit{}, map[uuid.UUID]deployment{}}
		// Some days around changes of the clocks, to the half hour, so that days collide.
		instant := rapid.Custom(func(r *rapid.T) time.Time {
			start := at(rapid.SampledFrom([]string{"2011-12-29T00:00:00Z", "2025-03-08T00:00:00Z", "2025-11-01T00:00:00Z"}).Draw(r, "around"))
			return start.Add(time.Duration(rapid.IntRange(0, 144).Draw(r, "half hours")) * 30 * time.Minute)
		})
		lead := rapid.OneOf(rapid.Int64Range(-10, 1000), rapid.Just(int64(math.MaxInt32)+1))
		var ids []uuid.UUID
		r.Repeat(map[string]func(*rapid.T){
			"put commit": func(r *rapid.T) {
				c := commit{rapid.IntRange(1, 8).Draw(r, "n"), instant.Draw(r, "at"), rapid.IntRange(0, 3).Draw(r, "parents")}
				var old []time.Time
				if before, ok := h.commits[c.n]; ok {
					old = append(old, before.at)
				}
				must(t, p.putCommit(ctx, w.pool, c, old...))
				h.commits[c.n] = c
			},
			"delete commit": func(r *rapid.T) {
				n := rapid.IntRange(1, 8).Draw(r, "n")
				if c, ok := h.commits[n]; ok {
					must(t, p.deleteCommit(ctx, w.pool, c))
					delete(h.commits, n)
				}
			},
			"put deployment": func(r *rapid.T) {
				d := deployment{uuid.New(), instant.Draw(r, "at"), rapid.SampledFrom([]string{"success", "success", "failure", "running"}).Draw(r, "status"), rapid.SliceOfN(lead, 0, 5).Draw(r, "leads")}
				if rapid.IntRange(0, 9).Draw(r, "big") == 9 {
					d.leads = append(d.leads, make([]int64, sample.Exact)...)
				}
				var old []time.Time
				if len(ids) > 0 && rapid.Bool().Draw(r, "again") {
					d.id = rapid.SampledFrom(ids).Draw(r, "id")
					if before, ok := h.deployments[d.id]; ok {
						old = append(old, before.at)
					}
				} else {
					ids = append(ids, d.id)
				}
				must(t, p.putDeployment(ctx, w.pool, d, old...))
				h.deployments[d.id] = d
			},
			"delete deployment": func(r *rapid.T) {
				if len(ids) == 0 {
					return
				}
				id := rapid.SampledFrom(ids).Draw(r, "id")
				if d, ok := h.deployments[id]; ok {
					must(t, p.deleteDeployment(ctx, w.pool, d))
					delete(h.deployments, id)
				}
			},
			"condense": func(*rapid.T) { w.condense("") },
			"condense twice at once": func(*rapid.T) {
				var both sync.WaitGroup
				for range 2 {
					both.Go(func() {
						if answer := call(w.handler); answer.Code != http.StatusOK {
							t.Errorf("%d %s", answer.Code, answer.Body)
						}
					})
				}
				both.Wait()
			},
		})
		w.condense("")
		if diff := cmp.Diff(h.rollups(p), w.rollups(p)); diff != "" {
			r.Fatalf("not as the oracle has it: %s", diff)
		}
		w.rebuild(p)
		if diff := cmp.Diff(h.rollups(p), w.rollups(p)); diff != "" {
			r.Fatalf("a rebuild differs: %s", diff)
		}
	})
}

// Writers and several condensers at once: in the end everything is counted.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	places := []place{w.newPlace("UTC"), w.newPlace("Asia/Shanghai")}
	const writers, each = 4, 25
	var writing, condensing sync.WaitGroup
	done := make(chan struct{})
	for n := range writers {
		writing.Go(func() {
			for i := range each {
				p := places[i%len(places)]
				when := at("2026-03-01T10:00:00Z").Add(time.Duration(i%3) * 24 * time.Hour)
				if err := p.putCommit(t.Context(), w.pool, commit{n*each + i, when, 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		condensing.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if answer := call(w.handler); answer.Code != http.StatusOK {
						t.Errorf("%d %s", answer.Code, answer.Body)
					}
				}
			}
		})
	}
	writing.Wait()
	close(done)
	condensing.Wait()
	w.condense("")
	if got := w.text("SELECT sum(commits)::text FROM rollup_commits"); got != fmt.Sprint(writers*each) {
		t.Errorf("%s commits are counted, want %d", got, writers*each)
	}
}

func BenchmarkCondense(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b)
		p := w.newPlace("Europe/Berlin")
		w.bulk(p, 60_000, 3_000)
		b.StartTimer()
		var answer struct{ Condensed, Left int }
		if err := json.NewDecoder(bytes.NewReader(call(w.handler).Body.Bytes())).Decode(&answer); err != nil || answer.Left > 0 {
			b.Fatal(answer, err)
		}
		b.ReportMetric(float64(answer.Condensed), "days")
	}
}
