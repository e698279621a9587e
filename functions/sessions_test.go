package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/functions/refresh"
	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// Sessions are opened and ended by one function, renewed by another and forgotten
// by a third; what they promise holds only for all of them together. The proofs are in four files: every
// sequence of steps against a model (sessions_model_test.go), every interleaving
// of a few calls (sessions_race_test.go), recorded histories of many connections
// (sessions_history_test.go), and instances that are killed
// (refresh/killed_test.go).

// noon is where the database's clock stands until a test moves it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// estate is auth, refresh and rollup on one database. Refresh has two instances, whose
// clocks are wrong by ten minutes, one either way: only the database's counts.
type estate struct {
	owner     string // address of the database for who made it
	settings  map[string]string
	db        *pgxpool.Pool
	signer    *identity.Signer
	verifier  *identity.Verifier
	now       time.Time // by the database's clock, unless it runs by itself
	auth      http.Handler
	refreshes []http.Handler
	rollup    http.Handler // prunes
}

// openEstate opens an estate whose database has a clock that only setClock moves.
func openEstate(t *testing.T) *estate {
	t.Helper()
	e := newEstate(t, "4")
	e.setClock(t, noon, `CREATE TABLE wall (at timestamptz NOT NULL)`, `INSERT INTO wall VALUES ('-infinity')`, `GRANT SELECT ON wall TO PUBLIC`,
		`CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT at FROM public.wall'`,
		`CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT at FROM public.wall'`)
	// With public before pg_catalog, now() and clock_timestamp() are ours.
	e.serve(t, func() time.Time { return e.now }, "public,pg_catalog")
	return e
}

// openLiveEstate opens an estate whose clocks all run, and whose functions have so
// many connections each.
func openLiveEstate(t *testing.T, pool string) *estate {
	t.Helper()
	e := newEstate(t, pool)
	e.serve(t, time.Now, "public")
	return e
}

func newEstate(t *testing.T, pool string) *estate {
	t.Helper()
	e := &estate{owner: pgtest.URL(t), settings: identitytest.Settings(t)}
	db, err := pgxpool.New(t.Context(), e.owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	e.db, e.signer = db, identitytest.Signer(t, e.settings)
	e.settings["DATABASE_POOL"], e.settings["RATE_LIMIT_SCALE"], e.settings["REDIS_URL"] = pool, unlimited, redistest.URL(t)
	return e
}

func (e *estate) serve(t *testing.T, now func() time.Time, searchPath string) {
	t.Helper()
	e.verifier = identity.VerifierFor(e.env(now, "").For(auth.Function))
	e.auth, e.rollup = e.handler(t, auth.Function, now, searchPath), e.handler(t, rollup.Function, now, searchPath)
	for _, wrong := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		e.refreshes = append(e.refreshes, e.handler(t, refresh.Function, func() time.Time { return now().Add(wrong) }, searchPath))
	}
}

func (e *estate) env(now func() time.Time, database string) *function.Env {
	return function.NewEnv(slog.New(slog.DiscardHandler), now, func(name string) (string, bool) {
		if name == "DATABASE_URL" {
			return database, true
		}
		value, ok := e.settings[name]
		return value, ok
	})
}

