package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/jwks"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/scheduler/schedulertest"
	"github.com/devops-dashboard/dashboard/shared/workflow/workflowtest"
)

// building is every function on one mux, over a database, each at its own login.
type building struct {
	handler  http.Handler
	db       *pgxpool.Pool
	settings map[string]string
	github   *workflowtest.GitHub
}

func open(t *testing.T) *building {
	t.Helper()
	return openIn(t, nil, functions.All...)
}

// openIn is open for some of the functions, whose frame finds its settings where
// frame says, and they those that are not the building's.
func openIn(t *testing.T, frame function.Lookup, fns ...function.Function) *building {
	t.Helper()
	settings := identitytest.Settings(t)
	owner := pgtest.URL(t)
	settings["DATABASE_POOL"], settings["RATE_LIMIT_SCALE"] = "8", unlimited
	settings["REDIS_URL"] = "redis://" + miniredis.RunT(t).Addr()
	settings["SCHEDULER_AUDIENCE"] = "https://rollup.example.com"
	settings["SCHEDULER_ACCOUNTS"] = "/api/rollup/condense=cron@example.com,/api/rollup/prune=cron@example.com,/api/rollup/mail=cron@example.com"
	github := workflowtest.New(t, time.Now)
	settings["WORKFLOW_ISSUER"], settings["WORKFLOW_AUDIENCE"] = github.URL, workflowtest.Audience
	logins := map[string]string{}
	for _, fn := range functions.All {
		if function.DatabaseRole(fn) != "" {
			logins[fn.Name] = pgtest.As(t, owner, fn.Name)
		}
	}
	settings["MAIL_FROM"], settings["SMTP_URL"], settings["PUBLIC_ORIGIN"] = "dash@example.com", "smtp://127.0.0.1:1", "https://dash.example.com"
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, frame).Apart(func(fn string) function.Lookup {
		return func(name string) (string, bool) {
			if name == "DATABASE_URL" {
				return logins[fn], true
			}
			value, ok := settings[name]
			if !ok && frame != nil {
				return frame(name)
			}
			return value, ok
		}
	})
	jwks.Through(env, &http.Client{Transport: internet{schedulertest.New(t, time.Now)}})
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
	return &building{handler, db, settings, github}
}

// internet is where issuers publish their keys: a Google of the test's own, and who is
// on this machine.
type internet struct{ google *schedulertest.Google }

func (i internet) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Hostname() == "127.0.0.1" {
		return http.DefaultTransport.RoundTrip(r)
	}
	return i.google.RoundTrip(r)
}

// unlimited is a scale at which limits are out of the way of tests that are about
// something else.
const unlimited = "1000000"

// somebody has an account, and a team of their own with people of every role, its
// tokens, and a service that was deployed once.
type somebody struct {
	walker
	team, service, deploy, elsewhere string
	viewer, editor, guest            walker // the guest, a viewer, is who things are done to
	read, report, revoked            string // API tokens
	readID                           string
	invitation, invitationID         string // the secret of a link into the team, and its id
	repository                       int64  // whose jobs the team trusts
	trustedID                        string
	passwordLink                     string // sets the guest's password
}

// walker is somebody who is signed in, or a token.
type walker struct{ email, token, cookie, user, session string }

// secrets are what nobody else may read of them.
func (s *somebody) secrets() []string {
	return []string{s.email, s.user, s.team, s.session, s.elsewhere, s.service, s.deploy, s.guest.email, s.readID, s.invitationID, s.trustedID}
}

// repositories are those that people trust: each team another.
var repositories atomic.Int64

const walkersPassword = "walks through every door"

