package web_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/githubtest"
	"github.com/devops-dashboard/dashboard/shared/mail"
	"github.com/devops-dashboard/dashboard/shared/mail/mailtest"
)

const grace = "grace@example.org"

// as sends a request to the API with an access token.
func (s *site) as(token, method, path string, question m, into any) {
	s.t.Helper()
	request, err := http.NewRequest(method, s.url+path, strings.NewReader(quoted(question)))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.read(answer, into)
}

func (s *site) count(sql string, args ...any) (n int) {
	s.t.Helper()
	if err := s.db.QueryRow(s.t.Context(), "SELECT count(*) FROM "+sql, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// ada signs in by the API.
func (s *site) ada() account {
	s.t.Helper()
	var answer struct {
		AccessToken string `json:"access_token"`
		User        struct{ ID string }
	}
	s.post("/api/auth/login", m{"email": email, "password": password}, &answer)
	return account{Token: answer.AccessToken, ID: answer.User.ID}
}

// invite has Ada make an invitation to her team.
func (s *site) invite(role string) (secret string) {
	s.t.Helper()
	var made struct{ Link string }
	s.as(s.ada().Token, "POST", "/api/auth/teams/"+s.team+"/invitations", m{"role": role}, &made)
	_, secret, _ = strings.Cut(made.Link, "=")
	return secret
}

// join makes a member of Ada's team.
func (s *site) join(role, name, address string) account {
	s.t.Helper()
	return s.register(m{"email": address, "password": password, "name": name, "link": s.invite(role)})
}

// followed opens a link and expects that the address has lost its secret.
func (p tab) followed(url, kind, secret string) {
	p.t.Helper()
	p.do(chromedp.Navigate("about:blank"), chromedp.Navigate(url+"/#"+kind+"="+secret))
	p.wait(`document.querySelector("h1")`)
	if at := eval[string](p, `location.href + JSON.stringify(history.state)`); strings.Contains(at, "dd_") || strings.Contains(at, "#") {
		p.t.Errorf("the address still is %s", at)
	}
}

// expectNothingKept fails where a secret is in what outlives the page.
func (p tab) expectNothingKept() {
	p.t.Helper()
	kept := eval[string](p, `JSON.stringify([{...localStorage}, {...sessionStorage}, history.state, document.cookie, location.href])`)
	if strings.Contains(kept, "dd_") || strings.Contains(kept, "ey") {
		p.t.Errorf("a secret is kept: %s", kept)
	}
}

// looks takes pictures of a page, light and dark, wide and narrow, and expects that it
// fits into each.
func (p tab) looks(name string) {
	p.t.Helper()
	for _, width := range []int64{1280, 360} {
		for _, scheme := range []string{"light", "dark"} {
			p.view(width, 800, scheme)
			p.wait(fmt.Sprintf(`document.documentElement.scrollWidth <= %d`, width))
			p.screenshot(fmt.Sprintf("%s-%d-%s", name, width, scheme))
		}
	}
	p.view(1280, 900, "light")
}

// From an owner's settings to a new member's dashboard.
func TestAnInvitationMakesAMember(t *testing.T) {
	t.Parallel()
	owner, guest, s := newBrowser(t), newBrowser(t), newSite(t)
	owner.signIn(s.url)
	owner.press("Settings")
	owner.waitText(".rows", email)
	owner.fill("#invited", "Grace from the office")
	owner.fill("#invited-role", "editor")
	owner.press("Make a link")
	owner.waitText("#settings", "Grace from the office")
	owner.waitText(".once", "Invitation")
	owner.wait(`document.activeElement.id === "once" && document.activeElement.selectionEnd > 40`)
	owner.looks("team")
	link := eval[string](owner.tab, `document.querySelector("#once").value`)
	if !strings.HasPrefix(link, s.url+"/#invitation="+access.LinkPrefix) {
		t.Fatalf("the link is %s", link)
	}
	_, secret, _ := strings.Cut(link, "=")

	guest.followed(s.url, "invitation", secret)
	guest.waitText(".notice", "Ada Example invites you to Reeds, as an editor.")
	if !eval[bool](guest.tab, `!document.querySelector("#team")`) {
		t.Error("whoever is invited into a team is asked for one")
	}
	guest.looks("invitation-new")
	guest.fill("#name", "Grace Example")
	guest.fill("#email", grace)
	guest.fill("#password", "dashboard1")
	guest.press("Create account")
	guest.waitText(".wrong", "Password: ")
	if kept := eval[string](guest.tab, `document.querySelector("#name").value + document.querySelector("#email").value`); kept != "Grace Example"+grace {
		t.Errorf("after a refusal the form holds %q", kept)
	}
	guest.fill("#password", password)
	guest.press("Create account")
	guest.waitText(".who", "Grace Example")
	guest.wait(fmt.Sprintf(`location.search === "?team=%s"`, s.team))
	guest.expectNothingKept()

	owner.do(chromedp.Reload())
	owner.waitText(".rows", grace)
	owner.wait(`!document.querySelector(".once")`)
	if text := owner.text("#settings"); !strings.Contains(text, "Editor") || strings.Contains(text, "office") || strings.Contains(text, access.LinkPrefix) {
		t.Errorf("afterwards the settings show %s", text)
	}

	// The link has served: said to who is signed in, and to who is not.
	guest.followed(s.url, "invitation", secret)
	guest.waitText(".card", "was used")
	guest.press("Go to the dashboard")
	guest.wait(`document.querySelector(".top")`)
	other := newBrowser(t)
	other.followed(s.url, "invitation", secret)
	other.waitText(".card", "Ask for a new one")
	other.looks("link-used")
	other.press("Sign in")
	other.waitText("h1", "Sign in")
	owner.expectQuiet(unauthorized)
	guest.expectQuiet(unauthorized, "status of 422", "status of 410")
	other.expectQuiet(unauthorized, "status of 410")
}

// Who has an account joins by one click, signed in or not, and looks at the new team.
func TestAnInvitationIsAccepted(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.register(m{"email": grace, "password": password, "name": "Grace Example", "team": "Engines"})
	first := s.invite("viewer")
	b.followed(s.url, "invitation", first)
	b.press("Sign in")
	b.waitText("h1", "Sign in")
	b.fill("#email", grace)
	b.fill("#password", password)
	b.submit()
	b.waitText("h1", "Join a team")
	b.waitText(".card", "Reeds, as a viewer")
	b.waitText(".card", grace)
	b.looks("invitation")
	b.press("Join the team")
	b.wait(fmt.Sprintf(`document.querySelector("#team")?.value === %q && location.search === "?team=%[1]s"`, s.team))
	b.expectNothingKept()

	// Pasted into the address of the open page, by who is no other than before; and not now.
	secret := s.invite("owner")
	b.do(chromedp.Evaluate[chromedp.Void](`location.hash = "#invitation=` + secret + `"`))
	b.waitText("h1", "Join a team")
	b.expectNothingKept()
	b.press("Not now")
	b.wait(`document.querySelector(".top")`)
	if n := s.count("memberships WHERE role = 'owner' AND team_id = $1", s.team); n != 1 {
		t.Errorf("the team has %d owners", n)
	}

	// Somebody else's browser: out of it, and in as oneself.
	b.followed(s.url, "invitation", secret)
	b.press("Sign out")
	b.waitText(".notice", "invites you to Reeds")
	b.expectQuiet(unauthorized)
}

func TestLinksThatLeadNowhere(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	expired, revoked := s.invite("viewer"), s.invite("viewer")
	s.exec("UPDATE links SET expires_at = created_at + interval '1 ms' WHERE secret_hash = $1", access.DigestOf(expired).Bytes())
	s.exec("UPDATE links SET revoked_at = now() WHERE secret_hash = $1", access.DigestOf(revoked).Bytes())
	cut := s.invite("viewer")
	for name, test := range map[string]struct{ kind, secret, want string }{
		"unknown":          {"invitation", access.NewSecret(access.LinkPrefix), "not known here"},
		"a password's":     {"password", access.NewSecret(access.LinkPrefix), "not known here"},
		"an owner's":       {"owner", access.NewSecret(access.LinkPrefix), "not known here"},
		"expired":          {"invitation", expired, "has expired"},
		"taken back":       {"invitation", revoked, "was taken back"},
		"cut":              {"invitation", cut[:len(cut)-1], "Copy it again"},
		"nothing":          {"owner", "", "Copy it again"},
		"much too long":    {"password", strings.Repeat("a", 300), "Copy it again"},
		"markup and signs": {"invitation", "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%E2%80%AE", "Copy it again"},
	} {
		b.followed(s.url, test.kind, test.secret)
		b.waitText("h1", "This link does not work")
		if text := b.text("[role=alert]"); !strings.Contains(text, test.want) {
			t.Errorf("%s: the page says %q, want %q", name, text, test.want)
		}
	}
	// What a link is for decides, not what the address calls it.
	b.followed(s.url, "owner", cut)
	b.waitText(".notice", "invites you to Reeds")

	// While nobody can be asked, the link waits.
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/auth/links/show" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
	b.followed(s.url, "invitation", cut)
	b.waitText(".notice.bad", "503")
	s.between(nil)
	b.press("Try again")
	b.waitText(".notice", "invites you to Reeds")
	b.expectQuiet(unauthorized, "status of 404", "status of 410", "status of 422", "status of 503")
}

func TestPasswordLinksSetAPassword(t *testing.T) {
	t.Parallel()
	b, other, s := newBrowser(t), newBrowser(t), newSite(t)
	other.signIn(s.url)
	secret := s.link("password", email)
	b.followed(s.url, "password", secret)
	b.waitText("h1", "Choose a new password")
	b.looks("new-password")
	b.fill("#new_password", email)
	b.press("Set the password")
	b.waitText(".wrong", "New password: ")
	b.fill("#new_password", "the reeds stand in a heron")
	b.press("Set the password")
	b.waitText(".who", "Ada Example")
	b.expectNothingKept()
	other.do(chromedp.Reload())
	other.waitText("h1", "Sign in")
	b.followed(s.url, "password", secret)
	b.waitText(".card", "was used")
	b.expectQuiet(unauthorized, "status of 410", "status of 422")
}

func TestAnOwnerLinkOpensTheFirstAccount(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSiteWith(t, func(string) map[string]string { return map[string]string{"REGISTRATION": "closed"} })
	b.followed(s.url, "owner", s.link("owner", ""))
	b.waitText("h1", "Create an account")
	b.looks("owner")
	b.fill("#name", "Grace Example")
	b.fill("#team", "Herons")
	b.fill("#email", grace)
	b.fill("#password", password)
	b.press("Create account")
	b.waitText(".who", "Grace Example")
	if n := s.count("memberships m JOIN teams t ON t.id = m.team_id WHERE t.name = 'Herons' AND m.role = 'owner'"); n != 1 {
		t.Errorf("the team has %d owners", n)
	}

	// Who has an account is told that this opens another.
	b.followed(s.url, "owner", s.link("owner", ""))
	b.waitText("h1", "You have an account")
	b.press("Sign out")
	b.waitText("h1", "Create an account")
	b.expectQuiet(unauthorized)
}

// A registration whose answer was lost has used its link, and is made up for.
func TestALostAnswerToAnInvitation(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.followed(s.url, "invitation", s.invite("viewer"))
	lost := false
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/auth/register" && !lost {
			lost = true
			next.ServeHTTP(discarded{}, r)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		next.ServeHTTP(w, r)
	})
	b.fill("#name", "Grace Example")
	b.fill("#email", grace)
	b.fill("#password", password)
	b.press("Create account")
	b.waitText(".who", "Grace Example")
	b.expectQuiet(unauthorized, "status of 502", "status of 410")
}

