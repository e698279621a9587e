package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// attacks is the script of the other site's page. attack asks for everything that
// fetch and beacons can ask for, with the cookies of who reads the page, and returns what it
// was given, be it only to embed. attackHidden does so in a sandboxed frame, whose
// origin nobody is told. post sends a form.
const attacks = `
async function attack(product) {
	const given = [];
	for (const path of ["logout", "refresh", "logout-everywhere"]) navigator.sendBeacon(product + "/api/auth/" + path, "x");
	for (const [method, path] of [
		["POST", "/api/auth/logout"], ["POST", "/api/auth/refresh"], ["POST", "/api/auth/login"], ["POST", "/api/auth/logout-everywhere"],
		["PUT", "/api/auth/password"], ["DELETE", "/api/auth/sessions/7f1f2a4e-0000-4000-8000-000000000000"],
		["GET", "/api/auth/me"], ["GET", "/api/auth/sessions"], ["GET", "/api/version"], ["GET", "/"],
	]) for (const mode of ["no-cors", "cors"]) for (const media of ["", "text/plain", "application/json"]) {
		const init = { method, mode, credentials: "include", headers: media ? { "Content-Type": media } : {} };
		if (method !== "GET") init.body = JSON.stringify({ current_password: "a", new_password: "b" });
		try {
			const answer = await fetch(product + path, init);
			given.push([method, path, mode, media, answer.type, answer.status].join(" "));
		} catch {}
	}
	return given;
}
function attackHidden(product) {
	const answer = new Promise((resolve) => (onmessage = ({ data }) => resolve(data)));
	const frame = document.createElement("iframe");
	frame.sandbox = "allow-scripts";
	frame.srcdoc = "<script>" + attack + ";attack(" + JSON.stringify(product) + ").then((given) => parent.postMessage(given, '*'))</" + "script>";
	document.body.append(frame);
	return answer;
}
function post(address, enctype) {
	const form = Object.assign(document.createElement("form"), { action: address, method: "post", enctype });
	form.append(Object.assign(document.createElement("input"), { name: '{"x":"', value: '"}' }));
	document.body.append(form);
	form.submit();
}`

// attempt is a request by a page that is not the product's, as it arrived.
type attempt struct {
	what   string // method, path, Origin, Sec-Fetch-Site
	write  bool
	cookie bool
	status int
}

// overTLS puts a server around a handler as a load balancer does that ends TLS.
func overTLS(t *testing.T, address string) (secured string) {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0),
	})
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // browsers close connections whose certificate they do not know
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// trustAll has a tab take the certificates that tests make.
func (p tab) trustAll() {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}); err != nil {
		p.t.Fatal(err)
	}
}