func (h *building) newSomebody(t *testing.T) *somebody {
	t.Helper()
	s := &somebody{walker: walker{email: uuid.NewString() + "@example.com"}}
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
	s.viewer, s.editor, s.guest = h.newMember(t, s, "viewer"), h.newMember(t, s, "editor"), h.newMember(t, s, "viewer")
	s.read, s.readID = h.newToken(t, s, "read")
	s.report, _ = h.newToken(t, s, "report")
	var revoked string
	s.revoked, revoked = h.newToken(t, s, "read")
	if _, err := h.db.Exec(t.Context(), "UPDATE api_tokens SET revoked_at = now() WHERE id = $1", revoked); err != nil {
		t.Fatal(err)
	}
	s.repository = repositories.Add(2) // its neighbour is nobody's
	err = h.db.QueryRow(t.Context(), "INSERT INTO trusted_repositories (team_id, repository_id, repository_owner_id, name) VALUES ($1, $2, 65, 'acme/shop') RETURNING id::text", s.team, s.repository).Scan(&s.trustedID)
	if err != nil {
		t.Fatal(err)
	}
	s.invitation, s.invitationID = h.newLink(t, "invitation", s.team, "viewer", nil)
	s.passwordLink, _ = h.newLink(t, "password", nil, nil, s.guest.user)
	return s
}