// handler returns the function's handler, at the function's own login.
func (e *estate) handler(t *testing.T, fn function.Function, now func() time.Time, searchPath string) http.Handler {
	t.Helper()
	u, err := url.Parse(pgtest.As(t, e.owner, fn.Name))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", searchPath)
	u.RawQuery = q.Encode()
	env := e.env(now, u.String())
	handler, err := function.Handler(env, fn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	return handler
}

// setClock runs what makes the clock, if anything, and sets it.
func (e *estate) setClock(t rapid.TB, now time.Time, before ...string) {
	t.Helper()
	for _, sql := range before {
		e.exec(t, sql)
	}
	e.now = now
	e.exec(t, `UPDATE wall SET at = $1`, now)
}

func (e *estate) exec(t rapid.TB, sql string, args ...any) {
	t.Helper()
	if _, err := e.db.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// password is everybody's at first, and hashed is how it is kept.
const password = "a long and unlikely phrase"

// person is a user and what signs them in.
type person struct {
	id       uuid.UUID
	email    string
	password string
	epoch    int
	disabled bool
	failures int       // sign-ins since then
	waits    time.Time // before which none is tried
}

// newPerson makes a user. hash is that of password: to compute one for each would
// take most of a test's time.
func (e *estate) newPerson(t rapid.TB, hash string) *person {
	t.Helper()
	id := uuid.New()
	p := &person{id: id, email: id.String() + "@example.com", password: password}
	e.exec(t, `INSERT INTO users (id, email, email_key, name, password_hash) VALUES ($1, $2, $2, 'A', $3)`, p.id, p.email, hash)
	return p
}

// hash returns what is kept of password.
func (e *estate) hash(t rapid.TB) string {
	t.Helper()
	body := map[string]any{"email": "first@example.com", "password": password, "name": "First", "team": "First"}
	if got := e.call(t, e.auth, http.MethodPost, "/api/auth/register", request{body: body}); got.status != http.StatusCreated {
		t.Fatalf("register: status %d, %s", got.status, got.raw)
	}
	var hash string
	if err := e.db.QueryRow(context.Background(), `SELECT password_hash FROM users WHERE email_key = 'first@example.com'`).Scan(&hash); err != nil {
		t.Fatal(err)
	}
	return hash
}

// request is what differs between calls.
type request struct {
	body   any
	cookie string // the refresh token
	bearer string // the access token
}

// reply is what a function said.
type reply struct {
	at      time.Time // of the estate's clock
	status  int
	raw     string
	cookie  string           // the refresh token that was set
	keep    int              // seconds for which a browser keeps it; below 0 it is removed
	sets    bool             // whether the cookie was touched
	token   identity.Refresh // what the cookie says
	access  string
	expires int
	gen     *int64
	code    string
}

// call calls a route. Whatever is refused leaves the cookie alone.
func (e *estate) call(t rapid.TB, handler http.Handler, method, path string, with request) reply {
	t.Helper()
	var body bytes.Buffer
	if with.body != nil {
		if err := json.NewEncoder(&body).Encode(with.body); err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, path, &body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forwarded-For", netip.AddrFrom16(uuid.New()).String()) // the clock goes back between runs, and so would its limits
	if with.cookie != "" {
		r.AddCookie(&http.Cookie{Name: httpapi.RefreshCookie, Value: with.cookie})
	}
	if with.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+with.bearer)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return e.read(t, w.Result(), w.Body.String())
}

func (e *estate) read(t rapid.TB, response *http.Response, raw string) reply {
	t.Helper()
	got := reply{at: e.now, status: response.StatusCode, raw: raw}
	var said struct {
		Access  string `json:"access_token"`
		Expires int    `json:"expires_in"`
		Gen     *int64 `json:"gen"`
		Code    string `json:"code"`
	}
	if raw != "" {
		if err := json.Unmarshal([]byte(raw), &said); err != nil {
			t.Fatalf("status %d, body %q: %v", got.status, raw, err)
		}
	}
	got.access, got.expires, got.gen, got.code = said.Access, said.Expires, said.Gen, said.Code
	set := response.Cookies()
	got.sets = len(set) > 0
	if got.status >= 400 && got.sets {
		t.Errorf("status %d (%s) touches the cookie", got.status, got.code)
	}
	if got.sets {
		got.cookie, got.keep = set[0].Value, set[0].MaxAge
	}
	if got.cookie != "" {
		token, err := e.signer.ReadRefresh(context.Background(), got.cookie)
		if err != nil {
			t.Fatalf("the cookie that was set: %v", err)
		}
		got.token = token
	}
	return got
}

// openSession opens a session as signing in does, without the time that takes. It
// began so long ago.
func (e *estate) openSession(t rapid.TB, p *person, ago time.Duration) reply {
	t.Helper()
	s := identity.Session{
		ID: uuid.New(), User: p.id, Token: uuid.New(), Now: e.now,
		IssuedAt: e.now, ExpiresAt: e.now.Add(identity.SessionLifetime), AbsoluteExpiresAt: e.now.Add(identity.AbsoluteLifetime - ago),
	}
	if s.AbsoluteExpiresAt.Before(s.ExpiresAt) {
		s.ExpiresAt = s.AbsoluteExpiresAt
	}
	e.exec(t, `INSERT INTO sessions (id, user_id, jti, issued_at, expires_at, absolute_expires_at, epoch) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		s.ID, s.User, s.Token, s.IssuedAt, s.ExpiresAt, s.AbsoluteExpiresAt, p.epoch)
	grant, err := e.signer.Grant(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	cookie, err := http.ParseSetCookie(grant.Cookie)
	if err != nil {
		t.Fatal(err)
	}
	got := reply{at: e.now, status: http.StatusOK, cookie: cookie.Value, keep: cookie.MaxAge, sets: true, access: grant.AccessToken, expires: grant.ExpiresIn, gen: &grant.Generation}
	if got.token, err = e.signer.ReadRefresh(context.Background(), got.cookie); err != nil {
		t.Fatal(err)
	}
	return got
}

func (e *estate) refresh(t rapid.TB, instance int, cookie string) reply {
	t.Helper()
	return e.call(t, e.refreshes[instance], http.MethodPost, "/api/auth/refresh", request{cookie: cookie})
}

func (e *estate) login(t rapid.TB, p *person, password, cookie string) reply {
	t.Helper()
	return e.call(t, e.auth, http.MethodPost, "/api/auth/login", request{body: map[string]any{"email": p.email, "password": password}, cookie: cookie})
}

func (e *estate) logout(t rapid.TB, cookie string) reply {
	t.Helper()
	return e.call(t, e.auth, http.MethodPost, "/api/auth/logout", request{cookie: cookie})
}

func (e *estate) logoutEverywhere(t rapid.TB, access string) reply {
	t.Helper()
	return e.call(t, e.auth, http.MethodPost, "/api/auth/logout-everywhere", request{bearer: access})
}

func (e *estate) changePassword(t rapid.TB, access, current, next string) reply {
	t.Helper()
	return e.call(t, e.auth, http.MethodPut, "/api/auth/password", request{bearer: access, body: map[string]any{"current_password": current, "new_password": next}})
}

// row is a session as the database keeps it.
type row struct {
	ID         uuid.UUID
	User       uuid.UUID
	Gen        int64
	Token      uuid.UUID
	Expires    time.Time
	Absolute   time.Time
	Superseded []time.Time
	Epoch      int
	Ended      bool
	Reason     string
	Version    uint32 // xmin: changes with every write
	Reuses     int    // times that the audit log tells of a reuse
}

// rows returns the sessions of the users.
func (e *estate) rows(t rapid.TB, users ...uuid.UUID) map[uuid.UUID]row {
	t.Helper()
	found, err := e.db.Query(context.Background(), `
		SELECT s.id, s.user_id, s.gen, s.jti, s.expires_at, s.absolute_expires_at, s.superseded, s.epoch,
		       s.revoked_at IS NOT NULL, COALESCE(s.revoke_reason, ''), s.xmin::text::bigint,
		       (SELECT count(*) FROM auth_events a WHERE a.user_id = s.user_id AND a.session_id = s.id AND a.kind = 'refresh_reuse')
		  FROM sessions s WHERE s.user_id = ANY($1)`, users)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(found, pgx.RowToStructByPos[row])
	if err != nil {
		t.Fatal(err)
	}
	byID := make(map[uuid.UUID]row, len(all))
	for _, r := range all {
		byID[r.ID] = r
	}
	return byID
}

// sameTimes compares instants, whatever their zones.
func sameTimes(a, b []time.Time) bool { return slices.EqualFunc(a, b, time.Time.Equal) }
