package workflow_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/workflow"
	"github.com/devops-dashboard/dashboard/shared/workflow/workflowtest"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

var taker = function.Function{Name: "taker", Needs: []function.Need{workflow.Need}, Routes: func(*httpapi.API, *function.Env) {}}

func environment(settings map[string]string) *function.Env {
	return function.NewEnv(slog.New(slog.DiscardHandler), clock, func(name string) (string, bool) { value, ok := settings[name]; return value, ok }).For(taker)
}

func open(t testing.TB) (*workflowtest.GitHub, *workflow.Verifier) {
	t.Helper()
	g := workflowtest.New(t, clock)
	return g, workflow.VerifierFor(environment(map[string]string{"WORKFLOW_ISSUER": g.URL, "WORKFLOW_AUDIENCE": workflowtest.Audience}))
}

func TestATokenTellsItsJob(t *testing.T) {
	t.Parallel()
	g, v := open(t)
	if g.Asked() != 0 {
		t.Error("GitHub was asked before the first token")
	}
	text := g.Token(74, 65, map[string]any{"environment": "production"})
	got, err := v.Read(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	want := workflow.Token{ID: got.ID, ExpiresAt: noon.Add(5 * time.Minute), Repository: 74, Owner: 65, Name: "acme/shop", Environment: "production"}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	again, err := v.Read(t.Context(), text)
	if err != nil || again.ID != got.ID {
		t.Errorf("the same token is %x and %x, %v", got.ID, again.ID, err)
	}
	another, err := v.Read(t.Context(), g.Token(74, 65, nil))
	if err != nil || another.ID == got.ID || another.Environment != "" {
		t.Errorf("another is %+v, %v", another, err)
	}
	if g.Asked() != 1 {
		t.Errorf("GitHub was asked %d times", g.Asked())
	}
}

// Repositories that were made or renamed since July 2026 have their numbers in the
// subject, older ones do not, and some have one that their owner made up.
func TestNoFormOfTheSubjectDecides(t *testing.T) {
	t.Parallel()
	g, v := open(t)
	for _, sub := range []string{
		"repo:acme/shop:ref:refs/heads/main", "repo:acme@65/shop@74:environment:production", "repository_owner:acme:actor:octocat", "repo:evil@1/shop@2:pull_request",
	} {
		if got, err := v.Read(t.Context(), g.Token(74, 65, map[string]any{"sub": sub})); err != nil || got.Repository != 74 || got.Owner != 65 {
			t.Errorf("%s: %+v, %v", sub, got, err)
		}
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	g, v := open(t)
	now := noon.Unix()
	for what, c := range map[string]struct {
		changes map[string]any
		code    string // empty: it is good
		says    string
	}{
		"it is as it should be":             {nil, "", ""},
		"it expired within the skew":        {map[string]any{"exp": now - 59}, "", ""},
		"it is of the near future":          {map[string]any{"iat": now + 59, "nbf": now + 59}, "", ""},
		"it is good for six hours":          {map[string]any{"exp": now + 6*3600}, "", ""},
		"it says no time to begin":          {map[string]any{"nbf": nil}, "", ""},
		"it has expired":                    {map[string]any{"exp": now - 61}, "token_expired", "2026-11-25T11:58:59Z"},
		"it never expires":                  {map[string]any{"exp": nil}, "invalid_token", "no token"},
		"it is of the future":               {map[string]any{"iat": now + 61}, "invalid_token", "no token"},
		"it begins in the future":           {map[string]any{"nbf": now + 61}, "invalid_token", "no token"},
		"it says not when it was made":      {map[string]any{"iat": nil}, "invalid_token", "more than a day"},
		"it is good for more than a day":    {map[string]any{"exp": now + 24*3600 + 1}, "invalid_token", "more than a day"},
		"it is GitHub's default":            {map[string]any{"aud": "https://github.com/acme"}, "wrong_audience", "(https://github.com/acme). Ask for one with &audience=" + workflowtest.Audience},
		"it is Google's":                    {map[string]any{"aud": "https://iam.googleapis.com/x"}, "wrong_audience", "&audience="},
		"it is for a prefix":                {map[string]any{"aud": workflowtest.Audience + "/"}, "wrong_audience", "&audience="},
		"it is for nobody":                  {map[string]any{"aud": nil}, "invalid_token", ""},
		"it is for two":                     {map[string]any{"aud": []string{workflowtest.Audience, "https://other.example"}}, "invalid_token", "several audiences"},
		"another issued it":                 {map[string]any{"iss": "https://token.actions.githubusercontent.com/acme"}, "invalid_token", "another issuer (https://token.actions.githubusercontent.com/acme)"},
		"nobody issued it":                  {map[string]any{"iss": nil}, "invalid_token", ""},
		"it cannot be told from another":    {map[string]any{"jti": nil}, "invalid_token", "jti"},
		"it has no subject":                 {map[string]any{"sub": nil}, "invalid_token", "sub"},
		"it has no event":                   {map[string]any{"event_name": nil}, "invalid_token", "event_name"},
		"its repository has no name":        {map[string]any{"repository": nil}, "invalid_token", "repository"},
		"its repository has no number":      {map[string]any{"repository_id": nil}, "invalid_token", "repository_id is no number"},
		"its repository is a number":        {map[string]any{"repository_id": 74}, "invalid_token", ""},
		"its repository is negative":        {map[string]any{"repository_id": "-74"}, "invalid_token", "repository_id is no number"},
		"its repository is written oddly":   {map[string]any{"repository_id": "+74"}, "invalid_token", "repository_id is no number"},
		"its repository is 0":               {map[string]any{"repository_id": "0"}, "invalid_token", "repository_id is no number"},
		"its repository is past counting":   {map[string]any{"repository_id": "99999999999999999999"}, "invalid_token", "repository_id is no number"},
		"its owner has no number":           {map[string]any{"repository_owner_id": ""}, "invalid_token", "repository_owner_id is no number"},
		"a pull request's":                  {map[string]any{"event_name": "pull_request", "ref": "refs/pull/7/merge"}, "pull_request", "(pull_request), which anybody can open from a fork"},
		"a pull request's on the main line": {map[string]any{"event_name": "pull_request_target"}, "pull_request", "(pull_request_target)"},
		"a review's":                        {map[string]any{"event_name": "pull_request_review"}, "pull_request", "fork"},
		"another event's, of a change":      {map[string]any{"event_name": "workflow_dispatch", "ref": "refs/pull/7/head"}, "pull_request", "fork"},
	} {
		_, err := v.Read(t.Context(), g.Token(74, 65, c.changes))
		if c.code == "" {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		kind := fault.Unauthenticated
		if c.code == "pull_request" {
			kind = fault.Forbidden
		}
		if got := fault.From(err); got.Kind != kind || got.Code != c.code || !strings.Contains(got.Detail, c.says) {
			t.Errorf("%s: %v, want %s and %q", what, err, c.code, c.says)
		}
	}
}

func TestOnlyGitHubsSignatureCounts(t *testing.T) {
	t.Parallel()
	g, v := open(t)
	good := g.Token(74, 65, nil)
	head := good[:strings.LastIndex(good, ".")+1]
	stranger := workflowtest.New(t, clock)
	stranger.Rotate()
	var said jwt.MapClaims
	token, _, err := jwt.NewParser().ParseUnverified(good, &said)
	if err != nil {
		t.Fatal(err)
	}
	forged := func(method jwt.SigningMethod, key any, header map[string]any) string {
		other := jwt.NewWithClaims(method, said)
		other.Header["kid"] = token.Header["kid"]
		for name, value := range header {
			other.Header[name] = value
		}
		text, err := other.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for what, text := range map[string]string{
		"nothing":          "",
		"no token":         "abc",
		"no signature":     head,
		"half of it":       good[:len(good)-10],
		"too long a token": head + strings.Repeat("A", 8<<10),
		"a line break":     good[:len(good)-10] + "\n" + good[len(good)-10:],
		"a stranger's":     stranger.Token(74, 65, map[string]any{"iss": g.URL}),
		"none":             forged(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil),
		"a shared secret":  forged(jwt.SigningMethodHS256, []byte("secret"), nil),
		"another kind":     forged(jwt.SigningMethodHS256, []byte("secret"), map[string]any{"alg": "RS256", "typ": "at+jwt"}),
		"what we must":     forged(jwt.SigningMethodHS256, []byte("secret"), map[string]any{"alg": "RS256", "crit": []string{"b64"}}),
		"changed claims":   strings.Replace(good, ".", ".e30", 1),
	} {
		if _, err := v.Read(t.Context(), text); fault.From(err).Code != "invalid_token" || strings.Contains(fault.From(err).Detail, "acme") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := v.Read(t.Context(), good); err != nil {
		t.Error(err)
	}
}

// A header that asks for what we do not know, or another kind of token, is refused
// though GitHub itself has signed it.
func TestKindsOfTokensAreKeptApart(t *testing.T) {
	t.Parallel()
	g, v := open(t)
	for _, header := range []map[string]any{{"typ": "at+jwt"}, {"typ": nil}, {"crit": []string{"exp"}}} {
		text := g.SignAs(header, g.Token(74, 65, nil))
		if _, err := v.Read(t.Context(), text); fault.From(err).Code != "invalid_token" {
			t.Errorf("%v: %v", header, err)
		}
	}
	if _, err := v.Read(t.Context(), g.SignAs(map[string]any{"x5t": "abc"}, g.Token(74, 65, nil))); err != nil {
		t.Error(err)
	}
}

// That GitHub is away is not the token's fault.
func TestGitHubIsAway(t *testing.T) {
	t.Parallel()
	g, v := open(t)
	g.Answer(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	if _, err := v.Read(t.Context(), g.Token(74, 65, nil)); fault.From(err).Kind != fault.Unavailable || fault.From(err).RetryAfter == 0 {
		t.Error(err)
	}
}

func TestIs(t *testing.T) {
	t.Parallel()
	g, _ := open(t)
	good := g.Token(74, 65, nil)
	ours := "eyJhbGciOiJFZERTQSIsImtpZCI6ImEiLCJ0eXAiOiJhdCtqd3QifQ.e30.AA"
	for text, want := range map[string]bool{
		good: true, good[:40]: false, ours: false, "": false, ".": false, "e30.": false, "dd_pat_x": false, "e.e.e": false, "W10.x.y": false,
		good + strings.Repeat("A", 8<<10-len(good)): true, good + strings.Repeat("A", 8<<10-len(good)+1): false,
	} {
		if workflow.Is(text) != want {
			t.Errorf("%.60q: want %v", text, want)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ issuer, audience, says string }{
		{"", "", ""},
		{"https://ghe.example.com/_services/token", "dash", ""},
		{"https://token.actions.githubusercontent.com/acme", "", ""},
		{"http://127.0.0.1:1", "", ""},
		{"http://ghe.example.com", "", "WORKFLOW_ISSUER must be https"},
		{"ftp://127.0.0.1", "", "WORKFLOW_ISSUER must be https"},
		{"https://ghe.example.com/", "", "without a slash"},
		{"https://ghe.example.com?a=b", "", "without a slash"},
		{"https://u:p@ghe.example.com", "", "without a slash"},
		{"ghe.example.com", "", "without a slash"},
		{":", "", "without a slash"},
		{"", "a b", "WORKFLOW_AUDIENCE must have no spaces"},
	} {
		env := function.NewEnv(slog.New(slog.DiscardHandler), clock, func(name string) (string, bool) {
			value := map[string]string{"WORKFLOW_ISSUER": c.issuer, "WORKFLOW_AUDIENCE": c.audience}[name]
			return value, value != ""
		})
		_, err := function.Handler(env, taker)
		if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The audience is our own address, unless the operator has said otherwise; who knows
// neither takes nobody.
func TestTheAudienceIsOurAddress(t *testing.T) {
	t.Parallel()
	g := workflowtest.New(t, clock)
	for _, c := range []struct{ origin, audience, aud, code string }{
		{workflowtest.Audience, "", workflowtest.Audience, ""},
		{workflowtest.Audience, "dash", "dash", ""},
		{workflowtest.Audience, "dash", workflowtest.Audience, "wrong_audience"},
		{"", "dash", "dash", ""},
		{"", "", "dash", "no_audience"},
		{"", "", "", "no_audience"},
	} {
		v := workflow.VerifierFor(environment(map[string]string{"WORKFLOW_ISSUER": g.URL, "WORKFLOW_AUDIENCE": c.audience, "PUBLIC_ORIGIN": c.origin}))
		_, err := v.Read(t.Context(), g.Token(74, 65, map[string]any{"aud": c.aud}))
		if got := fault.From(err); (err == nil) != (c.code == "") || err != nil && got.Code != c.code {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Whatever is sent as a token, nobody comes in.
func FuzzRead(f *testing.F) {
	g, v := open(f)
	good := g.Token(74, 65, nil)
	f.Add(good[:len(good)-1])
	f.Add("..")
	f.Add("eyJhbGciOiJSUzI1NiJ9.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		if text == good {
			t.Skip()
		}
		workflow.Is(text)
		if _, err := v.Read(t.Context(), text); fault.From(err).Kind != fault.Unauthenticated {
			t.Error(err)
		}
	})
}
