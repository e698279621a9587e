package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

const (
	own   = "https://dash.example.com"
	front = "https://front.example.net" // another origin that is allowed
	evil  = "https://evil.example"
)

func TestOriginsAreWrittenAsBrowsersWriteThem(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		own, "https://dash.example.com:8443", "https://xn--bcher-kva.example", "https://192.0.2.1", "https://[2001:db8::1]:8443",
		"http://localhost", "http://localhost:8080", "http://app.localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080",
	} {
		if got, err := httpapi.ParseOrigins(" "+text+" ", ""); err != nil || got.Own != text {
			t.Errorf("PUBLIC_ORIGIN %q: %+v %v", text, got, err)
		}
		if got, err := httpapi.ParseOrigins("", text); err != nil || !cmp.Equal(got.Other, []string{text}) {
			t.Errorf("ALLOWED_ORIGINS %q: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{
		"dash.example.com", "//dash.example.com", "https://", "https://:8443", "https:dash.example.com", "null", "*",
		"https://dash.example.com/", "https://dash.example.com/app", "https://dash.example.com?q", "https://dash.example.com#f",
		"https://Dash.example.com", "HTTPS://dash.example.com", "https://ada@dash.example.com", "https://*.example.com",
		"https://bücher.example", "https://dash.example.com.", "https://dash..example.com", "https://dash.example.com:",
		"https://dash.example.com:443", "http://localhost:80", "https://dash.example.com:https", "https://a b", "https://a;b",
		"ftp://dash.example.com", "chrome-extension://dash.example.com", "https://a.example https://b.example",
		"http://dash.example.com", "http://192.0.2.1", "http://localhost.example.com", "http://127.0.0.1.example.com",
	} {
		if got, err := httpapi.ParseOrigins(text, ""); err == nil || !strings.HasPrefix(err.Error(), "PUBLIC_ORIGIN: ") || !cmp.Equal(got, httpapi.Origins{}) {
			t.Errorf("PUBLIC_ORIGIN %q: %+v %v", text, got, err)
		}
		if got, err := httpapi.ParseOrigins(own, front+","+text); err == nil || !strings.HasPrefix(err.Error(), "ALLOWED_ORIGINS: ") || !cmp.Equal(got, httpapi.Origins{}) {
			t.Errorf("ALLOWED_ORIGINS %q: %+v %v", text, got, err)
		}
	}
	if _, err := httpapi.ParseOrigins(own+","+front, ""); err == nil {
		t.Error("there are two PUBLIC_ORIGINs")
	}
	for others, want := range map[string]httpapi.Origins{
		"":                              {Own: own},
		" , ":                           {Own: own},
		front + " ,, " + evil + ":8443": {Own: own, Other: []string{front, evil + ":8443"}},
	} {
		if got, err := httpapi.ParseOrigins(own, others); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %+v %v", others, got, err)
		}
	}
}

// behindTheFrame is a handler behind the frame that answers 200 to all methods.
func behindTheFrame(o httpapi.Origins) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/thing", func(http.ResponseWriter, *http.Request) {})
	return httpapi.Wrap(mux, discard, time.Now, httpapi.Surroundings{Origins: o})
}

// ask sends a request to a handler, as one that came by https to dash.example.com
// and whose TLS a proxy ended.
func ask(handler http.Handler, method, path string, change ...func(*http.Request)) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "dash.example.com"
	r.Header.Set("X-Forwarded-Proto", "https")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

