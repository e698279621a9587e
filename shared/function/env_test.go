package function_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// lookup finds the settings given as NAME, value, NAME, value.
func lookup(pairs ...string) function.Lookup {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func newEnv(pairs ...string) *function.Env {
	return function.NewEnv(slog.New(slog.DiscardHandler), time.Now, lookup(pairs...))
}

var store = function.Need{Name: "store", Settings: []function.Setting{
	{Name: "STORE_URL", Doc: "where the store is", Secret: true},
	{Name: "STORE_POOL", Doc: "how many", Default: "4"},
}}

// greeter is a function with a bit of everything.
var greeter = function.Function{
	Name: "greeter", Doc: "greets.", Needs: []function.Need{store},
	Settings: []function.Setting{
		{Name: "GREETING", Doc: "what to say first"},
		{Name: "NAME", Doc: "whom to greet", Optional: true},
	},
	Cookies: []string{"mug"},
	Timeout: 7 * time.Second, Concurrency: 20, MemoryMiB: 256,
	Schedules: []function.Schedule{{Name: "nightly", Cron: "0 3 * * *", Path: "/api/greet"}},
	Routes: func(api *httpapi.API, env *function.Env) {
		api.GuardScheduler = func(huma.Context) error { return nil }
		huma.Register(api, huma.Operation{OperationID: "greet", Method: "POST", Path: "/api/greet", Security: httpapi.Scheduler},
			func(context.Context, *struct{}) (*struct{ Body string }, error) {
				return &struct{ Body string }{env.Setting("GREETING")}, nil
			})
	},
}

// panics returns what do panics with.
func panics(do func()) (cause any) {
	defer func() { cause = recover() }()
	do()
	return nil
}

func TestSettingIsItsValueOrItsDefault(t *testing.T) {
	t.Parallel()
	env := newEnv("GREETING", "hello", "STORE_POOL", "").For(greeter)
	for name, want := range map[string]string{"GREETING": "hello", "NAME": "", "STORE_POOL": "4", "STORE_URL": ""} {
		if got := env.Setting(name); got != want {
			t.Errorf("Setting(%s) = %q, want %q", name, got, want)
		}
	}
	value, declared := env.Declared("STORE_URL")
	if diff := cmp.Diff(store.Settings[0], declared); value != "" || diff != "" {
		t.Errorf("Declared = %q %s", value, diff)
	}
}

func TestUndeclaredSettingIsADefect(t *testing.T) {
	t.Parallel()
	cause := panics(func() { newEnv("OTHER", "x").For(greeter).Setting("OTHER") })
	if want := `function "greeter" reads setting "OTHER" without declaring it`; cause != want {
		t.Errorf("panicked with %v", cause)
	}
}

func TestMissingSettingsAreNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	other := function.Function{Name: "other", Settings: []function.Setting{{Name: "KEY", Doc: "a key"}}, Routes: func(*httpapi.API, *function.Env) { t.Error("routes were registered") }}
	_, err := function.Handler(newEnv("GREETING", ""), greeter, other)
	want := "settings are missing or wrong:\ngreeter: set STORE_URL (where the store is)\ngreeter: set GREETING (what to say first)\nother: set KEY (a key)"
	if err == nil || err.Error() != want {
		t.Errorf("Handler: %v, want %s", err, want)
	}
}

func TestNilLookupFindsNothing(t *testing.T) {
	t.Parallel()
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, nil).For(greeter)
	if got := env.Setting("STORE_POOL"); got != "4" {
		t.Errorf("STORE_POOL = %q", got)
	}
}

func TestFunctionsOfOneProcessShareADependency(t *testing.T) {
	t.Parallel()
	env := newEnv()
	opened := 0
	open := func() *int { opened++; return &opened }
	one := function.Shared(env.For(greeter), store, open)
	two := function.Shared(env.For(function.Function{Name: "other", Needs: []function.Need{store}}), store, open)
	if one != two || opened != 1 {
		t.Errorf("opened %d times", opened)
	}
	if function.Shared(newEnv().For(greeter), store, open); opened != 2 {
		t.Error("two processes share a dependency")
	}
	behind := func(env *function.Env) *int {
		return function.Once(env, "behind the store", func() *int { return new(int) })
	}
	if behind(env.For(greeter)) != behind(env.For(function.Function{Name: "bare"})) || behind(env) == behind(newEnv()) {
		t.Error("what stands behind a need is not there once a process")
	}
	nested := newEnv().For(greeter)
	if function.Shared(nested, store, func() *int { return behind(nested) }) != behind(nested) {
		t.Error("a need cannot be opened with what stands behind it")
	}
	cause := panics(func() { function.Shared(env.For(function.Function{Name: "bare"}), store, open) })
	if want := `function "bare" uses store without declaring the need`; cause != want {
		t.Errorf("panicked with %v", cause)
	}
}