// discarded is an answer that nobody gets.
type discarded struct{}

func (discarded) Header() http.Header         { return http.Header{} }
func (discarded) Write(b []byte) (int, error) { return len(b), nil }
func (discarded) WriteHeader(int)             {}

func TestSignInFollowsTheRule(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings   map[string]string
		has, lacks []string
	}{
		"open":   {nil, []string{"Create an account"}, []string{"GitHub", "invite"}},
		"invite": {map[string]string{"REGISTRATION": "invite"}, []string{"An owner of your team can invite you"}, []string{"Create an account"}},
		"closed": {map[string]string{"REGISTRATION": "closed"}, nil, []string{"Create an account", "invite"}},
		"GitHub": {map[string]string{"GITHUB_CLIENT_ID": "a", "GITHUB_CLIENT_SECRET": "b"}, []string{"Sign in with GitHub"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, s := newBrowser(t), newSiteWith(t, func(origin string) map[string]string {
				settings := map[string]string{"PUBLIC_ORIGIN": origin}
				for key, value := range test.settings {
					settings[key] = value
				}
				return settings
			})
			b.do(chromedp.Navigate(s.url))
			b.waitText("h1", "Sign in")
			for _, text := range append(test.has, "Forgot your password?") {
				b.waitText("main", text)
			}
			b.wait(`performance.getEntriesByType("resource").some((e) => e.name.endsWith("/api/auth/registration") && e.responseEnd > 0)`)
			for _, text := range test.lacks {
				if shown := b.text("main"); strings.Contains(shown, text) {
					t.Errorf("the page shows %q: %s", text, shown)
				}
			}
			b.looks("sign-in-" + name)
			if name == "closed" {
				// An invitation is for who has an account already.
				b.followed(s.url, "invitation", s.invite("viewer"))
				b.waitText("h1", "Sign in")
				b.waitText(".notice", "invites you to Reeds")
				if shown := b.text("main"); strings.Contains(shown, "Create an account") {
					t.Errorf("the page shows %s", shown)
				}
			}
			b.expectQuiet(unauthorized)
		})
	}
}