func with(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

func TestWritesComeFromPagesOfOurOwn(t *testing.T) {
	t.Parallel()
	oracle := http.NewCrossOriginProtection()
	if err := oracle.AddTrustedOrigin(front); err != nil {
		t.Fatal(err)
	}
	sites := map[string]bool{"": true, "same-origin": true, "none": true, "same-site": false, "cross-site": false, "of a new kind": false}
	for name, origin := range map[string]struct {
		header []string
		ours   bool // as far as Sec-Fetch-Site does not say otherwise
	}{
		"own":                        {[]string{own}, true},
		"another that is allowed":    {[]string{front}, true},
		"own on another port":        {[]string{own + ":8443"}, false},
		"own by another scheme":      {[]string{"http://dash.example.com"}, false},
		"own as an extension's":      {[]string{"chrome-extension://dash.example.com"}, false},
		"own with a path":            {[]string{own + "/"}, false},
		"own with somebody":          {[]string{"https://evil@dash.example.com"}, false},
		"own in capitals":            {[]string{"https://DASH.example.com"}, false},
		"beginning as own":           {[]string{own + ".evil.example"}, false},
		"ending as own":              {[]string{"https://evil-dash.example.com"}, false},
		"a subdomain of own":         {[]string{"https://evil.dash.example.com"}, false},
		"a sibling":                  {[]string{"https://evil.example.com"}, false},
		"the parent":                 {[]string{"https://example.com"}, false},
		"allowed by another scheme":  {[]string{"http://front.example.net"}, false},
		"allowed on another port":    {[]string{front + ":8443"}, false},
		"hidden":                     {[]string{"null"}, false},
		"evil":                       {[]string{evil}, false},
		"empty":                      {[]string{""}, false},
		"a scheme alone":             {[]string{"https://"}, false},
		"own and evil":               {[]string{own, evil}, false},
		"own twice":                  {[]string{own, own}, false},
		"own and evil in one header": {[]string{own + ", " + evil}, false},
		"none":                       {nil, true},
	} {
		for _, public := range []string{own, ""} {
			handler := behindTheFrame(httpapi.Origins{Own: public, Other: []string{front}})
			for site, near := range sites {
				for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "post"} {
					var sent *http.Request
					answer := ask(handler, method, "/thing", func(r *http.Request) {
						if origin.header != nil {
							r.Header["Origin"] = origin.header
						}
						if site != "" {
							r.Header.Set("Sec-Fetch-Site", site)
						}
						sent = r.Clone(t.Context())
					})
					named := name == "another that is allowed" // whose pages are of another site by right
					want := http.StatusOK
					if reads := method == "GET" || method == "HEAD" || method == "OPTIONS"; !reads && (!origin.ours || !near && !named) {
						want = http.StatusForbidden
					}
					if answer.StatusCode != want {
						t.Errorf("%s, Origin %s, Sec-Fetch-Site %q, PUBLIC_ORIGIN %q: %d, want %d", method, name, site, public, answer.StatusCode, want)
					}
					if err := oracle.Check(sent); answer.StatusCode == http.StatusOK && err != nil {
						t.Errorf("%s, Origin %s, Sec-Fetch-Site %q, PUBLIC_ORIGIN %q: net/http refuses it: %v", method, name, site, public, err)
					}
				}
			}
		}
	}
}

func TestTwoSitesAreNotOneOfOurs(t *testing.T) {
	t.Parallel()
	for _, sites := range [][]string{{"same-origin", "cross-site"}, {"cross-site", "same-origin"}, {"same-origin, cross-site"}, {""}} {
		if answer := ask(behindTheFrame(httpapi.Origins{}), "POST", "/thing", with("Sec-Fetch-Site", sites...)); answer.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %d", sites, answer.StatusCode)
		}
	}
}

// Where the own origin is not set, the scheme still tells who wrote the page.
func TestOwnSchemeIsThatOfTheRequest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		origin, forwarded string
		want              int
	}{
		"http over http":                       {"http://dash.example.com", "http", 200},
		"http, and nobody says by what":        {"http://dash.example.com", "", 200},
		"http over https":                      {"http://dash.example.com", "https", 403},
		"https over https":                     {own, "https", 200},
		"https ended by a proxy that is quiet": {own, "", 200},
	} {
		answer := ask(behindTheFrame(httpapi.Origins{}), "POST", "/thing", with("Origin", test.origin), with("X-Forwarded-Proto", test.forwarded))
		if answer.StatusCode != test.want {
			t.Errorf("%s: %d, want %d", name, answer.StatusCode, test.want)
		}
	}
	server := httptest.NewTLSServer(behindTheFrame(httpapi.Origins{}))
	defer server.Close()
	for origin, want := range map[string]int{server.URL: 200, strings.Replace(server.URL, "https", "http", 1): 403} {
		answer, err := server.Client().Do(request(t, "POST", server.URL+"/thing", nil, "Origin", origin))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("over TLS from %s: %d, want %d", origin, answer.StatusCode, want)
		}
	}
}

// A request without a host has no own origin.
func TestNoHostIsNobodys(t *testing.T) {
	t.Parallel()
	for _, origin := range []string{"http://", "https://", own} {
		if answer := ask(behindTheFrame(httpapi.Origins{}), "POST", "/thing", with("Origin", origin), func(r *http.Request) { r.Host = "" }); answer.StatusCode != 403 {
			t.Errorf("%s: %d", origin, answer.StatusCode)
		}
	}
}

