package rollup_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/jwks"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/scheduler/schedulertest"
)

const audience = "https://rollup-123456789012.europe-west1.run.app"

// account is the one that a job calls as.
func account(job string) string { return "cron-rollup-" + job + "@acme-dash.iam.gserviceaccount.com" }

// simulator is Cloud Scheduler before the function, on a server of its own, with a
// network that loses answers and a database that goes away.
type simulator struct {
	world
	google *schedulertest.Google
	proxy  *pgtest.Proxy // before the function's database
	server *httptest.Server
	begun  chan struct{} // takes one for each call that has arrived
}

func newSimulator(t *testing.T) *simulator {
	t.Helper()
	s := &simulator{world: newWorld(t), google: schedulertest.New(t, time.Now), begun: make(chan struct{}, 1)}
	s.proxy = pgtest.NewProxy(t, s.url)
	settings := map[string]string{
		"DATABASE_URL": s.proxy.URL, "SCHEDULER_AUDIENCE": audience,
		"SCHEDULER_ACCOUNTS": "/api/rollup/condense=" + account("condense") + ",/api/rollup/prune=" + account("prune"),
	}
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { value, ok := settings[name]; return value, ok })
	jwks.Through(env, s.google.Client())
	handler, err := function.Handler(env, rollup.Function)
	if err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.begun <- struct{}{}:
		default:
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { s.server.Close(); _ = env.Stop(context.Background()) })
	return s
}

// delivery is what a job does at a slot of its schedule. Its time is that of the slot
// however often it is tried; one that somebody starts by hand may have none.
type delivery struct {
	job  string
	slot string
}

// send sends a call once and returns the status, 0 when no answer came.
func (s *simulator) send(ctx context.Context, c delivery) (status int, header http.Header, body string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.server.URL+"/api/rollup/"+c.job, nil)
	if err != nil {
		s.t.Error(err)
		return 0, nil, ""
	}
	r.Header.Set("User-Agent", "Google-Cloud-Scheduler")
	r.Header.Set("X-CloudScheduler", "true")
	r.Header.Set("X-CloudScheduler-JobName", "rollup-"+c.job)
	if c.slot != "" {
		r.Header.Set("X-CloudScheduler-ScheduleTime", c.slot)
	}
	r.Header.Set("Authorization", "Bearer "+s.google.Token(account(c.job), audience, nil))
	answer, err := s.server.Client().Do(r)
	if err != nil {
		return 0, nil, ""
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, string(text)
}

// answered sends a call and tells whether it was done. Connections that broke in the
// pool are found one by one, so that it may be told to come again.
func (s *simulator) answered(c delivery) bool {
	s.t.Helper()
	status, header, body := s.send(context.Background(), c)
	again := status == http.StatusServiceUnavailable && header.Get("Retry-After") != ""
	if status != http.StatusOK && !again {
		s.t.Errorf("%v: %d %s", c, status, body)
	}
	return status == http.StatusOK
}

// tries are how an attempt may go; what is not acknowledged is tried again.
var tries = map[string]func(*simulator, *rapid.T, delivery) (acknowledged bool){
	"it goes well": func(s *simulator, _ *rapid.T, c delivery) bool { return s.answered(c) },
	"it comes twice": func(s *simulator, _ *rapid.T, c delivery) bool {
		first := s.answered(c)
		return s.answered(c) || first
	},
	"it comes twice at once": func(s *simulator, _ *rapid.T, c delivery) bool {
		var both sync.WaitGroup
		var done [2]bool
		for i := range done {
			both.Go(func() { done[i] = s.answered(c) })
		}
		both.Wait()
		return done[0] || done[1]
	},
	"its answer is lost": func(s *simulator, _ *rapid.T, c delivery) bool { s.answered(c); return false },
	"the connection is cut": func(s *simulator, r *rapid.T, c delivery) bool {
		// What the call has asked of the database has been done, and nobody hears of it.
		ctx, cancel := context.WithCancel(context.Background())
		s.proxy.Hold()
		select {
		case <-s.begun: // of an earlier call
		default:
		}
		var sent sync.WaitGroup
		sent.Go(func() { _, _, _ = s.send(ctx, c) })
		<-s.begun
		if rapid.Bool().Draw(r, "the answers come first") {
			s.proxy.Restore()
		}
		cancel()
		sent.Wait()
		s.proxy.Restore()
		return false
	},
	"the database goes away": func(s *simulator, r *rapid.T, c delivery) bool {
		s.proxy.BreakAt(rapid.IntRange(1, 12).Draw(r, "step"))
		done := s.answered(c)
		if done && s.proxy.Broken() {
			s.t.Errorf("%v: the database went away under it, and it was done", c)
		}
		s.proxy.Restore()
		return done
	},
	"nothing arrives": func(*simulator, *rapid.T, delivery) bool { return false },
}

// attempts tries a call as the job does: once, and three times more.
func (s *simulator) attempts(r *rapid.T, c delivery) {
	names := slices.Sorted(maps.Keys(tries))
	for range 4 {
		if tries[rapid.SampledFrom(names).Draw(r, c.job)](s, r, c) {
			return
		}
	}
}

// settle calls until the last call says that nothing is left: the scheduler goes on
// for ever.
func (s *simulator) settle() {
	s.t.Helper()
	for range 100 {
		var done rollup.Condensation
		status, _, body := s.send(context.Background(), delivery{"condense", ""})
		if status == http.StatusOK && json.Unmarshal([]byte(body), &done) == nil && done.Left == 0 && s.answered(delivery{"prune", ""}) {
			return
		}
	}
	s.t.Fatal("days are left after a hundred calls")
}