// Who cannot learn the rule signs in all the same.
func TestSignInWithoutTheRule(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/auth/registration" {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
	b.do(chromedp.Navigate(s.url))
	b.press("Forgot your password?")
	b.waitText("main", "whoever operates this installation")
	b.press("Sign in")
	b.fill("#email", email)
	b.fill("#password", password)
	b.submit()
	b.waitText(".who", "Ada Example")
	b.expectQuiet(unauthorized, "status of 429")
}

// From the question to the mail, to the link, to the new password.
func TestAForgottenPassword(t *testing.T) {
	t.Parallel()
	server := mailtest.New(t, true)
	at := server.Start()
	b, s := newBrowser(t), newSiteWith(t, func(origin string) map[string]string {
		return map[string]string{"PUBLIC_ORIGIN": origin, "MAIL_FROM": "dash@example.com", "SMTP_URL": "smtps://" + at}
	}, func(env *function.Env) { mail.Through(env, server.Roots, 20*time.Second) })
	b.do(chromedp.Navigate(s.url))
	b.fill("#email", "nobody@example.org")
	b.press("Forgot your password?")
	b.wait(`document.querySelector("h1").textContent === "Forgot your password?" && document.querySelector("#email")`)
	b.wait(`document.activeElement.tagName === "H1"`)
	if kept := eval[string](b.tab, `document.querySelector("#email").value`); kept != "nobody@example.org" {
		t.Errorf("the address that was typed is %q", kept)
	}
	b.press("Mail me a link")
	b.waitText(".done", "If there is an account")
	answer := b.text(".done")
	b.looks("forgot")
	b.fill("#email", email)
	b.waitText(".done", "")
	b.press("Mail me a link")
	b.waitText(".done", "If there is an account")
	if again := b.text(".done"); again != answer {
		t.Errorf("an account is told %q, and none %q", again, answer)
	}
	s.post("/api/rollup/mail", nil, &m{})
	letters := server.Letters()
	if len(letters) != 1 || letters[0].To != email {
		t.Fatalf("%d letters were sent: %v", len(letters), letters)
	}
	link := regexp.MustCompile(regexp.QuoteMeta(s.url) + `/#password=(\S+)`).FindStringSubmatch(letters[0].Text)
	if link == nil {
		t.Fatalf("the letter says %s", letters[0].Text)
	}
	b.followed(s.url, "password", link[1])
	b.fill("#new_password", "the reeds stand in a heron")
	b.press("Set the password")
	b.waitText(".who", "Ada Example")
	b.expectQuiet(unauthorized)
}

func TestAForgottenPasswordWithoutMail(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.do(chromedp.Navigate(s.url))
	b.waitText("main", "Create an account") // the rule is known
	b.press("Forgot your password?")
	b.waitText("main", "An owner of your team can make a link")
	if eval[bool](b.tab, `!!document.querySelector("#email")`) {
		t.Error("an address is asked for that nothing is mailed to")
	}
	b.looks("forgot-no-mail")
	b.press("Sign in")
	b.wait(`document.querySelector("#password")`)
	b.expectQuiet(unauthorized)
}

