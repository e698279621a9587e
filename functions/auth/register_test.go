package auth_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/secrets/secretstest"
)

func TestRegisterOpensAnAccount(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	before := time.Now()
	got := registered(t, handler, ada("name", " Ada ", "time_zone", "Europe/London"), agent("tests/1.0"))

	want := auth.Profile{ID: got.Body.User.ID, Email: email, Name: "Ada", Teams: []auth.Team{{
		ID: got.Body.User.Teams[0].ID, Name: "Engines", Role: "owner", TimeZone: "Europe/London",
	}}}
	if diff := cmp.Diff(want, got.Body.User); diff != "" {
		t.Errorf("the profile (-want +got):\n%s", diff)
	}
	if got.Body.TokenType != "Bearer" || got.Body.ExpiresIn != 900 || got.Body.Generation == nil || *got.Body.Generation != 0 || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("body %s, Cache-Control %q", got.Raw, got.Header.Get("Cache-Control"))
	}
	attributes := regexp.MustCompile(`^__Host-dd_rt=[\w.-]+; Path=/; Max-Age=604800; HttpOnly; Secure; SameSite=Strict$`)
	if set := got.Header.Get("Set-Cookie"); !attributes.MatchString(set) {
		t.Errorf("Set-Cookie is %s", set)
	}
	token := f.session(t, got.Cookie)
	if n := f.count(t, `sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND u.id = $2 AND s.jti = $3 AND s.gen = 0 AND s.epoch = u.session_epoch
		AND s.user_agent = 'tests/1.0' AND s.expires_at = s.issued_at + interval '7 days' AND s.absolute_expires_at = s.issued_at + interval '30 days'
		AND date_trunc('second', s.issued_at) = $4 AND date_trunc('second', s.expires_at) = $5 AND s.issued_at BETWEEN $6 AND $7
		AND u.password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'`,
		token.Session, want.ID, token.ID, token.IssuedAt, token.ExpiresAt, before.Add(-time.Second), time.Now().Add(time.Second)); n != 1 || token.Generation != 0 {
		t.Errorf("the session's row is not what the token says: %+v", token)
	}
	access, err := identitytest.Verifier(t, f.settings, time.Now()).Access(t.Context(), got.Body.AccessToken)
	if err != nil || access.User.String() != want.ID || access.Session != token.Session {
		t.Errorf("the access token says %+v, %v", access, err)
	}
	if n := f.count(t, `auth_events WHERE kind = 'register' AND user_id = $1 AND session_id = $2`, access.User, access.Session); n != 1 {
		t.Errorf("%d audit rows", n)
	}
	var seen auth.Profile
	decode(t, me(t, handler, bearer(got.Body.AccessToken)).Raw, &seen)
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("me (-want +got):\n%s", diff)
	}
}

func TestRegisterTakesEachAddressOnce(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.hourly()
	handler := f.handler(t)
	registered(t, handler, ada("email", "Jos\u00e9@B\u00fccher.example"))
	for _, spelling := range []string{"Jos\u00e9@B\u00fccher.example", "JOSE\u0301@B\u00dcCHER.EXAMPLE", "jos\u00e9@xn--bcher-kva.example"} {
		if got := register(t, handler, ada("email", spelling)); got.Status != http.StatusConflict || got.Body.Code != "email_taken" {
			t.Errorf("%s: status %d, code %q", spelling, got.Status, got.Body.Code)
		}
	}
	for _, table := range []string{"users", "teams", "memberships", "sessions", "auth_events"} {
		if n := f.count(t, table); n != 1 {
			t.Errorf("%d %s", n, table)
		}
	}
}

