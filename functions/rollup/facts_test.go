package rollup_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// world is a database, the rollup function over it, and the facts written by the
// test.
type world struct {
	t       testing.TB
	url     string        // with the function's login
	pool    *pgxpool.Pool // as the owner
	handler http.Handler
}

func newWorld(t testing.TB) world {
	t.Helper()
	owner := pgtest.URL(t)
	url := pgtest.As(t, owner, "rollup")
	pool, err := pgxpool.New(context.Background(), owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return world{t, url, pool, serve(t, url, time.Now)}
}

// serve returns the rollup function over the database at url.
func serve(t testing.TB, url string, now func() time.Time) http.Handler {
	t.Helper()
	lookup := func(name string) (string, bool) { return url, name == "DATABASE_URL" }
	env := function.NewEnv(slog.New(slog.DiscardHandler), now, lookup)
	handler, err := function.Handler(env, rollup.Function)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	return handler
}

// call asks handler to condense.
func call(handler http.Handler) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/api/rollup/condense", nil))
	return answer
}

func (w world) condense(want string) {
	w.t.Helper()
	answer := call(w.handler)
	if got := answer.Body.String(); answer.Code != http.StatusOK || (want != "" && got != want+"\n") {
		w.t.Fatalf("condense: %d %s, want 200 %s", answer.Code, got, want)
	}
}

func (w world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// text answers one text.
func (w world) text(sql string, args ...any) (text string) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), sql, args...).Scan(&text); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// place is where facts belong.
type place struct {
	zone                    *time.Location
	repository, environment uuid.UUID
}

func (w world) newPlace(zone string) place {
	w.t.Helper()
	location, err := time.LoadLocation(zone)
	if err != nil {
		w.t.Fatal(err)
	}
	p := place{zone: location}
	err = w.pool.QueryRow(w.t.Context(), `
		WITH team AS (INSERT INTO teams (name, time_zone) VALUES ('team', $1) RETURNING id),
		repository AS (INSERT INTO repositories (team_id, source, external_id, name) SELECT id, 'git', '1', 'repository' FROM team RETURNING id),
		service AS (INSERT INTO services (repository_id, name, deployed_by) SELECT id, 'service', 'tag' FROM repository RETURNING id, repository_id),
		environment AS (INSERT INTO environments (service_id, name, kind) SELECT id, 'production', 'production' FROM service RETURNING id)
		SELECT repository_id, environment.id FROM service, environment`, zone).Scan(&p.repository, &p.environment)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// day is the local day of an instant, as Go has it.
func (p place) day(at time.Time) string { return at.In(p.zone).Format(time.DateOnly) }

func sha(n int) []byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	return sum[:20]
}

type commit struct {
	n       int
	at      time.Time
	parents int
}

type deployment struct {
	id     uuid.UUID
	at     time.Time
	status string
	leads  []int64
}

