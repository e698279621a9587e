package scheduler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/golang-jwt/jwt/v5"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/jwks"
	"github.com/devops-dashboard/dashboard/shared/scheduler"
	"github.com/devops-dashboard/dashboard/shared/scheduler/schedulertest"
)

const (
	audience = "https://rollup-123456789012.europe-west1.run.app"
	nightly  = "cron-rollup-nightly@acme-dash.iam.gserviceaccount.com"
	hourly   = "cron-rollup-hourly@acme-dash.iam.gserviceaccount.com"
)

// rollup is a function with two schedules.
var rollup = function.Function{
	Name: "rollup", Doc: "rolls up.", Needs: []function.Need{scheduler.Need},
	Routes: func(api *httpapi.API, env *function.Env) {
		scheduler.Protect(api, env)
		for _, path := range []string{"/nightly", "/hourly", "/manual"} {
			huma.Register(api, huma.Operation{OperationID: path, Method: "POST", Path: path, Security: httpapi.Scheduler},
				func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
		}
	},
}

// world is the function, with a Google and a clock that is set by hand.
type world struct {
	t       *testing.T
	google  *schedulertest.Google
	handler http.Handler
	log     *bytes.Buffer
	env     *function.Env
	mu      sync.Mutex
	time    time.Time
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.time
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = w.time.Add(d)
}

func lookup(settings map[string]string) function.Lookup {
	return func(name string) (string, bool) { value, ok := settings[name]; return value, ok }
}

func open(t *testing.T, signature string) *world {
	t.Helper()
	w := &world{t: t, log: &bytes.Buffer{}, time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.google = schedulertest.New(t, w.now)
	w.env = function.NewEnv(slog.New(slog.NewTextHandler(w.log, nil)), w.now, lookup(map[string]string{
		"SCHEDULER_ACCOUNTS":  "/nightly=" + nightly + ", /hourly=" + hourly + ",/hourly=" + nightly,
		"SCHEDULER_AUDIENCE":  audience,
		"SCHEDULER_SIGNATURE": signature,
	}))
	jwks.Through(w.env, w.google.Client())
	var err error
	if w.handler, err = function.Handler(w.env, rollup); err != nil {
		t.Fatal(err)
	}
	return w
}

// call calls a path with Authorization headers.
func (w *world) call(path string, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, nil)
	r.Header["Authorization"] = authorization
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	return answer
}

// want calls with a token and fails the test unless the answer has the status and,
// where it is a refusal, the code.
func (w *world) want(what, path, token string, status int, code string) {
	w.t.Helper()
	answer := w.call(path, "Bearer "+token)
	var problem struct{ Code string }
	_ = json.Unmarshal(answer.Body.Bytes(), &problem)
	if answer.Code != status || problem.Code != code {
		w.t.Errorf("%s: %d %s, want %d %s", what, answer.Code, answer.Body, status, code)
	}
}

// stripped is the token as Cloud Run passes it on.
func stripped(token string) string {
	return token[:strings.LastIndex(token, ".")+1] + "SIGNATURE_REMOVED_BY_GOOGLE"
}

// Whoever may invoke the function can have Cloud Run check another header, and write into
// Authorization whatever they like.
func TestATokenThatNobodyHasCheckedIsNotBelieved(t *testing.T) {
	t.Parallel()
	for signature, status := range map[string]int{"removed": 401, "checked": 204} {
		w := open(t, signature)
		token := w.google.Token(nightly, audience, nil)
		if signature == "removed" {
			token = stripped(token)
		}
		r := httptest.NewRequest("POST", "/nightly", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("X-Serverless-Authorization", "Bearer "+stripped(w.google.Token("deploy-rollup@acme-dash.iam.gserviceaccount.com", audience, nil)))
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, r)
		if answer.Code != status {
			t.Errorf("%s: %d %s, want %d", signature, answer.Code, answer.Body, status)
		}
	}
}

func TestAScheduleIsCalledByItsAccounts(t *testing.T) {
	t.Parallel()
	for signature, as := range map[string]func(string) string{"checked": func(token string) string { return token }, "removed": stripped} {
		t.Run(signature, func(t *testing.T) {
			t.Parallel()
			w := open(t, signature)
			for _, c := range []struct {
				path, account string
				status        int
				code          string
			}{
				{"/nightly", nightly, 204, ""}, {"/hourly", hourly, 204, ""}, {"/hourly", nightly, 204, ""},
				{"/nightly", hourly, 403, "other_account"}, {"/manual", nightly, 403, "other_account"}, {"/nightly", "", 403, "other_account"},
				{"/nightly", "deploy-rollup@acme-dash.iam.gserviceaccount.com", 403, "other_account"},
				{"/nightly", strings.ToUpper(nightly), 403, "other_account"},
			} {
				w.want(c.account+" calls "+c.path, c.path, as(w.google.Token(c.account, audience, nil)), c.status, c.code)
			}
			if !strings.Contains(w.log.String(), "deploy-rollup@acme-dash.iam.gserviceaccount.com") {
				t.Errorf("the log does not say who called: %s", w.log)
			}
		})
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	for signature, as := range map[string]func(string) string{"checked": func(token string) string { return token }, "removed": stripped} {
		t.Run(signature, func(t *testing.T) {
			t.Parallel()
			w := open(t, signature)
			now := w.now().Unix()
			for what, c := range map[string]struct {
				changes map[string]any
				status  int
				code    string
			}{
				"it is good":                   {nil, 204, ""},
				"it expired within the skew":   {map[string]any{"exp": now - 29}, 204, ""},
				"it was made within the skew":  {map[string]any{"iat": now + 29}, 204, ""},
				"it has expired":               {map[string]any{"exp": now - 31}, 401, "invalid_token"},
				"it is of the future":          {map[string]any{"iat": now + 31}, 401, "invalid_token"},
				"it never expires":             {map[string]any{"exp": nil}, 401, "invalid_token"},
				"it is for the path":           {map[string]any{"aud": audience + "/nightly"}, 401, "invalid_token"},
				"it is for nobody":             {map[string]any{"aud": nil}, 401, "invalid_token"},
				"another issued it":            {map[string]any{"iss": "https://accounts.example.com"}, 401, "invalid_token"},
				"nobody issued it":             {map[string]any{"iss": nil}, 401, "invalid_token"},
				"its address is not verified":  {map[string]any{"email_verified": false}, 403, "other_account"},
				"nothing is said of its proof": {map[string]any{"email_verified": nil}, 403, "other_account"},
				"it has no address":            {map[string]any{"email": nil}, 403, "other_account"},
				"its address is no text":       {map[string]any{"email": 1}, 401, "invalid_token"},
			} {
				w.want(what, "/nightly", as(w.google.Token(nightly, audience, c.changes)), c.status, c.code)
			}
		})
	}
}

// sign signs what a scheduler's token says by another method.
func sign(t *testing.T, method jwt.SigningMethod, key any, now time.Time) string {
	t.Helper()
	text, err := jwt.NewWithClaims(method, jwt.MapClaims{
		"iss": "https://accounts.google.com", "aud": audience, "email": nightly, "email_verified": true, "exp": now.Add(time.Hour).Unix(),
	}).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOnlyGooglesSignatureCounts(t *testing.T) {
	t.Parallel()
	for _, signature := range []string{"checked", "removed"} {
		w := open(t, signature)
		good, other := w.google.Token(nightly, audience, nil), schedulertest.New(t, w.now)
		other.Rotate()
		w.want("the real one", "/nightly", good, 204, "")
		head := good[:strings.LastIndex(good, ".")+1]
		for what, token := range map[string]string{
			"nothing":         "",
			"no token":        "abc",
			"no signature":    head,
			"half of it":      good[:len(good)-10],
			"another's":       other.Token(nightly, audience, nil),
			"none":            sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, w.now()),
			"a shared secret": sign(t, jwt.SigningMethodHS256, []byte("secret"), w.now()),
			"not base64":      head + "???",
			"changed claims":  strings.Replace(good, ".", ".e30", 1),
		} {
			w.want(signature+": "+what, "/nightly", token, 401, "invalid_token")
		}
	}
	// Where nothing of Google's stands before the function, anybody could write so.
	w := open(t, "checked")
	w.want("removed by nobody knows whom", "/nightly", stripped(w.google.Token(nightly, audience, nil)), 401, "invalid_token")
	// And where it does, what is no token is none.
	w = open(t, "removed")
	w.want("removed from nothing", "/nightly", "abc.def.SIGNATURE_REMOVED_BY_GOOGLE", 401, "invalid_token")
	if w.google.Asked() != 0 {
		t.Errorf("Google was asked %d times for keys that nobody needs", w.google.Asked())
	}
}

func TestOneTokenInOneHeader(t *testing.T) {
	t.Parallel()
	w := open(t, "checked")
	token := w.google.Token(nightly, audience, nil)
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{nil, 401}, {[]string{""}, 401}, {[]string{"Bearer"}, 401}, {[]string{token}, 401}, {[]string{"Basic " + token}, 401},
		{[]string{"Bearer " + token, "Bearer " + token}, 401}, {[]string{"bearer " + token}, 204},
	} {
		answer := w.call("/nightly", c.headers...)
		if answer.Code != c.status || c.status == 401 && answer.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%.20q: %d %v %s", c.headers, answer.Code, answer.Header(), answer.Body)
		}
	}
}