// However calls are repeated, delayed, reordered, doubled, cut off and lost, and
// whatever time they say is theirs, the figures and the sessions are those of one
// call for each slot, in order.
func TestCallsOfTheSchedulerAreAsGoodAsOneEach(t *testing.T) {
	t.Parallel()
	s, once := newSimulator(t), newWorld(t)
	for _, w := range []world{s.world, once} {
		w.exec("INSERT INTO users (email, email_key, name, password_hash) VALUES ('a', 'a', 'A', '')")
	}
	rapid.Check(t, func(r *rapid.T) {
		worlds := map[*world]place{&s.world: s.newPlace("Europe/Berlin"), &once: once.newPlace("Europe/Berlin")}
		slot := at("2026-03-01T00:00:00Z")
		var late []delivery
		put := map[int]commit{}
		instant := func() time.Time {
			return at("2026-02-27T00:00:00Z").Add(time.Duration(rapid.IntRange(0, 96).Draw(r, "hours")) * time.Hour)
		}
		tick := func(job string) {
			c := delivery{job, slot.Format(time.RFC3339)}
			slot = slot.Add(2 * time.Minute)
			switch rapid.SampledFrom([]string{"in time", "in time", "late", "never"}).Draw(r, "arrives") {
			case "in time":
				s.attempts(r, c)
			case "late":
				late = append(late, c)
			}
			if answer := map[string]func(http.Handler) *httptest.ResponseRecorder{"condense": call, "prune": prune}[job](once.handler); answer.Code != http.StatusOK {
				r.Fatalf("%d %s", answer.Code, answer.Body)
			}
		}
		steps := map[string]func(*rapid.T){
			"commit": func(r *rapid.T) {
				c := commit{rapid.IntRange(1, 6).Draw(r, "n"), instant(), rapid.IntRange(0, 2).Draw(r, "parents")}
				var old []time.Time
				if before, ok := put[c.n]; ok {
					old = append(old, before.at)
				}
				put[c.n] = c
				for w, p := range worlds {
					must(t, p.putCommit(t.Context(), w.pool, c, old...))
				}
			},
			"deployment": func(r *rapid.T) {
				when, leads := instant(), rapid.SliceOfN(rapid.Int64Range(-5, 500), 0, 4).Draw(r, "leads")
				for w, p := range worlds {
					must(t, p.putDeployment(t.Context(), w.pool, deployment{uuid.New(), when, "success", leads}))
				}
			},
			"session": func(r *rapid.T) {
				ago := rapid.SampledFrom([]string{"1 hour", "9 days"}).Draw(r, "ago")
				for w := range worlds {
					w.exec(session, ago, ago, nil)
				}
			},
			"condense": func(*rapid.T) { tick("condense") },
			"prune":    func(*rapid.T) { tick("prune") },
			"a late one": func(r *rapid.T) {
				if len(late) > 0 {
					i := rapid.IntRange(0, len(late)-1).Draw(r, "which")
					s.attempts(r, late[i])
					late = slices.Delete(late, i, i+1)
				}
			},
			"by hand": func(r *rapid.T) {
				s.attempts(r, delivery{"condense", rapid.SampledFrom([]string{"", "no time", "1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"}).Draw(r, "slot")})
			},
		}
		more := rapid.SliceOfN(rapid.SampledFrom(slices.Sorted(maps.Keys(steps))), 1, 8).Draw(r, "steps")
		for _, name := range slices.Concat([]string{"commit", "deployment", "session", "condense", "commit"}, more) {
			steps[name](r)
		}
		for _, c := range late {
			s.answered(c)
		}
		s.settle()
		once.condense("")
		if answer := prune(once.handler); answer.Code != http.StatusOK {
			r.Fatalf("%d %s", answer.Code, answer.Body)
		}
		state := func(w *world) string {
			return w.rollups(worlds[w]) + "\nsessions " + w.text("SELECT coalesce(string_agg(user_agent, ' ' ORDER BY user_agent), '') FROM sessions") + "\nmarks " + w.text("SELECT count(*)::text FROM dirty_days")
		}
		if diff := cmp.Diff(state(&once), state(&s.world)); diff != "" {
			r.Fatalf("one call each and these calls differ: %s", diff)
		}
	})
}

// Whoever is not the job's account changes nothing.
func TestOnlyTheJobsAccountCondenses(t *testing.T) {
	t.Parallel()
	s := newSimulator(t)
	p := s.newPlace("UTC")
	must(t, p.putCommit(t.Context(), s.pool, commit{1, at("2026-03-01T10:00:00Z"), 1}))
	for who, c := range map[string]struct {
		header string
		status int
	}{
		"nobody":       {"", 401},
		"another job":  {"Bearer " + s.google.Token(account("prune"), audience, nil), 403},
		"another path": {"Bearer " + s.google.Token(account("condense"), audience+"/api/rollup/condense", nil), 401},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.URL+"/api/rollup/condense", nil)
		must(t, err)
		r.Header.Set("Authorization", c.header)
		r.Header.Set("X-CloudScheduler", "true") // which anybody can write
		answer, err := s.server.Client().Do(r)
		must(t, err)
		_ = answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", who, answer.StatusCode, c.status)
		}
	}
	if got := s.rollups(p); got != "" {
		t.Errorf("somebody else had it computed: %s", got)
	}
	s.settle()
	if got, want := s.rollups(p), "commits 2026-03-01 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
