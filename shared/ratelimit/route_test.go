package ratelimit_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

var (
	signInAddress = &ratelimit.Policy{Name: "login-address", By: ratelimit.Address, Burst: 3, Window: 30 * time.Second, Secret: true}
	signInNetwork = &ratelimit.Policy{Name: "login-network", By: ratelimit.Network, Burst: 6, Window: time.Minute, Secret: true}
	signInAccount = &ratelimit.Policy{Name: "login-account", By: ratelimit.Account, Burst: 4, Window: 10 * time.Minute, Secret: true, Backoff: true}
	signInDevice  = &ratelimit.Policy{Name: "login-device", By: ratelimit.Device, Burst: 2, Window: 10 * time.Minute, Secret: true, Backoff: true}
	perSession    = &ratelimit.Policy{Name: "refresh-session", By: ratelimit.Session, Burst: 2, Window: time.Minute}
	perUser       = &ratelimit.Policy{Name: "metrics-user", By: ratelimit.User, Burst: 2, Window: time.Minute}
	plain         = &ratelimit.Policy{Name: "plain", By: ratelimit.Address, Burst: 2, Window: time.Minute}
)

// house is a small function with limits of every kind.
type house struct {
	http.Handler
	api  *httpapi.API
	work int // requests that got past their limits
}

type signIn struct {
	Account byte   `query:"account"`
	Device  string `query:"device"`
	Right   bool   `query:"right"`
	Stale   bool   `query:"stale" doc:"The device turns out to be none."`
}