// Behind a front door a service is asked by a host of its own. What the client
// has a proxy forward says nothing about where the product is.
func TestOwnOriginIsThatOfTheFrontDoor(t *testing.T) {
	t.Parallel()
	for public, want := range map[string]map[string]int{
		own: {own: 200, "the service's": 403, evil: 403},
		"":  {own: 403, "the service's": 200, evil: 403},
	} {
		inner := httptest.NewServer(behindTheFrame(httpapi.Origins{Own: public}))
		defer inner.Close()
		target, err := url.Parse(inner.URL)
		if err != nil {
			t.Fatal(err)
		}
		outer := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target) // and with it the host
			r.Out.Header["X-Forwarded-Host"] = r.In.Header["X-Forwarded-Host"]
		}})
		defer outer.Close()
		for origin, status := range want {
			if origin == "the service's" {
				origin = inner.URL
			}
			answer, body := do(t, request(t, "POST", outer.URL+"/thing", nil, "Origin", origin, "X-Forwarded-Host", "evil.example"))
			if answer.StatusCode != status {
				t.Errorf("PUBLIC_ORIGIN %q, Origin %s: %d %s, want %d", public, origin, answer.StatusCode, body, status)
			}
		}
	}
}

// cors are the headers by which a browser decides what another origin may read.
func cors(h http.Header) map[string]string {
	got := map[string]string{}
	for name, values := range h {
		if strings.HasPrefix(name, "Access-Control-") || name == "Vary" {
			got[name] = strings.Join(values, " | ")
		}
	}
	return got
}