// A page of another site, and one of the same site that is not ours, does what it
// can in the browser of somebody who is signed in. The cookie's SameSite keeps it
// away from the first; that is taken away as well, for it must not be all.
func TestOtherSitesPagesAreRefused(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		for _, sameSite := range []string{"SameSite=Strict", "SameSite=None"} {
			t.Run(fmt.Sprintf("over TLS %t, %s", secure, sameSite), func(t *testing.T) {
				t.Parallel()
				b, s := newBrowser(t), newSite(t)
				other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/html")
					_, _ = io.WriteString(w, "<!doctype html><title>Another site</title><body><script>"+attacks+"</script>")
				}))
				defer other.Close()
				product, sibling := s.url, other.URL
				if secure {
					product, sibling = overTLS(t, s.url), overTLS(t, other.URL)
				}
				var mu sync.Mutex
				var attempts []attempt
				s.between(func(next http.Handler, w http.ResponseWriter, r *http.Request) {
					next.ServeHTTP(&cookieLoosener{w, sameSite}, r)
					site := r.Header.Get("Sec-Fetch-Site")
					if site == "same-origin" || site == "none" {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					_, err := r.Cookie(httpapi.RefreshCookie)
					attempts = append(attempts, attempt{
						what:   strings.Join([]string{r.Method, r.URL.Path, r.Header.Get("Origin"), site}, " "),
						write:  r.Method != http.MethodGet && r.Method != http.MethodOptions,
						cookie: err == nil, status: w.(*statusNote).status,
					})
				})
				b.trustAll()
				b.signIn(product)
				b.expectCookiesKept(product, strings.TrimPrefix(sameSite, "SameSite="))
				before := s.sessions()

				evil := b.newTab()
				evil.trustAll()
				for _, page := range []struct {
					url      string
					sameSite bool
				}{{sibling, true}, {strings.Replace(sibling, "127.0.0.1", "localhost", 1), false}} {
					mu.Lock()
					attempts = nil
					mu.Unlock()
					evil.do(chromedp.Navigate(page.url))
					for _, attack := range []string{"attack", "attackHidden"} {
						if given := eval[[]string](evil, attack+"("+quoted(product)+")"); len(given) != 0 {
							t.Errorf("%s by %s is given:\n%s", attack, page.url, strings.Join(given, "\n"))
						}
					}
					for _, path := range []string{"/api/auth/logout", "/api/auth/refresh", "/api/auth/logout-everywhere"} {
						for _, enctype := range []string{"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"} {
							evil.do(chromedp.Navigate(page.url))
							evil.do(chromedp.Evaluate[chromedp.Void]("post(" + quoted(product+path) + ", " + quoted(enctype) + ")"))
							evil.wait(`document.body.innerText.includes("cross_site")`)
						}
					}
					mu.Lock()
					seen, withCookie := map[string]int{}, 0
					for _, a := range attempts {
						if a.write && a.status != http.StatusForbidden {
							t.Errorf("%s is answered %d", a.what, a.status)
						}
						if a.write && a.cookie {
							withCookie++
						}
						seen[a.what]++
					}
					mu.Unlock()
					site := map[bool]string{true: "same-site", false: "cross-site"}[page.sameSite]
					// By no-cors three, whose type the browser makes a simple one, by cors
					// two, a beacon, and three forms. At least: a browser may send one again whose
					// connection was closed.
					for what, want := range map[string]int{
						"POST /api/auth/logout":            9,
						"POST /api/auth/refresh":           9,
						"POST /api/auth/logout-everywhere": 9,
						"POST /api/auth/login":             5,
						"OPTIONS /api/auth/logout":         1,
						"OPTIONS /api/auth/password":       3,
						"GET /api/auth/me":                 2,
						"PUT /api/auth/password":           0, // which the preflight kept back
					} {
						if got := seen[what+" "+page.url+" "+site]; got < want || want == 0 && got != 0 {
							t.Errorf("%s by %s arrived %d times, want %d", what, page.url, got, want)
						}
					}
					for what, want := range map[string]int{"POST /api/auth/logout": 6, "OPTIONS /api/auth/password": 3, "PUT /api/auth/password": 0} {
						if got := seen[what+" null cross-site"]; got < want || want == 0 && got != 0 {
							t.Errorf("%s by a hidden page arrived %d times, want %d", what, got, want)
						}
					}
					if carried := page.sameSite || sameSite == "SameSite=None"; (withCookie > 0) != carried {
						t.Errorf("%s: %d writes by %s carried the cookie", sameSite, withCookie, page.url)
					}
				}
				if diff := cmp.Diff(before, s.sessions()); diff != "" {
					t.Errorf("another site has changed sessions (-before +after):\n%s", diff)
				}
				b.do(chromedp.Reload())
				b.wait(`document.querySelector(".top")`) // still signed in, by the cookie alone
				if cmp.Equal(before, s.sessions()) {
					t.Error("the page came back without a refresh: sessions do not show what is done to them")
				}
			})
		}
	}
}

// cookieLoosener has cookies say another SameSite than the product gives them.
type cookieLoosener struct {
	http.ResponseWriter
	sameSite string
}

func (l *cookieLoosener) WriteHeader(status int) {
	for i, cookie := range l.Header()["Set-Cookie"] {
		l.Header()["Set-Cookie"][i] = strings.Replace(cookie, "SameSite=Strict", l.sameSite, 1)
	}
	l.ResponseWriter.WriteHeader(status)
}

