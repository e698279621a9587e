package auth_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

const another = "another long and unlikely phrase"

const firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0"

func sessions(t *testing.T, handler http.Handler, token string) ([]auth.Session, answer) {
	t.Helper()
	got := call(t, handler, http.MethodGet, "/api/auth/sessions", nil, bearer(token))
	var body auth.Sessions
	if got.Status == http.StatusOK {
		decode(t, got.Raw, &body)
	}
	return body.Sessions, got
}

func endSession(t *testing.T, handler http.Handler, token, id string) answer {
	t.Helper()
	return call(t, handler, http.MethodDelete, "/api/auth/sessions/"+id, nil, bearer(token))
}

func logoutEverywhere(t *testing.T, handler http.Handler, token string) answer {
	t.Helper()
	return call(t, handler, http.MethodPost, "/api/auth/logout-everywhere", nil, bearer(token))
}

func changePassword(t *testing.T, handler http.Handler, token, from, to string) answer {
	t.Helper()
	return call(t, handler, http.MethodPut, "/api/auth/password", map[string]string{"current_password": from, "new_password": to}, bearer(token))
}

func TestSessionsAreListed(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	first := registered(t, handler, ada(), agent(firefox))
	second := login(t, handler, email, password, agent("curl/8.5.0"))
	third := login(t, handler, email, password)
	registered(t, handler, ada("email", "other@example.com"))
	id := func(a answer) uuid.UUID { return f.session(t, a.Cookie).Session }
	f.exec(t, `UPDATE sessions SET created_at = '2026-03-01 09:05Z', issued_at = '2026-03-01 12:44:59.9Z' WHERE id = $1`, id(second))
	f.exec(t, `UPDATE sessions SET created_at = '2026-03-01 09:05Z', issued_at = '2026-03-01 12:45:00Z' WHERE id = $1`, id(third))
	f.exec(t, `UPDATE sessions SET created_at = '2026-03-01 09:05Z', issued_at = '2026-03-01 11:00Z' WHERE id = $1`, id(first))
	for _, ended := range []string{`revoked_at = now()`, `expires_at = now()`, `epoch = 7`} {
		f.exec(t, `UPDATE sessions SET `+ended+` WHERE id = $1`, id(login(t, handler, email, password)))
	}
	got, raw := sessions(t, handler, first.Body.AccessToken)
	at := func(hour, minute int) time.Time { return time.Date(2026, 3, 1, hour, minute, 0, 0, time.UTC) }
	want := []auth.Session{
		{ID: id(first).String(), Current: true, Device: "Firefox on Windows", CreatedAt: at(9, 5), LastSeenAt: at(11, 0)},
		{ID: id(third).String(), Device: "An unknown device", CreatedAt: at(9, 5), LastSeenAt: at(12, 45)},
		{ID: id(second).String(), Device: "curl/8.5.0", CreatedAt: at(9, 5), LastSeenAt: at(12, 30)},
	}
	if diff := cmp.Diff(want, got); diff != "" || raw.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q (-want +got):\n%s", raw.Header.Get("Cache-Control"), diff)
	}
}

