package door

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// front is a function with a page of its own and the door.
var front = function.Function{
	Name: "web", Doc: "serves a page and the door.", Needs: []function.Need{Need}, Timeout: 10 * time.Second,
	Routes: func(api *httpapi.API, env *function.Env) {
		api.Handle("GET /{$}", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the page") }))
		Register(api, env)
	},
}

// house is the door before functions that a test stands in for.
type house struct {
	*httptest.Server
	log *bytes.Buffer // to be read when all is answered
}

// open opens the door before functions that are where at says; those that it does
// not name are nowhere.
func open(t *testing.T, at map[string]string, settings ...string) house {
	t.Helper()
	var urls []string
	for _, s := range served() {
		if at[s.Name] == "" {
			at[s.Name] = "http://127.0.0.1:1"
		}
		urls = append(urls, s.Name+"="+at[s.Name])
	}
	found := map[string]string{"FUNCTION_URLS": strings.Join(urls, ","), "TRUSTED_PROXIES": "0"}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		found[name] = value
	}
	h := house{log: &bytes.Buffer{}}
	env := function.NewEnv(slog.New(slog.NewJSONHandler(h.log, nil)), time.Now, func(name string) (string, bool) {
		value, ok := found[name]
		return value, ok
	})
	handler, err := function.Handler(env, front)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = httptest.NewServer(handler)
	t.Cleanup(func() {
		h.Close()
		_ = env.Stop(context.Background())
	})
	return h
}

// behind is a function whose answers are those of its frame, by their id.
func behind(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "of the function")
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// received is what a function got.
type received struct {
	Method, URI, Host, Body string
	Header                  http.Header
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = json.NewEncoder(w).Encode(received{r.Method, r.RequestURI, r.Host, string(body), r.Header})
}

// ask sends a request as its arguments say: NAME=VALUE are headers.
func (h house) ask(t *testing.T, method, path string, body io.Reader, headers ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, h.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, "=")
		r.Header.Add(name, value)
	}
	answer, err := h.Client().Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func text(t *testing.T, answer *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func (h house) reaches(t *testing.T, method, path string, body io.Reader, headers ...string) received {
	t.Helper()
	answer := h.ask(t, method, path, body, headers...)
	var got received
	if said := text(t, answer); json.Unmarshal([]byte(said), &got) != nil || answer.StatusCode != 200 {
		t.Fatalf("%s %s is answered %d %s", method, path, answer.StatusCode, said)
	}
	return got
}

// refuses fails unless the answer is a problem document with this status and code.
func refuses(t *testing.T, answer *http.Response, status int, code string) httpapi.Problem {
	t.Helper()
	var problem httpapi.Problem
	said := text(t, answer)
	if err := json.Unmarshal([]byte(said), &problem); err != nil || answer.StatusCode != status || problem.Code != code ||
		answer.Header.Get("Content-Type") != "application/problem+json" || problem.RequestID == "" || problem.RequestID != answer.Header.Get("X-Request-Id") {
		t.Errorf("answered %d %s with %v, want %d %s", answer.StatusCode, said, answer.Header, status, code)
	}
	if wait := answer.Header.Get("Retry-After"); (wait != "") != (status >= 500) {
		t.Errorf("%d with Retry-After %q", status, wait)
	}
	return problem
}

func TestPassesRequestsOnAsTheyAre(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{"auth": behind(t, echo), "metrics": behind(t, echo)})
	got := h.reaches(t, "DELETE", "/api/auth/sessions/a%20%2Fb?x=1&y=%20", strings.NewReader("nobody reads this"))
	if got.Method != "DELETE" || got.URI != "/api/auth/sessions/a%20%2Fb?x=1&y=%20" || got.Body != "" {
		t.Errorf("got %+v", got)
	}
	got = h.reaches(t, "POST", "/api/auth/login", strings.NewReader(`{"email":"x"}`), "Content-Type=application/json", "Authorization=Bearer mine", "Accept-Encoding=zstd", "Last-Event-Id=7")
	if got.Body != `{"email":"x"}` || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Authorization") != "Bearer mine" ||
		got.Header.Get("Accept-Encoding") != "zstd" || got.Header.Get("Last-Event-Id") != "7" || got.Header.Get("Content-Length") != "13" {
		t.Errorf("got %+v", got)
	}
	if got.Host == strings.TrimPrefix(h.URL, "http://") {
		t.Errorf("the function is asked as %s, which Cloud Run would bring to the door again", got.Host)
	}
	got = h.reaches(t, "GET", "/api/metrics/services", nil)
	if _, said := got.Header["Accept-Encoding"]; said && got.Header.Get("Accept-Encoding") != "gzip" { // which our own client adds
		t.Errorf("got %+v", got)
	}
}

