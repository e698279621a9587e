package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// building is every function on one mux, over a database, each at its own login.
type building struct {
	handler http.Handler
	db      *pgxpool.Pool
}

func open(t *testing.T) *building {
	t.Helper()
	return openIn(t, nil, functions.All...)
}

// openIn is open for some of the functions, whose frame finds its settings where
// frame says.
func openIn(t *testing.T, frame function.Lookup, fns ...function.Function) *building {
	t.Helper()
	settings := identitytest.Settings(t)
	owner := pgtest.URL(t)
	settings["DATABASE_POOL"], settings["RATE_LIMIT_SCALE"] = "8", unlimited
	settings["REDIS_URL"] = "redis://" + miniredis.RunT(t).Addr()
	settings["SCHEDULER_AUDIENCE"] = "https://rollup.example.com"
	settings["SCHEDULER_ACCOUNTS"] = "/api/rollup/condense=cron@example.com,/api/rollup/prune=cron@example.com"
	logins := map[string]string{}
	for _, fn := range functions.All {
		if function.DatabaseRole(fn) != "" {
			logins[fn.Name] = pgtest.As(t, owner, fn.Name)
		}
	}
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, frame).Apart(func(fn string) function.Lookup {
		return func(name string) (string, bool) {
			if name == "DATABASE_URL" {
				return logins[fn], true
			}
			value, ok := settings[name]
			return value, ok
		}
	})
	handler, err := function.Handler(env, fns...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	db, err := pgxpool.New(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return &building{handler, db}
}

// unlimited is a scale at which limits are out of the way of tests that are about
// something else.
const unlimited = "1000000"

// somebody has an account and a team of their own, with a service that was
// deployed once.
type somebody struct {
	email, token, cookie                            string
	user, team, session, elsewhere, service, deploy string
}

// secrets are what nobody else may read of them.
func (s *somebody) secrets() []string {
	return []string{s.email, s.user, s.team, s.session, s.elsewhere, s.service, s.deploy}
}

const walkersPassword = "walks through every door"

func (h *building) newSomebody(t *testing.T) *somebody {
	t.Helper()
	s := &somebody{email: uuid.NewString() + "@example.com"}
	sign := func(path string, body map[string]string) auth.SignedIn {
		w := h.ask(t, http.MethodPost, path, body, nil)
		var in auth.SignedIn
		if err := json.Unmarshal(w.Body.Bytes(), &in); err != nil || w.Code >= 300 {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		s.cookie = w.Result().Cookies()[0].Value
		return in
	}
	sign("/api/auth/register", map[string]string{"email": s.email, "password": walkersPassword, "name": "Somebody", "team": "Team"})
	in := sign("/api/auth/login", map[string]string{"email": s.email, "password": walkersPassword})
	s.token, s.user, s.team = in.AccessToken, in.User.ID, in.User.Teams[0].ID
	err := h.db.QueryRow(t.Context(), `
		WITH r AS (INSERT INTO repositories (team_id, source, external_id, name) VALUES ($1, 'git', '1', 'shop') RETURNING id),
		s AS (INSERT INTO services (repository_id, name, deployed_by) SELECT id, 'shop', 'tag' FROM r RETURNING id),
		e AS (INSERT INTO environments (service_id, name, kind) SELECT id, 'production', 'production' FROM s RETURNING id),
		d AS (INSERT INTO deployments (environment_id, external_id, ref, sha, status, finished_at) SELECT id, 'v1', 'v1', sha256('')::bytea, 'success', now() FROM e RETURNING id)
		SELECT s.id, d.id, a.id, b.id FROM s, d,
			(SELECT id FROM sessions WHERE user_id = $2 ORDER BY created_at DESC LIMIT 1) a, (SELECT id FROM sessions WHERE user_id = $2 ORDER BY created_at LIMIT 1) b`,
		s.team, s.user).Scan(&s.service, &s.deploy, &s.session, &s.elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a request as somebody, or as nobody.
func (h *building) ask(t *testing.T, method, path string, body any, as *somebody) *httptest.ResponseRecorder {
	t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	if as != nil {
		r.Header.Set("Authorization", "Bearer "+as.token)
		r.Header.Set("Cookie", httpapi.RefreshCookie+"="+as.cookie)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

// door is a route and who gets what behind it: nobody, somebody of another team,
// and the one whom it is about.
type door struct {
	path                     func(of *somebody) string
	body                     func(of *somebody) any
	nobody, stranger, member int
}

func at(path string) func(*somebody) string { return func(*somebody) string { return path } }

// of asks a question about a service.
func of(path string) func(*somebody) string {
	return func(s *somebody) string { return path + "?service=" + s.service }
}

// doors are all the routes of the API. A route that is not here fails the test.
var doors = map[string]door{
	"POST /api/auth/register": {path: at("/api/auth/register"), nobody: 201, stranger: 201, member: 201, body: func(*somebody) any {
		return map[string]string{"email": uuid.NewString() + "@example.com", "password": walkersPassword, "name": "Somebody else", "team": "Team"}
	}},
	"POST /api/auth/login": {path: at("/api/auth/login"), nobody: 401, stranger: 401, member: 401, body: func(of *somebody) any {
		return map[string]string{"email": of.email, "password": "a guess"}
	}},
	"POST /api/auth/logout":               {path: at("/api/auth/logout"), nobody: 204, stranger: 204, member: 204},
	"POST /api/auth/refresh":              {path: at("/api/auth/refresh"), nobody: 401, stranger: 200, member: 200},
	"GET /api/auth/me":                    {path: at("/api/auth/me"), nobody: 401, stranger: 200, member: 200},
	"GET /api/auth/sessions":              {path: at("/api/auth/sessions"), nobody: 401, stranger: 200, member: 200},
	"DELETE /api/auth/sessions/{session}": {path: func(of *somebody) string { return "/api/auth/sessions/" + of.elsewhere }, nobody: 401, stranger: 404, member: 204},
	"POST /api/auth/logout-everywhere":    {path: at("/api/auth/logout-everywhere"), nobody: 401, stranger: 204, member: 204},
	"PUT /api/auth/password": {path: at("/api/auth/password"), nobody: 401, stranger: 200, member: 200, body: func(*somebody) any {
		return map[string]string{"current_password": walkersPassword, "new_password": "walks out of every door"}
	}},
	"GET /.well-known/jwks.json":                        {path: at("/.well-known/jwks.json"), nobody: 200, stranger: 200, member: 200},
	"GET /api/metrics/services":                         {path: at("/api/metrics/services"), nobody: 401, stranger: 200, member: 200},
	"GET /api/metrics/deployment-frequency":             {path: of("/api/metrics/deployment-frequency"), nobody: 401, stranger: 404, member: 200},
	"GET /api/metrics/change-lead-time":                 {path: of("/api/metrics/change-lead-time"), nobody: 401, stranger: 404, member: 200},
	"GET /api/metrics/commits":                          {path: of("/api/metrics/commits"), nobody: 401, stranger: 404, member: 200},
	"GET /api/metrics/deployments":                      {path: of("/api/metrics/deployments"), nobody: 401, stranger: 404, member: 200},
	"GET /api/metrics/deployments/{deployment}/changes": {path: func(of *somebody) string { return "/api/metrics/deployments/" + of.deploy + "/changes" }, nobody: 401, stranger: 404, member: 200},
	// These are the scheduler's; the door hides them.
	"POST /api/rollup/condense": {path: at("/api/rollup/condense"), nobody: 401, stranger: 401, member: 401},
	"POST /api/rollup/prune":    {path: at("/api/rollup/prune"), nobody: 401, stranger: 401, member: 401},
	"GET /api/health":           {path: at("/api/health"), nobody: 200, stranger: 200, member: 200},
	"GET /api/health/live":      {path: at("/api/health/live"), nobody: 200, stranger: 200, member: 200},
	"GET /api/version":          {path: at("/api/version"), nobody: 200, stranger: 200, member: 200},
}

func TestEveryDoorKnowsItsPeople(t *testing.T) {
	t.Parallel()
	h := open(t)
	documented := map[string]bool{}
	for path, item := range function.OpenAPI(functions.All...).Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			name := op.Method + " " + path
			documented[name] = true
			d, known := doors[name]
			if !known {
				t.Errorf("%s has no row here: say who gets what behind it", name)
				continue
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h.walk(t, op.Method, d)
			})
		}
	}
	for name := range doors {
		if !documented[name] {
			t.Errorf("%s is no route", name)
		}
	}
}

// walk goes through a door as nobody, as a stranger and as the one it is about,
// in this order: the last may end what the others ask about.
func (h *building) walk(t *testing.T, method string, d door) {
	t.Helper()
	member, stranger := h.newSomebody(t), h.newSomebody(t)
	for _, step := range []struct {
		who    string
		as     *somebody
		status int
	}{{"nobody", nil, d.nobody}, {"a stranger", stranger, d.stranger}, {"the member", member, d.member}} {
		var body any
		if d.body != nil {
			body = d.body(member)
		}
		w := h.ask(t, method, d.path(member), body, step.as)
		if w.Code != step.status {
			t.Errorf("%s is answered %d %s, want %d", step.who, w.Code, w.Body, step.status)
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s is refused with %s", step.who, w.Header().Get("Content-Type"))
		}
		if step.as == member {
			continue
		}
		for _, secret := range member.secrets() {
			// What was asked with may be named, but not in an answer that has it.
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s reads %s: %s", step.who, secret, fmt.Sprintf("%.300s", w.Body))
			}
		}
	}
}