func TestTheCallersSessionIsInALongList(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	first := registered(t, handler, ada())
	f.exec(t, `INSERT INTO sessions (user_id, epoch, issued_at, expires_at, absolute_expires_at)
		SELECT user_id, epoch, issued_at + interval '1 hour', expires_at, absolute_expires_at FROM sessions, generate_series(1, 300)`)
	if got, _ := sessions(t, handler, first.Body.AccessToken); len(got) != 200 || !got[0].Current || got[1].Current {
		t.Errorf("%d sessions, the first %+v", len(got), got[0])
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	for userAgent, want := range map[string]string{
		"":        "An unknown device",
		"my tool": "my tool",
		firefox:   "Firefox on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1": "Safari on iOS",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0":     "Edge on MacOS",
		"Mozilla/5.0 (unheard of) Gecko/20100101 Firefox/121.0":                                                                                   "Firefox",
	} {
		if got := auth.Device(userAgent); got != want {
			t.Errorf("%s: %q, want %q", userAgent, got, want)
		}
	}
}

func TestOneSessionIsEnded(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	mine, other := registered(t, handler, ada()), login(t, handler, email, password)
	stranger := registered(t, handler, ada("email", "other@example.com"))
	id := func(a answer) string { return f.session(t, a.Cookie).Session.String() }
	for range 2 {
		got := endSession(t, handler, mine.Body.AccessToken, id(other))
		if got.Status != http.StatusNoContent || got.Raw != "" || got.Header.Get("Set-Cookie") != "" {
			t.Errorf("status %d, body %q", got.Status, got.Raw)
		}
	}
	if got := f.reason(t, uuid.MustParse(id(other))); got != "ended" {
		t.Errorf("it ended because %q", got)
	}
	if n := f.count(t, `auth_events WHERE kind = 'session_ended' AND session_id = $1 AND user_id = $2 AND detail = jsonb_build_object('by', $3::text)`,
		id(other), mine.Body.User.ID, id(mine)); n != 1 {
		t.Errorf("%d audit rows", n)
	}
	if got := me(t, handler, bearer(other.Body.AccessToken)); got.Body.Code != "session_revoked" {
		t.Errorf("its access token: status %d", got.Status)
	}
	foreign := endSession(t, handler, mine.Body.AccessToken, id(stranger))
	unknown := endSession(t, handler, mine.Body.AccessToken, uuid.NewString())
	if foreign.Status != http.StatusNotFound || withoutID(foreign.Raw) != withoutID(unknown.Raw) || f.reason(t, uuid.MustParse(id(stranger))) != "" {
		t.Errorf("another's session is answered %d %s, an unknown one %d %s", foreign.Status, foreign.Raw, unknown.Status, unknown.Raw)
	}
	if got := endSession(t, handler, mine.Body.AccessToken, "one"); got.Status != http.StatusUnprocessableEntity || got.Body.Errors[0].Location != "path.session" {
		t.Errorf("no UUID: %d %s", got.Status, got.Raw)
	}
	if got := endSession(t, handler, mine.Body.AccessToken, id(mine)); got.Status != http.StatusNoContent {
		t.Errorf("the caller's own: %d %s", got.Status, got.Raw)
	}
}

func TestLogoutEverywhere(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	mine, other := registered(t, handler, ada()), login(t, handler, email, password)
	before := login(t, handler, email, password)
	logout(t, handler, cookie(before.Cookie))
	stranger := registered(t, handler, ada("email", "other@example.com"))
	got := logoutEverywhere(t, handler, mine.Body.AccessToken)
	if got.Status != http.StatusNoContent || got.Header.Get("Set-Cookie") != identity.ClearCookie() || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, headers %v", got.Status, got.Header)
	}
	for name, session := range map[string]struct {
		answer
		reason string
	}{"mine": {mine, "everywhere"}, "other": {other, "everywhere"}, "ended before": {before, "logout"}, "a stranger's": {stranger, ""}} {
		if got := f.reason(t, f.session(t, session.Cookie).Session); got != session.reason {
			t.Errorf("%s ended because %q, want %q", name, got, session.reason)
		}
		want := http.StatusUnauthorized
		if session.reason == "" {
			want = http.StatusOK
		}
		if got := me(t, handler, bearer(session.Body.AccessToken)); got.Status != want {
			t.Errorf("%s: the access token is answered %d", name, got.Status)
		}
	}
	if n := f.count(t, `users WHERE session_epoch = 1 AND id = $1`, mine.Body.User.ID); n != 1 {
		t.Error("the epoch is the same: a session that was being opened would live on")
	}
	if n := f.count(t, `auth_events WHERE kind = 'logout_everywhere' AND user_id = $1 AND session_id = $2`, mine.Body.User.ID, f.session(t, mine.Cookie).Session); n != 1 {
		t.Errorf("%d audit rows", n)
	}
}

