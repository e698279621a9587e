package metrics_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// routes are all that metrics answers, about the world's service and deployment.
func (w *world) routes() []string {
	if w.deployment == uuid.Nil {
		w.deployment = w.deploy("v1", now, "success", change{1, 60}, change{2, 70}, change{3, 80})
		w.deploy("v2", now, "success")
		w.rollup("2026-03-01", 1, 0, 0, 60, 70, 80)
		w.exec("INSERT INTO rollup_commits VALUES ($1, '2026-03-01', 1)", w.repository)
	}
	return append(w.dashboard(),
		"/api/metrics/services",
		fmt.Sprintf("/api/metrics/deployments?service=%s&limit=1", w.service),
		fmt.Sprintf("/api/metrics/deployments/%s/changes?limit=1", w.deployment))
}

// dashboard are those that answer from rollups.
func (w *world) dashboard() []string {
	return []string{
		fmt.Sprintf("/api/metrics/deployment-frequency?service=%s", w.service),
		fmt.Sprintf("/api/metrics/change-lead-time?service=%s", w.service),
		fmt.Sprintf("/api/metrics/commits?service=%s", w.service),
	}
}

func TestWhoSeesWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	stranger, _ := w.newMember("UTC")
	gone := uuid.New()
	for _, path := range w.routes() {
		if code, text := ask(t, w, w.handler, w.member, path); code != http.StatusOK {
			t.Errorf("%s as a member: %d %s", path, code, text)
		}
		if p := refused(t, w, uuid.Nil, path); p.Status != http.StatusUnauthorized {
			t.Errorf("%s as nobody: %+v", path, p)
		}
		if path == "/api/metrics/services" {
			continue
		}
		foreign := refused(t, w, stranger, path)
		same(t, http.StatusNotFound, foreign.Status)
		unknown := refused(t, w, w.member, strings.NewReplacer(w.service.String(), gone.String(), w.deployment.String(), gone.String()).Replace(path))
		same(t, unknown, foreign)
	}
	// Out of the team, out of sight.
	w.exec("DELETE FROM memberships WHERE user_id = $1", w.member)
	for _, path := range w.dashboard() {
		same(t, http.StatusNotFound, refused(t, w, w.member, path).Status)
	}
}

// An access token is refused as soon as its session has ended, by whatever end.
func TestEndedSessionsSeeNothing(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{
		"revoked":         "UPDATE sessions SET revoked_at = now()",
		"disabled":        "UPDATE users SET disabled_at = now()",
		"of an old epoch": "UPDATE users SET session_epoch = 1",
		"pruned":          "DELETE FROM sessions",
		"deleted":         "DELETE FROM users",
		"another's":       "UPDATE sessions SET user_id = (SELECT id FROM users WHERE id <> sessions.user_id)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "UTC")
			routes := w.routes()
			if name == "another's" {
				w.exec("INSERT INTO users (email, email_key, name, password_hash) VALUES ('o', 'o', 'o', '-')")
			}
			w.exec(end)
			for _, path := range routes {
				if p := refused(t, w, w.member, path); p.Status != http.StatusUnauthorized || p.Code != "session_revoked" {
					t.Errorf("%s: %+v", path, p)
				}
			}
		})
	}
}

func TestAMemberOfSeveralTeamsSeesAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	_, other := w.newMember("Asia/Shanghai")
	w.exec("INSERT INTO memberships (user_id, team_id, role) VALUES ($1, $2, 'viewer')", w.member, other)
	repository := w.id("INSERT INTO repositories (team_id, source, external_id, name) VALUES ($1, 'git', '1', 'other') RETURNING id", other)
	service := w.id("INSERT INTO services (repository_id, name, deployed_by) VALUES ($1, 'other', 'tag') RETURNING id", repository)
	if all := get[metrics.Services](t, w, "/api/metrics/services").Services; len(all) != 2 {
		t.Errorf("sees %+v", all)
	}
	got := get[metrics.CommitActivity](t, w, "/api/metrics/commits?service=%s", service)
	same(t, "Asia/Shanghai", got.TimeZone)
}

func TestQuestionsThatCannotBeAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	routes := w.routes()
	next := get[metrics.Deployments](t, w, "/api/metrics/deployments?service=%s&limit=1", w.service).Next
	nextChange := get[metrics.DeploymentChanges](t, w, "/api/metrics/deployments/%s/changes?limit=1", w.deployment).Next
	of := func(path string) string { return "/api/metrics/" + path + "?service=" + w.service.String() }
	cases := map[string]string{
		of("deployment-frequency") + "&bucket=year":                                             "query.bucket",
		of("change-lead-time") + "&bucket=":                                                     "", // as if it were left out
		of("deployments") + "&limit=0":                                                          "query.limit",
		of("deployments") + "&limit=201":                                                        "query.limit",
		of("deployments") + "&limit=many":                                                       "query.limit",
		of("deployments") + "&cursor=garbage":                                                   "query.cursor",
		of("deployments") + "&limit=1&cursor=" + *next:                                          "",
		of("deployments") + "&from=2026-01-01&cursor=" + *next:                                  "query.cursor",
		of("deployments") + "&environment=staging&cursor=" + *next:                              "query.cursor",
		of("deployments") + "&cursor=" + *nextChange:                                            "query.cursor",
		of("deployments") + "&cursor=" + strings.Repeat("A", 201):                               "query.cursor",
		fmt.Sprintf("/api/metrics/deployments/%s/changes?cursor=%s", w.deployment, *next):       "query.cursor",
		fmt.Sprintf("/api/metrics/deployments/%s/changes?cursor=%s", w.deployment, *nextChange): "",
		fmt.Sprintf("/api/metrics/deployments/%s/changes?limit=501", w.deployment):              "query.limit",
		"/api/metrics/deployments/one/changes":                                                  "path.deployment",
		"/api/metrics/commits":                                                                  "query.service",
		"/api/metrics/commits?service=shop":                                                     "query.service",
	}
	for _, route := range []string{"deployment-frequency", "change-lead-time", "commits", "deployments"} {
		cases[of(route)+"&from=2026-03-02&to=2026-03-01"] = "query.to"
		cases[of(route)+"&from=2021-01-01&to=2026-01-02"] = "query.from"
		cases[of(route)+"&from=1969-12-31"] = "query.from"
		cases[of(route)+"&to=2026-02-30"] = "query.to"
		cases[of(route)+"&colour=red"] = "query.colour"
		cases[of(route)+"&from=2026-03-05"] = "query.to" // which is today
		cases[of(route)+"&from=2026-03-04"] = ""
		cases[of(route)+"&from=2021-03-03"] = "query.from" // 1,828 days ago
		cases[of(route)+"&from=2021-03-04"] = ""
	}
	for _, path := range routes {
		separator := map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")]
		cases[path+separator+"unknown=1"] = "query.unknown"
	}
	for path, want := range cases {
		code, text := ask(t, w, w.handler, w.member, path)
		if want == "" {
			if code != http.StatusOK {
				t.Errorf("%s: %d %s", path, code, text)
			}
			continue
		}
		var p problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || code != http.StatusUnprocessableEntity || len(p.Errors) != 1 || p.Errors[0].Location != want {
			t.Errorf("%s: %d %s, want 422 naming %s", path, code, text, want)
		}
	}
}

// A range that is none, whatever day it is where the team is, needs no database
// to be refused.
func TestImpossibleRangesAreNotAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	handler, seen := w.traced()
	for _, route := range []string{"deployment-frequency", "change-lead-time", "commits", "deployments"} {
		for _, end := range []string{"from=1970-01-02", "from=2999-01-01"} {
			path := fmt.Sprintf("/api/metrics/%s?service=%s&%s", route, w.service, end)
			if code, text := ask(t, w, handler, w.member, path); code != http.StatusUnprocessableEntity || len(seen.all) > 0 {
				t.Errorf("%s: %d %s after %d statements", path, code, text, len(seen.all))
			}
		}
	}
}

func TestUnknownEnvironmentsAreNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	for _, route := range []string{"deployment-frequency", "change-lead-time", "deployments"} {
		same(t, http.StatusNotFound, refused(t, w, w.member, fmt.Sprintf("/api/metrics/%s?service=%s&environment=moon", route, w.service)).Status)
	}
}

func TestUnavailableWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	for _, path := range w.routes() {
		broken := 0
		for n, proxy := range pgtest.Breaks(t, w.url) {
			code, text := ask(t, w, w.serve(metrics.Function, proxy.URL), w.member, path)
			if proxy.Broken() {
				broken++
				if code != http.StatusServiceUnavailable {
					t.Errorf("%s, step %d: %d %s, want 503", path, n, code, text)
				}
			} else if code != http.StatusOK {
				t.Errorf("%s: nothing broke: %d %s", path, code, text)
			}
		}
		if broken < 3 {
			t.Errorf("%s: only %d steps were broken", path, broken)
		}
	}
}

func TestADamagedSketchIsOurDefect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	w.exec(`INSERT INTO rollup_samples VALUES ($1, 'change_lead_time', '2026-03-01', 3, 0, NULL, '\xdead')`, w.env)
	same(t, http.StatusInternalServerError, refused(t, w, w.member, "/api/metrics/change-lead-time?service="+w.service.String()).Status)
}

