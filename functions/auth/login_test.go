package auth_test

import (
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/bcrypt"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func TestLoginOpensASession(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	opened := registered(t, handler, ada())
	f.exec(t, `UPDATE users SET session_epoch = 3`)
	f.exec(t, `UPDATE sessions SET epoch = 3`)
	got := login(t, handler, "ada@EXAMPLE.com", password, agent("tests/2.0"))
	if got.Status != http.StatusOK || got.Body.TokenType != "Bearer" || got.Body.ExpiresIn != 900 || *got.Body.Generation != 0 || got.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, body %s", got.Status, got.Raw)
	}
	if diff := cmp.Diff(opened.Body.User, got.Body.User); diff != "" {
		t.Errorf("the profile differs from that at registration:\n%s", diff)
	}
	first, second := f.session(t, opened.Cookie), f.session(t, got.Cookie)
	if first.Session == second.Session || f.reason(t, first.Session) != "" {
		t.Error("it is not a session of its own beside the first")
	}
	if n := f.count(t, `sessions WHERE id = $1 AND user_id = $2 AND user_agent = 'tests/2.0' AND jti = $3 AND epoch = 3`, second.Session, got.Body.User.ID, second.ID); n != 1 {
		t.Error("its row is not what the token says")
	}
	if n := f.count(t, `auth_events WHERE kind = 'login' AND user_id = $1 AND session_id = $2`, got.Body.User.ID, second.Session); n != 1 {
		t.Errorf("%d audit rows", n)
	}
}

func TestLoginEndsTheSessionThatItReplaces(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	first, other, left := registered(t, handler, ada()), login(t, handler, email, password), login(t, handler, email, password)
	logout(t, handler, cookie(left.Cookie))
	login(t, handler, email, "not the password", cookie(first.Cookie))
	if got := f.reason(t, f.session(t, first.Cookie).Session); got != "" {
		t.Errorf("a failed sign-in ended it: %q", got)
	}
	got := login(t, handler, email, password, cookie(first.Cookie), cookie("junk"), cookie(left.Cookie))
	if got := f.reason(t, f.session(t, left.Cookie).Session); got != "logout" {
		t.Errorf("one that had ended with a logout ended because %q", got)
	}
	if got.Status != http.StatusOK || f.reason(t, f.session(t, first.Cookie).Session) != "replaced" || f.reason(t, f.session(t, other.Cookie).Session) != "" {
		t.Errorf("status %d; the presented session ended because %q, another because %q", got.Status,
			f.reason(t, f.session(t, first.Cookie).Session), f.reason(t, f.session(t, other.Cookie).Session))
	}
}

var requestID = regexp.MustCompile(`"request_id":"[^"]*"`)

// withoutID is an answer's body without what differs in any two answers.
func withoutID(raw string) string { return requestID.ReplaceAllString(raw, "") }

// Nobody learns from the answer whether there is an account.
func TestLoginRefusesAllAlike(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	registered(t, handler, ada())
	registered(t, handler, ada("email", "disabled@example.com"))
	f.exec(t, `UPDATE users SET disabled_at = now() WHERE email_key = 'disabled@example.com'`)
	want := login(t, handler, email, "not the password")
	if want.Status != http.StatusUnauthorized || want.Body.Code != "wrong_credentials" {
		t.Fatalf("status %d, body %s", want.Status, want.Raw)
	}
	for name, got := range map[string]answer{
		"unknown":  login(t, handler, "nobody@example.com", password),
		"disabled": login(t, handler, "disabled@example.com", password),
		"empty":    login(t, handler, email, ""),
	} {
		want.Header.Set("X-Request-Id", got.Header.Get("X-Request-Id"))
		if got.Status != want.Status || withoutID(got.Raw) != withoutID(want.Raw) {
			t.Errorf("%s: status %d, body %s", name, got.Status, got.Raw)
		}
		if diff := cmp.Diff(want.Header, got.Header); diff != "" {
			t.Errorf("%s: headers differ:\n%s", name, diff)
		}
	}
	if n := f.count(t, "sessions"); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func TestLoginRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	handler := open(t).untouched(t)
	for at, got := range map[string]answer{
		"body.email":    login(t, handler, "ada", password),
		"body.password": login(t, handler, email, strings.Repeat("x", 257)),
	} {
		if got.Status != http.StatusUnprocessableEntity || len(got.Body.Errors) != 1 || got.Body.Errors[0].Location != at {
			t.Errorf("%s: status %d, body %s", at, got.Status, got.Raw)
		}
	}
}