// What a browser asks first is answered here, as what it asks for would be: the frame
// knows from which pages.
func TestPreflightsAreAnsweredHere(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	h := open(t, map[string]string{"auth": behind(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })}, "ALLOWED_ORIGINS=https://other.example")
	preflight := func(origin string) *http.Response {
		return h.ask(t, "OPTIONS", "/api/auth/login", nil, "Origin="+origin, "Access-Control-Request-Method=POST")
	}
	if answer := preflight("https://other.example"); answer.StatusCode != 204 || answer.Header.Get("Access-Control-Allow-Origin") != "https://other.example" {
		t.Errorf("a page that may ask is answered %d with %v", answer.StatusCode, answer.Header)
	}
	answer := preflight("https://evil.example")
	refuses(t, answer, 405, "method_not_allowed")
	if answer.Header.Get("Access-Control-Allow-Origin") != "" || answer.Header.Get("Allow") != "POST" {
		t.Errorf("another page is told %v", answer.Header)
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the function was asked %d times", n)
	}
}

func TestLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	at := behind(t, echo)
	h := open(t, map[string]string{"auth": at, "refresh": at, "metrics": at, "rollup": at, "health": at})
	for _, s := range served() {
		for _, route := range s.Routes {
			path := strings.NewReplacer("{", "", "}", "").Replace(route.Path)
			answer := h.ask(t, route.Method, path, strings.NewReader("{}"), "Content-Type=application/json")
			if route.Access == "scheduler" {
				refuses(t, answer, 404, "no_such_route")
				refuses(t, h.ask(t, "OPTIONS", path, nil), 404, "no_such_route")
			} else if answer.StatusCode != 200 || answer.Header.Get("X-Request-Id") != "of the function" {
				t.Errorf("%s %s is answered %d", route.Method, route.Path, answer.StatusCode)
			}
		}
	}
	refuses(t, h.ask(t, "GET", "/api/auth", nil), 404, "no_such_route")
	refuses(t, h.ask(t, "GET", "/api/auth/me/", nil), 404, "no_such_route")
	refuses(t, h.ask(t, "GET", "//api/auth/me", nil), 404, "no_such_route")
	refuses(t, h.ask(t, "GET", "/api/auth/../auth/me", nil), 404, "no_such_route")
	refuses(t, h.ask(t, "PUT", "/api/auth/login", nil), 405, "method_not_allowed")
	refuses(t, h.ask(t, "POST", "/api/auth/logout", nil, "Origin=https://evil.example"), 403, "cross_site")
	if got := h.ask(t, "GET", function.LivePath, nil); !strings.Contains(text(t, got), `"functions":["web"]`) {
		t.Error("the door's own check is passed on")
	}
}

func TestWithoutURLsNothingIsPassedOn(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{}, "FUNCTION_URLS=")
	refuses(t, h.ask(t, "GET", "/api/metrics/services", nil), 404, "no_such_route")
	if got := text(t, h.ask(t, "GET", "/", nil)); got != "the page" {
		t.Errorf("the page is %s", got)
	}
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { return "auth=nowhere", name == "FUNCTION_URLS" })
	if _, err := function.Handler(env, front); err == nil || !strings.Contains(err.Error(), `web: FUNCTION_URLS: auth: "nowhere" is not a URL`) || !strings.Contains(err.Error(), "metrics is missing") {
		t.Errorf("started with %v", err)
	}
}

// spoofed are headers by which a client may pass for what it is not.
var spoofed = []string{
	"Forwarded=for=6.6.6.6", "X-Forwarded-For=6.6.6.6", "X-Forwarded-Host=evil.example", "X-Forwarded-Anything=evil", "x-forwarded-proto=evil",
	"X-Real-Ip=6.6.6.6", "X-Client-Ip=6.6.6.6", "True-Client-Ip=6.6.6.6", "Cf-Connecting-Ip=6.6.6.6",
	"X-Serverless-Authorization=Bearer evil", "X-CloudScheduler=true", "X-CloudScheduler-JobName=evil", "X-CloudTasks-QueueName=evil",
	"X-Goog-Authenticated-User-Email=evil", "X-Goog-Iap-Jwt-Assertion=evil", "X-Appengine-Cron=evil", "X-Request-Id=evil", "X-Envoy-External-Address=evil",
	"X-Dashboard-Client=6.6.6.6", "X-Dashboard-Client=6.6.6.7", "X-Dashboard-Host=evil.example", "X-Dashboard-Request=0123456789abcdef", "X-Dashboard-Anything=evil",
	"X-HTTP-Method-Override=DELETE", "Idempotency-Key=evil", "Proxy-Authorization=evil", "Keep-Alive=evil", "Connection=X-Hop", "X-Hop=evil",
}