// statements keeps what was sent to the database.
type statements struct {
	mu   sync.Mutex
	all  []pgx.TraceQueryStartData
	prep int
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, data)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) TracePrepareStart(ctx context.Context, _ *pgx.Conn, _ pgx.TracePrepareStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prep++
	return ctx
}

func (s *statements) TracePrepareEnd(context.Context, *pgx.Conn, pgx.TracePrepareEndData) {}

// traced serves metrics over a pool that is watched.
func (w *world) traced() (http.Handler, *statements) {
	w.t.Helper()
	config, err := pgxpool.ParseConfig(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	seen := &statements{}
	config.ConnConfig.Tracer = seen
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(pool.Close)
	return w.serve(metrics.Over(postgres.Over(pool), func() time.Time { return now }), w.url), seen
}

// Each answer is one statement on a warm connection, bound to the caller, and the
// dashboard's read no fact.
func TestEachAnswerIsOneBoundStatement(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	routes := w.routes()
	handler, seen := w.traced()
	facts := map[string]bool{"commits": true, "deployments": true, "deployment_changes": true}
	for i, path := range routes {
		for range 2 {
			*seen = statements{}
			if code, text := ask(t, w, handler, w.member, path); code != http.StatusOK {
				t.Fatalf("%s: %d %s", path, code, text)
			}
		}
		if len(seen.all) != 1 || seen.prep != 0 {
			t.Errorf("%s: %d statements, %d prepared, want one round trip", path, len(seen.all), seen.prep)
		}
		statement := seen.all[0]
		teams, own, bound := strings.Cut(statement.SQL, metrics.Mine)
		args, named := statement.Args[0].(pgx.NamedArgs)
		if !bound || !strings.Contains(teams, "my_teams AS ") || !strings.Contains(own, "FROM my_") || !named || args["caller"] != w.member || args["session"] != w.member {
			t.Errorf("%s is not bound to its caller: %s", path, statement.SQL)
		}
		read := w.relations(statement)
		if !read["memberships"] || !read["sessions"] {
			t.Errorf("%s does not look at memberships and the session, only at %v", path, read)
		}
		for name := range read {
			if facts[name] && i < len(w.dashboard()) {
				t.Errorf("%s reads %s", path, name)
			}
		}
		if i >= len(w.dashboard())+1 && !read["deployments"] {
			t.Errorf("%s: the plan shows no deployments: %v", path, read)
		}
	}
}

// relations are what the plan of a statement reads.
func (w *world) relations(statement pgx.TraceQueryStartData) map[string]bool {
	w.t.Helper()
	var plan any
	if err := w.pool.QueryRow(w.t.Context(), "EXPLAIN (FORMAT JSON) "+statement.SQL, statement.Args...).Scan(&plan); err != nil {
		w.t.Fatal(err)
	}
	names := map[string]bool{}
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, item := range node {
				walk(item)
			}
		case map[string]any:
			for key, value := range node {
				if name, ok := value.(string); ok && key == "Relation Name" {
					names[name] = true
				}
				walk(value)
			}
		}
	}
	walk(plan)
	return names
}

// Fifty years of history make no plan read more for twelve months of answer.
func TestAnswersAreFlatInTheLengthOfHistory(t *testing.T) {
	t.Parallel()
	blocks := map[string][2]float64{}
	for i, years := range []int{1, 50} {
		w := newWorld(t, "UTC")
		w.history(years)
		handler, seen := w.traced()
		for n, path := range w.dashboard() {
			*seen = statements{}
			path += "&from=2025-03-05&to=2026-03-04"
			if code, text := ask(t, w, handler, w.member, path); code != http.StatusOK {
				t.Fatalf("%s: %d %s", path, code, text)
			}
			var plan []struct {
				Plan struct {
					Hit  float64 `json:"Shared Hit Blocks"`
					Read float64 `json:"Shared Read Blocks"`
				}
			}
			err := w.pool.QueryRow(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+seen.all[0].SQL, seen.all[0].Args...).Scan(&plan)
			if err != nil {
				t.Fatal(err)
			}
			route := fmt.Sprint(n)
			both := blocks[route]
			both[i] = plan[0].Plan.Hit + plan[0].Plan.Read
			blocks[route] = both
		}
	}
	for route, both := range blocks {
		// A year of a rollup, and the way there; the index of fifty years is a
		// level deeper.
		if both[0] > 40 || both[1] > both[0]+8 {
			t.Errorf("dashboard route %s reads %v blocks of one year's history and %v of fifty years'", route, both[0], both[1])
		}
	}
}
