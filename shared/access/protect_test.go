package access_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/secrets/secretstest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// whoami answers who calls.
type whoami struct {
	Body struct {
		User    uuid.UUID `json:"user"`
		Session uuid.UUID `json:"session"`
	}
}

// protected serves one Bearer route with the public keys in settings. What share
// does to the process comes first.
func protected(t testing.TB, settings map[string]string, share ...func(*function.Env)) http.Handler {
	t.Helper()
	// Only what VerifyNeed brings: a function that checks tokens makes none.
	public := map[string]string{"ACCESS_PUBLIC_KEYS": settings["ACCESS_PUBLIC_KEYS"]}
	env := function.NewEnv(slog.New(slog.DiscardHandler), func() time.Time { return noon }, func(name string) (string, bool) {
		value, ok := public[name]
		return value, ok
	})
	for _, share := range share {
		share(env)
	}
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	handler, err := function.Handler(env, function.Function{
		Name: "whoami", Needs: []function.Need{identity.VerifyNeed},
		Routes: func(api *httpapi.API, env *function.Env) {
			access.Protect(api, env)
			huma.Register(api, huma.Operation{OperationID: "whoami", Method: http.MethodGet, Path: "/whoami", Security: httpapi.Bearer},
				func(ctx context.Context, _ *struct{}) (*whoami, error) {
					out, caller := &whoami{}, access.CallerOf(ctx)
					out.Body.User, out.Body.Session = caller.User, caller.Session
					return out, nil
				})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

func ask(handler http.Handler, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/whoami", nil)
	for _, value := range authorization {
		r.Header.Add("Authorization", value)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func TestProtectKnowsTheCaller(t *testing.T) {
	t.Parallel()
	settings := identitytest.Settings(t)
	handler := protected(t, settings)
	user, session := uuid.New(), uuid.New()
	token := identitytest.Bearer(t, settings, user, session, noon)
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER  "} {
		w := ask(handler, strings.Replace(token, "Bearer ", scheme, 1))
		var got struct{ User, Session uuid.UUID }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK || got.User != user || got.Session != session {
			t.Errorf("scheme %q: status %d, body %s", scheme, w.Code, w.Body)
		}
	}
}

func TestProtectRefuses(t *testing.T) {
	t.Parallel()
	settings := identitytest.Settings(t)
	handler := protected(t, settings)
	good := identitytest.Bearer(t, settings, uuid.New(), uuid.New(), noon)
	const plain, refused = "Bearer", `Bearer error="invalid_token"`
	for name, test := range map[string]struct {
		send            []string
		code, challenge string
		detail          string
	}{
		"nothing":                {nil, "no_token", plain, "/api/auth/login"},
		"an empty header":        {[]string{""}, "no_token", plain, "/api/auth/login"},
		"another scheme":         {[]string{"Basic dTpw"}, "no_token", plain, "/api/auth/login"},
		"no token":               {[]string{"Bearer"}, "invalid_token", refused, "three parts"},
		"no token, a space":      {[]string{"Bearer "}, "invalid_token", refused, "three parts"},
		"the scheme twice":       {[]string{"Bearer " + strings.ToLower(good[:7]) + good[7:]}, "invalid_token", refused, "three parts"},
		"two headers":            {[]string{good, good}, "invalid_token", refused, "several"},
		"two schemes":            {[]string{"Basic dTpw", good}, "invalid_token", refused, "several"},
		"twice the same, later":  {[]string{good, ""}, "invalid_token", refused, "several"},
		"the scheme alone twice": {[]string{"Bearer bearer"}, "invalid_token", refused, "three parts"},
		"a tab for the space":    {[]string{strings.Replace(good, " ", "\t", 1)}, "no_token", plain, "/api/auth/login"},
		"a space after":          {[]string{good + " "}, "invalid_token", refused, "three parts"},
		"two tokens":             {[]string{good + ", " + good}, "invalid_token", refused, "three parts"},
		"junk":                   {[]string{"Bearer junk"}, "invalid_token", refused, "three parts"},
		"absurdly long":          {[]string{"Bearer " + strings.Repeat("a", 1<<20)}, "invalid_token", refused, "2048 bytes"},
		"a million dots":         {[]string{"Bearer " + strings.Repeat(".", 1<<20)}, "invalid_token", refused, "2048 bytes"},
		"expired": {[]string{identitytest.Bearer(t, settings, uuid.New(), uuid.New(), noon.Add(-time.Hour))},
			"token_expired", refused, "2026-03-01T11:15:00Z"},
		"of other keys": {[]string{identitytest.Bearer(t, identitytest.Settings(t), uuid.New(), uuid.New(), noon)},
			"invalid_token", refused, "key that is not in use"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ask(handler, test.send...)
			var problem httpapi.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusUnauthorized || problem.Code != test.code || !strings.Contains(problem.Detail, test.detail) {
				t.Errorf("status %d, body %s", w.Code, w.Body)
			}
			if got := w.Header().Get("WWW-Authenticate"); got != test.challenge {
				t.Errorf("WWW-Authenticate is %q, want %q", got, test.challenge)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
		})
	}
}

func TestProtectWithoutUsableKeysIsUnavailable(t *testing.T) {
	t.Parallel()
	settings := identitytest.Settings(t)
	manager := secretstest.New(t)
	reference := manager.Put("public", settings["ACCESS_SIGNING_KEYS"])
	w := ask(protected(t, map[string]string{"ACCESS_PUBLIC_KEYS": reference}, manager.Serve),
		identitytest.Bearer(t, settings, uuid.New(), uuid.New(), noon))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d, body %s", w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), "ACCESS_PUBLIC_KEYS") {
		t.Errorf("the answer tells how we are set up: %s", w.Body)
	}
}

// Whatever stands in the header, a caller is known by one token of ours, after
// the one scheme, and by nothing else.
func FuzzAuthorization(f *testing.F) {
	settings := identitytest.Settings(f)
	good := identitytest.Bearer(f, settings, uuid.New(), uuid.New(), noon)
	token := strings.TrimPrefix(good, "Bearer ")
	for _, seed := range []string{good, "bearer " + token, "Bearer  " + token, "Bearer bearer " + token, "Bearer\t" + token, good + ", " + good, "Bearer", "", " " + good, good + " ", "Basic dTpw", "Bearer " + strings.Repeat(".", 5000), "\xff " + token} {
		f.Add(seed, "")
	}
	f.Add(good, good)
	f.Add("", good)
	handler := protected(f, settings)
	f.Fuzz(func(t *testing.T, value, second string) {
		headers := []string{value}
		if second != "" {
			headers = append(headers, second)
		}
		w := ask(handler, headers...)
		scheme, rest, _ := strings.Cut(value, " ")
		ours := second == "" && strings.EqualFold(scheme, "Bearer") && strings.TrimLeft(rest, " ") == token
		if want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[ours]; w.Code != want {
			t.Errorf("%q: status %d, want %d", headers, w.Code, want)
		}
	})
}

func TestProtectFollowsAReference(t *testing.T) {
	t.Parallel()
	settings, manager := identitytest.Settings(t), secretstest.New(t)
	handler := protected(t, map[string]string{"ACCESS_PUBLIC_KEYS": manager.Put("public", settings["ACCESS_PUBLIC_KEYS"])}, manager.Serve)
	if manager.Reads() != 0 {
		t.Error("read before the first request")
	}
	token := identitytest.Bearer(t, settings, uuid.New(), uuid.New(), noon)
	if w := ask(handler, token); w.Code != http.StatusOK || manager.Reads() != 1 {
		t.Errorf("status %d after %d reads: %s", w.Code, manager.Reads(), w.Body)
	}
	// Without a Secret Manager nobody is known, and nobody is turned away for good.
	away := secretstest.New(t)
	reference := away.Put("public", "")
	away.Fail(context.DeadlineExceeded)
	if w := ask(protected(t, map[string]string{"ACCESS_PUBLIC_KEYS": reference}, away.Serve), token); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}
