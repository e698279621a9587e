package functions_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/functions/web"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/githubtest"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

// behindTheDoor are all functions but the one whose door leads to them.
var behindTheDoor = slices.DeleteFunc(slices.Clone(functions.All), func(fn function.Function) bool { return fn.Name == web.Function.Name })

// openDoor is open as it is deployed: what is asked is asked of web, and goes on
// over HTTP. The functions behind it have more settings, NAME=VALUE.
func openDoor(t *testing.T, more ...string) *building {
	t.Helper()
	settings := map[string]string{"CLIENT_ADDRESS_HEADER": httpapi.ClientHeader}
	for _, setting := range more {
		name, value, _ := strings.Cut(setting, "=")
		settings[name] = value
	}
	h := openIn(t, func(name string) (string, bool) { value, ok := settings[name]; return value, ok }, behindTheDoor...)
	server := httptest.NewServer(h.handler)
	t.Cleanup(server.Close)
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) {
		return urlsAt(server.URL), name == "FUNCTION_URLS"
	})
	var err error
	if h.handler, err = function.Handler(env, web.Function); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	return h
}

// urlsAt is FUNCTION_URLS where all are at one address.
func urlsAt(address string) string {
	var urls []string
	for _, fn := range behindTheDoor {
		urls = append(urls, fn.Name+"="+address)
	}
	return strings.Join(urls, ",")
}

// Through the front door everybody gets what they would get from the function
// itself, but for the scheduler's routes, which nobody finds.
func TestTheFrontDoorLeadsToEveryRoute(t *testing.T) {
	t.Parallel()
	h := openDoor(t)
	for _, fn := range functions.All {
		for _, route := range function.Routes(fn) {
			name := route.Method + " " + route.Path
			d, known := doors[name]
			switch {
			case fn.Name == web.Function.Name:
				if w := h.ask(t, route.Method, strings.NewReplacer("{$}", "", "{file}", "licences.txt").Replace(route.Path), nil, nil); w.Code != http.StatusOK {
					t.Errorf("%s is answered %d", name, w.Code)
				}
				continue
			case !known:
				t.Errorf("%s has no row among the doors", name)
				continue
			case route.Access == "scheduler":
				d.want = strings.ReplaceAll(everybody, "200", "404")
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h.walk(t, route.Method, d)
			})
		}
	}
}

// The origin of the product's pages is the door's, for the functions behind it too,
// which are asked under names of their own.
func TestOwnPagesCallThroughTheFrontDoor(t *testing.T) {
	t.Parallel()
	h := openDoor(t)
	member := h.newSomebody(t)
	for origin, want := range map[string]int{"https://" + home: 200, "http://" + home: 403, "https://evil.example": 403} {
		own := crossSite{"fetch", origin, "same-origin", "cors", jsonMedia, asJSON}
		if w := h.send(own.request("POST", "/api/auth/refresh", nil, member)); w.Code != want {
			t.Errorf("%s is answered %d %s, want %d", origin, w.Code, w.Body, want)
		}
	}
	w := h.send(crossSite{"fetch", "https://" + home, "same-origin", "cors", jsonMedia, asJSON}.request("POST", "/api/auth/refresh", nil, member))
	for name, values := range w.Header() {
		if len(values) != 1 {
			t.Errorf("%s stands there %d times: %q", name, len(values), values)
		}
	}
	if w.Header().Get("Strict-Transport-Security") == "" || w.Header().Get("RateLimit") == "" {
		t.Errorf("the answer has %v", w.Header())
	}
}

// What a cookie is read for, seen through the front door: it comes to the function
// that declares it, and changes what that answers. Functions see no others.
var cookieUses = map[string]func(t *testing.T, h *building, s *somebody){
	"auth " + httpapi.RefreshCookie: func(t *testing.T, h *building, s *somebody) {
		if w := h.ask(t, "POST", "/api/auth/logout", nil, &s.walker); w.Code != http.StatusNoContent {
			t.Errorf("signing out is answered %d", w.Code)
		}
		if w := h.ask(t, "GET", "/api/auth/me", nil, &s.walker); w.Code != http.StatusUnauthorized {
			t.Errorf("the session of the cookie goes on: %d", w.Code)
		}
	},
	"auth " + identity.DeviceCookie: func(t *testing.T, h *building, s *somebody) {
		login := func(password, cookie string) *httptest.ResponseRecorder {
			r := crossSite{media: jsonMedia, write: asJSON}.request("POST", "/api/auth/login", map[string]string{"email": s.email, "password": password}, s)
			r.Header.Set("Cookie", cookie)
			return h.send(r)
		}
		device := ""
		for _, c := range login(walkersPassword, "").Result().Cookies() {
			if c.Name == identity.DeviceCookie {
				device = c.Name + "=" + c.Value
			}
		}
		// What is guessed at the device's own attempts takes none of the others'.
		for n := 0; login("a guess", device).Code != http.StatusTooManyRequests; n++ {
			if n > 20 {
				t.Fatal("a device may guess for ever")
			}
		}
		if w := login(walkersPassword, ""); w.Code != http.StatusOK {
			t.Errorf("the device's attempts were counted as everybody's: %d %s", w.Code, w.Body)
		}
	},
	"auth __Host-dd_github": func(t *testing.T, _ *building, _ *somebody) {
		github := githubtest.New(t, "https://"+home+"/api/auth/github/callback")
		h := openDoor(t, "GITHUB_CLIENT_ID="+githubtest.Client, "GITHUB_CLIENT_SECRET="+githubtest.Secret, "GITHUB_URL="+github.URL)
		start := h.ask(t, "GET", "/api/auth/github/start", nil, nil)
		if start.Code != http.StatusSeeOther || len(start.Result().Cookies()) != 1 {
			t.Fatalf("%d %s", start.Code, start.Header())
		}
		back := github.Authorize(start.Header().Get("Location"), githubtest.Person{ID: 1, Login: "one", Emails: []githubtest.Email{{Email: "one@example.com", Primary: true, Verified: true}}})
		r := httptest.NewRequest("GET", back.RequestURI(), nil)
		r.AddCookie(start.Result().Cookies()[0])
		if w := h.send(r); !strings.HasPrefix(w.Header().Get("Location"), "/#github=register&") {
			t.Errorf("coming back is answered %d %s", w.Code, w.Header())
		}
	},
	"refresh " + httpapi.RefreshCookie: func(t *testing.T, h *building, s *somebody) {
		if w := h.ask(t, "POST", "/api/auth/refresh", nil, &s.walker); w.Code != http.StatusOK || len(w.Result().Cookies()) != 1 {
			t.Errorf("refreshing is answered %d %s", w.Code, w.Body)
		}
	},
}