func TestWithoutAccountsWhoeverReachesItMayCall(t *testing.T) {
	t.Parallel()
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, nil)
	handler, err := function.Handler(env, rollup)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{handler: handler}
	if answer := w.call("/nightly"); answer.Code != 204 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ accounts, audience, signature, says string }{
		{"/a=b@c", "", "", "set both SCHEDULER_ACCOUNTS and SCHEDULER_AUDIENCE, or neither"},
		{"", audience, "", "set both"},
		{"a=b@c", audience, "", `"a=b@c" is not`},
		{"/a=b@c,", audience, "", `"" is not`},
		{"/a", audience, "", `"/a" is not`},
		{"/a=b", audience, "", `"/a=b" is not`},
		{"/a=b@c", audience, "maybe", `SCHEDULER_SIGNATURE must be checked or removed, not "maybe"`},
		{"/a=b@c,/a=d@e", audience, "removed", ""},
		{"", "", "", ""},
	} {
		env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, lookup(map[string]string{
			"SCHEDULER_ACCOUNTS": c.accounts, "SCHEDULER_AUDIENCE": c.audience, "SCHEDULER_SIGNATURE": c.signature,
		}))
		_, err := function.Handler(env, rollup)
		if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Nothing is asked before a call, and then once for as long as Google says: two
