package auth_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/githubtest"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/secrets/secretstest"
)

const githubOrigin = "https://dash.example.com"

// browser is somebody's, with its cookies, between the function and GitHub.
type browser struct {
	t       testing.TB
	handler http.Handler
	github  *githubtest.GitHub
	cookies map[string]string
}

// octopus is a fixture whose people sign in with a GitHub of its own.
type octopus struct {
	*fixture
	github   *githubtest.GitHub
	settings map[string]string
	handler  http.Handler
}

func newOctopus(t *testing.T, changes map[string]string) *octopus {
	t.Helper()
	o := &octopus{fixture: open(t), github: githubtest.New(t, githubOrigin+"/api/auth/github/callback")}
	o.settings = map[string]string{
		"GITHUB_CLIENT_ID": githubtest.Client, "GITHUB_CLIENT_SECRET": githubtest.Secret, "GITHUB_URL": o.github.URL, "PUBLIC_ORIGIN": githubOrigin, "REGISTRATION": "open",
	}
	maps.Copy(o.settings, changes)
	o.handler = o.with(t, o.settings)
	return o
}

func (o *octopus) browser(t testing.TB) *browser {
	return &browser{t, o.handler, o.github, map[string]string{}}
}

// lovelace is Ada at GitHub.
var lovelace = githubtest.Person{ID: 1815, Login: "lovelace", Name: "Ada L.", Emails: []githubtest.Email{
	{Email: "old@example.com", Verified: true}, {Email: email, Primary: true, Verified: true}, {Email: "wrong@example.com"},
}}

// send sends a request with the browser's cookies, as browsers do: from another site
// only those that are Lax.
func (b *browser) send(method, target string, body any, headers ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	text := ""
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		text = string(encoded)
	}
	r := httptest.NewRequest(method, target, strings.NewReader(text))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forwarded-For", stranger())
	crossSite := false
	for _, h := range headers {
		name, value, _ := strings.Cut(h, "=")
		r.Header.Set(name, value)
		crossSite = crossSite || value == "cross-site"
	}
	for _, name := range slices.Sorted(maps.Keys(b.cookies)) {
		if value, lax := strings.CutPrefix(b.cookies[name], "lax "); lax || !crossSite {
			r.Header.Add("Cookie", name+"="+value)
		}
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteStrictMode && (c.Name == httpapi.RefreshCookie || c.SameSite != http.SameSiteLaxMode) {
			b.t.Errorf("a cookie that others may have: %s", c.Raw)
		}
		switch {
		case c.MaxAge < 0:
			delete(b.cookies, c.Name)
		case c.SameSite == http.SameSiteLaxMode:
			b.cookies[c.Name] = "lax " + c.Value
		default:
			b.cookies[c.Name] = c.Value
		}
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		b.t.Errorf("%s %s may be kept", method, target)
	}
	return w
}

// start leads to GitHub.
func (b *browser) start(target string) string {
	b.t.Helper()
	w := b.send(http.MethodGet, target, nil, "Sec-Fetch-Site=same-origin")
	if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), b.github.URL+"/login/oauth/authorize?") {
		b.t.Fatalf("%d %s %s", w.Code, w.Header(), w.Body)
	}
	return w.Header().Get("Location")
}

// come comes back from GitHub, and returns where it leads.
func (b *browser) come(back *url.URL) string {
	b.t.Helper()
	w := b.send(http.MethodGet, back.RequestURI(), nil, "Sec-Fetch-Site=cross-site")
	if w.Code != http.StatusSeeOther {
		b.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Header().Get("Location")
}

// signIn goes all the way.
func (b *browser) signIn(as githubtest.Person) string {
	b.t.Helper()
	return b.come(b.github.Authorize(b.start("/api/auth/github/start"), as))
}

// answered reads an answer that is that of signing in.
func (b *browser) answered(w *httptest.ResponseRecorder, status int) answer {
	b.t.Helper()
	got := answer{Status: w.Code, Raw: w.Body.String()}
	_ = json.Unmarshal(w.Body.Bytes(), &got.Body)
	if w.Code != status {
		b.t.Errorf("answered %d %s, want %d", w.Code, w.Body, status)
	}
	return got
}

func (b *browser) post(path string, body map[string]any, status int) answer {
	b.t.Helper()
	return b.answered(b.send(http.MethodPost, path, body), status)
}

func (b *browser) refused(path string, body map[string]any, code string) {
	b.t.Helper()
	w := b.send(http.MethodPost, path, body)
	if got := b.answered(w, w.Code); w.Code < 400 || got.Body.Code != code || len(w.Header()["Set-Cookie"]) != 0 {
		b.t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, code)
	}
}