func TestClientsCannotSpeakForProxies(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{"auth": behind(t, echo)})
	got := h.reaches(t, "POST", "/api/auth/logout", nil, append([]string{"Traceparent=00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "X-Cloud-Trace-Context=abc/1"}, spoofed...)...)
	for name, want := range map[string]string{
		"X-Dashboard-Client": "127.0.0.1", "X-Dashboard-Host": strings.TrimPrefix(h.URL, "http://"), "X-Forwarded-Proto": "http",
		"Traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "X-Cloud-Trace-Context": "abc/1",
	} {
		if diff := cmp.Diff([]string{want}, got.Header.Values(name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		got.Header.Del(name)
	}
	if id := got.Header["X-Dashboard-Request"]; len(id) != 1 || len(id[0]) != 16 || id[0] == "0123456789abcdef" {
		t.Errorf("the request's id is %q", id)
	}
	got.Header.Del("X-Dashboard-Request")
	for _, usual := range []string{"User-Agent", "Accept-Encoding", "Content-Length"} {
		got.Header.Del(usual)
	}
	if len(got.Header) > 0 {
		t.Errorf("these go through: %v", got.Header)
	}
}

// However a name is spelt, and whatever follows a prefix.
func TestNobodySpellsTheirWayIn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.SampledFrom(foreignNames), rapid.Map(
			rapid.Custom(func(t *rapid.T) [2]string {
				return [2]string{rapid.SampledFrom(foreignPrefixes).Draw(t, "prefix"), rapid.StringMatching(`[A-Za-z0-9-]{0,12}`).Draw(t, "rest")}
			}), func(parts [2]string) string { return parts[0] + parts[1] })).Draw(t, "name")
		spelt := []byte(name)
		for i := range spelt {
			if rapid.Bool().Draw(t, "swaps case") {
				spelt[i] = bytes.ToUpper(spelt[i : i+1])[0]
			} else {
				spelt[i] = bytes.ToLower(spelt[i : i+1])[0]
			}
		}
		h := http.Header{string(spelt): {"evil"}, "X-Hub-Signature-256": {"kept"}}
		strip(h)
		if len(h) != 1 || h.Get("X-Hub-Signature-256") != "kept" {
			t.Errorf("%s: %v is left", spelt, h)
		}
	})
}

func TestProxiesBeforeTheDoorTellTheAddress(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{"auth": behind(t, echo)}, "TRUSTED_PROXIES=1")
	got := h.reaches(t, "POST", "/api/auth/logout", nil, "X-Forwarded-For=6.6.6.6, 192.0.2.7", "X-Forwarded-Proto=https")
	if diff := cmp.Diff([]string{"192.0.2.7"}, got.Header["X-Dashboard-Client"]); diff != "" || got.Header.Get("X-Forwarded-Proto") != "https" || got.Header["X-Forwarded-For"] != nil {
		t.Errorf("got %v", got.Header)
	}
	if got := h.reaches(t, "POST", "/api/auth/logout", nil, "X-Forwarded-For=nonsense"); got.Header["X-Dashboard-Client"] != nil {
		t.Errorf("an address that is not known is told as %q", got.Header["X-Dashboard-Client"])
	}
}