func TestLoginUpgradesTheHash(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	opened := registered(t, handler, ada())
	old, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	f.exec(t, `UPDATE users SET password_hash = $1`, strings.Replace(string(old), "$2a$", "$2b$", 1))
	if got := login(t, handler, email, "not the password"); got.Status != http.StatusUnauthorized || f.count(t, `users WHERE password_hash LIKE '$2b$%'`) != 1 {
		t.Errorf("a wrong password: status %d", got.Status)
	}
	reads := 0
	counting := f.interrupted(t, func() { reads++ })
	for try := range 2 {
		if got := login(t, counting, email, password); got.Status != http.StatusOK || reads != try+1 {
			t.Fatalf("status %d after %d reads of the account", got.Status, reads)
		}
		if f.count(t, `users WHERE password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%' AND session_epoch = 0`) != 1 {
			t.Error("the hash is the old one")
		}
	}
	if got := me(t, handler, bearer(opened.Body.AccessToken)); got.Status != http.StatusOK {
		t.Errorf("a session from before the upgrade: status %d", got.Status)
	}
}

// A hash whose check would take all memory is not computed.
func TestLoginBoundsStoredHashes(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	registered(t, handler, ada())
	for _, stored := range []string{
		"x", "$2b$31$" + strings.Repeat("a", 53),
		"$argon2id$v=19$m=4194304,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		f.exec(t, `UPDATE users SET password_hash = $1`, stored)
		if got := login(t, handler, email, password); got.Status != http.StatusInternalServerError {
			t.Errorf("%q: status %d", stored, got.Status)
		}
	}
}

// between runs do after each read of an account.
type between struct {
	do func()
}

type readsAccount struct{}

func (b between) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, readsAccount{}, strings.Contains(data.SQL, "SELECT id, COALESCE(password_hash"))
}

func (b between) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if ctx.Value(readsAccount{}) == true {
		b.do()
	}
}

// interrupted returns a handler that runs do between the read of an account and
// what follows.
func (f *fixture) interrupted(t *testing.T, do func()) http.Handler {
	t.Helper()
	config, err := pgxpool.ParseConfig(f.settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.Tracer = between{do}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return f.with(t, nil, func(env *function.Env) {
		function.Shared(env, postgres.Need, func() *postgres.Database { return postgres.Over(pool) })
	})
}

func TestLoginWhileTheAccountChanges(t *testing.T) {
	t.Parallel()
	const another = `UPDATE users SET password_hash = '$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'`
	// Both accounts have the same password, so each hash is as good as the other.
	const anew = `UPDATE users SET password_hash = (SELECT h FROM hashes WHERE h <> password_hash)`
	old, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change string
		times  int
		status int
		code   string
		old    bool // the hash is one to be upgraded
	}{
		"disabled":            {`UPDATE users SET disabled_at = now()`, 1, http.StatusUnauthorized, "wrong_credentials", false},
		"hashed anew":         {anew, 1, http.StatusOK, "", false},
		"changed each time":   {anew, 9, http.StatusServiceUnavailable, "account_changing", false},
		"given another":       {another, 1, http.StatusUnauthorized, "wrong_credentials", false},
		"given another, old":  {another, 1, http.StatusUnauthorized, "wrong_credentials", true},
		"damaged by somebody": {`UPDATE users SET password_hash = password_hash || ' '`, 1, http.StatusInternalServerError, "internal", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			first := registered(t, f.handler(t), ada())
			registered(t, f.handler(t), ada("email", "twin@example.com"))
			f.exec(t, `CREATE TABLE hashes AS SELECT password_hash AS h FROM users`)
			left := test.times
			if test.old {
				f.exec(t, `UPDATE users SET password_hash = $1`, string(old))
			}
			handler := f.interrupted(t, func() {
				if left > 0 {
					left--
					f.exec(t, test.change)
				}
			})
			got := login(t, handler, email, password, cookie(first.Cookie))
			if replaced := f.reason(t, f.session(t, first.Cookie).Session) != ""; replaced != (test.status == http.StatusOK) {
				t.Errorf("status %d, and the session before it was replaced: %t", got.Status, replaced)
			}
			if test.change == another && f.count(t, `users WHERE password_hash LIKE '%AAAA'`) != 2 {
				t.Error("the new password was overwritten")
			}
			if got.Status != test.status || got.Body.Code != test.code {
				t.Errorf("status %d, body %s", got.Status, got.Raw)
			}
			want := 2
			if test.status == http.StatusOK {
				want++
			}
			if n := f.count(t, "sessions"); n != want {
				t.Errorf("%d sessions, want %d", n, want)
			}
		})
	}
}