func newHouse(t *testing.T, l *ratelimit.Limiter) *house {
	t.Helper()
	mux := http.NewServeMux()
	h := &house{api: httpapi.New(mux, 0)}
	h.api.Guard = func(ctx huma.Context) (context.Context, error) {
		return access.WithCaller(ctx.Context(), access.Caller{User: uuid.MustParse(ctx.Header("X-User"))}), nil
	}
	ratelimit.Enforce(h.api, l)
	get := func(path string, security []map[string][]string) huma.Operation {
		return huma.Operation{OperationID: "get" + strings.ReplaceAll(path, "/", "-"), Method: "GET", Path: path, Security: security}
	}
	huma.Register(h.api, ratelimit.On(get("/plain", httpapi.Public), plain), func(context.Context, *struct{}) (*struct{}, error) {
		h.work++
		return nil, nil
	})
	huma.Register(h.api, get("/free", httpapi.Public), func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
	huma.Register(h.api, ratelimit.On(get("/networks", httpapi.Public), signInNetwork), func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
	huma.Register(h.api, ratelimit.On(get("/mine", httpapi.Bearer), perUser), func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
	huma.Register(h.api, ratelimit.On(get("/refresh", httpapi.Public), plain, perSession), func(ctx context.Context, in *signIn) (*struct{}, error) {
		_, err := ratelimit.Named(ctx, ratelimit.Subjects{Session: uuid.UUID{in.Account}})
		return nil, err
	})
	huma.Register(h.api, ratelimit.On(get("/sign-in", httpapi.Public), signInAddress, signInNetwork, signInAccount, signInDevice), func(ctx context.Context, in *signIn) (*struct{}, error) {
		who := ratelimit.Subjects{Account: [16]byte{in.Account}}
		if in.Device != "" {
			who.Device = uuid.MustParse(in.Device)
		}
		attempt, err := ratelimit.Named(ctx, who)
		if err != nil {
			return nil, err
		}
		if in.Stale {
			if attempt, err = ratelimit.Named(ctx, ratelimit.Subjects{Account: who.Account}); err != nil {
				return nil, err
			}
		}
		h.work++
		if !in.Right {
			attempt.Failed(ctx)
			return nil, &fault.Error{Kind: fault.Unauthenticated, Code: "wrong", Detail: "Wrong."}
		}
		attempt.Succeeded(ctx)
		return nil, nil
	})
	h.Handler = httpapi.Wrap(mux, discard, newClock().now, httpapi.Surroundings{Proxies: httpapi.Proxies{Header: "X-Client"}})
	return h
}

func (h *house) get(t *testing.T, path, address string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	if address != "" {
		r.Header.Set("X-Client", address)
	}
	r.Header.Set("X-User", strings.TrimPrefix(address, "user:"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAnswersSayWhatIsLeft(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		c := newClock()
		h := newHouse(t, ratelimit.New(client, 1, c.now, discard))
		want := func(status int, limit string) *httptest.ResponseRecorder {
			t.Helper()
			w := h.get(t, "/plain", "192.0.2.1")
			if w.Code != status || w.Header().Get("RateLimit") != limit || w.Header().Get("RateLimit-Policy") != `"plain";q=2;w=60` {
				t.Errorf("%d %v %s, want %d %s", w.Code, w.Header(), w.Body, status, limit)
			}
			return w
		}
		want(204, `"plain";r=1;t=30`)
		want(204, `"plain";r=0;t=60`)
		c.move(500 * time.Millisecond)
		w := want(429, `"plain";r=0;t=30`) // 29.5 s
		if w.Header().Get("Retry-After") != "30" {
			t.Errorf("%v", w.Header())
		}
		var problem httpapi.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &problem); err != nil {
			t.Fatal(err)
		}
		problem.RequestID = ""
		if diff := cmp.Diff(httpapi.Problem{
			Type: "https://iana.org/assignments/http-problem-types#quota-exceeded", Title: "Too Many Requests", Status: 429,
			Code: "too_many_requests", Detail: "Too many requests. Try again in 30 seconds.", Exceeded: []string{"plain"},
		}, problem, cmp.AllowUnexported(httpapi.Problem{})); diff != "" {
			t.Error(diff)
		}
		c.move(29 * time.Second)
		if w := want(429, `"plain";r=0;t=1`); !strings.Contains(w.Body.String(), "in a second.") {
			t.Errorf("%s", w.Body)
		}
		c.move(500 * time.Millisecond)
		want(204, `"plain";r=0;t=60`)
		if h.work != 3 {
			t.Errorf("%d requests did work, want the admitted 3", h.work)
		}
		if w := h.get(t, "/free", "192.0.2.1"); w.Code != 204 || w.Header().Get("RateLimit") != "" {
			t.Errorf("a route without limits: %d %v", w.Code, w.Header())
		}
	})
}

// Which addresses count together.
func TestWhatIsOneClient(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		path, one, other string
		same             bool
	}{
		"IPv4":                    {"/plain", "192.0.2.1", "192.0.2.2", false},
		"IPv4 in IPv6":            {"/plain", "192.0.2.1", "::ffff:192.0.2.1", true},
		"IPv4 with ports":         {"/plain", "192.0.2.1:1", "192.0.2.1:2", true},
		"IPv6 in a /64":           {"/plain", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		"IPv6 in another /64":     {"/plain", "2001:db8:1:2::1", "2001:db8:1:3::1", false},
		"IPv4 in a /24":           {"/networks", "192.0.2.1", "192.0.2.254", true},
		"IPv4 in another /24":     {"/networks", "192.0.2.1", "192.0.3.1", false},
		"IPv6 in a /48":           {"/networks", "2001:db8:1:2::1", "2001:db8:1:ffff::1", true},
		"IPv6 in another /48":     {"/networks", "2001:db8:1::1", "2001:db8:2::1", false},
		"no address":              {"/plain", "", "nonsense", true},
		"no address and IPv4":     {"/plain", "", "192.0.2.1", false},
		"no address, nor network": {"/networks", "", "nonsense", true},
		"no address and IPv4's 0": {"/plain", "", "0.0.0.0", false},
		"one user":                {"/mine", "user:6ba7b810-9dad-11d1-80b4-00c04fd430c8", "user:6ba7b810-9dad-11d1-80b4-00c04fd430c8", true},
		"another user":            {"/mine", "user:6ba7b810-9dad-11d1-80b4-00c04fd430c8", "user:6ba7b811-9dad-11d1-80b4-00c04fd430c8", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, ratelimit.New(nil, 2, newClock().now, discard)) // 2, for Secret limits are halved alone
			n := 0
			for ; h.get(t, test.path, test.one).Code == 204; n++ {
			}
			if w := h.get(t, test.path, test.other); n == 0 || (w.Code == 429) != test.same {
				t.Errorf("after %d from %q, %q gets %d", n, test.one, test.other, w.Code)
			}
		})
	}
}

func TestSessionCountsBesideTheAddress(t *testing.T) {
	t.Parallel()
	h := newHouse(t, ratelimit.New(nil, 1, newClock().now, discard))
	for _, address := range []string{"192.0.2.1", "192.0.2.2"} {
		if w := h.get(t, "/refresh?account=1", address); w.Code != 204 || w.Header().Get("RateLimit") != `"plain";r=1;t=30` {
			t.Errorf("%d %v", w.Code, w.Header())
		}
	}
	w := h.get(t, "/refresh?account=1", "192.0.2.3")
	if w.Code != 429 || w.Header().Get("RateLimit") != `"refresh-session";r=0;t=30` || w.Header().Get("RateLimit-Policy") != `"refresh-session";q=2;w=60` || !strings.Contains(w.Body.String(), `"violated-policies":["refresh-session"]`) {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if w := h.get(t, "/refresh?account=2", "192.0.2.3"); w.Code != 204 {
		t.Errorf("another session: %d", w.Code)
	}
}

// What an answer says must be the same whoever the account is: only its limits
// are told that the caller could know without signing in.
func TestNothingOfAnAccountIsTold(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		scale := 1.0
		if client == nil {
			scale = 2
		}
		h := newHouse(t, ratelimit.New(client, scale, newClock().now, discard))
		for i := range 12 {
			// Each from a network of its own, so that only the account is refused.
			address := "198.51." + string(rune('0'+i/10)) + string(rune('0'+i%10)) + ".7"
			address = strings.ReplaceAll(address, ".0", ".1")
			w := h.get(t, "/sign-in?account=1", address)
			told := w.Header().Get("RateLimit") + w.Header().Get("RateLimit-Policy") + w.Body.String()
			if strings.Contains(told, "account") || strings.Contains(told, "device") || strings.Contains(told, "backoff") || !strings.Contains(told, `"login-address"`) {
				t.Errorf("%d: told %s", i, told)
			}
			if i > 8 && w.Code != 429 {
				t.Errorf("%d: %d", i, w.Code)
			}
		}
		if h.work < 4 || h.work > 8 {
			t.Errorf("%d attempts on one account", h.work)
		}
		// Another account from an address that has only seen refusals starts afresh.
		if w := h.get(t, "/sign-in?account=2&right=true", "203.0.113.1"); w.Code != 204 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// Whoever tries an account's password from elsewhere does not lock its owner out.
func TestDeviceCountsInPlaceOfTheAccount(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		scale := 1.0
		if client == nil {
			scale = 2
		}
		c := newClock()
		h := newHouse(t, ratelimit.New(client, scale, c.now, discard))
		networks := 0
		attempt := func(query string) *httptest.ResponseRecorder {
			networks++
			return h.get(t, "/sign-in?"+query, "198.18."+string(rune('1'+networks/10))+string(rune('0'+networks%10))+".1")
		}
		attack := func() {
			for range 10 {
				attempt("account=1")
			}
		}
		attack()
		if w := attempt("account=1&right=true"); w.Code != 429 {
			t.Fatalf("the attack is not refused: %d", w.Code)
		}
		const device = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
		if w := attempt("account=1&right=true&device=" + device); w.Code != 204 {
			t.Errorf("the owner's device: %d %s", w.Code, w.Body)
		}
		if w := attempt("account=1&device=" + device); w.Code != 401 {
			t.Errorf("one mistake: %d %s", w.Code, w.Body)
		}
		w := attempt("account=1&device=" + device)
		if told := w.Header().Get("RateLimit") + w.Header().Get("RateLimit-Policy") + w.Body.String(); w.Code != 429 || strings.Contains(told, "device") || w.Header().Get("Retry-After") != "300" {
			t.Errorf("a device has its own limit, which is used up: %d %s", w.Code, told)
		}
		if w := attempt("account=1&device=6ba7b811-9dad-11d1-80b4-00c04fd430c8"); w.Code != 401 {
			t.Errorf("another device: %d", w.Code)
		}
	})
}

// Nor does who shares the owner's network, and their failures are not the owner's.
func TestDeviceHasAttemptsOfItsOwn(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		h := newHouse(t, ratelimit.New(client, 20, newClock().now, discard))
		const device = "&device=6ba7b810-9dad-11d1-80b4-00c04fd430c8"
		for range 10 { // until the account has to wait
			h.get(t, "/sign-in?account=1", "192.0.2.1")
		}
		for i := range 200 { // of one network, until it is used up
			h.get(t, "/sign-in?account="+strconv.Itoa(10+i), "192.0.2."+strconv.Itoa(i/40+2))
		}
		if w := h.get(t, "/sign-in?account=2&right=true", "192.0.2.99"); w.Code != 429 {
			t.Errorf("a neighbour: %d %s", w.Code, w.Body)
		}
		if w := h.get(t, "/sign-in?account=1&right=true"+device, "192.0.2.100"); w.Code != 204 {
			t.Errorf("the owner: %d %s", w.Code, w.Body)
		}
		for range 5 {
			h.get(t, "/sign-in?account=1"+device, "192.0.2.100")
		}
		if w := h.get(t, "/sign-in?account=1&right=true"+device, "192.0.2.100"); w.Code != 429 {
			t.Errorf("after failures of its own: %d %s", w.Code, w.Body)
		}
		// One that has turned out to be a stranger's counts as such from then on.
		work := h.work
		if w := h.get(t, "/sign-in?account=1&right=true&stale=true&device=6ba7b811-9dad-11d1-80b4-00c04fd430c8", "192.0.2.101"); w.Code != 429 || h.work != work {
			t.Errorf("no device: %d %s", w.Code, w.Body)
		}
		if w := h.get(t, "/sign-in?account=3&right=true&stale=true&device=6ba7b811-9dad-11d1-80b4-00c04fd430c8", "198.51.100.1"); w.Code != 204 || !slices.Contains([]string{`"login-address";r=59;t=1`, `"login-address";r=29;t=1`}, w.Header().Get("RateLimit")) {
			t.Errorf("no device, of an account that nobody tries: %d %v", w.Code, w.Header())
		}
		for range 5 {
			h.get(t, "/sign-in?account=3&stale=true&device=6ba7b811-9dad-11d1-80b4-00c04fd430c8", "198.51.100.2")
		}
		if w := h.get(t, "/sign-in?account=3&right=true", "198.51.100.3"); w.Code != 429 {
			t.Errorf("its failures are the account's: %d", w.Code)
		}
	})
}