// octopus is a site whose people sign in with a GitHub of its own.
func octopus(t *testing.T, registration string) (*site, *githubtest.GitHub) {
	t.Helper()
	var github *githubtest.GitHub
	s := newSiteWith(t, func(origin string) map[string]string {
		github = githubtest.New(t, origin+"/api/auth/github/callback")
		return map[string]string{
			"PUBLIC_ORIGIN": origin, "REGISTRATION": registration, "GITHUB_URL": github.URL,
			"GITHUB_CLIENT_ID": githubtest.Client, "GITHUB_CLIENT_SECRET": githubtest.Secret,
		}
	})
	return s, github
}

func hopper(emails ...githubtest.Email) *githubtest.Person {
	return &githubtest.Person{ID: 1906, Login: "hopper", Name: "Grace H.", Emails: emails}
}

func verified(address string) githubtest.Email {
	return githubtest.Email{Email: address, Primary: true, Verified: true}
}

func TestGitHubOpensAnAccount(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	s, github := octopus(t, "open")
	github.SignIn(hopper(verified(grace)))
	b.do(chromedp.Navigate(s.url + "/?range=4w"))
	b.press("Sign in with GitHub")
	b.waitText("h1", "Create an account")
	b.waitText(".card", "hopper, with the address "+grace)
	if at := eval[string](b.tab, "location.href"); at != s.url+"/?range=4w" {
		t.Errorf("the way back leads to %s", at)
	}
	b.looks("github-register")
	b.press("Sign in to it")
	b.waitText("h1", "Is this your account?")
	b.wait(`document.querySelector("#email")`)
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(s.url+"/#github=register&login=hopper&name=Grace+H.&email="+grace))
	b.fill("#team", "Herons")
	if name := eval[string](b.tab, `document.querySelector("#name").value`); name != "Grace H." {
		t.Errorf("the name that is offered is %q", name)
	}
	b.press("Create account")
	b.waitText(".who", "Grace H.")

	// An account without a password: what asks for one says what to do.
	b.press("Settings")
	b.press("Account")
	b.waitText("#settings", "You have none: GitHub lets you in.")
	b.waitText("#settings", "You sign in with GitHub, as hopper.")
	b.press("Sign in with GitHub no more")
	b.waitText(".wrong:not(:empty)", "no password")
	b.press("Delete the account")
	b.waitText("dialog", "let GitHub say once more")
	b.press("Delete it for good")
	b.waitText("dialog .wrong", "Sign in with GitHub once more")
	b.looks("github-delete")
	b.press("go there")
	b.wait(`document.querySelector(".top") && !document.querySelector("dialog")`)
	b.press("Settings")
	b.press("Account")
	b.press("Delete the account")
	b.press("Delete it for good")
	b.waitText("h1", "Sign in")
	if n := s.count("users WHERE email = $1", grace); n != 0 {
		t.Error("the account is still there")
	}
	b.expectQuiet(unauthorized, "status of 409", "status of 403")
}

func TestGitHubOpensAnAccountByInvitation(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	s, github := octopus(t, "invite")
	github.SignIn(hopper(verified(grace)))
	secret := s.invite("viewer")
	b.followed(s.url, "invitation", secret)
	b.waitText(".card", "Keep the link that led you here")
	b.press("Go on with GitHub")
	b.waitText("h1", "Create an account")
	b.fill("#team", "Herons")
	b.fill("#link", s.url+"/#invitation="+access.NewSecret(access.LinkPrefix))
	b.press("Create account")
	b.waitText(".wrong", "not known here")
	b.fill("#team", "")
	b.fill("#link", s.url+"/#invitation="+secret)
	b.press("Create account")
	b.waitText(".who", "Grace H.")
	b.wait(fmt.Sprintf(`location.search === "?team=%s"`, s.team))
	b.expectNothingKept()
	b.expectQuiet(unauthorized, "status of 404")
}

func TestGitHubSignsIn(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	s, github := octopus(t, "open")
	github.SignIn(hopper(verified(email)))
	b.do(chromedp.Navigate(s.url))
	b.press("Sign in with GitHub")
	b.waitText("h1", "Is this your account?")
	b.waitText(".card", "the address "+email)
	b.looks("github-link")
	b.fill("#password", "not the password")
	b.press("Sign in with GitHub from now on")
	b.waitText(".wrong", "is wrong")
	b.fill("#password", password)
	b.press("Sign in with GitHub from now on")
	b.waitText(".who", "Ada Example")

	// From now on without a password, in the other tabs too.
	b.press("Sign out")
	b.waitText("h1", "Sign in")
	other := b.newTab()
	other.do(chromedp.Navigate(s.url))
	other.waitText("h1", "Sign in")
	s.answers("")
	b.press("Sign in with GitHub")
	b.waitText(".who", "Ada Example")
	other.waitText(".who", "Ada Example")
	if at := eval[string](b.tab, "location.href"); strings.Contains(at, "#") {
		t.Errorf("the address is %s", at)
	}

	// The new session begins to count anew, whatever the one before had come to.
	other.do(chromedp.Navigate("about:blank"))
	b.do(chromedp.Evaluate[chromedp.Void](`localStorage.setItem("refresh-gen", "9")`))
	s.answers("")
	b.do(chromedp.Navigate(s.url + "/api/auth/github/start"))
	b.waitText(".who", "Ada Example")
	if n := s.answers("POST /api/auth/refresh 200"); n != 1 {
		t.Errorf("%d refreshes after a sign-in with GitHub, want 1", n)
	}

	// And no more.
	b.press("Settings")
	b.press("Account")
	b.waitText("#settings", "as hopper")
	b.press("Sign in with GitHub no more")
	b.waitText("#settings", "GitHub is asked who you are")
	if n := s.count("user_identities"); n != 0 {
		t.Error("GitHub still signs in")
	}

	// Somebody whose address at GitHub is another one links it from the settings.
	github.SignIn(hopper(verified(grace)))
	b.press("Sign in with GitHub from now on")
	b.waitText("h1", "Sign in with GitHub from now on")
	b.waitText(".card", email)
	b.press("Not now")
	b.wait(`document.querySelector(".top")`)
	b.press("Settings")
	b.press("Account")
	b.press("Sign in with GitHub from now on")
	b.fill("#password", password)
	b.submit()
	b.wait(`document.querySelector(".top")`)
	if n := s.count("user_identities"); n != 1 {
		t.Error("GitHub does not sign in")
	}
	b.expectQuiet(unauthorized)
}