func TestLoginWithoutDatabase(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.hourly()
	registered(t, f.handler(t), ada())
	old, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for n, proxy := range pgtest.Breaks(t, f.settings["DATABASE_URL"]) {
		f.exec(t, `UPDATE users SET password_hash = $1`, string(old))
		got := login(t, f.with(t, map[string]string{"DATABASE_URL": proxy.URL}), email, password)
		switch {
		case proxy.Broken() && (got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == ""):
			t.Errorf("step %d: status %d, Retry-After %q", n, got.Status, got.Header.Get("Retry-After"))
		case !proxy.Broken() && got.Status != http.StatusOK:
			t.Errorf("afterwards: status %d", got.Status)
		}
	}
}

func TestLogoutEndsTheSession(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	first, other := registered(t, handler, ada()), login(t, handler, email, password)
	// Its cookie has been replaced long since.
	session := f.session(t, first.Cookie).Session
	f.exec(t, `UPDATE sessions SET gen = 40, jti = $2 WHERE id = $1`, session, uuid.New())
	for range 2 {
		got := logout(t, handler, cookie(first.Cookie))
		if got.Status != http.StatusNoContent || got.Raw != "" || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("status %d, body %q, Cache-Control %q", got.Status, got.Raw, got.Header.Get("Cache-Control"))
		}
		if set := got.Header.Get("Set-Cookie"); set != "__Host-dd_rt=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict" {
			t.Errorf("Set-Cookie is %s", set)
		}
	}
	if f.reason(t, session) != "logout" || f.reason(t, f.session(t, other.Cookie).Session) != "" {
		t.Errorf("it ended because %q, another because %q", f.reason(t, session), f.reason(t, f.session(t, other.Cookie).Session))
	}
	if n := f.count(t, `auth_events WHERE kind = 'logout' AND session_id = $1 AND user_id = $2`, session, first.Body.User.ID); n != 1 {
		t.Errorf("%d audit rows", n)
	}
	if got := me(t, handler, bearer(first.Body.AccessToken)); got.Status != http.StatusUnauthorized || got.Body.Code != "session_revoked" {
		t.Errorf("its access token: status %d, code %q", got.Status, got.Body.Code)
	}
	if got := me(t, handler, bearer(other.Body.AccessToken)); got.Status != http.StatusOK {
		t.Errorf("another's: status %d", got.Status)
	}
}

func TestLogoutEndsEachPresentedSession(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	first, second := registered(t, handler, ada()), login(t, handler, email, password)
	logout(t, handler, cookie(first.Cookie), cookie("junk"), cookie(second.Cookie))
	if n := f.count(t, `sessions WHERE revoke_reason = 'logout'`); n != 2 {
		t.Errorf("%d ended", n)
	}
}

func TestLogoutWithoutSession(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.untouched(t)
	for name, options := range map[string][]option{"no cookie": nil, "junk": {cookie("junk")}, "empty": {cookie("")}} {
		got := logout(t, handler, options...)
		if got.Status != http.StatusNoContent || !strings.Contains(got.Header.Get("Set-Cookie"), "Max-Age=0") {
			t.Errorf("%s: status %d, Set-Cookie %q", name, got.Status, got.Header.Get("Set-Cookie"))
		}
	}
}

// call asserts that no refusal touches the cookie.
func TestLogoutWithoutDatabase(t *testing.T) {
	t.Parallel()
	f := open(t)
	first := registered(t, f.handler(t), ada())
	for n, proxy := range pgtest.Breaks(t, f.settings["DATABASE_URL"]) {
		got := logout(t, f.with(t, map[string]string{"DATABASE_URL": proxy.URL}), cookie(first.Cookie))
		switch {
		case proxy.Broken() && (got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == ""):
			t.Errorf("step %d: status %d, Retry-After %q", n, got.Status, got.Header.Get("Retry-After"))
		case !proxy.Broken() && got.Status != http.StatusNoContent:
			t.Errorf("afterwards: status %d", got.Status)
		}
	}
}

