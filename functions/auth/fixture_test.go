package auth_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// ada's account, as most tests open it.
const (
	email    = "Ada@Example.com"
	password = "a long and unlikely phrase"
)

func ada(changes ...string) map[string]any {
	body := map[string]any{"email": email, "password": password, "name": "Ada", "team": "Engines"}
	for i := 0; i < len(changes); i += 2 {
		body[changes[i]] = changes[i+1]
	}
	return body
}

// fixture is the function on a database of its own.
type fixture struct {
	now      func() time.Time
	settings map[string]string
	db       *pgxpool.Pool // as the owner; the function has its own login
}

func open(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{settings: identitytest.Settings(t), now: time.Now}
	f.settings["REDIS_URL"] = redistest.URL(t)
	f.settings["RATE_LIMIT_PATIENCE"] = "20s" // as long as a busy machine may take
	owner := pgtest.URL(t)
	f.settings["DATABASE_URL"] = pgtest.As(t, owner, "auth")
	db, err := pgxpool.New(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	f.db = db
	return f
}

// with returns the function's handler with some settings changed.
func (f *fixture) with(t *testing.T, changes map[string]string, share ...func(*function.Env)) http.Handler {
	t.Helper()
	settings := maps.Clone(f.settings)
	maps.Copy(settings, changes)
	env := function.NewEnv(slog.New(slog.DiscardHandler), f.now, func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
	for _, share := range share {
		share(env.For(auth.Function))
	}
	handler, err := function.Handler(env, auth.Function)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	return handler
}

func (f *fixture) handler(t *testing.T) http.Handler { t.Helper(); return f.with(t, nil) }

// hourly has every look at the instance's clock be an hour after the one before:
// for tests that try an account more often than its limits allow.
func (f *fixture) hourly() {
	var looks atomic.Int64
	begun := time.Now()
	f.now = func() time.Time { return begun.Add(time.Duration(looks.Add(1)) * time.Hour) }
}

// untouched returns a handler whose database must not be asked anything.
func (f *fixture) untouched(t *testing.T) http.Handler {
	t.Helper()
	proxy := pgtest.NewProxy(t, f.settings["DATABASE_URL"])
	proxy.BreakAt(1) // the first connection would break it
	t.Cleanup(func() {
		if proxy.Broken() {
			t.Error("the database was asked")
		}
	})
	return f.with(t, map[string]string{"DATABASE_URL": proxy.URL})
}

func (f *fixture) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := f.db.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// get reads one value.
func (f *fixture) get(t *testing.T, into any, sql string, args ...any) {
	t.Helper()
	if err := f.db.QueryRow(t.Context(), sql, args...).Scan(into); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := f.db.QueryRow(t.Context(), "SELECT count(*) FROM "+sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// answer is what the function said.
type answer struct {
	Status int
	Header http.Header
	Cookie string // the refresh token that was set
	Device string // the device token that was set
	Raw    string
	Body   struct {
		AccessToken string        `json:"access_token"`
		TokenType   string        `json:"token_type"`
		ExpiresIn   int           `json:"expires_in"`
		Generation  *int64        `json:"gen"`
		User        auth.Profile  `json:"user"`
		Code        string        `json:"code"`
		Errors      []problemPart `json:"errors"`
	}
}

type problemPart struct{ Location, Message string }

// stranger is an address from which nobody has called yet: limits by address are
// for the tests that are about them.
func stranger() string {
	return netip.AddrFrom16(uuid.New()).String()
}

type option func(*http.Request)

func bearer(token string) option {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func cookie(value string) option {
	return func(r *http.Request) { r.Header.Add("Cookie", httpapi.RefreshCookie+"="+value) }
}

func agent(name string) option { return func(r *http.Request) { r.Header.Set("User-Agent", name) } }

func call(t *testing.T, handler http.Handler, method, path string, body any, options ...option) answer {
	t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequest(method, path, strings.NewReader(string(text)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forwarded-For", stranger())
	for _, o := range options {
		o(r)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	got := answer{Status: w.Code, Header: w.Header(), Raw: w.Body.String()}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &got.Body); err != nil {
			t.Errorf("status %d, body %q: %v", w.Code, w.Body, err)
		}
	}
	for _, set := range w.Result().Cookies() {
		switch set.Name {
		case httpapi.RefreshCookie:
			got.Cookie = set.Value
		case identity.DeviceCookie:
			got.Device = set.Value
		}
	}
	if w.Code >= 400 && w.Header().Get("Set-Cookie") != "" {
		t.Errorf("status %d touches the cookie: %s", w.Code, w.Header().Get("Set-Cookie"))
	}
	return got
}

func register(t *testing.T, handler http.Handler, body any, options ...option) answer {
	t.Helper()
	return call(t, handler, http.MethodPost, "/api/auth/register", body, options...)
}

// registered opens an account that the test goes on with.
func registered(t *testing.T, handler http.Handler, body any, options ...option) answer {
	t.Helper()
	got := register(t, handler, body, options...)
	if got.Status != http.StatusCreated {
		t.Fatalf("status %d, body %s", got.Status, got.Raw)
	}
	return got
}

func login(t *testing.T, handler http.Handler, email, password string, options ...option) answer {
	t.Helper()
	return call(t, handler, http.MethodPost, "/api/auth/login", map[string]any{"email": email, "password": password}, options...)
}

func logout(t *testing.T, handler http.Handler, options ...option) answer {
	t.Helper()
	return call(t, handler, http.MethodPost, "/api/auth/logout", nil, options...)
}

func me(t *testing.T, handler http.Handler, options ...option) answer {
	t.Helper()
	return call(t, handler, http.MethodGet, "/api/auth/me", nil, options...)
}

// session returns the session of a cookie.
func (f *fixture) session(t *testing.T, cookie string) identity.Refresh {
	t.Helper()
	token, err := identitytest.Signer(t, f.settings).ReadRefresh(t.Context(), cookie)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// reason returns why a session ended, "" while it has not.
func (f *fixture) reason(t *testing.T, session uuid.UUID) string {
	t.Helper()
	var reason *string
	if err := f.db.QueryRow(t.Context(), `SELECT revoke_reason FROM sessions WHERE id = $1`, session).Scan(&reason); err != nil {
		t.Fatal(err)
	}
	if reason == nil {
		return ""
	}
	return *reason
}