func TestPasswordChangeKeepsTheCallerAlone(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	mine, other := registered(t, handler, ada()), login(t, handler, email, password)
	stranger := registered(t, handler, ada("email", "other@example.com"))
	got := call(t, handler, http.MethodPut, "/api/auth/password", map[string]string{"current_password": password, "new_password": another}, bearer(mine.Body.AccessToken), agent(firefox))
	if got.Status != http.StatusOK || got.Cookie == "" || *got.Body.Generation != 0 || got.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, body %s", got.Status, got.Raw)
	}
	if diff := cmp.Diff(mine.Body.User, got.Body.User); diff != "" {
		t.Errorf("the profile differs:\n%s", diff)
	}
	for name, session := range map[string]answer{"mine": mine, "other": other} {
		if reason := f.reason(t, f.session(t, session.Cookie).Session); reason != "password" {
			t.Errorf("%s ended because %q", name, reason)
		}
	}
	if f.reason(t, f.session(t, stranger.Cookie).Session) != "" {
		t.Error("a stranger's session ended")
	}
	if listed, _ := sessions(t, handler, got.Body.AccessToken); len(listed) != 1 || !listed[0].Current || listed[0].Device != "Firefox on Windows" {
		t.Errorf("signed in are %+v", listed)
	}
	if old, now := login(t, handler, email, password), login(t, handler, email, another); old.Status != http.StatusUnauthorized || now.Status != http.StatusOK {
		t.Errorf("the old password is answered %d, the new one %d", old.Status, now.Status)
	}
	if n := f.count(t, `auth_events WHERE kind = 'password_changed' AND user_id = $1 AND session_id = $2`, mine.Body.User.ID, f.session(t, got.Cookie).Session); n != 1 {
		t.Errorf("%d audit rows", n)
	}
}

func TestPasswordChangeRefuses(t *testing.T) {
	t.Parallel()
	f := open(t)
	token := registered(t, f.handler(t), ada()).Body.AccessToken
	untouched, handler := f.untouched(t), f.handler(t)
	for name, test := range map[string]struct {
		handler  http.Handler
		from, to string
		want     []string
	}{
		"short":            {untouched, password, "seven77", []string{"body.new_password"}},
		"long":             {untouched, password, strings.Repeat("éa", 86), []string{"body.new_password"}},
		"common":           {untouched, password, "Password123", []string{"body.new_password"}},
		"the product":      {untouched, password, "devopsdashboard", []string{"body.new_password"}},
		"the same":         {untouched, password, password, []string{"body.new_password"}},
		"both":             {untouched, strings.Repeat("x", 257), "Password123", []string{"body.current_password", "body.new_password"}},
		"the own address":  {handler, password, "ADA@example.com", []string{"body.new_password"}},
		"wrong, and fine":  {handler, "not the password", another, nil},
		"wrong, and empty": {handler, "", another, nil},
	} {
		got := changePassword(t, test.handler, token, test.from, test.to)
		if test.want == nil {
			if got.Status != http.StatusForbidden || got.Body.Code != "wrong_password" {
				t.Errorf("%s: %d %s", name, got.Status, got.Raw)
			}
			continue
		}
		var at []string
		for _, part := range got.Body.Errors {
			at = append(at, part.Location)
		}
		if got.Status != http.StatusUnprocessableEntity || !slices.Equal(at, test.want) {
			t.Errorf("%s: %d %s", name, got.Status, got.Raw)
		}
	}
	if n := f.count(t, `auth_events WHERE kind = 'password_change_failed' AND detail = '{"why": "wrong_password"}' AND user_id IS NOT NULL`); n != 2 {
		t.Errorf("%d audit rows of failures, want 2", n)
	}
	if got := login(t, handler, email, password); got.Status != http.StatusOK {
		t.Errorf("afterwards the password is answered %d", got.Status)
	}
}

