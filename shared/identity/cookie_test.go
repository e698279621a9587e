package identity_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sent returns what a route reads of a request with these Cookie headers.
func sent(t testing.TB, headers ...string) identity.CookieInput {
	t.Helper()
	mux := http.NewServeMux()
	var got identity.CookieInput
	type input struct{ identity.CookieInput }
	huma.Register(httpapi.New(mux, 0), huma.Operation{OperationID: "x", Method: http.MethodPost, Path: "/x", Security: httpapi.Session},
		func(_ context.Context, in *input) (*struct{}, error) {
			got = in.CookieInput
			return nil, nil
		})
	r := httptest.NewRequest(http.MethodPost, "/x", nil)
	for _, h := range headers {
		r.Header.Add("Cookie", h)
	}
	mux.ServeHTTP(httptest.NewRecorder(), r)
	return got
}

func TestCookieInput(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		headers     []string
		token, code string
	}{
		{nil, "", "no_session"},
		{[]string{"other=1; __host-dd_rt=t"}, "", "no_session"},
		{[]string{"a=1; __Host-dd_rt=t; b=2"}, "t", ""},
		{[]string{"a=1", "__Host-dd_rt=t"}, "t", ""},
		{[]string{"__Host-dd_rt=t; __Host-dd_rt=t"}, "", "invalid_session"},
		{[]string{"__Host-dd_rt=t", "__Host-dd_rt=u"}, "", "invalid_session"},
	} {
		in := sent(t, test.headers...)
		token, err := in.Token()
		if token != test.token || (err != nil) != (test.code != "") || (err != nil && fault.From(err).Code != test.code) {
			t.Errorf("%q: %q, %v; want %q %s", test.headers, token, err, test.token, test.code)
		}
	}
}