// A request that is no good costs its address as much as one that is, and one that is
// refused is not read.
func TestRequestsThatAreNoGoodAreCharged(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		h := newHouse(t, ratelimit.New(client, 2, newClock().now, discard)) // 2, for Secret limits are halved alone
		n := 0
		for ; n < 20 && h.get(t, "/sign-in?account=none", "192.0.2.1").Code == 422; n++ {
		}
		want := 6
		if client == nil {
			want = 3
		}
		if n != want {
			t.Errorf("%d were let in, want %d", n, want)
		}
		w := h.get(t, "/sign-in?account=none", "192.0.2.1")
		if w.Code != 429 || w.Header().Get("RateLimit-Policy") != `"login-address";q=6;w=30` || h.work != 0 {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		if w := h.get(t, "/sign-in?account=none", "192.0.2.2"); w.Code != 422 {
			t.Errorf("from elsewhere: %d", w.Code)
		}
		// Nor where the whole network is used up.
		for i := range 40 {
			h.get(t, "/sign-in?account=none", "198.51.100."+strconv.Itoa(i+1))
		}
		n = 0
		for ; n < 20 && h.get(t, "/sign-in?account=none", "198.51.100.99").Code == 422; n++ {
		}
		if n != want {
			t.Errorf("of a network that is used up %d were let in, want %d", n, want)
		}
	})
}

