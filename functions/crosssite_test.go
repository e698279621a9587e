package functions_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/functions/refresh"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

// home is where the product is, for the browsers of these tests.
const home = "dash.example.com"

// crossSite is a request that another site's page can have a browser make, and
// what the browser says of it. All carry the cookies of who reads that page, as
// they would if SameSite were not there.
type crossSite struct {
	name, origin, site, mode string // "" is a header that is not sent
	media                    string
	write                    func(values map[string]string) string
}

func asJSON(values map[string]string) string {
	text, _ := json.Marshal(values)
	return string(text)
}

func asForm(values map[string]string) string {
	form := url.Values{}
	for name, value := range values {
		form.Set(name, value)
	}
	return form.Encode()
}

func asParts(values map[string]string) string {
	var parts strings.Builder
	for name, value := range values {
		fmt.Fprintf(&parts, "--x\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", name, value)
	}
	return parts.String() + "--x--\r\n"
}

// asPlain is the form whose one field is named so that what the browser writes,
// name=value, is the JSON.
func asPlain(values map[string]string) string {
	return strings.TrimSuffix(asJSON(values), "}") + `,"x":"="}` + "\r\n"
}

const (
	formMedia  = "application/x-www-form-urlencoded"
	partsMedia = "multipart/form-data; boundary=x"
	plainMedia = "text/plain"
	jsonMedia  = "application/json" // which a browser sends only after a preflight that allows it
)

var crossSites = []crossSite{
	{"a form", "https://evil.example", "cross-site", "navigate", formMedia, asForm},
	{"a form in parts", "https://evil.example", "cross-site", "navigate", partsMedia, asParts},
	{"a form of plain text", "https://evil.example", "cross-site", "navigate", plainMedia, asPlain},
	{"a form of a page without a referrer", "null", "cross-site", "navigate", plainMedia, asPlain},
	{"a form in a sandboxed frame", "null", "cross-site", "navigate", formMedia, asForm},
	{"a form that was redirected here", "null", "cross-site", "navigate", jsonMedia, asJSON},
	{"a link", "", "cross-site", "navigate", "", nil},
	{"an image", "", "cross-site", "no-cors", "", nil},
	{"fetch, no-cors", "https://evil.example", "cross-site", "no-cors", plainMedia, asJSON},
	{"fetch, no-cors, without a type", "https://evil.example", "cross-site", "no-cors", "", asJSON},
	{"fetch, cors", "https://evil.example", "cross-site", "cors", plainMedia, asJSON},
	{"fetch, cors, with JSON", "https://evil.example", "cross-site", "cors", jsonMedia, asJSON},
	{"fetch, cors, in a sandboxed frame", "null", "cross-site", "cors", jsonMedia, asJSON},
	{"fetch by a sibling", "https://evil.example.com", "same-site", "cors", jsonMedia, asJSON},
	{"a form of a sibling", "https://evil.example.com", "same-site", "navigate", plainMedia, asPlain},
	{"fetch by a child", "https://evil." + home, "same-site", "cors", jsonMedia, asJSON},
	{"fetch by another port", "https://" + home + ":8443", "same-site", "cors", jsonMedia, asJSON},
	{"fetch by a page that plain http brought", "http://" + home, "cross-site", "cors", jsonMedia, asJSON},
	{"fetch by an extension", "chrome-extension://" + home, "cross-site", "cors", jsonMedia, asJSON},
	{"a browser without Sec-Fetch, fetch", "https://evil.example", "", "", jsonMedia, asJSON},
	{"a browser without Sec-Fetch, form", "https://evil.example", "", "", plainMedia, asPlain},
	{"a browser without Sec-Fetch, hidden", "null", "", "", jsonMedia, asJSON},
	{"a browser without Sec-Fetch, sibling", "https://evil.example.com", "", "", jsonMedia, asJSON},
	{"a browser without Origin", "", "cross-site", "navigate", plainMedia, asPlain},
	{"a browser without Origin, sibling", "", "same-site", "cors", jsonMedia, asJSON},
}