func TestPagesOfNamedOriginsMayCall(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	api := httpapi.New(mux, 0)
	signIn(api)
	fails(api, errors.New("a defect"))
	api.Handle("GET /page", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Add("Vary", "Accept-Encoding") }))
	handler := httpapi.Wrap(mux, discard, time.Now, httpapi.Surroundings{Origins: httpapi.Origins{Own: own, Other: []string{front, "http://localhost:5173"}}})

	readable := func(origin string) map[string]string {
		return map[string]string{
			"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin",
			"Access-Control-Expose-Headers": "RateLimit, RateLimit-Policy, Retry-After, X-Request-Id",
		}
	}
	preflight := readable(front)
	preflight["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
	preflight["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
	preflight["Access-Control-Max-Age"] = "600"
	page := readable(front)
	page["Vary"] = "Origin | Accept-Encoding"
	others := map[string]string{"Vary": "Origin"}
	wants := with("Access-Control-Request-Method", "POST")
	for name, test := range map[string]struct {
		method, path string
		change       []func(*http.Request)
		status       int
		want         map[string]string
	}{
		"a preflight":                     {"OPTIONS", "/sign-in", []func(*http.Request){with("Origin", front), wants}, 204, preflight},
		"a preflight to no route":         {"OPTIONS", "/nowhere", []func(*http.Request){with("Origin", front), wants}, 204, preflight},
		"OPTIONS that is no preflight":    {"OPTIONS", "/sign-in", []func(*http.Request){with("Origin", front)}, 405, readable(front)},
		"a page":                          {"GET", "/page", []func(*http.Request){with("Origin", front)}, 200, page},
		"another that is allowed":         {"GET", "/fail", []func(*http.Request){with("Origin", "http://localhost:5173")}, 500, readable("http://localhost:5173")},
		"a refusal":                       {"POST", "/sign-in", []func(*http.Request){with("Origin", front)}, 415, readable(front)},
		"no route":                        {"GET", "/nowhere", []func(*http.Request){with("Origin", front)}, 404, readable(front)},
		"a defect":                        {"GET", "/fail", []func(*http.Request){with("Origin", front)}, 500, readable(front)},
		"evil's preflight":                {"OPTIONS", "/sign-in", []func(*http.Request){with("Origin", evil), wants}, 405, others},
		"evil's read":                     {"GET", "/fail", []func(*http.Request){with("Origin", evil)}, 500, others},
		"evil's write":                    {"POST", "/sign-in", []func(*http.Request){with("Origin", evil)}, 403, others},
		"a hidden page's preflight":       {"OPTIONS", "/sign-in", []func(*http.Request){with("Origin", "null"), wants}, 405, others},
		"allowed on another port":         {"OPTIONS", "/sign-in", []func(*http.Request){with("Origin", front+":8443"), wants}, 405, others},
		"beginning as allowed":            {"OPTIONS", "/sign-in", []func(*http.Request){with("Origin", front+".evil.example"), wants}, 405, others},
		"two origins":                     {"OPTIONS", "/sign-in", []func(*http.Request){with("Origin", front, evil), wants}, 405, others},
		"two origins' write":              {"POST", "/sign-in", []func(*http.Request){with("Origin", front, evil)}, 403, others},
		"own, which needs no such header": {"POST", "/sign-in", []func(*http.Request){with("Origin", own)}, 415, others},
		"a program, whose answer is the same for all caches": {"GET", "/fail", nil, 500, others},
	} {
		answer := ask(handler, test.method, test.path, test.change...)
		if answer.StatusCode != test.status {
			t.Errorf("%s: %d, want %d", name, answer.StatusCode, test.status)
		}
		if diff := cmp.Diff(test.want, cors(answer.Header)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWithoutNamedOriginsNothingIsShared(t *testing.T) {
	t.Parallel()
	for _, o := range []httpapi.Origins{{}, {Own: own}} {
		for _, origin := range []string{own, evil, "null"} {
			for _, method := range []string{"GET", "OPTIONS", "POST"} {
				answer := ask(behindTheFrame(o), method, "/thing", with("Origin", origin), with("Access-Control-Request-Method", "POST"))
				if got := cors(answer.Header); len(got) != 0 {
					t.Errorf("%+v, %s from %s: %v", o, method, origin, got)
				}
			}
		}
	}
}

func TestEveryAnswerTellsBrowsersWhatTheyMay(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	api := httpapi.New(mux, 0)
	signIn(api)
	fails(api, errors.New("a defect"))
	huma.Register(api, operation("GET", "/fine"), func(context.Context, *struct{}) (*said, error) { return &said{"fine"}, nil })
	huma.Register(api, operation("GET", "/panic"), func(context.Context, *struct{}) (*said, error) { panic("a defect") })
	api.Handle("GET /page", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "a page") }))
	handler := httpapi.Wrap(mux, discard, time.Now, httpapi.Surroundings{Origins: httpapi.Origins{Own: own, Other: []string{front}}})
	want := map[string]string{
		"X-Content-Type-Options":       "nosniff",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
		"Strict-Transport-Security":    "max-age=31536000; includeSubDomains",
	}
	for name, test := range map[string]struct {
		method, path string
		change       func(*http.Request)
		status       int
	}{
		"an answer":            {"GET", "/fine", with("X"), 200},
		"a page":               {"GET", "/page", with("X"), 200},
		"a head":               {"HEAD", "/page", with("X"), 200},
		"no route":             {"GET", "/nowhere", with("X"), 404},
		"another method":       {"GET", "/sign-in", with("X"), 405},
		"another type":         {"POST", "/sign-in", with("Content-Type", "text/plain"), 415},
		"a body that is wrong": {"POST", "/sign-in", with("Content-Type", "application/json"), 400},
		"another's page":       {"POST", "/sign-in", with("Origin", evil), 403},
		"a preflight":          {"OPTIONS", "/sign-in", func(r *http.Request) { with("Origin", front)(r); with("Access-Control-Request-Method", "POST")(r) }, 204},
		"a defect":             {"GET", "/fail", with("X"), 500},
		"a panic":              {"GET", "/panic", with("X"), 500},
	} {
		answer := ask(handler, test.method, test.path, test.change)
		if answer.StatusCode != test.status {
			t.Errorf("%s: %d, want %d", name, answer.StatusCode, test.status)
		}
		got := map[string]string{}
		for header := range want {
			if values := answer.Header.Values(header); len(values) != 0 {
				got[header] = strings.Join(values, " | ")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// For localhost it would keep browsers from all that runs there over http.
func TestBrowsersAreHeldToHTTPSOnlyWhereItIsSpoken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		host, forwarded string
		held            bool
	}{
		{"dash.example.com", "https", true},
		{"dash.example.com:8443", "https", true},
		{"192.0.2.1:8443", "https", true},
		{"dash.example.com", "http", false},
		{"dash.example.com", "", false},
		{"localhost:8443", "https", false},
		{"app.localhost", "https", false},
		{"app.localhost:8443", "https", false},
		{"localhost.example.com", "https", true},
	} {
		answer := ask(behindTheFrame(httpapi.Origins{}), "GET", "/thing", with("X-Forwarded-Proto", test.forwarded), func(r *http.Request) { r.Host = test.host })
		if got := answer.Header.Get("Strict-Transport-Security") != ""; got != test.held {
			t.Errorf("%s by %q: held to https is %t", test.host, test.forwarded, got)
		}
	}
	server := httptest.NewTLSServer(behindTheFrame(httpapi.Origins{}))
	defer server.Close()
	r := request(t, "GET", server.URL+"/thing", nil)
	r.Host = "dash.example.com"
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.Header.Get("Strict-Transport-Security") == "" {
		t.Error("over TLS: no Strict-Transport-Security")
	}
}

// Every request pays for this: a few headers, and nothing that grows.
func BenchmarkOrigins(b *testing.B) {
	handler := behindTheFrame(httpapi.Origins{Own: own, Other: []string{front}})
	for name, origin := range map[string]string{"own": own, "allowed": front, "evil": evil} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest("POST", "/thing", nil)
			r.Host = "dash.example.com"
			r.Header.Set("X-Forwarded-Proto", "https")
			r.Header.Set("Origin", origin)
			for b.Loop() {
				handler.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
