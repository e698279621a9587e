package refresh_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/refresh"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

const (
	day         = 24 * time.Hour
	microsecond = time.Microsecond // the resolution of PostgreSQL
)

// unlimited is a scale at which limits are out of the way of tests that are about
// something else.
const unlimited = "1000000"

// noon is where the database's clock stands until a test moves it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is the function on a database whose clock stands still. The instance's
// own clock is ten minutes off: it must not matter.
type fixture struct {
	url      string // with the function's login
	settings map[string]string
	db       *pgxpool.Pool // as the owner
	user     uuid.UUID
}

func open(t *testing.T) *fixture {
	t.Helper()
	owner := pgtest.URL(t)
	db, err := pgxpool.New(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	// With public before pg_catalog, clock_timestamp() is ours.
	f := &fixture{url: parameter(t, pgtest.As(t, owner, "refresh"), "search_path", "public,pg_catalog"), settings: identitytest.Settings(t), db: db}
	f.settings["RATE_LIMIT_SCALE"] = unlimited
	f.settings["DATABASE_URL"] = f.url
	f.exec(t, `CREATE TABLE wall (at timestamptz NOT NULL)`)
	f.exec(t, `GRANT SELECT ON wall TO dashboard_refresh`)
	f.exec(t, `INSERT INTO wall VALUES ($1)`, noon)
	f.exec(t, `CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT at FROM public.wall'`)
	f.user = f.newUser(t)
	return f
}

// parameter returns the address of a database with a parameter for its sessions.
func parameter(t *testing.T, address, name, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func (f *fixture) newUser(t testing.TB) uuid.UUID {
	t.Helper()
	id := uuid.New()
	f.exec(t, `INSERT INTO users (id, email, email_key, name, password_hash) VALUES ($1::uuid, $1::uuid::text, $1::uuid::text, 'A', '')`, id)
	return id
}

func (f *fixture) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := f.db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// at moves the database's clock.
func (f *fixture) at(t *testing.T, now time.Time) {
	t.Helper()
	f.exec(t, `UPDATE wall SET at = $1`, now)
}

// with returns the function's handler with some settings changed.
func (f *fixture) with(t *testing.T, changes map[string]string, share ...func(*function.Env)) http.Handler {
	t.Helper()
	settings := maps.Clone(f.settings)
	maps.Copy(settings, changes)
	env := function.NewEnv(slog.New(slog.DiscardHandler), func() time.Time { return noon.Add(10 * time.Minute) }, func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
	for _, share := range share {
		share(env.For(refresh.Function))
	}
	handler, err := function.Handler(env, refresh.Function)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	return handler
}

func (f *fixture) handler(t *testing.T) http.Handler { t.Helper(); return f.with(t, nil) }

// row is a session's row, in the order of its columns.
type row struct {
	ID         uuid.UUID
	User       uuid.UUID
	Generation int64
	Token      uuid.UUID
	IssuedAt   time.Time
	ExpiresAt  time.Time
	Absolute   time.Time
	Superseded []time.Time
	Epoch      int
	RevokedAt  *time.Time
	Reason     *string
	Version    uint32 // xmin: changes with every write
}

// session signs the user in at noon. A change, if any, is made before the row is
// written.
func (f *fixture) session(t *testing.T, change ...func(*row)) row {
	t.Helper()
	r := row{
		ID: uuid.New(), User: f.user, Token: uuid.New(),
		IssuedAt: noon, ExpiresAt: noon.Add(7 * day), Absolute: noon.Add(30 * day), Superseded: []time.Time{},
	}
	for _, c := range change {
		c(&r)
	}
	f.exec(t, `INSERT INTO sessions (id, user_id, gen, jti, issued_at, expires_at, absolute_expires_at, superseded, epoch, revoked_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		r.ID, r.User, r.Generation, r.Token, r.IssuedAt, r.ExpiresAt, r.Absolute, r.Superseded, r.Epoch, r.RevokedAt)
	return f.row(t, r.ID)
}

func (f *fixture) row(t testing.TB, id uuid.UUID) row {
	t.Helper()
	var r row
	err := f.db.QueryRow(t.Context(), `
		SELECT id, user_id, gen, jti, issued_at, expires_at, absolute_expires_at, superseded, epoch, revoked_at, revoke_reason, xmin::text::bigint
		  FROM sessions WHERE id = $1`, id,
	).Scan(&r.ID, &r.User, &r.Generation, &r.Token, &r.IssuedAt, &r.ExpiresAt, &r.Absolute, &r.Superseded, &r.Epoch, &r.RevokedAt, &r.Reason, &r.Version)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// cookie returns the refresh token for the row.
func (f *fixture) cookie(t testing.TB, r row) string {
	t.Helper()
	token, err := identitytest.Signer(t, f.settings).Refresh(t.Context(), identity.Refresh{
		ID: r.Token, User: r.User, Session: r.ID, Generation: r.Generation, IssuedAt: r.IssuedAt, ExpiresAt: r.ExpiresAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// answer is what the function said.
type answer struct {
	Status int
	Header http.Header
	Cookie string // the refresh token that was set
	Body   struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		Generation  int64  `json:"gen"`
		Code        string `json:"code"`
	}
}

func post(t *testing.T, handler http.Handler, cookies ...string) answer {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/api/auth/refresh", nil)
	for _, value := range cookies {
		r.Header.Add("Cookie", httpapi.RefreshCookie+"="+value)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	got := answer{Status: w.Code, Header: w.Header()}
	if err := json.Unmarshal(w.Body.Bytes(), &got.Body); err != nil {
		t.Errorf("status %d, body %q: %v", w.Code, w.Body, err)
	}
	if set := w.Result().Cookies(); len(set) == 1 {
		got.Cookie = set[0].Value
	}
	if w.Code != http.StatusOK && w.Header().Get("Set-Cookie") != "" {
		t.Errorf("status %d touches the cookie: %s", w.Code, w.Header().Get("Set-Cookie"))
	}
	return got
}

// count returns how many rows a query finds.
func (f *fixture) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := f.db.QueryRow(t.Context(), "SELECT count(*) FROM "+sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