func TestGitHubDoesNotSignIn(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	s, github := octopus(t, "open")
	at := func(what, says string, prepare func()) {
		t.Helper()
		prepare()
		b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(s.url))
		b.press("Sign in with GitHub")
		b.waitText(".notice", says)
		b.waitText("h1", "Sign in")
		if at := eval[string](b.tab, "location.href"); at != s.url+"/" {
			t.Errorf("%s: the address is %s", what, at)
		}
	}
	at("denied", "did not let this dashboard know", func() { github.SignIn(nil) })
	b.looks("github-denied")
	at("unverified", "is not verified", func() { github.SignIn(hopper(githubtest.Email{Email: grace, Primary: true})) })
	at("unavailable", "did not answer as it should", func() {
		github.SignIn(hopper(verified(grace)))
		github.Lie("/api/v3/user", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	})
	github.Lie("/api/v3/user", nil)
	at("disabled", "is disabled", func() {
		s.exec(`INSERT INTO user_identities (provider, subject, user_id, login) SELECT 'github', 1906, id, 'hopper' FROM users`)
		s.exec(`UPDATE users SET disabled_at = now()`)
	})
	b.do(chromedp.Navigate(s.url + "/api/auth/github/callback?code=x&state=y"))
	b.waitText(".notice", "longer than ten minutes")

	// What is said to who is signed in can be put away.
	s.exec(`UPDATE users SET disabled_at = NULL`)
	b.signIn(s.url)
	b.do(chromedp.Evaluate[chromedp.Void](`location.hash = "#github=denied"`))
	b.waitText(".notice", "did not let this dashboard know")
	b.press("Close")
	b.wait(`!document.querySelector(".notice")`)

	// Anybody can write an address; what it says is shown as text, and as no more.
	b.press("Sign out")
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(s.url+"/#github=link&login=%E2%80%AEgpj&email=%3Cb%3Eeve%3C/b%3E%07"))
	b.waitText(".card", "[U+202E]gpj")
	b.waitText(".card", "<b>eve</b>[U+0007]")
	b.fill("#password", password)
	b.press("Sign in with GitHub from now on")
	b.waitText(".wrong:not(:empty)", "Sign in with GitHub again")
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(s.url+"/#github=nonsense"))
	b.waitText("h1", "Sign in")
	b.wait(`!document.querySelector(".notice")`)
	b.expectQuiet(unauthorized)
}

func TestTeamsAreSwitched(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.history()
	s.condense()
	b.signIn(s.url)
	b.waitText("h1", "heron")
	if eval[bool](b.tab, `!!document.querySelector("#team")`) {
		t.Error("who is in one team is offered a choice")
	}
	b.press("Settings")
	b.press("Make a team")
	b.fill("#new-team", "Zebras")
	b.press("Make the team")
	b.wait(`document.querySelector("#team")?.selectedOptions[0].textContent === "Zebras"`)
	b.wait(`document.querySelector("#team-name")?.value === "Zebras" && location.hash === "#settings" && location.search.startsWith("?team=")`)
	zebras := eval[string](b.tab, `document.querySelector("#team").value`)

	// The address says which, and can be shared; the choice of a service is another team's.
	b.press("Dashboard")
	b.waitText("main", "Nothing to show yet")
	b.fill("#team", s.team)
	b.waitText("h1", "heron")
	b.waitText("#deployments", "3")
	service := eval[string](b.tab, `document.querySelector("#service").value`)
	if at := eval[string](b.tab, "location.search"); at != "?team="+s.team {
		t.Errorf("the address is %s", at)
	}
	for query, want := range map[string]string{
		"":                                   "heron", // the first that has something to show
		"?team=" + zebras:                    "Nothing to show yet",
		"?team=" + s.team:                    "heron",
		"?team=00000000-0000-0000-0000-0000": "heron", // not of theirs
		"?service=" + service:                "heron",
		"?team=" + zebras + "&service=" + service: "Nothing to show yet",
	} {
		b.do(chromedp.Navigate(s.url + "/" + query))
		b.waitText("main", want)
	}
	b.do(chromedp.Navigate(s.url + "/?team=" + zebras + "#settings"))
	b.wait(`document.querySelector("#team-name")?.value === "Zebras"`)
	b.do(chromedp.NavigateBack())
	b.wait(`document.querySelector("#figures")`)
	b.looks("teams")
	b.expectQuiet(unauthorized)
}