func TestCookiesGoToThoseThatDeclareThem(t *testing.T) {
	t.Parallel()
	at := behind(t, echo)
	h := open(t, map[string]string{"auth": at, "refresh": at, "metrics": at})
	const all = "Cookie=theirs=1; __Host-dd_rt=a=b; __Host-dd_device=d; __Host-dd_rt=c"
	for path, want := range map[string][]string{
		"/api/auth/logout":  {"__Host-dd_rt=a=b; __Host-dd_device=d; __Host-dd_rt=c"},
		"/api/auth/refresh": {"__Host-dd_rt=a=b; __Host-dd_rt=c"},
	} {
		if diff := cmp.Diff(want, h.reaches(t, "POST", path, nil, all).Header["Cookie"]); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	if got := h.reaches(t, "GET", "/api/metrics/services", nil, all).Header["Cookie"]; got != nil {
		t.Errorf("metrics gets %q", got)
	}
}

func TestAnswersAreTheFunctionsAndEachHeaderOnce(t *testing.T) {
	t.Parallel()
	answer := func(w http.ResponseWriter, _ *http.Request) {
		for _, set := range []string{"__Host-dd_rt=x; Path=/", "__Host-dd_device=y", "theirs=z"} {
			w.Header().Add("Set-Cookie", set)
		}
		w.Header().Set("Content-Security-Policy", "of the function")
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header().Set("Alt-Svc", `h3=":443"`)
		w.Header().Set("Server", "Google Frontend")
		w.Header().Add("Vary", "Accept-Encoding")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusTeapot)
		zip := gzip.NewWriter(w)
		_, _ = zip.Write([]byte("tea"))
		_ = zip.Close()
	}
	at := behind(t, answer)
	h := open(t, map[string]string{"auth": at, "refresh": at, "health": at}, "ALLOWED_ORIGINS=https://other.example")
	for path, cookies := range map[string][]string{
		"/api/auth/logout": {"__Host-dd_rt=x; Path=/", "__Host-dd_device=y"}, "/api/auth/refresh": {"__Host-dd_rt=x; Path=/"}, "/api/health/live": nil,
	} {
		method := "POST"
		if cookies == nil {
			method = "GET"
		}
		got := h.ask(t, method, path, nil, "Accept-Encoding=gzip", "Origin=https://other.example")
		if diff := cmp.Diff(cookies, got.Header["Set-Cookie"]); diff != "" || got.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %d, %s", path, got.StatusCode, diff)
		}
		for name, values := range got.Header {
			if len(values) != 1 && name != "Set-Cookie" && name != "Vary" {
				t.Errorf("%s: %s stands there as %q", path, name, values)
			}
		}
		slices.Sort(got.Header["Vary"])
		if diff := cmp.Diff([]string{"Accept-Encoding", "Origin"}, got.Header["Vary"]); diff != "" {
			t.Errorf("%s: Vary %s", path, diff)
		}
		if got.Header.Get("Content-Security-Policy") != "of the function" || got.Header.Get("X-Request-Id") != "of the function" || got.Header.Get("Referrer-Policy") != "no-referrer" ||
			got.Header.Get("Alt-Svc") != "" || got.Header.Get("Server") != "" || got.Header.Get("Access-Control-Allow-Origin") != "https://other.example" {
			t.Errorf("%s: %v", path, got.Header)
		}
		if zip, err := gzip.NewReader(strings.NewReader(text(t, got))); err != nil {
			t.Errorf("%s: the body is no gzip any more: %v", path, err)
		} else if plain, _ := io.ReadAll(zip); string(plain) != "tea" {
			t.Errorf("%s: %q", path, plain)
		}
	}
}

func TestHeadHasNoBody(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{"health": behind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "7")
		w.Header().Set("X-Method", r.Method)
	})})
	answer := h.ask(t, "HEAD", "/api/health/live", nil)
	if answer.StatusCode != 200 || answer.ContentLength != 7 || answer.Header.Get("X-Method") != "HEAD" || text(t, answer) != "" {
		t.Errorf("answered %d with %v", answer.StatusCode, answer.Header)
	}
}

func TestStreamsArriveAsTheyAreProduced(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	ended := make(chan struct{})
	h := open(t, map[string]string{"metrics": behind(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/event-stream")
		for n := 0; ; n++ {
			fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})})
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", h.URL+"/api/metrics/services", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewScanner(answer.Body)
	for n := range 3 { // each is produced after the one before has arrived
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", n) || !lines.Scan() {
			t.Fatalf("event %d arrives as %q: %v", n, lines.Text(), lines.Err())
		}
		next <- struct{}{}
	}
	leave() // which the function notices
	<-ended
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	var begun atomic.Int32 // those of a length that is known, and too large
	h := open(t, map[string]string{"auth": behind(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > httpapi.JSONBodyBytes {
			begun.Add(1)
		}
		echo(w, r)
	})})
	whole := strings.Repeat("x", httpapi.JSONBodyBytes)
	for name, body := range map[string]func(string) io.Reader{
		"known length": func(s string) io.Reader { return strings.NewReader(s) },
		"chunks":       func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) },
	} {
		if got := h.reaches(t, "POST", "/api/auth/login", body(whole)); got.Body != whole {
			t.Errorf("%s: %d bytes arrive", name, len(got.Body))
		}
		refuses(t, h.ask(t, "POST", "/api/auth/login", body(whole+"x")), 413, "request_too_large")
		if got := h.reaches(t, "POST", "/api/auth/logout", body("{}")); got.Body != "" || got.Header.Get("Transfer-Encoding") != "" {
			t.Errorf("%s: a body that no route reads arrives: %+v", name, got)
		}
	}
	if n := begun.Load(); n != 0 {
		t.Errorf("a body that is known to be too large is begun %d times", n)
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	asked := make(chan error, 1)
	h := open(t, map[string]string{"auth": behind(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		asked <- err
	})})
	connection, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	fmt.Fprint(connection, "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	_ = connection.(*net.TCPConn).CloseWrite()
	if err := <-asked; err == nil {
		t.Error("the function takes half a body for a whole one")
	}
}