func TestCookiesThatAreDeclaredAreRead(t *testing.T) {
	t.Parallel()
	var declared, used []string
	for _, fn := range functions.All {
		for _, cookie := range fn.Cookies {
			declared = append(declared, fn.Name+" "+cookie)
		}
		if slices.ContainsFunc(function.Routes(fn), func(r httpapi.Route) bool { return r.Access == "session" }) && !slices.Contains(fn.Cookies, httpapi.RefreshCookie) {
			t.Errorf("%s has a route for sessions and does not declare their cookie", fn.Name)
		}
	}
	h := openDoor(t)
	for name, use := range cookieUses {
		used = append(used, name)
		t.Run(name, func(t *testing.T) { use(t, h, h.newSomebody(t)) })
	}
	slices.Sort(declared)
	slices.Sort(used)
	if diff := cmp.Diff(declared, used); diff != "" {
		t.Errorf("cookies that are declared, and those that are seen to be read: %s", diff)
	}
}

// Cloud Run would cut an answer off at web's own time limit.
func TestTheFrontDoorWaitsForTheSlowest(t *testing.T) {
	t.Parallel()
	for _, fn := range behindTheDoor {
		open := slices.ContainsFunc(function.Routes(fn), func(r httpapi.Route) bool { return r.Access != "scheduler" })
		if most := fn.Timeout + 5*time.Second; open && web.Function.Timeout < most {
			t.Errorf("%s may take %s with its start, web ends after %s", fn.Name, most, web.Function.Timeout)
		}
	}
}

// BenchmarkDoor asks a process of its own directly and through the door, in turns,
// so that a busy machine slows both alike. Where the median is over the budget it
// measures on before it says so.
//
//	go test ./functions -run '^$' -bench Door -benchtime 1x
func BenchmarkDoor(b *testing.B) {
	const batch, patience, budget = 1000, 10, time.Millisecond
	health := functions.All[slices.IndexFunc(functions.All, func(fn function.Function) bool { return fn.Name == "health" })]
	const path = "/api/health/live"
	callee := launch(b, build(b, ".", "./health/cmd"), path, append(settingsOf(health), "CLIENT_ADDRESS_HEADER="+httpapi.ClientHeader)...)
	door := launch(b, build(b, ".", "./web/cmd"), path, "FUNCTION_URLS="+urlsAt(callee.url))
	client := &http.Client{Transport: &http.Transport{}}
	ask := func(at string) time.Duration {
		started := time.Now()
		answer, err := client.Get(at + path)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			b.Fatalf("answered %d", answer.StatusCode)
		}
		return time.Since(started)
	}
	var direct, through []time.Duration
	share := func(all []time.Duration, of float64) time.Duration {
		slices.Sort(all)
		return all[int(of*float64(len(all)-1))]
	}
	added := func() time.Duration { return share(through, 0.5) - share(direct, 0.5) }
	for round := 0; round == 0 || round < patience && added() > budget; round++ {
		for n := range batch {
			d, t := ask(callee.url), ask(door.url)
			if round > 0 || n >= batch/10 { // the first ones warm up
				direct, through = append(direct, d), append(through, t)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for name, took := range map[string]time.Duration{
		"direct-p50-µs": share(direct, 0.5), "direct-p99-µs": share(direct, 0.99), "through-p50-µs": share(through, 0.5), "through-p99-µs": share(through, 0.99), "added-p50-µs": added(),
	} {
		b.ReportMetric(float64(took.Nanoseconds())/1000, name)
	}
	if added() > budget {
		b.Errorf("the door adds %s at the median, %s are allowed", added(), budget)
	}
}