func (l *cookieLoosener) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// sessions are the rows of all sessions, and the transactions that wrote them.
func (s *site) sessions() []string {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), `SELECT xmin || ' ' || s::text FROM sessions s ORDER BY id`)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// expectCookiesKept looks into what the browser keeps, and asks a script for it.
func (b *browser) expectCookiesKept(address, sameSite string) {
	b.t.Helper()
	kept, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{address}})
	if err != nil {
		b.t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range kept.Cookies {
		names[c.Name] = true
		if !c.Secure || !c.HTTPOnly || c.Session || c.Path != "/" || c.Domain != "127.0.0.1" || string(c.SameSite) != sameSite {
			b.t.Errorf("the browser keeps %+v", c)
		}
	}
	if diff := cmp.Diff(map[string]bool{httpapi.RefreshCookie: true, identity.DeviceCookie: true}, names); diff != "" {
		b.t.Errorf("cookies (-want +got):\n%s", diff)
	}
	if read := eval[string](b.tab, "document.cookie"); read != "" {
		b.t.Errorf("a script reads %q", read)
	}
}

// A front end that lives elsewhere, at an origin that is named, signs in, goes on
// and signs out with the browser's cookies; the same page at another does not.
func TestPagesOfNamedOriginsWork(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>A front end</title>")
	}))
	defer front.Close()
	settings := identitytest.Settings(t)
	settings["DATABASE_URL"] = pgtest.URL(t)
	settings["REDIS_URL"] = "redis://" + miniredis.RunT(t).Addr()
	settings["ALLOWED_ORIGINS"] = "https://front.example.net, " + front.URL
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
	handler, err := function.Handler(env, functions.All...)
	if err != nil {
		t.Fatal(err)
	}
	product := httptest.NewServer(handler)
	t.Cleanup(func() {
		product.Close()
		if err := env.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})

	ask := func(method, path string, body any, headers m) map[string]any {
		t.Helper()
		init := m{"method": method, "credentials": "include", "headers": headers}
		if body != nil {
			init["body"] = quoted(body)
		}
		return eval[map[string]any](b.tab, `fetch(`+quoted(product.URL+path)+`, `+quoted(init)+`).then(
			async (a) => ({ status: a.status, id: a.headers.get("X-Request-Id") !== null, said: await a.text() }),
			(e) => ({ status: 0, said: String(e) }))`)
	}
	expect := func(what string, got map[string]any, status float64) {
		t.Helper()
		if got["status"] != status || (status != 0 && got["id"] != true) {
			t.Errorf("%s: %v, want %v and an id of the request", what, got, status)
		}
	}
	account := m{"email": email, "password": password, "name": "Ada Example", "team": "Reeds", "time_zone": zone}
	sent := m{"Content-Type": "application/json"}

	b.do(chromedp.Navigate(strings.Replace(front.URL, "127.0.0.1", "localhost", 1)))
	expect("an account, by a page elsewhere", ask("POST", "/api/auth/register", account, sent), 0)
	expect("a public answer, by a page elsewhere", ask("GET", "/api/version", nil, m{}), 0)
	b.do(chromedp.Navigate(front.URL))
	registered := ask("POST", "/api/auth/register", account, sent)
	expect("an account", registered, http.StatusCreated)
	var in struct {
		AccessToken string `json:"access_token"`
	}
	said, _ := registered["said"].(string)
	if err := json.Unmarshal([]byte(said), &in); err != nil {
		t.Fatal(err)
	}
	expect("a refresh by the cookie", ask("POST", "/api/auth/refresh", nil, m{}), http.StatusOK)
	expect("who is signed in", ask("GET", "/api/auth/me", nil, m{"Authorization": "Bearer " + in.AccessToken}), http.StatusOK)
	expect("who is signed in, by the cookie alone", ask("GET", "/api/auth/me", nil, m{}), http.StatusUnauthorized)
	expect("a delete, after a preflight", ask("DELETE", "/api/auth/sessions/"+uuid.NewString(), nil, m{"Authorization": "Bearer " + in.AccessToken}), http.StatusNotFound)
	b.do(chromedp.Navigate(strings.Replace(front.URL, "127.0.0.1", "localhost", 1)))
	expect("signing out, by a page elsewhere", ask("POST", "/api/auth/logout", nil, m{}), 0)
	b.do(chromedp.Navigate(front.URL))
	expect("a refresh after that", ask("POST", "/api/auth/refresh", nil, m{}), http.StatusOK)
	expect("signing out", ask("POST", "/api/auth/logout", nil, m{}), http.StatusNoContent)
	expect("a refresh after signing out", ask("POST", "/api/auth/refresh", nil, m{}), http.StatusUnauthorized)
}