// Redis is asked once by who signs in at the first attempt.
func TestSigningInAsksRedisOnce(t *testing.T) {
	t.Parallel()
	client, count := connect(t, redistest.URL(t)), &counted{}
	client.AddHook(count)
	h := newHouse(t, ratelimit.New(client, 1, newClock().now, discard))
	h.get(t, "/sign-in?account=1&right=true", "192.0.2.1") // loads the script
	before := count.sent()
	if w := h.get(t, "/sign-in?account=2&right=true", "192.0.2.1"); w.Code != 204 || count.sent()-before != 1 {
		t.Errorf("%d, %d commands", w.Code, count.sent()-before)
	}
	if len(h.get(t, "/refresh?account=1", "192.0.2.1").Header().Get("RateLimit")) == 0 {
		t.Error("a session's limit is not told")
	}
}

func TestFiveFailuresWaitAndASuccessForgets(t *testing.T) {
	t.Parallel()
	c := newClock()
	h := newHouse(t, ratelimit.New(nil, 20, c.now, discard))
	for range 5 {
		if w := h.get(t, "/sign-in?account=1", "192.0.2.1"); w.Code != 401 {
			t.Fatal(w.Code)
		}
	}
	if w := h.get(t, "/sign-in?account=1&right=true", "192.0.2.1"); w.Code != 429 || w.Header().Get("Retry-After") != "60" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	c.move(time.Second)
	if w := h.get(t, "/sign-in?account=1&right=true", "192.0.2.1"); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for range 4 {
		if w := h.get(t, "/sign-in?account=1", "192.0.2.1"); w.Code != 401 {
			t.Errorf("counted anew: %d", w.Code)
		}
	}
}