// session is the one of the browser's cookie.
func (o *octopus) sessionIn(b *browser) string {
	b.t.Helper()
	token := b.cookies[httpapi.RefreshCookie]
	if token == "" {
		return ""
	}
	return o.session(b.t.(*testing.T), token).Session.String()
}

func (o *octopus) kinds(t *testing.T) string {
	t.Helper()
	var kinds string
	o.get(t, &kinds, `SELECT COALESCE(string_agg(kind || COALESCE(' ' || (detail->>'github'), ''), ', ' ORDER BY id), '') FROM auth_events`)
	return kinds
}

const registerPath, linkPath = "/api/auth/github/register", "/api/auth/github/link"

// Nobody is known at first; then somebody registers, comes again from another browser
// under another name, and nobody else is let in for having their address.
func TestGitHubOpensAnAccount(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	b := o.browser(t)
	at := b.signIn(lovelace)
	if want := "/#github=register&" + (url.Values{"login": {"lovelace"}, "name": {"Ada L."}, "email": {email}}).Encode(); at != want || b.cookies[httpapi.RefreshCookie] != "" {
		t.Fatalf("led to %s, want %s; cookies %v", at, want, b.cookies)
	}
	b.refused(registerPath, map[string]any{}, "invalid_request") // which team?
	before := o.browser(t)                                       // when their address was another
	before.signIn(githubtest.Person{ID: lovelace.ID, Login: "lovelace", Emails: []githubtest.Email{{Email: "then@example.com", Primary: true, Verified: true}}})
	in := b.post(registerPath, map[string]any{"team": "Engines", "time_zone": "Europe/London"}, http.StatusCreated)
	if in.Body.User.Email != email || in.Body.User.Name != "Ada L." || len(in.Body.User.Teams) != 1 || in.Body.User.Teams[0].Name != "Engines" || in.Body.User.Teams[0].Role != "owner" {
		t.Errorf("%+v", in.Body.User)
	}
	if n := o.count(t, "users WHERE password_hash IS NULL"); n != 1 {
		t.Error("the account has a password")
	}
	first := o.sessionIn(b)
	b.refused(registerPath, map[string]any{"team": "Engines"}, "no_github_proof") // it was used
	before.refused(registerPath, map[string]any{"team": "Engines"}, "github_taken")

	other := o.browser(t)
	renamed := lovelace
	renamed.Login, renamed.Emails = "countess", nil
	if at := other.signIn(renamed); at != "/#github=signed-in" || o.sessionIn(other) == "" || o.sessionIn(other) == first {
		t.Errorf("led to %s with %v", at, other.cookies)
	}
	// Signing in again, the browser's own session ends, though the callback comes
	// without its cookie.
	if at := b.signIn(renamed); at != "/#github=signed-in" || o.reason(t, o.session(t, b.cookies[httpapi.RefreshCookie]).Session) != "" {
		t.Errorf("led to %s", at)
	}
	var reason string
	o.get(t, &reason, "SELECT revoke_reason FROM sessions WHERE id = $1", first)
	if reason != "replaced" {
		t.Errorf("the first session ended by %q", reason)
	}
	if got, want := o.kinds(t), "register lovelace, login countess, login countess"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	var login string
	o.get(t, &login, "SELECT login FROM user_identities WHERE provider = 'github' AND subject = '1815'")
	if login != "countess" {
		t.Errorf("known as %s", login)
	}

	thief := githubtest.Person{ID: 666, Login: "mallory", Emails: lovelace.Emails}
	m := o.browser(t)
	if at := m.signIn(thief); !strings.HasPrefix(at, "/#github=link&") {
		t.Errorf("led to %s", at)
	}
	m.refused(linkPath, map[string]any{"password": password}, "wrong_credentials") // of an account without one
	m.refused(linkPath, map[string]any{"password": ""}, "wrong_credentials")
	m.refused(registerPath, map[string]any{"team": "Engines"}, "email_taken")
	if got := login1(t, o.handler, ""); got != http.StatusUnauthorized {
		t.Errorf("signing in with an empty password: %d", got)
	}

	o.exec(t, "UPDATE users SET disabled_at = now()")
	if at := b.signIn(lovelace); at != "/#github=disabled" {
		t.Errorf("led to %s", at)
	}
}