// hasty is a listener on whose connections whoever is waited for has a hundredth of
// the time.
type hasty struct{ net.Listener }

func (l hasty) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	return hastyConn{connection}, err
}

type hastyConn struct{ net.Conn }

func (c hastyConn) SetReadDeadline(at time.Time) error {
	if left := time.Until(at); left > 0 {
		at = time.Now().Add(left / 100)
	}
	return c.Conn.SetReadDeadline(at)
}

// A body that does not come in time is the client's fault, and not the function's, which
// waits for it too.
func TestSlowBodyIsGivenUp(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{"auth": behind(t, echo)})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &httptest.Server{Listener: hasty{listener}, Config: &http.Server{Handler: h.Config.Handler}}
	slow.Start()
	t.Cleanup(slow.Close)
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	fmt.Fprint(connection, "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, answer, 408, "request_too_slow")
}

// What a function says beside its answer is kept in memory, and so has an end.
func TestHeadersOfAnswersHaveAnEnd(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{"metrics": behind(t, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.Header.Get("X-Size"))
		w.Header().Set("X-Long", strings.Repeat("x", size))
	})})
	if answer := h.ask(t, "GET", "/api/metrics/services", nil, "X-Size=60000"); answer.StatusCode != 200 || len(answer.Header.Get("X-Long")) != 60000 {
		t.Errorf("a header that is not too long is answered %d", answer.StatusCode)
	}
	refuses(t, h.ask(t, "GET", "/api/metrics/services", nil, "X-Size=70000"), 502, "bad_answer")
}

func TestUpgradesAreRefused(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{"metrics": behind(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Switch") != "" {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			return
		}
		echo(w, r)
	})})
	for _, protocols := range []string{"websocket", "h2c, websocket"} {
		refuses(t, h.ask(t, "GET", "/api/metrics/services", nil, "Connection=Upgrade", "Upgrade="+protocols), 400, "no_upgrade")
	}
	got := h.reaches(t, "GET", "/api/metrics/services", nil, "Connection=Upgrade, HTTP2-Settings", "Upgrade=h2c", "HTTP2-Settings=x")
	if got.Header["Upgrade"] != nil || got.Header["Connection"] != nil || got.Header["Http2-Settings"] != nil {
		t.Errorf("an offer is passed on: %v", got.Header)
	}
	refuses(t, h.ask(t, "GET", "/api/metrics/services", nil, "X-Switch=yes"), 502, "bad_answer")
}

func TestHintsAndTrailers(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{"metrics": behind(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</app.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprint(w, "body")
		w.Header().Set("X-Sum", "4")
		w.Header().Set(http.TrailerPrefix+"X-Unannounced", "5")
	})})
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h["Link"]))
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", h.URL+"/api/metrics/services", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(t, answer); got != "body" || answer.Trailer.Get("X-Sum") != "4" || answer.Trailer.Get("X-Unannounced") != "5" {
		t.Errorf("answered %q with the trailers %v", got, answer.Trailer)
	}
	if diff := cmp.Diff([]string{"103 [</app.css>; rel=preload]"}, hints); diff != "" {
		t.Error(diff)
	}
	if answer.Header.Get("Link") != "" || answer.Header.Get("Referrer-Policy") != "no-referrer" || len(answer.Header["X-Request-Id"]) != 1 {
		t.Errorf("the hint has left its mark: %v", answer.Header)
	}
}

