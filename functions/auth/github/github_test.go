package github_test

import (
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/devops-dashboard/dashboard/functions/auth/github"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/githubtest"
)

const origin = "https://dash.example.com"

func peer(changes map[string]string) *github.Peer {
	settings := map[string]string{"GITHUB_CLIENT_ID": githubtest.Client, "GITHUB_CLIENT_SECRET": githubtest.Secret, "PUBLIC_ORIGIN": origin}
	for name, value := range changes {
		settings[name] = value
	}
	fn := function.Function{Name: "asks", Needs: []function.Need{github.Need}}
	return github.PeerFor(function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { value, ok := settings[name]; return value, ok }).For(fn))
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ id, secret, at, origin, says string }{
		{"", "", "https://github.com", "", ""},
		{"x", "s3cret", "https://github.com", origin, ""},
		{"x", "s3cret", "https://github.example.com:8443", origin, ""},
		{"x", "s3cret", "http://127.0.0.1:1234", origin, ""},
		{"x", "", "https://github.com", origin, "set both"},
		{"", "s3cret", "https://github.com", origin, "set both"},
		{"x", "s3cret", "https://github.com", "", "PUBLIC_ORIGIN"},
		{"x", "s3cret", "http://github.example.com", origin, "GITHUB_URL"},
		{"x", "s3cret", "https://github.example.com/", origin, "GITHUB_URL"},
		{"x", "s3cret", "github.com", origin, "GITHUB_URL"},
	} {
		errs := github.Need.Check(func(name string) string {
			return map[string]string{"GITHUB_CLIENT_ID": test.id, "GITHUB_CLIENT_SECRET": test.secret, "GITHUB_URL": test.at, "PUBLIC_ORIGIN": test.origin}[name]
		})
		err := errors.Join(errs...)
		if (err == nil) != (test.says == "") || err != nil && (len(errs) != 1 || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%+v: %v", test, err)
		}
	}
	if peer(map[string]string{"GITHUB_CLIENT_ID": ""}) != nil {
		t.Error("without a client somebody may sign in")
	}
}

// Where people are sent, and where the API is that answers for them.
func TestWhereGitHubIs(t *testing.T) {
	t.Parallel()
	for at, api := range map[string]string{
		"":                           "https://api.github.com",
		"https://github.com":         "https://api.github.com",
		"https://octo.ghe.com":       "https://api.octo.ghe.com",
		"https://github.example.com": "https://github.example.com/api/v3",
		"https://ghe.com":            "https://ghe.com/api/v3",
		"http://127.0.0.1:1234":      "http://127.0.0.1:1234/api/v3",
	} {
		p := peer(map[string]string{"GITHUB_URL": at})
		if got := github.APIOf(p); got != api {
			t.Errorf("%q: %s, want %s", at, got, api)
		}
		verifier := oauth2.GenerateVerifier()
		u, err := url.Parse(p.Authorize("the state", verifier))
		if err != nil || at != "" && !strings.HasPrefix(u.String(), at+"/login/oauth/authorize?") {
			t.Errorf("%v, %v", u, err)
		}
		q := u.Query()
		if q.Get("state") != "the state" || q.Get("code_challenge") != oauth2.S256ChallengeFromVerifier(verifier) || strings.Contains(u.String(), verifier) ||
			strings.Contains(u.String(), githubtest.Secret) || q.Get("redirect_uri") != origin+"/api/auth/github/callback" {
			t.Errorf("%s", u)
		}
	}
}

func TestAsking(t *testing.T) {
	t.Parallel()
	g := githubtest.New(t, origin+"/api/auth/github/callback")
	p := peer(map[string]string{"GITHUB_URL": g.URL})
	somebody := githubtest.Person{ID: 7, Login: "seven", Name: "Seven", Emails: []githubtest.Email{{Email: "a@example.com", Verified: true}, {Email: "b@example.com", Primary: true, Verified: true}}}
	verifier := oauth2.GenerateVerifier()
	code := g.Code(githubtest.Client, oauth2.S256ChallengeFromVerifier(verifier), somebody)
	access, err := p.Exchange(t.Context(), code, verifier)
	if err != nil {
		t.Fatal(err)
	}
	person, err := access.Person(t.Context())
	if err != nil || person != (github.Person{ID: "7", Login: "seven", Name: "Seven"}) {
		t.Errorf("%+v, %v", person, err)
	}
	if email, err := access.Email(t.Context()); err != nil || email != "b@example.com" {
		t.Errorf("%s, %v", email, err)
	}
	if _, err := p.Exchange(t.Context(), code, verifier); !errors.Is(err, github.ErrCode) {
		t.Errorf("once more: %v", err)
	}
	g.Close()
	if _, err := p.Exchange(t.Context(), "secret-code", verifier); err == nil || strings.Contains(err.Error(), "secret-code") || strings.Contains(err.Error(), githubtest.Secret) {
		t.Errorf("GitHub is gone: %v", err)
	}
	if _, err := access.Person(t.Context()); err == nil || strings.Contains(err.Error(), "gho_") {
		t.Errorf("GitHub is gone: %v", err)
	}
}