func TestMembersAreChanged(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.join("viewer", "Grace Example", grace)
	s.join("editor", "Mary Example", "mary@example.org")
	role := func(address string) (role string) {
		_ = s.db.QueryRow(t.Context(), "SELECT m.role FROM memberships m JOIN users u ON u.id = m.user_id WHERE u.email = $1 AND m.team_id = $2", address, s.team).Scan(&role)
		return role
	}
	change := func(address string) {
		t.Helper()
		b.wait(fmt.Sprintf(`((row) => row && (row.querySelector("button").focus(), row.querySelector("button").click(), true))([...document.querySelectorAll(".rows li")].find((e) => e.textContent.includes(%q)))`, address))
		b.wait(`document.querySelector("dialog[open]")`)
	}
	b.signIn(s.url)
	b.press("Settings")
	b.waitText(".rows", grace)

	// The team's name, refused and kept in the form, and then taken.
	b.fill("#team-name", "Re\u202eeds")
	b.press("Save")
	b.waitText(".wrong:not(:empty)", "change of direction")
	b.fill("#team-name", "The Reeds")
	b.press("Save")
	b.waitText(".done", "Saved.")
	b.wait(`!document.querySelector(".wrong:not(:empty)")`)
	if n := s.count("teams WHERE name = 'The Reeds'"); n != 1 {
		t.Error("the team has its old name")
	}

	// A dialog is closed by Escape, and gives the focus back.
	change(grace)
	b.looks("member")
	b.do(chromedp.KeyEvent(kb.Escape))
	b.wait(`!document.querySelector("dialog") && document.activeElement.textContent.startsWith("Change")`)

	change(grace)
	b.fill("#role", "editor")
	b.press("Save")
	b.wait(`!document.querySelector("dialog") && document.querySelectorAll(".rows li span:not(.badge):not(.sr)").length === 3`)
	if got := role(grace); got != "editor" {
		t.Errorf("she is %s", got)
	}

	// A link for a password she has forgotten.
	change(grace)
	b.press("Make a link for a new password")
	b.waitText("dialog .once", "Link for a new password")
	if link := eval[string](b.tab, `document.querySelector("#once").value`); !strings.HasPrefix(link, s.url+"/#password="+access.LinkPrefix) {
		t.Errorf("the link is %s", link)
	}
	b.looks("member-link")
	b.press("Close")
	b.wait(`!document.querySelector("dialog") && document.activeElement.textContent.startsWith("Change")`)

	change("mary@example.org")
	b.press("Remove from the team")
	b.wait(`!document.querySelector("dialog") && document.querySelectorAll(".rows li").length === 2`)
	if got := role("mary@example.org"); got != "" {
		t.Errorf("she is %s", got)
	}

	// The last owner neither leaves nor becomes less, and reads why.
	b.press("Leave the team")
	b.press("Leave")
	b.waitText("dialog .wrong", "This is the last owner, whom every team needs. Make somebody else an owner first.")
	b.looks("last-owner")
	b.press("Close")
	change(email)
	if text := b.text("dialog"); strings.Contains(text, "Remove") || strings.Contains(text, "Hand") {
		t.Errorf("over oneself one is offered %s", text)
	}
	b.fill("#role", "viewer")
	b.press("Save")
	b.waitText("dialog .wrong", "last owner")
	b.press("Close")

	// Handed over, the settings are another's.
	change(grace)
	b.press("Hand the team over")
	b.wait(`!document.querySelector("#team-name") && !document.querySelector("dialog")`)
	b.waitText("#settings", "Owners decide who belongs")
	if role(email) != "editor" || role(grace) != "owner" {
		t.Errorf("they are %s and %s", role(email), role(grace))
	}
	b.looks("team-editor")
	for _, name := range []string{"Machines", "Audit log"} {
		b.press(name)
		b.waitText("#settings", "for the owners of The Reeds, and you are an editor")
	}
	b.press("Team")
	b.waitText(".rows", grace)
	b.press("Leave the team")
	b.press("Leave")
	b.waitText("#settings", "You belong to no team.")
	b.looks("no-team")
	b.expectQuiet(unauthorized, "status of 409", "status of 422")
}

func TestInvitationsAreTakenBack(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.signIn(s.url)
	b.press("Settings")
	b.press("Make a link")
	b.waitText(".once", "Invitation")
	b.waitText("#settings", "Anybody who has the link")
	b.press("Take back")
	b.do(chromedp.Click(chromedp.CSS("dialog .danger")))
	b.wait(`!document.querySelector("dialog") && !document.querySelector(".once") && !document.querySelector("#settings").textContent.includes("Anybody")`)
	if n := s.count("links WHERE kind = 'invitation' AND revoked_at IS NULL"); n != 0 {
		t.Error("the invitation is still good")
	}
	b.expectQuiet(unauthorized)
}