func TestTwoRegisterAtOnce(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.settings["RATE_LIMIT_SCALE"] = "10"
	handler := f.handler(t)
	statuses := make([]int, 4)
	var callers sync.WaitGroup
	for i := range statuses {
		callers.Go(func() { statuses[i] = register(t, handler, ada()).Status })
	}
	callers.Wait()
	count := map[int]int{}
	for _, status := range statuses {
		count[status]++
	}
	if count[http.StatusCreated] != 1 || count[http.StatusConflict] != 3 || f.count(t, "teams") != 1 {
		t.Errorf("statuses %v, %d teams", count, f.count(t, "teams"))
	}
}

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.untouched(t)
	long := strings.Repeat("x", 101)
	for name, test := range map[string]struct {
		body map[string]any
		at   string
	}{
		"no address":                {ada("email", ""), "body.email"},
		"an address without @":      {ada("email", "ada"), "body.email"},
		"an address too long":       {ada("email", strings.Repeat("a", 60)+"@"+strings.Repeat("b.", 100)+"example"), "body.email"},
		"a password of 7":           {ada("password", "x3;Kp_q"), "body.password"},
		"a password of 257 bytes":   {ada("password", strings.Repeat("\u00e4", 128)+"x"), "body.password"},
		"a common password":         {ada("password", "Password123!"), "body.password"},
		"the address as password":   {ada("password", "ADA@example.com"), "body.password"},
		"its first part":            {ada("email", "lovelace@example.com", "password", "Lovelace1815"), "body.password"},
		"the product as password":   {ada("password", "DevOps-Dashboard1"), "body.password"},
		"no name":                   {ada("name", ""), "body.name"},
		"a blank name":              {ada("name", " \u00a0"), "body.name"},
		"a name of two lines":       {ada("name", "A\nB"), "body.name"},
		"a long name":               {ada("name", long), "body.name"},
		"a blank team":              {ada("team", "  "), "body.team"},
		"a long team":               {ada("team", long), "body.team"},
		"no time zone":              {ada("time_zone", ""), "body.time_zone"},
		"the server's time zone":    {ada("time_zone", "Local"), "body.time_zone"},
		"an unknown time zone":      {ada("time_zone", "Europe/Atlantis"), "body.time_zone"},
		"a file as time zone":       {ada("time_zone", "../../etc/passwd"), "body.time_zone"},
		"a placeholder for a zone":  {ada("time_zone", "Factory"), "body.time_zone"},
		"a member that is not ours": {ada("role", "owner"), "body.role"},
		"NUL":                       {ada("name", "A\x00"), "body.name"},
	} {
		got := register(t, handler, test.body)
		if got.Status != http.StatusUnprocessableEntity || len(got.Body.Errors) != 1 || got.Body.Errors[0].Location != test.at {
			t.Errorf("%s: status %d, body %s", name, got.Status, got.Raw)
		}
		if secret, _ := test.body["password"].(string); strings.Contains(got.Raw, secret) {
			t.Errorf("%s: the answer repeats the password: %s", name, got.Raw)
		}
	}
	got := register(t, handler, map[string]any{"email": "ada", "password": "password", "name": " ", "team": " ", "time_zone": "x"})
	if len(got.Body.Errors) != 5 {
		t.Errorf("all at once: %s", got.Raw)
	}
}

// A password is taken as it is: as long as may be, with spaces around it, and in
// whatever spelling of its characters.
func TestPasswordIsTakenAsItIs(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	for i, test := range []struct{ secret, other string }{
		{strings.Repeat("\u00e4\u00f6", 64), strings.Repeat("\u00e4\u00f6", 63) + "\u00e4"},
		{"  p\u00e4sswort \u65e5\u672c  ", "p\u00e4sswort \u65e5\u672c"},
		{"caf\u00e9 au lait", "cafe\u0301 au lait"},
		{"A Long Phrase", "a long phrase"},
	} {
		address := fmt.Sprintf("user%d@example.com", i)
		registered(t, handler, ada("email", address, "password", test.secret))
		if got := login(t, handler, address, test.secret); got.Status != http.StatusOK {
			t.Errorf("%q: status %d", test.secret, got.Status)
		}
		if got := login(t, handler, address, test.other); got.Status != http.StatusUnauthorized {
			t.Errorf("%q passes for %q: status %d", test.other, test.secret, got.Status)
		}
	}
}