func (c crossSite) request(method, path string, body any, victim *somebody) *http.Request {
	text := ""
	if c.write != nil {
		values, _ := body.(map[string]string)
		text = c.write(values)
	}
	r := httptest.NewRequest(method, path, strings.NewReader(text))
	atHome(r)
	for name, value := range map[string]string{
		"Origin": c.origin, "Sec-Fetch-Site": c.site, "Sec-Fetch-Mode": c.mode, "Content-Type": c.media,
		"Cookie": httpapi.RefreshCookie + "=" + victim.cookie,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r
}

var visitors atomic.Uint32

// atHome has a request come to where the product is, over TLS that a proxy ended,
// and each from a network of its own: these tests are not about limits.
func atHome(r *http.Request) {
	n := visitors.Add(1)
	r.Host = home
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("X-Forwarded-For", fmt.Sprintf("10.%d.%d.1", n>>8&255, n&255))
}

// openHome is open, for requests at home.
func openHome(t *testing.T) *building {
	t.Helper()
	h := open(t)
	inner := h.handler
	h.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != home {
			atHome(r)
		}
		inner.ServeHTTP(w, r)
	})
	return h
}

func (h *building) send(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

// state is the database as of now: each row of each table, and the transaction
// that wrote it.
func (h *building) state(t *testing.T) string {
	t.Helper()
	var state string
	err := h.db.QueryRow(t.Context(), `
		SELECT string_agg(table_name || query_to_xml(format('SELECT xmin::text AS by, t::text AS row FROM %I t ORDER BY 2', table_name), false, false, '')::text, '' ORDER BY table_name)
		FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`).Scan(&state)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// eachRoute calls f for every operation of the API document, with its door.
func eachRoute(t *testing.T, f func(name string, op *huma.Operation, d door), fns ...function.Function) {
	t.Helper()
	for path, item := range function.OpenAPI(fns...).Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete, item.Head, item.Options, item.Trace} {
			if op == nil {
				continue
			}
			name := op.Method + " " + path
			d, known := doors[name]
			if !known {
				t.Errorf("%s has no row among the doors", name)
				continue
			}
			f(name, op, d)
		}
	}
}

func (d door) bodyFor(of *somebody) map[string]string {
	if d.body == nil {
		return map[string]string{}
	}
	return d.body(of)
}