func TestMachines(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.signIn(s.url)
	b.press("Settings")
	b.press("Machines")
	b.waitText("#settings", "There is none.")
	b.fill("#token-name", "nightly report")
	b.fill("#scope", "read")
	b.press("Make a token")
	b.waitText(".rows", "nightly report")
	b.waitText(".rows", "never used")
	token := eval[string](b.tab, `document.querySelector("#once").value`)
	if _, whole := access.IsSecret(access.TokenPrefix, token); !whole {
		t.Fatalf("the token is %q", token)
	}
	if days := eval[string](b.tab, `document.querySelector("#days").value`); days != "90" {
		t.Errorf("the next token is good for %s days", days)
	}
	b.fill("#repository", "acme/shop")
	b.fill("#repository_id", "74")
	b.fill("#repository_owner_id", "65")
	b.fill("#environment", "production")
	b.press("Trust it")
	b.waitText("#settings", "acme/shop")
	b.waitText("#settings", "In production")
	b.looks("machines")

	// Once shown is not shown again, nor kept.
	b.expectNothingKept()
	s.as(token, "GET", "/api/metrics/services", nil, &m{})
	b.do(chromedp.Reload())
	b.waitText(".rows", "last used")
	if text := eval[string](b.tab, `document.documentElement.outerHTML`); strings.Contains(text, access.TokenPrefix) {
		t.Error("the token is still in the page")
	}
	b.fill("#token-name", "hourly report")
	b.press("Make a token")
	b.waitText(".once", "API token")
	b.press("Revoke " + "\u2068hourly report\u2069")
	b.press("Revoke")
	b.wait(`!document.querySelector("dialog") && !document.querySelector(".once")`) // it is good for nothing any more
	b.press("Revoke " + "\u2068nightly report\u2069")
	b.press("Revoke")
	b.wait(`!document.querySelector("dialog") && !document.querySelector("#settings").textContent.includes("nightly report")`)
	if n := s.count("api_tokens WHERE revoked_at IS NULL"); n != 0 {
		t.Error("the token is still good")
	}
	b.press("Remove " + "\u2068acme/shop\u2069")
	b.press("Remove")
	b.wait(`!document.querySelector("dialog") && !document.querySelector("#settings").textContent.includes("acme/shop")`)
	if n := s.count("trusted_repositories"); n != 0 {
		t.Error("the repository is still trusted")
	}
	b.expectQuiet(unauthorized)
}

// saves has what the page gives the reader to keep be read by the test.
const saves = `window.saved = []; URL.createObjectURL = ((make) => (blob) => (saved.push(blob), make.call(URL, blob)))(URL.createObjectURL); HTMLAnchorElement.prototype.click = function () { saved.push(this.download) }; 0`