func TestCookieInputSessions(t *testing.T) {
	t.Parallel()
	settings := identitytest.Settings(t)
	signer := identitytest.Signer(t, settings)
	token := func(session uuid.UUID) string {
		text, err := signer.Refresh(t.Context(), identity.Refresh{ID: uuid.New(), User: uuid.New(), Session: session, IssuedAt: noon, ExpiresAt: noon.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return "__Host-dd_rt=" + text
	}
	one, other := uuid.New(), uuid.New()
	in := sent(t, token(one)+"; __Host-dd_rt=junk", token(other))
	if got, err := in.Sessions(t.Context(), signer); err != nil || !slices.Equal(got, []uuid.UUID{one, other}) {
		t.Errorf("%v, %v", got, err)
	}
	settings["REFRESH_KEYS"] = "{}"
	if got, err := in.Sessions(t.Context(), identitytest.Signer(t, settings)); got != nil || fault.From(err).Code != "keys_unusable" {
		t.Errorf("without keys: %v, %v", got, err)
	}
}

func TestGrantEndsWithTheSession(t *testing.T) {
	t.Parallel()
	settings := identitytest.Settings(t)
	for _, test := range []struct {
		left time.Duration
		in   int
	}{{30 * 24 * time.Hour, 900}, {15 * time.Minute, 900}, {14 * time.Minute, 840}, {time.Second, 1}} {
		session := identity.Session{
			ID: uuid.New(), User: uuid.New(), Token: uuid.New(), Generation: 4,
			IssuedAt: noon, ExpiresAt: noon.Add(test.left), AbsoluteExpiresAt: noon.Add(test.left), Now: noon,
		}
		grant, err := identitytest.Signer(t, settings).Grant(t.Context(), session)
		if err != nil || grant.ExpiresIn != test.in || grant.Generation != 4 {
			t.Fatalf("%s left: %+v, %v", test.left, grant, err)
		}
		access, err := identitytest.Verifier(t, settings, noon).Access(t.Context(), grant.AccessToken)
		if err != nil || access.User != session.User || access.Session != session.ID || access.ExpiresAt != noon.Add(time.Duration(test.in)*time.Second) {
			t.Errorf("%s left: %+v, %v", test.left, access, err)
		}
	}
}

func TestClearCookie(t *testing.T) {
	t.Parallel()
	if got, want := identity.ClearCookie(), "__Host-dd_rt=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// What is published checks what is signed, and is itself a set that we accept.
func TestPublicKeys(t *testing.T) {
	t.Parallel()
	settings := identitytest.Settings(t)
	token := strings.TrimPrefix(identitytest.Bearer(t, settings, uuid.New(), uuid.New(), noon), "Bearer ")
	keys, err := identitytest.Verifier(t, settings, noon).PublicKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identitytest.Verifier(t, map[string]string{"ACCESS_PUBLIC_KEYS": string(text)}, noon).Access(t.Context(), token); err != nil {
		t.Errorf("%s: %v", text, err)
	}
}

// A key that nobody knows yet must not sign, and neither key may be unusable.
func TestSignerWithUnusableKeys(t *testing.T) {
	t.Parallel()
	own, other := members(t, identity.NewKeys()["ACCESS_SIGNING_KEYS"], 0), members(t, identity.NewKeys()["ACCESS_SIGNING_KEYS"], 0)
	for _, test := range []struct{ setting, text string }{
		{"ACCESS_SIGNING_KEYS", identity.NewKeys()["ACCESS_SIGNING_KEYS"]},
		{"ACCESS_SIGNING_KEYS", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + own["x"] + `","d":"` + other["d"] + `"}]}`},
		{"ACCESS_PUBLIC_KEYS", "{}"},
		{"REFRESH_KEYS", ""},
	} {
		settings := identitytest.Settings(t)
		settings[test.setting] = test.text
		session := identity.Session{ID: uuid.New(), User: uuid.New(), Token: uuid.New(), IssuedAt: noon, ExpiresAt: noon.Add(time.Hour), AbsoluteExpiresAt: noon.Add(time.Hour), Now: noon}
		grant, err := identitytest.Signer(t, settings).Grant(t.Context(), session)
		if f := fault.From(err); grant != (identity.Grant{}) || f.Kind != fault.Unavailable || f.Code != "keys_unusable" || f.RetryAfter == 0 {
			t.Errorf("%s: %+v, %v", test.setting, grant, err)
		}
	}
	f := newForger(t)
	settings := maps.Clone(f.settings)
	settings["REFRESH_KEYS"] = "{}"
	if _, err := identitytest.Signer(t, settings).ReadRefresh(t.Context(), f.hs256(f.header("alg", "HS256", "typ", "rt+jwt", "kid", f.refreshID), refreshClaims())); fault.From(err).Kind != fault.Unavailable {
		t.Errorf("reading: %v", err)
	}
	// What is no token of ours needs no key to be refused.
	if _, err := identitytest.Signer(t, settings).ReadRefresh(t.Context(), "x"); fault.From(err).Code != "invalid_session" {
		t.Errorf("reading junk: %v", err)
	}
	settings["ACCESS_PUBLIC_KEYS"] = "{}"
	if _, err := identitytest.Verifier(t, settings, noon).PublicKeys(t.Context()); fault.From(err).Kind != fault.Unavailable {
		t.Errorf("publishing: %v", err)
	}
}

// Whatever stands in the header, a session is known by one token of ours, under
// the one name, and by nothing else.
func FuzzCookie(f *testing.F) {
	settings := identitytest.Settings(f)
	signer := identitytest.Signer(f, settings)
	session := uuid.New()
	good, err := signer.Refresh(f.Context(), identity.Refresh{ID: uuid.New(), User: uuid.New(), Session: session, IssuedAt: noon, ExpiresAt: noon.Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	named := "__Host-dd_rt=" + good
	for _, seed := range []string{named, "a=1; " + named + "; b=2", "__host-dd_rt=" + good, named + "; " + named, `__Host-dd_rt="` + good + `"`, " " + named, "__Host-dd_rt", "__Host-dd_rt=", "=" + good, ";", "", "__Host-dd_rt=" + strings.Repeat(".", 5000), "__Host-dd_rt=\xff"} {
		f.Add(seed, "")
	}
	f.Add(named, named)
	f.Add("a=1", named)
	f.Fuzz(func(t *testing.T, value, second string) {
		in := sent(t, value, second)
		token, err := in.Token()
		if err != nil {
			if code := fault.From(err).Code; code != "no_session" && code != "invalid_session" {
				t.Errorf("%q, %q: %v", value, second, err)
			}
		} else if _, err := signer.ReadRefresh(t.Context(), token); (err == nil) != (token == good) || !strings.Contains(value+" "+second, "__Host-dd_rt") {
			t.Errorf("%q, %q hold %q: %v", value, second, token, err)
		}
		sessions, err := in.Sessions(t.Context(), signer)
		if err != nil || len(sessions) > strings.Count(value+second, good) {
			t.Errorf("%q, %q are of %v, %v", value, second, sessions, err)
		}
		for _, s := range sessions {
			if s != session {
				t.Errorf("%q, %q are of the session %s", value, second, s)
			}
		}
	})
}