// execer is a pool or a transaction.
type execer interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// write runs the statements and marks the days of the instants, in one
// transaction.
func (p place) write(ctx context.Context, db execer, rollup string, touched []time.Time, statements func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if err := statements(tx); err != nil {
			return err
		}
		scope := map[string]uuid.UUID{"commits": p.repository, "deployments": p.environment}[rollup]
		for _, at := range touched {
			if _, err := tx.Exec(ctx, "INSERT INTO dirty_days (rollup, scope, day) VALUES ($1, $2, $3)", rollup, scope, p.day(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p place) putCommit(ctx context.Context, db execer, c commit, old ...time.Time) error {
	return p.write(ctx, db, "commits", append(old, c.at), func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO commits (repository_id, sha, author_id, authored_at, committed_at, parents, subject) VALUES ($1, $2, 1, $3, $3, $4, '')
			ON CONFLICT (repository_id, sha) DO UPDATE SET authored_at = EXCLUDED.authored_at, parents = EXCLUDED.parents`,
			p.repository, sha(c.n), c.at, c.parents)
		return err
	})
}

func (p place) deleteCommit(ctx context.Context, db execer, c commit) error {
	return p.write(ctx, db, "commits", []time.Time{c.at}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM commits WHERE repository_id = $1 AND sha = $2", p.repository, sha(c.n))
		return err
	})
}

func (p place) putDeployment(ctx context.Context, db execer, d deployment, old ...time.Time) error {
	return p.write(ctx, db, "deployments", append(old, d.at), func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO deployments (id, environment_id, external_id, ref, sha, status, finished_at) VALUES ($1::uuid, $2, $1::uuid::text, 'v1', $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET status = EXCLUDED.status, finished_at = EXCLUDED.finished_at`,
			d.id, p.environment, sha(0), d.status, d.at)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM deployment_changes WHERE deployment_id = $1", d.id); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO deployment_changes (deployment_id, environment_id, sha, lead_seconds)
			SELECT $1::uuid, $2, substr(sha256(convert_to($1::uuid::text || ' ' || n, 'UTF8')), 1, 20), lead FROM unnest($3::bigint[]) WITH ORDINALITY AS l (lead, n)`,
			d.id, p.environment, d.leads)
		return err
	})
}

func (p place) deleteDeployment(ctx context.Context, db execer, d deployment) error {
	return p.write(ctx, db, "deployments", []time.Time{d.at}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM deployments WHERE id = $1", d.id)
		return err
	})
}

// rollups returns all rollup rows of the place as text, to the byte.
func (w world) rollups(p place) string {
	w.t.Helper()
	return w.text(`
		SELECT coalesce(string_agg(line, E'\n' ORDER BY line), '') FROM (
			SELECT concat_ws(' ', 'deployments', day, deployed, failed, changes) AS line FROM rollup_deployments WHERE environment_id = $1
			UNION ALL SELECT concat_ws(' ', metric, day, n, excluded, samples, sketch) FROM rollup_samples WHERE environment_id = $1
			UNION ALL SELECT concat_ws(' ', 'commits', day, commits) FROM rollup_commits WHERE repository_id = $2) lines`, p.environment, p.repository)
}

// rebuild drops all rollups of the place and has them computed from nothing.
func (w world) rebuild(p place) {
	w.t.Helper()
	w.exec("DELETE FROM rollup_deployments WHERE environment_id = $1", p.environment)
	w.exec("DELETE FROM rollup_samples WHERE environment_id = $1", p.environment)
	w.exec("DELETE FROM rollup_commits WHERE repository_id = $1", p.repository)
	w.exec(`INSERT INTO dirty_days (rollup, scope, day)
		SELECT DISTINCT 'deployments', environment_id, (finished_at AT TIME ZONE $2)::date FROM deployments WHERE environment_id = $1 AND finished_at IS NOT NULL`, p.environment, p.zone.String())
	w.exec(`INSERT INTO dirty_days (rollup, scope, day)
		SELECT DISTINCT 'commits', repository_id, (authored_at AT TIME ZONE $2)::date FROM commits WHERE repository_id = $1`, p.repository, p.zone.String())
	w.condense("")
}

// bulk writes a history of commits spread over days, with a deployment each
// fourth day that brings all commits since the one before.
func (w world) bulk(p place, commits, days int) {
	w.t.Helper()
	w.exec(`INSERT INTO commits (repository_id, sha, author_id, authored_at, committed_at, parents, subject)
		SELECT $1, substr(sha256(convert_to(n::text, 'UTF8')), 1, 20), 1, at, at, 1, 'subject'
		FROM generate_series(0, $2::int - 1) n, LATERAL (SELECT timestamptz '2015-01-01Z' + n * ($3::int * interval '1 day' / $2)) AS t (at)`, p.repository, commits, days)
	w.exec(`INSERT INTO deployments (environment_id, external_id, ref, sha, status, finished_at)
		SELECT $1, n, n, '\x0000000000000000000000000000000000000000', 'success', timestamptz '2015-01-05Z' + n * interval '4 days' FROM generate_series(0, $2::int / 4) n`, p.environment, days)
	w.exec(`INSERT INTO deployment_changes (deployment_id, environment_id, sha, lead_seconds)
		SELECT d.id, $1, c.sha, extract(epoch FROM d.finished_at - c.authored_at)
		FROM deployments d JOIN commits c ON c.repository_id = $2 AND c.authored_at >= d.finished_at - interval '4 days' AND c.authored_at < d.finished_at
		WHERE d.environment_id = $1`, p.environment, p.repository)
	w.exec(`INSERT INTO dirty_days (rollup, scope, day)
		SELECT DISTINCT 'commits', repository_id, (authored_at AT TIME ZONE $2)::date FROM commits WHERE repository_id = $1`, p.repository, p.zone.String())
	w.exec(`INSERT INTO dirty_days (rollup, scope, day)
		SELECT DISTINCT 'deployments', environment_id, (finished_at AT TIME ZONE $2)::date FROM deployments WHERE environment_id = $1`, p.environment, p.zone.String())
}