func TestFunctionsApartShareWhatTheyNeedAlike(t *testing.T) {
	t.Parallel()
	env := newEnv().Apart(func(name string) function.Lookup {
		if name == "stranger" {
			return lookup("STORE_URL", "store://stranger")
		}
		return lookup("STORE_URL", "store://all", "GREETING", name)
	})
	opened := 0
	open := func() *int { opened++; return new(int) }
	of := func(name string) *int {
		return function.Shared(env.For(function.Function{Name: name, Needs: []function.Need{store}}), store, open)
	}
	one, two, stranger := of("one"), of("two"), of("stranger")
	if one != two || one == stranger || opened != 2 {
		t.Errorf("opened %d times; one shares with two: %v, with a stranger: %v", opened, one == two, one == stranger)
	}
	if got := env.For(greeter).Setting("GREETING"); got != "greeter" {
		t.Errorf("GREETING = %q", got)
	}
}

func TestStopClosesLatestFirst(t *testing.T) {
	t.Parallel()
	env := newEnv()
	var closed []string
	for _, name := range []string{"pool", "dialer", "cache"} {
		env.For(greeter).OnStop(func(context.Context) error {
			closed = append(closed, name)
			return errors.New(name + " was busy")
		})
	}
	err := env.Stop(t.Context())
	if want := "cache was busy\ndialer was busy\npool was busy"; err == nil || err.Error() != want {
		t.Errorf("Stop: %v", err)
	}
	if diff := cmp.Diff([]string{"cache", "dialer", "pool"}, closed); diff != "" {
		t.Error(diff)
	}
	if err := env.Stop(t.Context()); err != nil || len(closed) != 3 {
		t.Errorf("a second Stop: %v, closed %v", err, closed)
	}
}

func TestStopLeavesWhatDoesNotClose(t *testing.T) {
	t.Parallel()
	env := newEnv()
	held := make(chan struct{})
	defer close(held)
	env.OnStop(func(context.Context) error { <-held; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := env.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
}

func TestReleaseIsTheSettingOrTheBuild(t *testing.T) {
	t.Parallel()
	if got := newEnv("RELEASE", "0123abc").Release(); got != "0123abc" {
		t.Errorf("Release() = %q", got)
	}
	// A test binary knows no commit.
	if got := newEnv("RELEASE", "").Release(); got != "dev" {
		t.Errorf("Release() = %q", got)
	}
}

func TestHandlerServesTheRoutesAndTellsThatItLives(t *testing.T) {
	t.Parallel()
	other := function.Function{Name: "other", Routes: func(api *httpapi.API, _ *function.Env) {
		api.Handle("GET /page", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("page")) }))
	}}
	handler, err := function.Handler(newEnv("GREETING", "hello", "STORE_URL", "x", "RELEASE", "0123abc"), greeter, other)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"POST", "/api/greet", 200, "\"hello\"\n"},
		{"GET", "/page", 200, "page"},
		{"GET", function.LivePath, 200, `{"functions":["greeter","other"],"release":"0123abc"}` + "\n"},
		{"GET", "/", 404, ""},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
		if w.Code != test.status || test.body != "" && w.Body.String() != test.body {
			t.Errorf("%s %s: %d %s", test.method, test.path, w.Code, w.Body)
		}
		if w.Header().Get("X-Request-Id") == "" {
			t.Errorf("%s has no request id", test.path)
		}
		if test.path == function.LivePath && (w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json") {
			t.Errorf("%s: %v", test.path, w.Header())
		}
	}
}