// newMember makes a member of the team, with the owner's password and a session.
func (h *building) newMember(t *testing.T, of *somebody, role string) walker {
	t.Helper()
	p := walker{email: uuid.NewString() + "@example.com"}
	err := h.db.QueryRow(t.Context(), `
		WITH u AS (INSERT INTO users (email, email_key, name, password_hash) SELECT $1, $1, 'Member', password_hash FROM users WHERE id = $2 RETURNING id),
		m AS (INSERT INTO memberships (user_id, team_id, role) SELECT id, $3, $4 FROM u),
		s AS (INSERT INTO sessions (user_id, epoch, issued_at, expires_at, absolute_expires_at) SELECT id, 0, now(), now() + interval '7 days', now() + interval '30 days' FROM u
			RETURNING id, user_id, jti, issued_at, expires_at)
		SELECT id::text, user_id::text FROM s`, p.email, of.user, of.team, role).Scan(&p.session, &p.user)
	if err != nil {
		t.Fatal(err)
	}
	var token uuid.UUID
	var session identity.Session
	if err := h.db.QueryRow(t.Context(), "SELECT id, user_id, jti, issued_at, expires_at, absolute_expires_at, now() FROM sessions WHERE id = $1", p.session).
		Scan(&session.ID, &session.User, &token, &session.IssuedAt, &session.ExpiresAt, &session.AbsoluteExpiresAt, &session.Now); err != nil {
		t.Fatal(err)
	}
	session.Token = token
	grant, err := identitytest.Signer(t, h.settings).Grant(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	p.token = grant.AccessToken
	p.cookie, _, _ = strings.Cut(strings.TrimPrefix(grant.Cookie, httpapi.RefreshCookie+"="), ";")
	return p
}

func (h *building) newToken(t *testing.T, of *somebody, scope string) (secret, id string) {
	t.Helper()
	secret = access.NewSecret(access.TokenPrefix)
	err := h.db.QueryRow(t.Context(), "INSERT INTO api_tokens (team_id, name, scope, secret_hash, expires_at) VALUES ($1, 'x', $2, $3, now() + interval '1 day') RETURNING id::text",
		of.team, scope, access.DigestOf(secret).Bytes()).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return secret, id
}

func (h *building) newLink(t *testing.T, kind string, team, role, user any) (secret, id string) {
	t.Helper()
	secret = access.NewSecret(access.LinkPrefix)
	err := h.db.QueryRow(t.Context(), "INSERT INTO links (kind, secret_hash, team_id, role, user_id, created_by, expires_at) VALUES ($1, $2, $3, $4, $5, (SELECT user_id FROM memberships WHERE team_id = $3 AND role = 'owner'), now() + interval '1 day') RETURNING id::text",
		kind, access.DigestOf(secret).Bytes(), team, role, user).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return secret, id
}

// ask sends a request as somebody, or as nobody.
func (h *building) ask(t *testing.T, method, path string, body any, as *walker) *httptest.ResponseRecorder {
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
		if as.cookie != "" {
			r.Header.Set("Cookie", httpapi.RefreshCookie+"="+as.cookie)
		}
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

// door is a route, asked about somebody's things, and what everybody in callers is
// answered, in that order.
type door struct {
	path func(of *somebody) string
	want string
	body func(of *somebody) map[string]string
	said map[string]*huma.Response // what the document says of it, where that is asked
}

// callers are who goes through each door: nobody; a member of another team; a viewer,
// an editor and the owner of the team that it is about; API tokens of the team, to
// read, to report, and one that was revoked; a job of a workflow in a repository that
// the team trusts, and in one that nobody does.
var callers = strings.Fields("nobody other viewer read report revoked workflow stranger editor owner")

// says is what a caller is answered.
func (d door) says(caller string) int {
	wanted := strings.Fields(d.want)
	if len(wanted) != len(callers) {
		return 0
	}
	status, _ := strconv.Atoi(wanted[slices.Index(callers, caller)])
	return status
}

// Ways of saying what many doors have in common.
const (
	everybody   = "200 200 200 200 200 200 200 200 200 200"
	signedIn    = "401 200 200 403 403 403 403 403 200 200" // is about the caller alone
	signedIn204 = "401 204 204 403 403 403 403 403 204 204"
	readers     = "401 404 200 200 403 401 403 403 200 200" // reads what is the team's
	members     = "401 404 200 403 403 403 403 403 200 200"
	owners      = "401 404 403 403 403 403 403 403 403 200"
	owners201   = "401 404 403 403 403 403 403 403 403 201"
	owners204   = "401 404 403 403 403 403 403 403 403 204"
)

func at(path string) func(*somebody) string { return func(*somebody) string { return path } }

// of asks a question about a service.
func of(path string) func(*somebody) string {
	return func(s *somebody) string { return path + "?service=" + s.service }
}

// inTeam is a path below the team's.
func inTeam(path string) func(*somebody) string {
	return func(s *somebody) string {
		return "/api/auth/teams/" + s.team + strings.NewReplacer("{user}", s.guest.user, "{token}", s.readID, "{repository}", s.trustedID, "{invitation}", s.invitationID).Replace(path)
	}
}

func sends(body map[string]string) func(*somebody) map[string]string {
	return func(*somebody) map[string]string { return body }
}

// doors are all the routes of the API. A route that is not here fails the test.
var doors = map[string]door{
	"POST /api/auth/register": {path: at("/api/auth/register"), want: strings.ReplaceAll(everybody, "200", "201"), body: func(*somebody) map[string]string {
		return map[string]string{"email": uuid.NewString() + "@example.com", "password": walkersPassword, "name": "Somebody else", "team": "Team"}
	}},
	"GET /api/auth/registration": {path: at("/api/auth/registration"), want: everybody},
	"POST /api/auth/login": {path: at("/api/auth/login"), want: strings.ReplaceAll(everybody, "200", "401"), body: func(*somebody) map[string]string {
		return map[string]string{"email": uuid.NewString() + "@example.com", "password": "a guess"} // another each time, or limits are met
	}},
	"POST /api/auth/logout":               {path: at("/api/auth/logout"), want: strings.ReplaceAll(everybody, "200", "204")},
	"POST /api/auth/refresh":              {path: at("/api/auth/refresh"), want: "401 200 200 401 401 401 401 401 200 200"},
	"GET /api/auth/me":                    {path: at("/api/auth/me"), want: signedIn},
	"PATCH /api/auth/me":                  {path: at("/api/auth/me"), want: signedIn, body: sends(map[string]string{"name": "Another"})},
	"POST /api/auth/me/export":            {path: at("/api/auth/me/export"), want: signedIn},
	"POST /api/auth/me/delete":            {path: at("/api/auth/me/delete"), want: "401 409 204 403 403 403 403 403 204 409", body: sends(map[string]string{"current_password": walkersPassword})},
	"GET /api/auth/sessions":              {path: at("/api/auth/sessions"), want: signedIn},
	"DELETE /api/auth/sessions/{session}": {path: func(of *somebody) string { return "/api/auth/sessions/" + of.elsewhere }, want: "401 404 404 403 403 403 403 403 404 204"},
	"POST /api/auth/logout-everywhere":    {path: at("/api/auth/logout-everywhere"), want: signedIn204},
	"PUT /api/auth/password":              {path: at("/api/auth/password"), want: signedIn, body: sends(map[string]string{"current_password": walkersPassword, "new_password": "walks out of every door"})},
	// What a link is good for is for whoever has it.
	"POST /api/auth/password/reset": {path: at("/api/auth/password/reset"), want: everybody, body: func(of *somebody) map[string]string {
		return map[string]string{"link": of.passwordLink, "new_password": "walks out of every door"}
	}},
	"POST /api/auth/password/forgot": {path: at("/api/auth/password/forgot"), want: strings.ReplaceAll(everybody, "200", "202"), body: func(of *somebody) map[string]string { return map[string]string{"email": of.guest.email} }},
	// Which is not set up here; what it does where it is stands in functions/auth.
	"GET /api/auth/github/start":     {path: at("/api/auth/github/start"), want: strings.ReplaceAll(everybody, "200", "404")},
	"GET /api/auth/github/callback":  {path: at("/api/auth/github/callback"), want: strings.ReplaceAll(everybody, "200", "404")},
	"POST /api/auth/github/link":     {path: at("/api/auth/github/link"), want: strings.ReplaceAll(everybody, "200", "404"), body: sends(map[string]string{"password": "a guess"})},
	"POST /api/auth/github/register": {path: at("/api/auth/github/register"), want: strings.ReplaceAll(everybody, "200", "404"), body: sends(map[string]string{"team": "Team"})},
	"GET /api/auth/github":           {path: at("/api/auth/github"), want: signedIn},
	"DELETE /api/auth/github":        {path: at("/api/auth/github"), want: signedIn204},

	"POST /api/auth/links/show":         {path: at("/api/auth/links/show"), want: everybody, body: func(of *somebody) map[string]string { return map[string]string{"link": of.invitation} }},
	"POST /api/auth/invitations/accept": {path: at("/api/auth/invitations/accept"), want: signedIn, body: func(of *somebody) map[string]string { return map[string]string{"link": of.invitation} }},

	"POST /api/auth/teams":                                            {path: at("/api/auth/teams"), want: "401 201 201 403 403 403 403 403 201 201", body: sends(map[string]string{"name": "Another"})},
	"PATCH /api/auth/teams/{team}":                                    {path: inTeam(""), want: owners204, body: sends(map[string]string{"name": "Another"})},
	"GET /api/auth/teams/{team}/members":                              {path: inTeam("/members"), want: members},
	"PATCH /api/auth/teams/{team}/members/{user}":                     {path: inTeam("/members/{user}"), want: owners204, body: sends(map[string]string{"role": "editor"})},
	"DELETE /api/auth/teams/{team}/members/{user}":                    {path: inTeam("/members/{user}"), want: owners204},
	"POST /api/auth/teams/{team}/members/{user}/password-link":        {path: inTeam("/members/{user}/password-link"), want: owners201},
	"POST /api/auth/teams/{team}/transfer":                            {path: inTeam("/transfer"), want: owners204, body: func(of *somebody) map[string]string { return map[string]string{"user": of.guest.user} }},
	"POST /api/auth/teams/{team}/leave":                               {path: inTeam("/leave"), want: "401 404 204 403 403 403 403 403 204 409"},
	"GET /api/auth/teams/{team}/invitations":                          {path: inTeam("/invitations"), want: owners},
	"POST /api/auth/teams/{team}/invitations":                         {path: inTeam("/invitations"), want: owners201, body: sends(map[string]string{"role": "viewer"})},
	"DELETE /api/auth/teams/{team}/invitations/{invitation}":          {path: inTeam("/invitations/{invitation}"), want: owners204},
	"GET /api/auth/teams/{team}/tokens":                               {path: inTeam("/tokens"), want: owners},
	"POST /api/auth/teams/{team}/tokens":                              {path: inTeam("/tokens"), want: owners201, body: sends(map[string]string{"name": "x", "scope": "read"})},
	"DELETE /api/auth/teams/{team}/tokens/{token}":                    {path: inTeam("/tokens/{token}"), want: owners204},
	"GET /api/auth/teams/{team}/trusted-repositories":                 {path: inTeam("/trusted-repositories"), want: owners},
	"POST /api/auth/teams/{team}/trusted-repositories":                {path: inTeam("/trusted-repositories"), want: owners201, body: sends(map[string]string{"repository_id": "1", "repository_owner_id": "65", "name": "acme/till"})},
	"DELETE /api/auth/teams/{team}/trusted-repositories/{repository}": {path: inTeam("/trusted-repositories/{repository}"), want: owners204},
	"GET /api/auth/teams/{team}/audit":                                {path: inTeam("/audit"), want: owners},

	"GET /.well-known/jwks.json":            {path: at("/.well-known/jwks.json"), want: everybody},
	"GET /api/metrics/services":             {path: at("/api/metrics/services"), want: "401 200 200 200 403 401 403 403 200 200"},
	"GET /api/metrics/deployment-frequency": {path: of("/api/metrics/deployment-frequency"), want: readers},
	"GET /api/metrics/change-lead-time":     {path: of("/api/metrics/change-lead-time"), want: readers},
	"GET /api/metrics/commits":              {path: of("/api/metrics/commits"), want: readers},
	"GET /api/metrics/deployments":          {path: of("/api/metrics/deployments"), want: readers},
	// Whoever reports what is known already is answered as the first.
	"POST /api/metrics/deployments": {path: at("/api/metrics/deployments"), want: "401 404 403 403 200 401 200 403 200 200", body: func(of *somebody) map[string]string {
		return map[string]string{"service": of.service, "external_id": "run-1", "sha": strings.Repeat("ab", 20), "status": "success"}
	}},
	"GET /api/metrics/deployments/{deployment}/changes": {path: func(of *somebody) string { return "/api/metrics/deployments/" + of.deploy + "/changes" }, want: readers},
	// These are the scheduler's; the door hides them.
	"POST /api/rollup/condense": {path: at("/api/rollup/condense"), want: strings.ReplaceAll(everybody, "200", "401")},
	"POST /api/rollup/prune":    {path: at("/api/rollup/prune"), want: strings.ReplaceAll(everybody, "200", "401")},
	"POST /api/rollup/mail":     {path: at("/api/rollup/mail"), want: strings.ReplaceAll(everybody, "200", "401")},
	"GET /api/health":           {path: at("/api/health"), want: everybody},
	"GET /api/health/live":      {path: at("/api/health/live"), want: everybody},
	"GET /api/version":          {path: at("/api/version"), want: everybody},
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
				d.said = op.Responses
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

// walk goes through a door as everybody in turn, the owner last, who may end what the
// others ask about.
func (h *building) walk(t *testing.T, method string, d door) {
	t.Helper()
	of, other := h.newSomebody(t), h.newSomebody(t)
	who := map[string]*walker{
		"nobody": nil, "other": &other.walker, "viewer": &of.viewer, "editor": &of.editor, "owner": &of.walker,
		"read": {token: of.read}, "report": {token: of.report}, "revoked": {token: of.revoked},
		"workflow": {token: h.github.Token(of.repository, 65, nil)}, "stranger": {token: h.github.Token(of.repository+1, 65, nil)},
	}
	for _, caller := range callers {
		if _, err := h.db.Exec(t.Context(), "UPDATE links SET used_at = NULL, used_by = NULL, revoked_at = NULL WHERE user_id = $1", of.guest.user); err != nil {
			t.Fatal(err)
		}
		var body any
		if d.body != nil {
			body = d.body(of)
		}
		w := h.ask(t, method, d.path(of), body, who[caller])
		if d.said != nil && d.said[strconv.Itoa(w.Code)] == nil {
			t.Errorf("%s is answered %d, of which the document says nothing", caller, w.Code)
		}
		if w.Code != d.says(caller) {
			t.Errorf("%s is answered %d %s, want %d", caller, w.Code, w.Body, d.says(caller))
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s is refused with %s", caller, w.Header().Get("Content-Type"))
		}
		if caller != "nobody" && caller != "other" {
			continue
		}
		for _, secret := range of.secrets() {
			// What was asked with may be named, but not in an answer that has it.
			if strings.Contains(w.Body.String(), secret) && !strings.Contains(fmt.Sprint(body), "dd_lnk_") {
				t.Errorf("%s reads %s: %s", caller, secret, fmt.Sprintf("%.300s", w.Body))
			}
		}
	}
}