func login1(t *testing.T, handler http.Handler, password string) int {
	t.Helper()
	return login(t, handler, email, password).Status
}

// Whose address has an account proves the account's password, once.
func TestGitHubLinksAnAccount(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	o.hourly()
	o.handler = o.with(t, o.settings)
	registered(t, o.handler, ada())
	registered(t, o.handler, ada("email", "second@example.com"))
	// The clock is an hour later at each look: the proof is made by hand's clock.
	o.now = time.Now
	o.handler = o.with(t, o.settings)
	b := o.browser(t)
	if at := b.signIn(lovelace); !strings.HasPrefix(at, "/#github=link&") || b.cookies[httpapi.RefreshCookie] != "" {
		t.Fatalf("led to %s", at)
	}
	if n := o.count(t, "user_identities"); n != 0 {
		t.Fatal("it is linked without a password")
	}
	b.refused(linkPath, map[string]any{"password": "a guess"}, "wrong_credentials")
	b.refused(linkPath, map[string]any{"password": strings.Repeat("x", 257)}, "invalid_request")
	b.refused(linkPath, map[string]any{"password": password, "email": "x"}, "invalid_request")
	var both sync.WaitGroup
	proven := maps.Clone(b.cookies)
	for range 2 {
		one := &browser{t, o.handler, o.github, maps.Clone(proven)}
		both.Go(func() {
			if in := one.post(linkPath, map[string]any{"password": password}, http.StatusOK); in.Body.User.Email != email || in.Body.AccessToken == "" {
				t.Errorf("%s", in.Raw)
			}
		})
	}
	both.Wait()
	if n := o.count(t, "auth_events WHERE kind = 'github_linked' AND detail->>'github' = 'lovelace'"); n != 1 {
		t.Errorf("linked %d times", n)
	}
	if at := o.browser(t).signIn(lovelace); at != "/#github=signed-in" {
		t.Errorf("led to %s", at)
	}
	// One account at GitHub is of one here, and the other way round.
	b.refused(linkPath, map[string]any{"password": password, "email": "second@example.com"}, "github_taken")
	second := o.browser(t)
	second.signIn(githubtest.Person{ID: 2, Login: "two", Emails: lovelace.Emails})
	second.refused(linkPath, map[string]any{"password": password}, "another_github")
	// Whose address is another there may name the account.
	second.post(linkPath, map[string]any{"password": password, "email": "second@example.com"}, http.StatusOK)
}