func TestManifestSaysAllThatTheDeploymentNeeds(t *testing.T) {
	t.Parallel()
	bare := function.Function{Name: "bare", Doc: "does <nothing>.", Needs: []function.Need{{Name: "postgres"}}, Routes: func(*httpapi.API, *function.Env) {}}
	got, err := function.Manifest(greeter, bare)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "//": "Printed from functions.All by: go test ./functions -update. Do not edit.",
  "client_header": "X-Dashboard-Client",
  "settings": [
    {
      "name": "TRUSTED_PROXIES",
      "doc": "how many proxies of ours append to X-Forwarded-For: 1 for Cloud Run itself, 2 behind an external load balancer, 0 for none",
      "default": "1",
      "required": false,
      "secret": false
    },
    {
      "name": "CLIENT_ADDRESS_HEADER",
      "doc": "a header that our proxy sets to the client's address, whatever the client sent; in place of TRUSTED_PROXIES",
      "required": false,
      "secret": false
    },
    {
      "name": "PUBLIC_ORIGIN",
      "doc": "where browsers find the product, such as https://dash.example.com; unset, the host that a request names",
      "required": false,
      "secret": false
    },
    {
      "name": "ALLOWED_ORIGINS",
      "doc": "other origins, separated by commas, whose pages may call the API with credentials",
      "required": false,
      "secret": false
    },
    {
      "name": "SENTRY_DSN",
      "doc": "where Sentry is told of failures: https://KEY@HOST/PROJECT",
      "required": false,
      "secret": true
    },
    {
      "name": "OTEL_EXPORTER_OTLP_ENDPOINT",
      "doc": "where traces are sent by OTLP over HTTP: https://collector.example.com, without /v1/traces",
      "required": false,
      "secret": false
    },
    {
      "name": "OTEL_EXPORTER_OTLP_HEADERS",
      "doc": "what the trace collector wants to be sent along, such as its key: NAME=VALUE,NAME=VALUE",
      "required": false,
      "secret": true
    },
    {
      "name": "OTEL_TRACES_SAMPLER_ARG",
      "doc": "the share of all traces that is recorded, from 0 to 1",
      "default": "1",
      "required": false,
      "secret": false
    },
    {
      "name": "DEPLOYMENT_ENVIRONMENT",
      "doc": "what Sentry and traces call this installation",
      "default": "production",
      "required": false,
      "secret": false
    }
  ],
  "functions": [
    {
      "name": "greeter",
      "doc": "greets.",
      "needs": [
        "store"
      ],
      "settings": [
        {
          "name": "STORE_URL",
          "doc": "where the store is",
          "required": true,
          "secret": true
        },
        {
          "name": "STORE_POOL",
          "doc": "how many",
          "default": "4",
          "required": false,
          "secret": false
        },
        {
          "name": "GREETING",
          "doc": "what to say first",
          "required": true,
          "secret": false
        },
        {
          "name": "NAME",
          "doc": "whom to greet",
          "required": false,
          "secret": false
        }
      ],
      "cookies": [
        "mug"
      ],
      "timeout_seconds": 7,
      "concurrency": 20,
      "memory_mib": 256,
      "schedules": [
        {
          "name": "nightly",
          "cron": "0 3 * * *",
          "path": "/api/greet"
        }
      ],
      "routes": [
        {
          "method": "POST",
          "path": "/api/greet",
          "access": "scheduler"
        }
      ]
    },
    {
      "name": "bare",
      "doc": "does <nothing>.",
      "needs": [
        "postgres"
      ],
      "database_role": "dashboard_bare",
      "settings": [],
      "timeout_seconds": 0,
      "concurrency": 0,
      "memory_mib": 0,
      "schedules": [],
      "routes": []
    }
  ]
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestOneDocumentDescribesAllFunctions(t *testing.T) {
	t.Parallel()
	other := function.Function{Name: "other", Routes: func(api *httpapi.API, _ *function.Env) {
		huma.Register(api, huma.Operation{OperationID: "part", Method: "GET", Path: "/api/part", Security: httpapi.Public},
			func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
	}}
	var paths []string
	for path := range function.OpenAPI(greeter, other).Paths {
		paths = append(paths, path)
	}
	if got := strings.Join(paths, " "); got != "/api/greet /api/part" && got != "/api/part /api/greet" {
		t.Errorf("paths %s", got)
	}
	if diff := cmp.Diff([]httpapi.Route{{Method: "POST", Path: "/api/greet", Access: "scheduler"}}, function.Routes(greeter)); diff != "" {
		t.Error(diff)
	}
}