// raw is a function that does on each connection what serve does.
func raw(t *testing.T, serve func(n int, connection net.Conn, r *bufio.Reader)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for n := 0; ; n++ {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = connection.Close() }()
				serve(n, connection, bufio.NewReader(connection))
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

func TestAFunctionThatIsDownTakesNobodyWithIt(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{
		"health": behind(t, echo),
		"metrics": raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			fmt.Fprint(c, "no HTTP at all\r\n\r\n")
		}),
		"refresh": raw(t, func(_ int, c net.Conn, r *bufio.Reader) { _, _ = http.ReadRequest(r) }),
	})
	problem := refuses(t, h.ask(t, "POST", "/api/auth/logout", nil), 503, "unavailable") // nobody is there
	refuses(t, h.ask(t, "GET", "/api/metrics/services", nil), 502, "bad_answer")
	refuses(t, h.ask(t, "POST", "/api/auth/refresh", nil), 502, "bad_answer")
	h.reaches(t, "GET", "/api/health/live", nil)
	if got := text(t, h.ask(t, "GET", "/", nil)); got != "the page" {
		t.Errorf("the page is %s", got)
	}
	h.Close()
	lines := h.log.String()
	if !strings.Contains(lines, `"request_id":"`+problem.RequestID+`"`) || !strings.Contains(lines, "function auth: dial tcp") || strings.Count(lines, `"passed_to":"health"`) != 1 || strings.Count(lines, `"passed_to"`) != 1 {
		t.Errorf("the log says %s", lines)
	}
}

func TestHalfAnAnswerIsCut(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{
		"length": "HTTP/1.1 200 OK\r\nX-Request-Id: x\r\nContent-Length: 100\r\n\r\nhalf",
		"chunks": "HTTP/1.1 200 OK\r\nX-Request-Id: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		h := open(t, map[string]string{"metrics": raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
			_, _ = http.ReadRequest(r)
			fmt.Fprint(c, begin)
		})})
		answer := h.ask(t, "GET", "/api/metrics/services", nil)
		if body, err := io.ReadAll(answer.Body); err == nil || string(body) != "half" {
			t.Errorf("%s: half an answer is taken for the whole: %q", name, body)
		}
	}
}

// What stands before a function answers in its name: that is no answer of it.
func TestAnswersOfOthersAreProblems(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int{401: 502, 403: 502, 404: 502, 200: 502, 302: 502, 429: 503, 500: 503, 503: 503, 504: 503} {
		platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://accounts.example")
			w.WriteHeader(status)
			fmt.Fprint(w, "<html>secret")
		}))
		h := open(t, map[string]string{"metrics": platform.URL})
		code := map[int]string{502: "bad_answer", 503: "unavailable"}[want]
		answer := h.ask(t, "GET", "/api/metrics/services", nil)
		if problem := refuses(t, answer, want, code); strings.Contains(problem.Detail, "secret") || answer.Header.Get("Location") != "" {
			t.Errorf("%d: what others say is passed on: %+v", status, problem)
		}
		h.Close()
		platform.Close()
		if remedy := map[int]string{401: "roles/run.invoker", 403: "roles/run.invoker", 404: "correct FUNCTION_URLS", 500: "something else answered 500"}[status]; !strings.Contains(h.log.String(), remedy) {
			t.Errorf("%d: the log does not name the remedy: %s", status, h.log)
		}
	}
}

func TestASlowFunctionHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	arrived, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	h := open(t, map[string]string{"health": behind(t, echo), "metrics": behind(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-held
		echo(w, r)
	})})
	t.Cleanup(release) // before the servers end, which wait for their answers
	answers := make(chan int, mostAtOnce)
	for range mostAtOnce {
		go func() {
			answer, err := h.Client().Get(h.URL + "/api/metrics/services")
			if err != nil {
				answers <- 0
				return
			}
			_ = answer.Body.Close()
			answers <- answer.StatusCode
		}()
	}
	for range mostAtOnce {
		<-arrived
	}
	refuses(t, h.ask(t, "GET", "/api/metrics/services", nil), 503, "unavailable")
	h.reaches(t, "GET", "/api/health/live", nil)
	if got := text(t, h.ask(t, "GET", "/", nil)); got != "the page" {
		t.Errorf("the page is %s", got)
	}
	release()
	for range mostAtOnce {
		if status := <-answers; status != 200 {
			t.Errorf("one that waited is answered %d", status)
		}
	}
	go func() { <-arrived }()
	h.reaches(t, "GET", "/api/metrics/services", nil) // there is room again
}