func TestMe(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	got := registered(t, handler, ada())
	user := got.Body.User
	for _, team := range []struct{ id, name, role string }{
		{"00000000-0000-4000-8000-000000000002", "Zeta", "viewer"},
		{"00000000-0000-4000-8000-000000000001", "Alpha", "editor"},
		{"00000000-0000-4000-8000-000000000003", "Foreign", ""},
	} {
		f.exec(t, `INSERT INTO teams (id, name, time_zone) VALUES ($1, $2, 'Asia/Tokyo')`, team.id, team.name)
		if team.role != "" {
			f.exec(t, `INSERT INTO memberships (user_id, team_id, role) VALUES ($1, $2, $3)`, user.ID, team.id, team.role)
		}
	}
	want := user
	want.Teams = []auth.Team{
		{ID: "00000000-0000-4000-8000-000000000001", Name: "Alpha", Role: "editor", TimeZone: "Asia/Tokyo"},
		user.Teams[0],
		{ID: "00000000-0000-4000-8000-000000000002", Name: "Zeta", Role: "viewer", TimeZone: "Asia/Tokyo"},
	}
	answered := me(t, handler, bearer(got.Body.AccessToken))
	var seen auth.Profile
	decode(t, answered.Raw, &seen)
	if diff := cmp.Diff(want, seen); diff != "" || answered.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q; (-want +got):\n%s", answered.Header.Get("Cache-Control"), diff)
	}
	f.exec(t, `DELETE FROM memberships`)
	if none := me(t, handler, bearer(got.Body.AccessToken)); !strings.Contains(none.Raw, `"teams":[]`) {
		t.Errorf("without a team: %s", none.Raw)
	}
}

func TestMeWantsAToken(t *testing.T) {
	t.Parallel()
	f := open(t)
	if got := me(t, f.untouched(t)); got.Status != http.StatusUnauthorized || got.Body.Code != "no_token" {
		t.Errorf("without a token: status %d, code %q", got.Status, got.Body.Code)
	}
}

func TestPublicKeys(t *testing.T) {
	t.Parallel()
	f := open(t)
	got := call(t, f.untouched(t), http.MethodGet, "/.well-known/jwks.json", nil)
	var served, set struct{ Keys []map[string]string }
	decode(t, got.Raw, &served)
	decode(t, f.settings["ACCESS_PUBLIC_KEYS"], &set)
	if len(served.Keys) != 1 || len(served.Keys[0]["kid"]) != 16 {
		t.Fatalf("body %s", got.Raw)
	}
	want := map[string]string{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "x": set.Keys[0]["x"], "kid": served.Keys[0]["kid"]}
	if diff := cmp.Diff(want, served.Keys[0]); diff != "" || got.Header.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("Cache-Control %q; (-want +got):\n%s", got.Header.Get("Cache-Control"), diff)
	}
}

// Behind a transaction pooler statements are not prepared, and pgx knows the
// types of their parameters from Go alone.
func TestAuthBehindAPooler(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.with(t, map[string]string{"DATABASE_EXEC_MODE": "exec"})
	first := registered(t, handler, ada("time_zone", "Asia/Tokyo"))
	second := login(t, handler, email, password, cookie(first.Cookie))
	if second.Status != http.StatusOK || f.reason(t, f.session(t, first.Cookie).Session) != "replaced" {
		t.Fatalf("login: status %d, %s", second.Status, second.Raw)
	}
	if got := me(t, handler, bearer(second.Body.AccessToken)); got.Status != http.StatusOK || !strings.Contains(got.Raw, "Asia/Tokyo") {
		t.Errorf("me: status %d, %s", got.Status, got.Raw)
	}
	if got, _ := sessions(t, handler, second.Body.AccessToken); len(got) != 1 {
		t.Errorf("%d sessions", len(got))
	}
	if got := endSession(t, handler, second.Body.AccessToken, f.session(t, first.Cookie).Session.String()); got.Status != http.StatusNoContent {
		t.Errorf("end session: %d %s", got.Status, got.Raw)
	}
	if got := login(t, handler, email, "not the password"); got.Status != http.StatusUnauthorized {
		t.Errorf("a wrong password: %d %s", got.Status, got.Raw)
	}
	second = changePassword(t, handler, second.Body.AccessToken, password, another)
	if second.Status != http.StatusOK {
		t.Fatalf("change password: %d %s", second.Status, second.Raw)
	}
	if got := logoutEverywhere(t, handler, login(t, handler, email, another).Body.AccessToken); got.Status != http.StatusNoContent {
		t.Errorf("logout everywhere: %d %s", got.Status, got.Raw)
	}
	second = login(t, handler, email, another)
	if got := logout(t, handler, cookie(second.Cookie)); got.Status != http.StatusNoContent || f.reason(t, f.session(t, second.Cookie).Session) != "logout" {
		t.Errorf("logout: status %d", got.Status)
	}
}