func TestLimitsStandInTheManifestAndTheDocument(t *testing.T) {
	t.Parallel()
	h := newHouse(t, ratelimit.New(nil, 1, newClock().now, discard))
	routes := h.api.Served()
	i := slices.IndexFunc(routes, func(r httpapi.Route) bool { return r.Path == "/refresh" })
	signIn := routes[slices.IndexFunc(routes, func(r httpapi.Route) bool { return r.Path == "/sign-in" })].Limits
	if last := signIn[len(signIn)-1]; last != (httpapi.Limit{Name: "login-backoff", By: "account", Requests: 5, Seconds: 900}) {
		t.Errorf("after failures: %+v", last)
	}
	want := []httpapi.Limit{
		{Name: "plain", By: "address", Requests: 2, Seconds: 60},
		{Name: "refresh-session", By: "session", Requests: 2, Seconds: 60},
	}
	if diff := cmp.Diff(want, routes[i].Limits); diff != "" {
		t.Error(diff)
	}
	document, err := json.Marshal(h.api.OpenAPI().Paths["/refresh"].Get)
	if err != nil || !strings.Contains(string(document), `"x-rate-limits":[{"name":"plain","by":"address","requests":2,"seconds":60}`) || !strings.Contains(string(document), `"429"`) {
		t.Errorf("%v %s", err, document)
	}
}

func TestFirstLimitIsOneThatAnswersMaySpeakOf(t *testing.T) {
	t.Parallel()
	for _, policies := range [][]*ratelimit.Policy{nil, {signInAccount}, {signInDevice, plain}, {perSession, plain}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v: declared", policies)
				}
			}()
			ratelimit.On(huma.Operation{}, policies...)
		}()
	}
}

func TestNamingWhatIsNotDeclaredIsAMistake(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a handler named subjects for no limits")
		}
	}()
	_, _ = ratelimit.Named(t.Context(), ratelimit.Subjects{})
}