func TestRegisterEndsTheSessionThatItReplaces(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	first := registered(t, handler, ada())
	registered(t, handler, ada("email", "other@example.com"), cookie(first.Cookie))
	if got := f.reason(t, f.session(t, first.Cookie).Session); got != "replaced" {
		t.Errorf("it ended because %q", got)
	}
}

func TestRegisterWithoutDatabase(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.hourly()
	for n, proxy := range pgtest.Breaks(t, f.settings["DATABASE_URL"]) {
		got := register(t, f.with(t, map[string]string{"DATABASE_URL": proxy.URL}), ada("email", fmt.Sprintf("u%d@example.com", n)))
		switch {
		case proxy.Broken() && (got.Status != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == ""):
			t.Errorf("step %d: status %d, Retry-After %q", n, got.Status, got.Header.Get("Retry-After"))
		case !proxy.Broken() && got.Status != http.StatusCreated:
			t.Errorf("afterwards: status %d", got.Status)
		}
	}
	users := f.count(t, "users")
	for _, table := range []string{"teams", "memberships", "sessions", "auth_events"} {
		if n := f.count(t, table); n != users {
			t.Errorf("%d users and %d %s: an account was opened in part", users, n, table)
		}
	}
}

func TestUserAgentIsClipped(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	for i, test := range []struct{ sent, kept string }{
		{"", ""},
		{strings.Repeat("a", 257), strings.Repeat("a", 256)},
		{strings.Repeat("a", 255) + "\u00e4", strings.Repeat("a", 255)},
		{"a\xffb\x00c", "abc"},
	} {
		got := registered(t, handler, ada("email", fmt.Sprintf("u%d@example.com", i)), agent(test.sent))
		if f.count(t, "sessions WHERE id = $1 AND user_agent = $2", f.session(t, got.Cookie).Session, test.kept) != 1 {
			t.Errorf("%q is not kept as %q", test.sent, test.kept)
		}
	}
}

func TestUnusableKeysAreNotTheCallersFault(t *testing.T) {
	t.Parallel()
	f := open(t)
	first := registered(t, f.handler(t), ada())
	// Keys that stand in a setting are refused at the start, so these are referred to.
	referring := func(setting, text string) http.Handler {
		manager := secretstest.New(t)
		return f.with(t, map[string]string{setting: manager.Put(setting, text)}, manager.Serve)
	}
	for setting, text := range map[string]string{
		"REFRESH_KEYS": "{}", "ACCESS_SIGNING_KEYS": "{}", "ACCESS_PUBLIC_KEYS": identity.NewKeys()["ACCESS_PUBLIC_KEYS"],
	} {
		handler := referring(setting, text)
		for name, got := range map[string]answer{
			"register": register(t, handler, ada("email", strings.ToLower(setting)+"@example.com"), cookie(first.Cookie)),
			"login":    login(t, handler, email, password, cookie(first.Cookie)),
		} {
			if got.Status != http.StatusServiceUnavailable || got.Body.Code != "keys_unusable" {
				t.Errorf("%s without %s: status %d, code %q", name, setting, got.Status, got.Body.Code)
			}
		}
	}
	if got := changePassword(t, referring("ACCESS_SIGNING_KEYS", "{}"), first.Body.AccessToken, password, another); got.Body.Code != "keys_unusable" {
		t.Errorf("change password: status %d, code %q", got.Status, got.Body.Code)
	}
	// Nothing came about that its owner was not given the tokens for.
	if f.count(t, "users") != 1 || f.count(t, "sessions") != 1 || f.reason(t, f.session(t, first.Cookie).Session) != "" || login(t, f.handler(t), email, password).Status != http.StatusOK {
		t.Error("something was changed without an answer for it")
	}
	if got := logout(t, referring("REFRESH_KEYS", "{}"), cookie(first.Cookie)); got.Status != http.StatusServiceUnavailable {
		t.Errorf("logout: status %d", got.Status)
	}
	if got := call(t, referring("ACCESS_PUBLIC_KEYS", "{}"), http.MethodGet, "/.well-known/jwks.json", nil); got.Status != http.StatusServiceUnavailable {
		t.Errorf("keys: status %d", got.Status)
	}
}