func TestTheAuditLog(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	graces := s.join("viewer", "Grace Example", grace)
	ada := s.ada().Token
	team := "/api/auth/teams/" + s.team
	var made struct{ ID string }
	s.as(ada, "PATCH", team, m{"name": "The Reeds"}, nil)
	s.as(ada, "PATCH", team+"/members/"+graces.ID, m{"role": "editor"}, nil)
	s.as(ada, "POST", team+"/members/"+graces.ID+"/password-link", m{}, &m{})
	s.as(ada, "POST", team+"/tokens", m{"name": "nightly", "scope": "read"}, &made)
	s.as(ada, "DELETE", team+"/tokens/"+made.ID, nil, nil)
	s.as(ada, "POST", team+"/trusted-repositories", m{"name": "acme/shop", "repository_id": "74", "repository_owner_id": "65", "environment": "production"}, &made)
	s.as(ada, "DELETE", team+"/trusted-repositories/"+made.ID, nil, nil)
	s.as(ada, "POST", team+"/invitations", m{"role": "viewer"}, &made)
	s.as(ada, "DELETE", team+"/invitations/"+made.ID, nil, nil)
	s.as(ada, "POST", team+"/transfer", m{"user": graces.ID}, nil)
	s.as(graces.Token, "PATCH", team+"/members/"+s.ada().ID, m{"role": "owner"}, nil)
	s.as(graces.Token, "POST", team+"/leave", m{}, nil)
	s.exec(`INSERT INTO auth_events (kind, team_id, detail) VALUES ('something_new', $1, '{"what": "a thing", "n": 3}')`, s.team)
	b.signIn(s.url)
	b.press("Settings")
	b.press("Audit log")
	b.waitText(".rows", "Ada Example opened an account by a link")
	b.wait(`!document.querySelector(".rows").textContent.includes("…")`)
	got := eval[[]string](b.tab, `[...document.querySelectorAll(".what")].map((e) => e.textContent)`)
	want := []string{
		"An operator something new n: 3, what: a thing",
		"Grace Example left, and was owner",
		"Grace Example made Ada Example, editor until then, owner",
		"Ada Example handed the team over to a former member",
		"Ada Example took an invitation back",
		"Ada Example made an invitation as viewer",
		"Ada Example ended the trust in the repository “acme/shop” (74) in production",
		"Ada Example had the repository “acme/shop” (74) in production trusted",
		"Ada Example revoked the API token “nightly”",
		"Ada Example made the API token “nightly”, to read",
		"Ada Example made a link for a new password of a former member",
		"Ada Example made a former member, viewer until then, editor",
		"Ada Example named the team “The Reeds”",
		"Grace Example opened an account by a link",
		"Ada Example made an invitation as viewer",
		"Ada Example opened an account by a link",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
	b.looks("log")

	// By pages, and whole as a table.
	s.exec(`INSERT INTO auth_events (kind, team_id) SELECT 'team_created', $1 FROM generate_series(1, 2100)`, s.team)
	b.do(chromedp.Reload())
	b.wait(`document.querySelectorAll(".what").length === 50`)
	b.press("More of the log")
	b.wait(`document.querySelectorAll(".what").length === 100`)
	b.do(chromedp.Evaluate[chromedp.Void](saves))
	b.press("Download as CSV")
	b.wait(`saved.length === 2 && saved[1] === "audit.csv"`)
	table := eval[string](b.tab, `saved[0].text()`)
	lines := strings.Split(strings.TrimSuffix(table, "\r\n"), "\r\n")
	if len(lines) != 1+2100+len(want) || strings.Count(table, "by_name") != 1 || !strings.Contains(lines[len(lines)-1], "register") {
		t.Errorf("the table has %d lines, from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
	b.expectQuiet(unauthorized)
}

func TestTheAccount(t *testing.T) {
	t.Parallel()
	b, other, s := newBrowser(t), newBrowser(t), newSite(t)
	other.signIn(s.url)
	b.signIn(s.url)
	b.press("Settings")
	b.press("Account")
	b.waitText("#settings", "this one")
	b.looks("account")

	b.fill("#own-name", "Ada E.")
	b.press("Save")
	b.waitText(".who", "Ada E.")

	// One device, and then the password, which ends the others.
	if n := eval[int](b.tab, `document.querySelectorAll(".rows li").length`); n != 3 { // two browsers, and the registration
		t.Errorf("there are %d devices", n)
	}
	b.wait(`[...document.querySelectorAll(".rows button")].length === 2 && (document.querySelector(".rows button").click(), true)`)
	b.press("Sign out there")
	b.wait(`document.querySelectorAll(".rows li").length === 2 && !document.querySelector("dialog")`)
	b.fill("#current_password", "not the password")
	b.fill("#new_password", "the reeds stand in a heron")
	b.press("Change the password")
	b.waitText(".wrong:not(:empty)", "The current password is wrong")
	if kept := eval[string](b.tab, `document.querySelector("#new_password").value`); kept == "" {
		t.Error("what was typed is gone")
	}
	b.fill("#current_password", password)
	b.press("Change the password")
	b.waitText("#settings", "Changed.")
	b.wait(`document.querySelectorAll(".rows li").length === 1`)
	other.do(chromedp.Reload())
	other.waitText("h1", "Sign in")
	b.do(chromedp.Reload())
	b.waitText("#settings", "this one")

	b.do(chromedp.Evaluate[chromedp.Void](saves))
	b.press("Export")
	b.wait(`saved.length === 2 && saved[1] === "account.json"`)
	if kept := eval[string](b.tab, `saved[0].text()`); !strings.Contains(kept, email) || !strings.Contains(kept, `"memberships"`) {
		t.Errorf("the export is %s", kept)
	}

	b.press("Sign out everywhere")
	b.wait(`document.querySelector("dialog[open]")`)
	b.press("Sign out everywhere")
	b.waitText("h1", "Sign in")
	b.fill("#email", email)
	b.fill("#password", "the reeds stand in a heron")
	b.submit()
	b.press("Delete the account")
	b.fill("#delete-password", "not the password")
	b.press("Delete it for good")
	b.waitText("dialog .wrong", "is wrong")
	b.looks("delete")
	b.fill("#delete-password", "the reeds stand in a heron")
	b.press("Delete it for good")
	b.waitText("h1", "Sign in")
	if n := s.count("users") + s.count("teams"); n != 0 {
		t.Error("something of the account is left")
	}
	b.expectQuiet(unauthorized, "status of 403")
}

// The API refuses names that hide something or turn what stands around them. Should
// one come by another way, the page shows it for what it is.
func TestNamesAreShownForWhatTheyAre(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	s.history()
	s.condense()
	s.exec("UPDATE users SET name = $1", "\u202eadA <i>\u0007")
	s.exec("UPDATE teams SET name = $1", "قصب")
	s.exec("UPDATE authors SET name = $1", "Grace\u2066\u200b")
	s.exec("UPDATE commits SET subject = $1 WHERE subject LIKE 'Strike%'", "Strike \u202efast\u202c")
	s.exec("UPDATE sessions SET user_agent = $1", "\u202ecurl\u202c")
	s.join("viewer", "שלום Example", "שלום@example.org")
	b.signIn(s.url)
	b.waitText(".who bdi", "[U+202E]adA <i>[U+0007]")
	b.wait(`document.querySelector(".expand")`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll(".expand")[1].click()`))
	b.waitText(".subject bdi", "Strike [U+202E]fast[U+202C]")
	b.waitText(".author bdi", "Grace[U+2066][U+200B]")
	b.press("Settings")
	b.waitText(".rows", "שלום@example.org")
	if loose := eval[[]string](b.tab, `[...document.querySelectorAll(".rows .what, .rows .about")].flatMap((e) => [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data)).filter((text) => /[א-ת]/.test(text))`); len(loose) > 0 {
		t.Errorf("these names are not isolated: %q", loose)
	}
	b.press("Account")
	b.waitText(".rows", "[U+202E]curl[U+202C]")
	b.looks("names")
	b.expectQuiet(unauthorized)
}

// Everything is reached by keyboard, and the skip link leads to the content of the view.
func TestTheKeyboardReachesTheSettings(t *testing.T) {
	t.Parallel()
	b, s := newBrowser(t), newSite(t)
	b.signIn(s.url)
	tabTo := func(name string) {
		t.Helper()
		for range 40 {
			b.do(chromedp.KeyEvent(kb.Tab))
			if eval[bool](b.tab, fmt.Sprintf(`document.activeElement.textContent.trim() === %q`, name)) {
				return
			}
		}
		t.Fatalf("no key leads to %q", name)
	}
	tabTo("Settings")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.wait(`document.activeElement.id === "settings" && document.title.startsWith("Team")`)
	tabTo("Account")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.waitText("#settings", "Devices")
	b.wait(`document.activeElement.id === "settings" && document.title.startsWith("Account")`)
	tabTo("Sign out everywhere")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.wait(`document.querySelector("dialog[open]")?.contains(document.activeElement)`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.wait(`!document.querySelector("dialog") && document.activeElement.textContent === "Sign out everywhere"`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector(".skip").focus()`), chromedp.KeyEvent(kb.Enter))
	b.wait(`document.activeElement.id === "settings" && location.hash === "#settings=account"`)
	unnamed := eval[[]string](b.tab, `[...document.querySelectorAll("input:not([type=hidden]), select, button, a")].filter((e) => !(e.labels?.length || e.getAttribute("aria-label") || e.textContent.trim())).map((e) => e.outerHTML)`)
	if len(unnamed) > 0 {
		t.Errorf("nothing names %q", unnamed)
	}
	b.expectQuiet(unauthorized)
}
