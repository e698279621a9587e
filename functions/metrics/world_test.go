package metrics_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
	"github.com/devops-dashboard/dashboard/shared/workflow/workflowtest"
)

// now is a Wednesday, and already Thursday in Shanghai.
var now = time.Date(2026, time.March, 4, 18, 0, 0, 0, time.UTC)

// world is a database with a team, one of its members, and the metrics function
// over it.
type world struct {
	t        testing.TB
	url      string        // with the function's login
	pool     *pgxpool.Pool // as the owner
	settings map[string]string
	handler  http.Handler
	github   *workflowtest.GitHub

	member                                     uuid.UUID
	team, repository, service, env, deployment uuid.UUID
}

func newWorld(t testing.TB, zone string) *world {
	t.Helper()
	owner := pgtest.URL(t)
	w := &world{t: t, url: pgtest.As(t, owner, "metrics"), settings: identitytest.Settings(t)}
	var err error
	if w.pool, err = pgxpool.New(context.Background(), owner); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pool.Close)
	w.settings["REDIS_URL"] = redistest.URL(t)
	w.settings["RATE_LIMIT_SCALE"] = "1000000" // limits are the subject of other tests
	w.github = workflowtest.New(t, func() time.Time { return now })
	w.settings["WORKFLOW_ISSUER"], w.settings["PUBLIC_ORIGIN"] = w.github.URL, workflowtest.Audience
	w.handler = w.serve(metrics.Function, w.url)
	w.member, w.team = w.newMember(zone)
	w.repository = w.id("INSERT INTO repositories (team_id, source, external_id, name) VALUES ($1, 'git', '1', 'shop') RETURNING id", w.team)
	w.service = w.id("INSERT INTO services (repository_id, name, deployed_by) VALUES ($1, 'shop', 'tag') RETURNING id", w.repository)
	w.env = w.id("INSERT INTO environments (service_id, name, kind) VALUES ($1, 'production', 'production') RETURNING id", w.service)
	return w
}

// serve returns fn over the database at url.
func (w *world) serve(fn function.Function, url string) http.Handler {
	w.t.Helper()
	settings := maps.Clone(w.settings)
	settings["DATABASE_URL"] = url
	lookup := func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	}
	env := function.NewEnv(slog.New(slog.DiscardHandler), func() time.Time { return now }, lookup)
	handler, err := function.Handler(env, fn)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = env.Stop(context.Background()) })
	return handler
}

// newMember makes a team and its owner, in a session of the same id.
func (w *world) newMember(zone string) (user, team uuid.UUID) {
	w.t.Helper()
	email := uuid.NewString() + "@example.com"
	user = w.id("INSERT INTO users (email, email_key, name, password_hash) VALUES ($1, $1, 'Somebody', '-') RETURNING id", email)
	team = w.id("INSERT INTO teams (name, time_zone) VALUES ('Team', $1) RETURNING id", zone)
	w.exec("INSERT INTO memberships (user_id, team_id, role) VALUES ($1, $2, 'viewer')", user, team)
	w.exec(`INSERT INTO sessions (id, user_id, epoch, issued_at, expires_at, absolute_expires_at) VALUES ($1, $1, 0, now(), now() + interval '7 days', now() + interval '30 days')`, user)
	return user, team
}

func (w *world) id(sql string, args ...any) (id uuid.UUID) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&id); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return id
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// rollup writes what rollup has computed of a day.
func (w *world) rollup(day string, deployed, failed int, excluded int, leads ...int32) {
	w.t.Helper()
	w.exec("INSERT INTO rollup_deployments VALUES ($1, $2, $3, $4, $5)", w.env, day, deployed, failed, len(leads)+excluded)
	if len(leads)+excluded > 0 {
		w.exec("INSERT INTO rollup_samples VALUES ($1, 'change_lead_time', $2, $3, $4, coalesce($5::int[], '{}'))", w.env, day, len(leads), excluded, leads)
	}
}

// change is a commit and how long it took to be deployed.
type change struct {
	n    byte
	lead int64
}

func sha(n byte) []byte { return append(make([]byte, 19), n) }

// deploy writes a deployment and its changes with their commits.
func (w *world) deploy(ref string, at time.Time, status string, changes ...change) uuid.UUID {
	w.t.Helper()
	id := w.id("INSERT INTO deployments (environment_id, external_id, ref, sha, status, finished_at) VALUES ($1, $2, $2, $3, $4, $5) RETURNING id", w.env, ref, sha(0), status, at)
	for _, c := range changes {
		author := w.id(`WITH a AS (INSERT INTO authors (repository_id, name, email) VALUES ($1, $2, '') RETURNING id)
			INSERT INTO commits (repository_id, sha, author_id, authored_at, committed_at, parents, subject)
			SELECT $1, $3, a.id, $4, $4, 1, $5 FROM a RETURNING repository_id`,
			w.repository, fmt.Sprint("Author ", c.n), sha(c.n), at.Add(-time.Duration(c.lead)*time.Second), fmt.Sprint("Subject ", c.n))
		_ = author
		w.exec("INSERT INTO deployment_changes (deployment_id, environment_id, sha, lead_seconds) VALUES ($1, $2, $3, $4)", id, w.env, sha(c.n), c.lead)
	}
	return id
}

// ask gets path as user, and returns the status and the JSON.
func ask(t testing.TB, w *world, handler http.Handler, user uuid.UUID, path string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if user != uuid.Nil {
		r.Header.Set("Authorization", identitytest.Bearer(t, w.settings, user, user, now))
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, r)
	return answer.Code, strings.TrimSpace(answer.Body.String())
}

// get answers the member's question with 200, into a T.
func get[T any](t testing.TB, w *world, path string, values ...any) (body T) {
	t.Helper()
	code, text := ask(t, w, w.handler, w.member, fmt.Sprintf(path, values...))
	if code != http.StatusOK {
		t.Fatalf("%s: %d %s", fmt.Sprintf(path, values...), code, text)
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatal(err)
	}
	return body
}

// problem is the part of a problem that does not change with the request.
type problem struct {
	Status int
	Code   string
	Detail string
	Errors []struct{ Location string }
}

func refused(t testing.TB, w *world, user uuid.UUID, path string) problem {
	t.Helper()
	code, text := ask(t, w, w.handler, user, path)
	var p problem
	if err := json.Unmarshal([]byte(text), &p); err != nil || p.Status != code || code < 400 {
		t.Fatalf("%s: %d %s", path, code, text)
	}
	return p
}

func same(t testing.TB, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
		t.Error(diff)
	}
}

func ptr[T any](v T) *T { return &v }