// show, unlink, and what an account without a password does.
func TestGitHubAccounts(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	b := o.browser(t)
	b.signIn(lovelace)
	token := b.post(registerPath, map[string]any{"team": "Engines", "name": "Ada"}, http.StatusCreated).Body.AccessToken
	shows := func(want string) {
		t.Helper()
		if got := call(t, o.handler, http.MethodGet, "/api/auth/github", nil, bearer(token)); strings.TrimSpace(got.Raw) != want {
			t.Errorf("shows %s, want %s", got.Raw, want)
		}
	}
	shows(`{"login":"lovelace","password":false}`)
	if got := changePassword(t, o.handler, token, "", "another good phrase"); got.Body.Code != "no_password" {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
	unlink := func() answer {
		return call(t, o.handler, http.MethodDelete, "/api/auth/github", nil, bearer(token))
	}
	if got := unlink(); got.Body.Code != "no_password" {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
	if got := call(t, o.handler, http.MethodPost, "/api/auth/me/export", nil, bearer(token)); !strings.Contains(got.Raw, `"login":"lovelace"`) || !strings.Contains(got.Raw, `"subject":"1815"`) {
		t.Errorf("exports %s", got.Raw)
	}

	// A link sets the first password, by which GitHub is no more needed.
	secret := access.NewSecret(access.LinkPrefix)
	if err := auth.NewPasswordLink(t.Context(), o.db, email, access.DigestOf(secret).Bytes()); err != nil {
		t.Fatal(err)
	}
	reset := call(t, o.handler, http.MethodPost, "/api/auth/password/reset", map[string]any{"link": secret, "new_password": password})
	token = reset.Body.AccessToken
	shows(`{"login":"lovelace","password":true}`)
	for range 2 {
		if got := unlink(); got.Status != http.StatusNoContent {
			t.Errorf("%d %s", got.Status, got.Raw)
		}
	}
	shows(`{"login":null,"password":true}`)
	if n := o.count(t, "auth_events WHERE kind = 'github_unlinked'"); n != 1 {
		t.Errorf("%d events", n)
	}
	if at := o.browser(t).signIn(lovelace); !strings.HasPrefix(at, "/#github=link&") {
		t.Errorf("led to %s", at)
	}
	o.exec(t, "UPDATE sessions SET revoked_at = now()")
	for _, got := range []answer{unlink(), call(t, o.handler, http.MethodGet, "/api/auth/github", nil, bearer(token))} {
		if got.Status != http.StatusUnauthorized {
			t.Errorf("signed out, answered %d %s", got.Status, got.Raw)
		}
	}
}

// An account without a password is deleted by who has just come from GitHub, as its
// owner.
func TestGitHubAccountIsDeleted(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	b, m := o.browser(t), o.browser(t)
	b.signIn(lovelace)
	token := b.post(registerPath, map[string]any{"team": "Engines"}, http.StatusCreated).Body.AccessToken
	m.signIn(githubtest.Person{ID: 666, Login: "mallory", Emails: []githubtest.Email{{Email: "m@example.com", Primary: true, Verified: true}}})
	remove := func(b *browser) answer {
		t.Helper()
		w := b.send(http.MethodPost, "/api/auth/me/delete", map[string]any{}, "Authorization=Bearer "+token)
		return b.answered(w, w.Code)
	}
	for name, b := range map[string]*browser{"without a proof": o.browser(t), "with another's": m} {
		if got := remove(b); got.Status != http.StatusForbidden || got.Body.Code != "github_proof_needed" || !strings.Contains(got.Raw, "GitHub once more") {
			t.Errorf("%s: %d %s", name, got.Status, got.Raw)
		}
	}
	late := o.browser(t)
	o.now = func() time.Time { return time.Now().Add(-10*time.Minute - time.Second) }
	late.handler = o.with(t, o.settings)
	late.signIn(lovelace)
	late.handler = o.handler
	if got := remove(late); got.Body.Code != "github_proof_needed" {
		t.Errorf("late: %d %s", got.Status, got.Raw)
	}
	late.refused(linkPath, map[string]any{"password": password}, "no_github_proof")
	late.refused(registerPath, map[string]any{"team": "x"}, "no_github_proof")
	if got := remove(b); got.Status != http.StatusForbidden { // registering has used its proof
		t.Errorf("%d %s", got.Status, got.Raw)
	}
	fresh := o.browser(t) // in b itself the session of the token would end
	fresh.signIn(lovelace)
	if got := remove(fresh); got.Status != http.StatusNoContent {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
	if n := o.count(t, "users") + o.count(t, "user_identities"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// The rule of REGISTRATION holds for who comes from GitHub.
func TestGitHubRegistersByTheRule(t *testing.T) {
	t.Parallel()
	for mode, code := range map[string]string{"invite": "registration_by_invitation", "closed": "registration_closed"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := newOctopus(t, map[string]string{"REGISTRATION": mode})
			b := o.browser(t)
			b.signIn(lovelace)
			b.refused(registerPath, map[string]any{"team": "Engines"}, code)
			secret := access.NewSecret(access.LinkPrefix)
			if err := auth.NewOwnerLink(t.Context(), o.db, access.DigestOf(secret).Bytes()); err != nil {
				t.Fatal(err)
			}
			// Two at once, with a link each, open one account.
			other := access.NewSecret(access.LinkPrefix)
			if err := auth.NewOwnerLink(t.Context(), o.db, access.DigestOf(other).Bytes()); err != nil {
				t.Fatal(err)
			}
			var both sync.WaitGroup
			var got [2]answer
			for i, link := range []string{secret, other} {
				one := &browser{t, o.handler, o.github, maps.Clone(b.cookies)}
				both.Go(func() {
					w := one.send(http.MethodPost, registerPath, map[string]any{"team": "Engines", "link": link})
					got[i] = one.answered(w, w.Code)
				})
			}
			both.Wait()
			if got[0].Status+got[1].Status != http.StatusCreated+http.StatusConflict || o.count(t, "users") != 1 || o.count(t, "links WHERE used_at IS NOT NULL") != 1 {
				t.Errorf("%d %s, %d %s", got[0].Status, got[0].Raw, got[1].Status, got[1].Raw)
			}
		})
	}
}

// What nobody may do who is not the browser that began, or not in its time.
func TestGitHubCallbackIsOfItsBrowser(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	expired := func(why string, b *browser, back *url.URL) {
		t.Helper()
		asked := o.github.Asked("/login/oauth/access_token")
		if at := b.come(back); at != "/#github=expired" || o.sessionIn(b) != "" {
			t.Errorf("%s: led to %s", why, at)
		}
		if o.github.Asked("/login/oauth/access_token") != asked {
			t.Errorf("%s: GitHub was asked", why)
		}
	}
	began := func() (*browser, *url.URL) {
		b := o.browser(t)
		return b, o.github.Authorize(b.start("/api/auth/github/start"), lovelace)
	}
	attacker, back := began()
	victim, own := began()
	expired("another's code and state", victim, back)
	expired("in a browser that began nothing", o.browser(t), back)
	mixed := *back
	mixed.RawQuery = url.Values{"code": {own.Query().Get("code")}, "state": {"x"}}.Encode()
	expired("another state", victim, &mixed)
	mixed.RawQuery = url.Values{"code": {own.Query().Get("code")}}.Encode()
	expired("no state", victim, &mixed)
	if at := victim.come(own); !strings.HasPrefix(at, "/#github=register&") {
		t.Errorf("the victim's own: %s", at)
	}
	expired("once more", victim, own)

	// A proof is no pending sign-in, nor the other way round; nor is what was changed.
	proofed := *attacker
	proofed.cookies = maps.Clone(attacker.cookies)
	proofed.refused(linkPath, map[string]any{"password": password}, "no_github_proof")
	for name, change := range map[string]func(string) string{
		"another payload": func(c string) string { return "eyJ" + strings.Repeat("A", 8) + c[11:] },
		"another seal":    func(c string) string { return c[:len(c)-4] + "AAAA" },
		"no seal":         func(c string) string { payload, _, _ := strings.Cut(c, "."); return payload },
		"an odd seal":     func(c string) string { return c + "!" },
		"nothing":         func(string) string { return "" },
	} {
		forged := o.browser(t)
		forged.cookies["__Host-dd_github"] = "lax " + change(strings.TrimPrefix(attacker.cookies["__Host-dd_github"], "lax "))
		expired(name, forged, back)
	}
	two := httptest.NewRequest(http.MethodGet, back.RequestURI(), nil)
	for range 2 {
		two.Header.Add("Cookie", "__Host-dd_github="+strings.TrimPrefix(attacker.cookies["__Host-dd_github"], "lax "))
	}
	w := httptest.NewRecorder()
	o.handler.ServeHTTP(w, two)
	if w.Header().Get("Location") != "/#github=expired" {
		t.Errorf("two cookies: %d %s", w.Code, w.Header())
	}
	o.now = func() time.Time { return time.Now().Add(10*time.Minute + time.Second) }
	attacker.handler = o.with(t, o.settings)
	expired("too late", attacker, back)
}

// A code is good once: of two who bring it at once, one is let in.
func TestGitHubCodeIsUsedOnce(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	first := o.browser(t)
	first.signIn(lovelace)
	first.post(registerPath, map[string]any{"team": "Engines"}, http.StatusCreated)
	b := o.browser(t)
	back := o.github.Authorize(b.start("/api/auth/github/start?return=/team%3Fx%3Dy"), lovelace)
	var both sync.WaitGroup
	var at [2]string
	for i := range at {
		one := &browser{t, o.handler, o.github, maps.Clone(b.cookies)}
		both.Go(func() { at[i] = one.come(back) })
	}
	both.Wait()
	slices.Sort(at[:])
	if want := [2]string{"/team?x=y#github=expired", "/team?x=y#github=signed-in"}; at != want {
		t.Errorf("led to %v, want %v", at, want)
	}
	// A code for another client, or for another verifier, is none.
	for _, code := range []string{o.github.Code("another", "x", lovelace), o.github.Code(githubtest.Client, "x", lovelace), "x"} {
		b := o.browser(t)
		back := o.github.Authorize(b.start("/api/auth/github/start"), lovelace)
		q := back.Query()
		q.Set("code", code)
		back.RawQuery = q.Encode()
		if at := b.come(back); at != "/#github=expired" || o.sessionIn(b) != "" {
			t.Errorf("led to %s", at)
		}
	}
}

func says(status int, media, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		fmt.Fprint(w, text)
	}
}

// Whatever GitHub says, and however it says it, nobody is let in whom it does not
// vouch for, and nothing is left behind.
func TestGitHubLies(t *testing.T) {
	t.Parallel()
	const token, user, emails = "/login/oauth/access_token", "/api/v3/user", "/api/v3/user/emails"
	o := newOctopus(t, nil)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody else was asked") }))
	t.Cleanup(elsewhere.Close)
	away := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}
	drop := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	js, form := "application/json", "application/x-www-form-urlencoded"
	huge := strings.Repeat(" ", 2<<20)
	for name, lie := range map[string]struct {
		path   string
		answer http.HandlerFunc
		want   string
	}{
		"no token":             {token, says(200, form, "scope=user"), "unavailable"},
		"another kind":         {token, says(200, form, "access_token=x&token_type=mac"), "unavailable"},
		"no kind":              {token, says(200, form, "access_token=x"), "unavailable"},
		"half a token":         {token, says(200, js, `{"access_token":"x","token_type":"be`), "unavailable"},
		"wrong secret":         {token, says(200, form, "error=incorrect_client_credentials"), "unavailable"},
		"the code is used":     {token, says(200, js, `{"error":"bad_verification_code"}`), "expired"},
		"token 500":            {token, says(500, form, "x"), "unavailable"},
		"token elsewhere":      {token, away, "unavailable"},
		"token huge":           {token, says(200, js, huge), "unavailable"},
		"token dropped":        {token, drop, "unavailable"},
		"user 401":             {user, says(401, js, `{}`), "unavailable"},
		"user 502":             {user, says(502, "text/html", "<html>"), "unavailable"},
		"user elsewhere":       {user, away, "unavailable"},
		"half a user":          {user, says(200, js, `{"id":1815,"lo`), "unavailable"},
		"user without a login": {user, says(200, js, `{"id":1815}`), "unavailable"},
		"user without an id":   {user, says(200, js, `{"login":"lovelace"}`), "unavailable"},
		"user below zero":      {user, says(200, js, `{"id":-1,"login":"x"}`), "unavailable"},
		"id in words":          {user, says(200, js, `{"id":"1815","login":"x"}`), "unavailable"},
		"user huge":            {user, says(200, js, `{"id":1815,"login":"x"}`+huge), "unavailable"},
		"user dropped":         {user, drop, "unavailable"},
		"emails 404":           {emails, says(404, js, `{}`), "unavailable"},
		"half of the emails":   {emails, says(200, js, `[{"email":"`+email+`","primary":true,"verified":true}`), "unavailable"},
		"emails dropped":       {emails, drop, "unavailable"},
		"no emails":            {emails, says(200, js, `[]`), "unverified"},
		"emails null":          {emails, says(200, js, `null`), "unverified"},
		"none verified":        {emails, says(200, js, `[{"email":"`+email+`","primary":true,"verified":false}]`), "unverified"},
		"none primary":         {emails, says(200, js, `[{"email":"`+email+`","primary":false,"verified":true}]`), "unverified"},
		"no address":           {emails, says(200, js, `[{"email":"ada\nexample","primary":true,"verified":true}]`), "unverified"},
	} {
		o.github.Lie(lie.path, lie.answer)
		b := o.browser(t)
		if at := b.signIn(lovelace); at != "/#github="+lie.want || len(b.cookies) != 0 {
			t.Errorf("%s: led to %s with %v", name, at, b.cookies)
		}
		o.github.Lie(lie.path, nil)
	}
	if n := o.count(t, "users") + o.count(t, "sessions") + o.count(t, "auth_events"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	// A token that is to be used otherwise, though it would do.
	o.github.TokenType = "mac"
	if at := o.browser(t).signIn(lovelace); at != "/#github=unavailable" {
		t.Errorf("led to %s", at)
	}
	// Who does not want to.
	b := o.browser(t)
	back := o.github.Authorize(b.start("/api/auth/github/start"), lovelace)
	back.RawQuery = url.Values{"state": {back.Query().Get("state")}, "error": {"access_denied"}, "error_description": {"x"}, "iss": {"https://github.com/login/oauth"}}.Encode()
	if at := b.come(back); at != "/#github=denied" || len(b.cookies) != 0 {
		t.Errorf("led to %s with %v", at, b.cookies)
	}
}

// A GitHub that never answers keeps nobody for longer than the limit of all its
// answers.
func TestGitHubIsSlow(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	o.github.Lie("/login/oauth/access_token", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	})
	began := time.Now()
	if at := o.browser(t).signIn(lovelace); at != "/#github=unavailable" || time.Since(began) > 9*time.Second {
		t.Errorf("after %s led to %s", time.Since(began), at)
	}
}

func TestGitHubStart(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	b := o.browser(t)
	for _, site := range []string{"cross-site", "same-site", "x"} {
		if w := b.send(http.MethodGet, "/api/auth/github/start", nil, "Sec-Fetch-Site="+site); w.Code != http.StatusForbidden || len(b.cookies) != 0 {
			t.Errorf("%s: %d %s", site, w.Code, w.Body)
		}
	}
	for _, to := range []string{"//evil.example", "https://evil.example", "evil", "/\\evil.example", "/\t/evil.example", "/x#github=signed-in", "/é", "/ ", "/\r\nSet-Cookie:x", "/%zz"} {
		if w := b.send(http.MethodGet, "/api/auth/github/start?return="+url.QueryEscape(to), nil); w.Code != http.StatusUnprocessableEntity || len(b.cookies) != 0 {
			t.Errorf("%q: %d %s %s", to, w.Code, w.Header(), w.Body)
		}
	}
	if got := call(t, o.handler, http.MethodGet, "/api/auth/registration", nil); !strings.Contains(got.Raw, `"github":true`) {
		t.Errorf("%s", got.Raw)
	}
	without := o.browser(t)
	without.handler = o.untouched(t)
	for _, path := range []string{"start", "callback"} {
		if w := without.send(http.MethodGet, "/api/auth/github/"+path, nil); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "no_github") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	without.refused(linkPath, map[string]any{"password": password}, "no_github")
	without.refused(registerPath, map[string]any{"team": "x"}, "no_github")
}

// A database, or a secret, that cannot be had is our failure and not GitHub's: the
// caller is told to come again, with what they began with.
func TestGitHubWithoutOurOwn(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	first := o.browser(t)
	first.signIn(lovelace)
	first.post(registerPath, map[string]any{"team": "Engines"}, http.StatusCreated)
	for n, proxy := range pgtest.Breaks(t, o.fixture.settings["DATABASE_URL"]) {
		settings := maps.Clone(o.settings)
		settings["DATABASE_URL"] = proxy.URL
		b := o.browser(t)
		b.handler = o.with(t, settings)
		w := b.send(http.MethodGet, o.github.Authorize(b.start("/api/auth/github/start"), lovelace).RequestURI(), nil, "Sec-Fetch-Site=cross-site")
		if broken := proxy.Broken(); broken != (w.Code == http.StatusServiceUnavailable) || broken == (o.sessionIn(b) != "") {
			t.Errorf("step %d: %d %s", n, w.Code, w.Body)
		}
	}
	manager := secretstest.New(t)
	settings := maps.Clone(o.settings)
	settings["GITHUB_CLIENT_SECRET"] = manager.Put("github", githubtest.Secret)
	b := o.browser(t)
	b.handler = o.with(t, settings, manager.Serve)
	manager.Fail(status.Error(codes.Unavailable, "away"))
	back := o.github.Authorize(b.start("/api/auth/github/start"), lovelace)
	if w := b.send(http.MethodGet, back.RequestURI(), nil); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	manager.Fail(nil)
	if at := b.come(back); at != "/#github=signed-in" {
		t.Errorf("led to %s", at)
	}
}

// What GitHub knows people as is no name of ours in every case.
func TestGitHubNames(t *testing.T) {
	t.Parallel()
	o := newOctopus(t, nil)
	for i, test := range []struct{ name, want string }{{"Ada L.", "Ada L."}, {"", "login"}, {" \n ", "login"}, {"a\nb", "login"}, {strings.Repeat("é", 100), strings.Repeat("é", 100)}, {strings.Repeat("é", 101), "login"}} {
		b := o.browser(t)
		address := fmt.Sprint(i, "@example.com")
		b.signIn(githubtest.Person{ID: int64(i + 1), Login: "login", Name: test.name, Emails: []githubtest.Email{{Email: address, Primary: true, Verified: true}}})
		if in := b.post(registerPath, map[string]any{"team": "x"}, http.StatusCreated); in.Body.User.Name != test.want || in.Body.User.Email != address {
			t.Errorf("%q is called %q", test.name, in.Body.User.Name)
		}
	}
}