// A connection that the function has closed meanwhile is no reason to refuse, and
// no reason to do anything twice.
func TestNothingIsDoneTwice(t *testing.T) {
	t.Parallel()
	var posts, gets atomic.Int32
	at := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for n := 0; ; n++ {
			request, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			count := &gets
			if request.Method == "POST" {
				count = &posts
			}
			count.Add(1)
			if n == 1 { // the second one on a connection is read, and the connection ends
				return
			}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX-Request-Id: x\r\nContent-Length: 0\r\n\r\n")
		}
	})
	h := open(t, map[string]string{"auth": at, "metrics": at})
	if answer := h.ask(t, "POST", "/api/auth/logout", nil); answer.StatusCode != 200 {
		t.Fatalf("answered %d", answer.StatusCode)
	}
	refuses(t, h.ask(t, "POST", "/api/auth/logout", nil, "Idempotency-Key=k", "X-Idempotency-Key=k"), 502, "bad_answer")
	if posts.Load() != 2 {
		t.Errorf("two POST were made %d times", posts.Load())
	}
	for range 2 {
		if answer := h.ask(t, "GET", "/api/metrics/services", nil); answer.StatusCode != 200 {
			t.Errorf("a GET that could be repeated is answered %d", answer.StatusCode)
		}
	}
	if gets.Load() != 3 {
		t.Errorf("two GET were made %d times, want one repeated", gets.Load())
	}
}

// alone is one route of a function that the test stands in for, as Register makes
// it, with a time limit and tokens of its own.
func alone(t *testing.T, c *callee, timeout time.Duration) house {
	t.Helper()
	h := house{log: &bytes.Buffer{}}
	c.slots, c.all, c.Name = make(chan struct{}, 1), make(chan struct{}, 1), "metrics"
	c.log = slog.NewLogLogger(slog.NewJSONHandler(h.log, nil), slog.LevelWarn)
	mux := http.NewServeMux()
	httpapi.New(mux, 0).Relay("POST /x", timeout, c.pass(10))
	h.Server = httptest.NewServer(httpapi.Wrap(mux, slog.New(slog.NewJSONHandler(h.log, nil)), time.Now, httpapi.Surroundings{}))
	t.Cleanup(h.Close)
	return h
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	const moment = 50 * time.Millisecond
	arrived, ends := make(chan struct{}, 100), make(chan struct{}, 100)
	at, err := url.Parse(behind(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		if r.Header.Get("X-Begin") != "" {
			fmt.Fprint(w, "begun")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
		ends <- struct{}{}
	}))
	if err != nil {
		t.Fatal(err)
	}
	h := alone(t, &callee{at: at, transport: newTransport()}, moment)
	// On a busy machine the time may be over before the function has been asked.
	for came := false; !came; {
		refuses(t, h.ask(t, "POST", "/x", nil), 504, "deadline")
		select {
		case <-arrived:
			came = true
			<-ends // the function is told
		default:
		}
	}
	for {
		answer := h.ask(t, "POST", "/x", nil, "X-Begin=yes")
		if answer.StatusCode == 504 {
			continue
		}
		if body, err := io.ReadAll(answer.Body); err == nil || string(body) != "begun" {
			t.Fatalf("an answer that was not finished in time is taken for whole: %q", body)
		}
		break
	}
	<-ends
}

func TestTokenGoesBesideTheCallersOwn(t *testing.T) {
	t.Parallel()
	guarded := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "x")
		echo(w, r)
	}))
	t.Cleanup(guarded.Close)
	at, err := url.Parse(guarded.URL)
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	tokens := newTokens(time.Now, fromMetadata(metadataAt(t, func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			http.Error(w, "away", http.StatusNotFound)
			return
		}
		fmt.Fprint(w, tokenUntil(time.Now().Add(time.Hour), r.URL.Query().Get("audience")))
		away.Store(true) // what is kept must do
	})))
	transport := newTransport()
	transport.TLSClientConfig = guarded.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	h := alone(t, &callee{at: at, transport: transport, tokens: tokens}, 10*time.Second)
	for range 2 {
		got := h.reaches(t, "POST", "/x", nil, "Authorization=Bearer mine", "X-Serverless-Authorization=Bearer evil")
		token := got.Header["X-Serverless-Authorization"]
		if len(token) != 1 || got.Header.Get("Authorization") != "Bearer mine" {
			t.Fatalf("got %v", got.Header)
		}
		if expires, err := expiryOf(strings.TrimPrefix(token[0], "Bearer ")); err != nil || time.Until(expires) < 50*time.Minute {
			t.Errorf("the token is %q: %v", token, err)
		}
	}
	if kept := tokens.held[guarded.URL]; kept.token == "" {
		t.Errorf("no token for the audience %s: %v", guarded.URL, tokens.held)
	}
	none := alone(t, &callee{at: at, transport: transport, tokens: newTokens(time.Now, fromMetadata(metadataAt(t, http.NotFound)))}, 10*time.Second)
	refuses(t, none.ask(t, "POST", "/x", nil), 503, "unavailable")
	none.Close()
	if !strings.Contains(none.log.String(), "the metadata server gave no identity token for "+guarded.URL) {
		t.Errorf("the log says %s", none.log)
	}
}