// hours, of which one is over.
func TestKeysAreAskedForWhenNeededAndKept(t *testing.T) {
	t.Parallel()
	w := open(t, "checked")
	token := func() string { return w.google.Token(nightly, audience, nil) }
	asked := func(n int) {
		t.Helper()
		if got := w.google.Asked(); got != n {
			t.Errorf("Google was asked %d times, want %d", got, n)
		}
	}
	asked(0)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { w.want("at once", "/nightly", token(), 204, "") })
	}
	all.Wait()
	w.pass(time.Hour - time.Nanosecond)
	w.want("while they are fresh", "/nightly", token(), 204, "")
	asked(1)
	w.pass(time.Nanosecond)
	w.want("when they are not", "/nightly", token(), 204, "")
	asked(2)
	// An answer that says nothing of its time is good for a pause, and none for more
	// than a day.
	for i, c := range []struct {
		says string
		good time.Duration
	}{{"", 10 * time.Second}, {"no-cache, max-age=5", 10 * time.Second}, {"max-age=x", 10 * time.Second}, {"max-age=600000", 24 * time.Hour}} {
		w := open(t, "checked")
		w.google.CacheControl(c.says)
		w.want(c.says, "/nightly", w.google.Token(nightly, audience, nil), 204, "")
		w.pass(c.good - time.Nanosecond)
		w.want(c.says, "/nightly", w.google.Token(nightly, audience, nil), 204, "")
		if w.google.Asked() != 1 {
			t.Errorf("%d: asked again before %s", i, c.good)
		}
		w.pass(time.Nanosecond)
		w.want(c.says, "/nightly", w.google.Token(nightly, audience, nil), 204, "")
		if w.google.Asked() != 2 {
			t.Errorf("%d: not asked again after %s", i, c.good)
		}
	}
}

func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	w := open(t, "checked")
	before := w.google.Token(nightly, audience, map[string]any{"exp": w.now().Add(3 * time.Hour).Unix()})
	w.want("before", "/nightly", before, 204, "")
	w.google.Rotate()
	after := w.google.Token(nightly, audience, nil)
	w.want("so soon", "/nightly", after, 401, "invalid_token")
	w.pass(10 * time.Second)
	w.want("the new one, when asked again", "/nightly", after, 204, "")
	w.want("the old one, which is still published", "/nightly", before, 204, "")
	w.google.Retire()
	w.want("the old one, while it is known", "/nightly", before, 204, "")
	w.pass(time.Hour)
	w.want("the old one, retired", "/nightly", before, 401, "invalid_token")
	// Whoever makes names of keys up has Google asked every ten seconds at most.
	asked := w.google.Asked()
	other := schedulertest.New(t, w.now)
	other.Rotate()
	for range 100 {
		w.want("made up", "/nightly", other.Token(nightly, audience, nil), 401, "invalid_token")
	}
	if got := w.google.Asked() - asked; got != 0 {
		t.Errorf("Google was asked %d times within ten seconds", got)
	}
}