// Of several changes at once one comes about; the others hear that what they took
// for the password no longer is.
func TestPasswordChangesAtOnce(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	token := registered(t, handler, ada()).Body.AccessToken
	answers := make([]answer, 4)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = changePassword(t, handler, token, password, fmt.Sprintf("%s %d", another, i)) })
	}
	all.Wait()
	winner := -1
	for i, got := range answers {
		switch {
		case got.Status == http.StatusOK && winner < 0:
			winner = i
		// The session of the others has ended, or the password is another by now.
		case got.Body.Code != "session_revoked" && got.Body.Code != "wrong_password" && got.Body.Code != "busy":
			t.Errorf("change %d: %d %s", i, got.Status, got.Raw)
		}
	}
	if winner < 0 {
		t.Fatal("none came about")
	}
	if got := login(t, handler, email, fmt.Sprintf("%s %d", another, winner)); got.Status != http.StatusOK || f.count(t, `users WHERE session_epoch = 1`) != 1 {
		t.Errorf("the winner's password is answered %d", got.Status)
	}
}

func TestPasswordChangeWhileTheAccountChanges(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change string
		times  int
		status int
		code   string
	}{
		"hashed anew, as a sign-in does": {`UPDATE users SET password_hash = (SELECT h FROM hashes WHERE h <> password_hash)`, 1, http.StatusOK, ""},
		"each time":                      {`UPDATE users SET password_hash = (SELECT h FROM hashes WHERE h <> password_hash)`, 9, http.StatusServiceUnavailable, "account_changing"},
		"disabled":                       {`UPDATE users SET disabled_at = now()`, 1, http.StatusUnauthorized, "session_revoked"},
		"signed out":                     {`UPDATE sessions SET revoked_at = now()`, 1, http.StatusUnauthorized, "session_revoked"},
		"signed out everywhere":          {`UPDATE users SET session_epoch = 1`, 1, http.StatusUnauthorized, "session_revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			token := registered(t, f.handler(t), ada()).Body.AccessToken
			registered(t, f.handler(t), ada("email", "twin@example.com"))
			f.exec(t, `CREATE TABLE hashes AS SELECT password_hash AS h FROM users`)
			left := test.times
			handler := f.interrupted(t, func() {
				if left > 0 {
					left--
					f.exec(t, test.change)
				}
			})
			if got := changePassword(t, handler, token, password, another); got.Status != test.status || got.Body.Code != test.code {
				t.Errorf("%d %s", got.Status, got.Raw)
			}
		})
	}
}

// A sign-in that has proved the old password, and opens its session only after
// the change, is out like the others.
func TestPasswordChangeEndsSignInsThatRaceIn(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	mine := registered(t, handler, ada())
	tx, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// As signIn does, cut in two: what it has read is from before the change.
	var session uuid.UUID
	err = tx.QueryRow(t.Context(), `INSERT INTO sessions (user_id, epoch, issued_at, expires_at, absolute_expires_at)
		SELECT id, session_epoch, now(), now() + interval '7 days', now() + interval '30 days' FROM users RETURNING id`).Scan(&session)
	if err != nil {
		t.Fatal(err)
	}
	if got := changePassword(t, handler, mine.Body.AccessToken, password, another); got.Status != http.StatusOK {
		t.Fatalf("%d %s", got.Status, got.Raw)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.reason(t, session) != "" {
		t.Fatal("the session was seen after all: the test shows nothing")
	}
	token := identitytest.Bearer(t, f.settings, uuid.MustParse(mine.Body.User.ID), session, time.Now())
	if got := me(t, handler, bearer(strings.TrimPrefix(token, "Bearer "))); got.Body.Code != "session_revoked" {
		t.Errorf("it is answered %d %s", got.Status, got.Raw)
	}
}

// calls are the routes that act for somebody who is signed in.
var calls = map[string]func(*testing.T, http.Handler, string) answer{
	"me":       func(t *testing.T, h http.Handler, token string) answer { return me(t, h, bearer(token)) },
	"sessions": func(t *testing.T, h http.Handler, token string) answer { _, got := sessions(t, h, token); return got },
	"end session": func(t *testing.T, h http.Handler, token string) answer {
		return endSession(t, h, token, uuid.NewString())
	},
	"logout everywhere": logoutEverywhere,
	"change password": func(t *testing.T, h http.Handler, token string) answer {
		return changePassword(t, h, token, password, another)
	},
}

func TestCallsWantALivingSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{
		"revoked":         `UPDATE sessions SET revoked_at = now()`,
		"disabled":        `UPDATE users SET disabled_at = now()`,
		"of an old epoch": `UPDATE users SET session_epoch = 1`,
		"another's":       `WITH o AS (INSERT INTO users (email, email_key, name, password_hash) VALUES ('o', 'o', 'o', '') RETURNING id) UPDATE sessions SET user_id = o.id FROM o`,
		"deleted":         `DELETE FROM users`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			handler := f.handler(t)
			got := registered(t, handler, ada())
			f.exec(t, end)
			for call, do := range calls {
				if got := do(t, handler, got.Body.AccessToken); got.Status != http.StatusUnauthorized || got.Body.Code != "session_revoked" {
					t.Errorf("%s: status %d, code %q", call, got.Status, got.Body.Code)
				}
			}
			if n := f.count(t, "auth_events"); n != 1 {
				t.Errorf("%d audit rows", n)
			}
		})
	}
	f := open(t)
	untouched := f.untouched(t)
	for call, do := range calls {
		if got := do(t, untouched, ""); got.Status != http.StatusUnauthorized || got.Body.Code != "invalid_token" {
			t.Errorf("%s without a token: status %d, code %q", call, got.Status, got.Body.Code)
		}
	}
}