func TestEveryFunctionHasItsTime(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int]time.Duration{5: 10 * time.Second, 30: 35 * time.Second, 3600: time.Hour} {
		if got := (service{TimeoutSeconds: seconds}).timeout(); got != want {
			t.Errorf("%d s: %s", seconds, got)
		}
	}
	if len(served()) < 5 || slices.ContainsFunc(served(), func(s service) bool { return s.Name == "web" || s.TimeoutSeconds <= 0 || len(s.Routes) == 0 }) {
		t.Errorf("the manifest is read as %+v", served())
	}
}

// Only what reached nobody is said to have reached nobody.
func TestWhatWasDoneIsNotSaidToBeUndone(t *testing.T) {
	t.Parallel()
	done := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if request, err := http.ReadRequest(r); err == nil {
			_, _ = io.Copy(io.Discard, request.Body)
		}
		_ = c.(*net.TCPConn).SetLinger(0) // a reset
	})
	stranger := httptest.NewTLSServer(http.NotFoundHandler()) // by a certificate that nobody trusts
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(stranger.Close)
	h := open(t, map[string]string{"auth": done})
	refuses(t, h.ask(t, "POST", "/api/auth/login", strings.NewReader("{}")), 502, "bad_answer")
	at, err := url.Parse(stranger.URL)
	if err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(time.Now, func(context.Context, string) (string, error) { return tokenUntil(time.Now().Add(time.Hour), "x"), nil })
	h = alone(t, &callee{at: at, transport: newTransport(), tokens: tokens}, 10*time.Second)
	refuses(t, h.ask(t, "POST", "/x", nil), 503, "unavailable")
}

// An address that no client should write is not carried out behind its refusal.
func TestUncleanAddressesReachNobody(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	h := open(t, map[string]string{"auth": behind(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })})
	for _, id := range []string{"%2e%2e", "%2e", "a%2F%2Fb"} {
		refuses(t, h.ask(t, "DELETE", "/api/auth/sessions/"+id, nil), 404, "no_such_route")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the function was asked %d times", n)
	}
}

// A function may answer before it has read the body, as one that refuses does.
func TestAnswersBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	at := raw(t, func(_ int, c net.Conn, r *bufio.Reader) {
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
		}
		_, _ = io.WriteString(c, "HTTP/1.1 429 Too Many Requests\r\nX-Request-Id: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, r)
	})
	h := open(t, map[string]string{"auth": at})
	for n := range 40 {
		answer := h.ask(t, "POST", "/api/auth/login", strings.NewReader(strings.Repeat("x", n*1500)))
		if answer.StatusCode != 429 && answer.StatusCode != 502 {
			t.Errorf("%d: %s", answer.StatusCode, text(t, answer))
		}
	}
}

// What a function compresses is left to it and to who asks.
func TestNothingIsCompressedOnTheWay(t *testing.T) {
	t.Parallel()
	h := open(t, map[string]string{"metrics": behind(t, echo)})
	plain := &http.Transport{DisableCompression: true}
	t.Cleanup(plain.CloseIdleConnections)
	answer, err := (&http.Client{Transport: plain}).Get(h.URL + "/api/metrics/services")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if said := text(t, answer); strings.Contains(said, "Accept-Encoding") {
		t.Errorf("the door asks for what nobody asked: %s", said)
	}
}

// Where all functions are slow together, the page has room.
func TestAllFunctionsTogetherLeaveRoomForThePage(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	arrived := make(chan struct{}, 2*mostAtOnce)
	slow := func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-held
	}
	h := open(t, map[string]string{"metrics": behind(t, slow), "health": behind(t, slow)})
	statuses := make(chan int, 2*mostAtOnce)
	for n := range 2 * mostAtOnce {
		go func() {
			answer, err := h.Client().Get(h.URL + []string{"/api/metrics/services", "/api/health"}[n%2])
			if err != nil {
				statuses <- 0
				return
			}
			_ = answer.Body.Close()
			statuses <- answer.StatusCode
		}()
	}
	for range 2*mostAtOnce - mostOfAll { // the others are turned away at once
		if status := <-statuses; status != 503 {
			t.Errorf("one too many is answered %d", status)
		}
	}
	if got := text(t, h.ask(t, "GET", "/", nil)); got != "the page" {
		t.Errorf("the page is %s", got)
	}
	close(held)
	for range mostOfAll {
		if status := <-statuses; status != 200 {
			t.Errorf("one that waited is answered %d", status)
		}
	}
}