// That Google is away is not the token's fault: the call is to come again.
func TestKeysThatAreNotHadAreNoRefusal(t *testing.T) {
	t.Parallel()
	hurt := map[string]func(http.ResponseWriter){
		"away":        func(w http.ResponseWriter) { w.WriteHeader(503) },
		"no JSON":     func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>") },
		"no keys":     func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"short key":   func(w http.ResponseWriter) { _, _ = io.WriteString(w, jwk("AQAB", strings.Repeat("w", 340))) },
		"exponent 1":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, jwk("AQ", strings.Repeat("w", 342))) },
		"no exponent": func(w http.ResponseWriter) { _, _ = io.WriteString(w, jwk("", strings.Repeat("w", 342))) },
		"another use": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, strings.Replace(jwk("AQAB", strings.Repeat("w", 342)), "sig", "enc", 1))
		},
		"another way": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, strings.Replace(jwk("AQAB", strings.Repeat("w", 342)), "RS256", "PS256", 1))
		},
		"another key": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, strings.Replace(jwk("AQAB", strings.Repeat("w", 342)), "RSA", "EC", 1))
		},
		"no name": func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, strings.Replace(jwk("AQAB", strings.Repeat("w", 342)), `"kid":"a"`, `"kid":""`, 1))
		},
		"exponent": func(w http.ResponseWriter) { _, _ = io.WriteString(w, jwk("AQABAQABAQAB", strings.Repeat("w", 342))) },
		"base64":   func(w http.ResponseWriter) { _, _ = io.WriteString(w, jwk("AQAB", "?")) },
	}
	for name, answer := range hurt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, "checked")
			token := func() string { return w.google.Token(nightly, audience, nil) }
			w.google.Answer(answer)
			refused := w.call("/nightly", "Bearer "+token())
			if refused.Code != 503 || refused.Header().Get("Retry-After") == "" {
				t.Errorf("%d %s", refused.Code, refused.Body)
			}
			w.want("again", "/nightly", token(), 503, "unavailable")
			if w.google.Asked() != 1 {
				t.Errorf("Google was asked %d times at once", w.google.Asked())
			}
			w.google.Answer(nil)
			w.pass(10 * time.Second)
			w.want("when it is back", "/nightly", token(), 204, "")
			// What is known serves on through an outage for as long as it is fresh.
			w.google.Answer(answer)
			w.pass(time.Hour - time.Second)
			w.want("known", "/nightly", token(), 204, "")
			w.pass(time.Second)
			w.want("no longer", "/nightly", token(), 503, "unavailable")
			w.google.Answer(nil)
			w.pass(10 * time.Second)
			w.want("at last", "/nightly", token(), 204, "")
		})
	}
}

func jwk(e, n string) string {
	return fmt.Sprintf(`{"keys":[{"kid":"a","kty":"RSA","use":"sig","alg":"RS256","e":%q,"n":%q}]}`, e, n)
}

// A caller who leaves neither fails the question nor has it asked anew.
func TestTheQuestionOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	w := open(t, "checked")
	r := httptest.NewRequest("POST", "/nightly", nil)
	r.Header.Set("Authorization", "Bearer "+w.google.Token(nightly, audience, nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.handler.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
	w.want("the next", "/nightly", w.google.Token(nightly, audience, nil), 204, "")
	if w.google.Asked() != 1 {
		t.Errorf("Google was asked %d times", w.google.Asked())
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A Google that hangs is given up after two seconds, and what breaks off is no answer.
func TestGoogleThatHangs(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"hangs": func(r *http.Request) (*http.Response, error) {
			until, bounded := r.Context().Deadline()
			if !bounded || time.Until(until) > 2*time.Second {
				t.Errorf("Google is waited for until %s", until)
			}
			return nil, context.DeadlineExceeded
		},
		"refuses": func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") },
		"breaks off": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"keys"`), broken{})), Request: r}, nil
		},
	} {
		w := open(t, "checked")
		env := function.NewEnv(slog.New(slog.DiscardHandler), w.now, lookup(map[string]string{"SCHEDULER_ACCOUNTS": "/nightly=" + nightly, "SCHEDULER_AUDIENCE": audience}))
		jwks.Through(env, &http.Client{Transport: transport(answer)})
		var err error
		if w.handler, err = function.Handler(env, rollup); err != nil {
			t.Fatal(err)
		}
		w.want(name, "/nightly", w.google.Token(nightly, audience, nil), 503, "unavailable")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broke off") }

// Whatever is sent as a token or said as keys, the function answers, and lets nobody in.
func FuzzTokens(f *testing.F) {
	google := schedulertest.New(f, time.Now)
	good := google.Token(nightly, audience, nil)
	f.Add(good[:len(good)-1], []byte(`{"keys":[{"kid":"a","kty":"RSA","use":"sig","alg":"RS256","e":"AQAB","n":"ww"}]}`))
	f.Add(stripped(good), []byte(`{"keys":null}`))
	f.Add("..", []byte("[]"))
	f.Fuzz(func(t *testing.T, token string, said []byte) {
		if token == good {
			t.Skip()
		}
		w := open(t, "checked")
		w.google.Answer(func(answer http.ResponseWriter) { _, _ = answer.Write(said) })
		if answer := w.call("/nightly", "Bearer "+token); answer.Code != 401 && answer.Code != 503 {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
	})
}