// Whatever another site's page has a browser send with its reader's cookies, it
// changes nothing and reads nothing.
func TestOtherSitesChangeAndReadNothing(t *testing.T) {
	t.Parallel()
	h := openHome(t)
	victim := h.newSomebody(t)
	before := h.state(t)
	if !strings.Contains(before, victim.session) || !strings.Contains(before, victim.user) {
		t.Fatal("the state does not show sessions and users")
	}
	eachRoute(t, func(name string, op *huma.Operation, d door) {
		for _, shape := range crossSites {
			// A form asks with POST and a link with GET, whatever the route takes.
			for _, method := range []string{op.Method, http.MethodPost, http.MethodGet, http.MethodHead} {
				w := h.send(shape.request(method, d.path(victim), d.bodyFor(victim), victim))
				why := fmt.Sprintf("%s: %s with %s is answered %d %.200s", name, shape.name, method, w.Code, w.Body)
				reads := method == http.MethodGet || method == http.MethodHead
				switch {
				case !reads:
					if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"code":"cross_site"`) || w.Header().Get("Cache-Control") != "no-store" {
						t.Errorf("%s, want 403 cross_site that is not kept", why)
					}
				case op.Method != http.MethodGet:
					want := http.StatusMethodNotAllowed
					if also, known := doors[http.MethodGet+strings.TrimPrefix(name, op.Method)]; known {
						want = also.says("nobody")
					}
					if w.Code != want {
						t.Errorf("%s, want %d", why, want)
					}
				case w.Code != d.says("nobody"): // the cookie alone is nobody
					t.Errorf("%s, want %d", why, d.says("nobody"))
				}
				for _, secret := range victim.secrets() {
					if strings.Contains(w.Body.String(), secret) && !strings.Contains(d.path(victim), secret) {
						t.Errorf("%s, which tells %s", why, secret)
					}
				}
				if len(w.Header()["Set-Cookie"]) != 0 {
					t.Errorf("%s and sets a cookie", why)
				}
				if w.Header().Get("Cross-Origin-Resource-Policy") != "same-origin" || w.Header().Get("X-Frame-Options") != "DENY" {
					t.Errorf("%s, which other pages may embed", why)
				}
				notShared(t, why, w)
			}
			// What the browser asks first, where the request is no simple one.
			r := shape.request(http.MethodOptions, d.path(victim), nil, victim)
			r.Header.Del("Cookie")
			r.Header.Set("Access-Control-Request-Method", op.Method)
			r.Header.Set("Access-Control-Request-Headers", "authorization,content-type")
			w := h.send(r)
			notShared(t, name+": the preflight of "+shape.name, w)
			if w.Code < 400 {
				t.Errorf("%s: the preflight of %s is answered %d", name, shape.name, w.Code)
			}
		}
		if after := h.state(t); after != before {
			t.Errorf("%s: another site has changed the database", name)
			before = after
		}
	}, functions.All...)

	// Nothing was wrong with the cookie.
	r := httptest.NewRequest(http.MethodPost, "/api/auth/refresh", nil)
	r.Header.Set("Cookie", httpapi.RefreshCookie+"="+victim.cookie)
	if w := h.send(r); w.Code != http.StatusOK {
		t.Errorf("the victim's session is gone: %d %s", w.Code, w.Body)
	}
}

// notShared fails if a page elsewhere may read the answer.
func notShared(t *testing.T, why string, w *httptest.ResponseRecorder) {
	t.Helper()
	for header, values := range w.Header() {
		if strings.HasPrefix(header, "Access-Control-") {
			t.Errorf("%s with %s: %s", why, header, values)
		}
	}
}

// What is refused above is taken from the product's own pages: the refusals are
// for where a request comes from and for nothing else in it.
func TestOwnPagesMayDoWhatOthersMayNot(t *testing.T) {
	t.Parallel()
	h := openHome(t)
	for _, own := range []crossSite{
		{"fetch by an own page", "https://" + home, "same-origin", "cors", jsonMedia, asJSON},
		{"a browser without Sec-Fetch", "https://" + home, "", "", jsonMedia, asJSON},
		{"a program", "", "", "", jsonMedia, asJSON},
	} {
		eachRoute(t, func(name string, op *huma.Operation, d door) {
			member := h.newSomebody(t)
			r := own.request(op.Method, d.path(member), d.bodyFor(member), member)
			r.Header.Set("Authorization", "Bearer "+member.token)
			if w := h.send(r); w.Code != d.says("owner") {
				t.Errorf("%s: %s is answered %d %s, want %d", name, own.name, w.Code, w.Body, d.says("owner"))
			}
		}, functions.All...)
	}
}

// A type that a form can send is no JSON, wherever the page that sends it is.
func TestFormsAreNoJSON(t *testing.T) {
	t.Parallel()
	h := openHome(t)
	member := h.newSomebody(t)
	before := h.state(t)
	eachRoute(t, func(name string, op *huma.Operation, d door) {
		if op.RequestBody == nil {
			return
		}
		for _, form := range []crossSite{
			{"a form", "https://" + home, "same-origin", "navigate", formMedia, asForm},
			{"a form in parts", "https://" + home, "same-origin", "navigate", partsMedia, asParts},
			{"a form of plain text", "https://" + home, "same-origin", "navigate", plainMedia, asPlain},
			{"no type", "https://" + home, "same-origin", "cors", "", asJSON},
		} {
			r := form.request(op.Method, d.path(member), d.bodyFor(member), member)
			r.Header.Set("Authorization", "Bearer "+member.token)
			if w := h.send(r); w.Code != http.StatusUnsupportedMediaType {
				t.Errorf("%s: %s is answered %d %s", name, form.name, w.Code, w.Body)
			}
		}
	}, functions.All...)
	if h.state(t) != before {
		t.Error("a form has changed the database")
	}
}

// Nothing that auth and refresh answer is kept by a cache, refusals included, but
// for the public keys, which are everybody's.
func TestNoCacheKeepsWhatAuthAnswers(t *testing.T) {
	t.Parallel()
	h := openHome(t)
	own := crossSite{"fetch by an own page", "https://" + home, "same-origin", "cors", jsonMedia, asJSON}
	kept := func(what string, r *http.Request, statuses ...int) {
		t.Helper()
		w := h.send(r)
		if got := w.Header()["Cache-Control"]; len(got) != 1 || got[0] != "no-store" {
			t.Errorf("%s is answered %d with Cache-Control %q", what, w.Code, got)
		}
		for _, status := range statuses {
			if w.Code != status {
				t.Errorf("%s is answered %d %s, want %d", what, w.Code, w.Body, status)
			}
		}
	}
	eachRoute(t, func(name string, op *huma.Operation, d door) {
		if name == "GET /.well-known/jwks.json" {
			if w := h.send(own.request("GET", d.path(nil), nil, &somebody{})); !strings.Contains(w.Header().Get("Cache-Control"), "max-age=") {
				t.Errorf("%s has Cache-Control %q", name, w.Header().Get("Cache-Control"))
			}
			return
		}
		member := h.newSomebody(t)
		ask := func(change func(*http.Request)) *http.Request {
			r := own.request(op.Method, d.path(member), d.bodyFor(member), member)
			r.Header.Set("Authorization", "Bearer "+member.token)
			change(r)
			return r
		}
		kept(name+" by another site", ask(func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }))
		kept(name+" by nobody", ask(func(r *http.Request) { r.Header.Del("Cookie"); r.Header.Del("Authorization") }), d.says("nobody"))
		kept(name+" with a false token", ask(func(r *http.Request) {
			r.Header.Set("Cookie", httpapi.RefreshCookie+"=x")
			r.Header.Set("Authorization", "Bearer x")
		}))
		kept(name+" with a false body", ask(func(r *http.Request) { r.Body = http.NoBody }))
		kept(name+" with a query that is not known", ask(func(r *http.Request) { r.URL.RawQuery = "x=y" }))
		kept(name+" with another method", ask(func(r *http.Request) { r.Method = "PROPFIND" }), http.StatusMethodNotAllowed)
		kept(name+" a little further", ask(func(r *http.Request) { r.URL.Path += "/x/y" }), http.StatusNotFound)
		member = h.newSomebody(t) // a body that is not read may have been none too many
		kept(name, ask(func(*http.Request) {}), d.says("owner"))
	}, auth.Function, refresh.Function)

	// A sign-in that succeeds, which no door above is, and cookies that no script
	// reads and no other site's request carries.
	member := h.newSomebody(t)
	w := h.send(own.request("POST", "/api/auth/login", map[string]string{"email": member.email, "password": walkersPassword}, &somebody{}))
	if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("signing in is answered %d with Cache-Control %q", w.Code, w.Header().Get("Cache-Control"))
	}
	names := map[string]bool{}
	for _, cookie := range w.Result().Cookies() {
		names[cookie.Name] = true
		if !strings.HasPrefix(cookie.Name, "__Host-") || !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" {
			t.Errorf("a cookie that others may have: %s", cookie.Raw)
		}
	}
	if !names[httpapi.RefreshCookie] || !names[identity.DeviceCookie] {
		t.Errorf("signing in sets %v", names)
	}
}