func TestCallsWithoutDatabase(t *testing.T) {
	t.Parallel()
	for name, do := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t)
			token := registered(t, f.handler(t), ada()).Body.AccessToken
			for n, proxy := range pgtest.Breaks(t, f.settings["DATABASE_URL"]) {
				got := do(t, f.with(t, map[string]string{"DATABASE_URL": proxy.URL}), token)
				switch {
				case proxy.Broken() && (got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == ""):
					t.Errorf("step %d: status %d, Retry-After %q", n, got.Status, got.Header.Get("Retry-After"))
				case !proxy.Broken() && got.Status >= 500:
					t.Errorf("afterwards: status %d", got.Status)
				}
			}
		})
	}
}

// The audit log tells what was done, and holds nothing that is of use to a thief.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	first := registered(t, handler, ada())
	second := login(t, handler, email, password, cookie(first.Cookie))
	third := login(t, handler, email, password)
	login(t, handler, email, "not the password")
	login(t, handler, "nobody@example.com", "hunter2 hunter2")
	endSession(t, handler, second.Body.AccessToken, f.session(t, third.Cookie).Session.String())
	changed := changePassword(t, handler, second.Body.AccessToken, password, another)
	changePassword(t, handler, changed.Body.AccessToken, "not the password", password)
	fourth := login(t, handler, email, another)
	logout(t, handler, cookie(fourth.Cookie))
	logoutEverywhere(t, handler, changed.Body.AccessToken)
	f.exec(t, `UPDATE users SET disabled_at = now()`)
	login(t, handler, email, another)

	rows, err := f.db.Query(t.Context(), `SELECT kind || ' ' || detail - 'by', row(e.*)::text FROM auth_events e ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var acts []string
	for rows.Next() {
		var act, whole string
		if err := rows.Scan(&act, &whole); err != nil {
			t.Fatal(err)
		}
		acts = append(acts, act)
		for _, secret := range []string{"not the", "hunter2", "nobody", "xample.com", "phrase", "eyJ", "argon2"} {
			if strings.Contains(whole, secret) {
				t.Errorf("a row holds %q: %s", secret, whole)
			}
		}
	}
	want := []string{
		"register {}", "login {}", "login {}", `login_failed {"why": "wrong_password"}`, `login_failed {"why": "unknown_account"}`,
		"session_ended {}", "password_changed {}", `password_change_failed {"why": "wrong_password"}`, "login {}", "logout {}",
		"logout_everywhere {}", `login_failed {"why": "disabled"}`,
	}
	if diff := cmp.Diff(want, acts); diff != "" {
		t.Error(diff)
	}
}
