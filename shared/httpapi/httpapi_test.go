package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

func ok(context.Context, *struct{}) (*said, error) { return &said{"ok"}, nil }

func guarded(by []map[string][]string) func(*huma.Operation) {
	return func(op *huma.Operation) { op.Security = by }
}

func TestServedListsEveryRouteWithItsAccess(t *testing.T) {
	t.Parallel()
	api := httpapi.New(http.NewServeMux(), 0)
	huma.Register(api, operation("POST", "/b", guarded(httpapi.Bearer)), ok)
	huma.Register(api, operation("GET", "/b", guarded(httpapi.Session)), ok)
	huma.Register(api, operation("PUT", "/c", guarded(httpapi.Scheduler)), ok)
	huma.Register(api, operation("PATCH", "/c"), ok)
	huma.Register(api, operation("DELETE", "/c"), ok)
	api.Handle("GET /a", http.NotFoundHandler())
	type body struct{ Body struct{} }
	huma.Register(api, operation("POST", "/d"), func(context.Context, *body) (*said, error) { return nil, nil })
	huma.Register(api, operation("PUT", "/d", func(op *huma.Operation) { op.MaxBodyBytes = 7 }), func(context.Context, *body) (*said, error) { return nil, nil })
	want := []httpapi.Route{
		{Method: "GET", Path: "/a", Access: "public"},
		{Method: "GET", Path: "/b", Access: "session"},
		{Method: "POST", Path: "/b", Access: "bearer"},
		{Method: "DELETE", Path: "/c", Access: "public"},
		{Method: "PATCH", Path: "/c", Access: "public"},
		{Method: "PUT", Path: "/c", Access: "scheduler"},
		{Method: "POST", Path: "/d", Access: "public", BodyBytes: httpapi.JSONBodyBytes},
		{Method: "PUT", Path: "/d", Access: "public", BodyBytes: 7},
	}
	if diff := cmp.Diff(want, api.Served()); diff != "" {
		t.Error(diff)
	}
}

func TestRouteWithoutOneAccessIsADefect(t *testing.T) {
	t.Parallel()
	for name, security := range map[string][]map[string][]string{
		"none": nil,
		"two":  append(append([]map[string][]string{}, httpapi.Bearer...), httpapi.Session...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("the route was listed")
				}
			}()
			api := httpapi.New(http.NewServeMux(), 0)
			huma.Register(api, operation("GET", "/a", guarded(security)), ok)
			api.Served()
		})
	}
}

func TestGuardDecidesOnBearerRoutesAlone(t *testing.T) {
	t.Parallel()
	type knownKey struct{}
	house := open(t, func(api *httpapi.API) {
		api.Guard = func(ctx huma.Context) (context.Context, error) {
			if ctx.Header("Authorization") != "Bearer good" {
				return nil, fault.New(fault.Unauthenticated, "invalid_token", "Sign in.")
			}
			return context.WithValue(ctx.Context(), knownKey{}, "you"), nil
		}
		known := func(ctx context.Context, _ *struct{}) (*said, error) {
			who, _ := ctx.Value(knownKey{}).(string)
			return &said{who}, nil
		}
		huma.Register(api, operation("GET", "/bearer", guarded(httpapi.Bearer)), known)
		huma.Register(api, operation("GET", "/session", guarded(httpapi.Session)), known)
		huma.Register(api, operation("GET", "/public"), known)
	})
	for _, test := range []struct {
		path, token  string
		status       int
		body, cached string
	}{
		{"/bearer", "Bearer good", 200, "\"you\"\n", "no-store"},
		{"/bearer", "Bearer bad", 401, "", "no-store"},
		{"/bearer", "", 401, "", "no-store"},
		{"/session", "", 200, "\"\"\n", "no-store"},
		{"/public", "", 200, "\"\"\n", ""},
	} {
		answer, body := do(t, request(t, "GET", house.URL+test.path, nil, "Authorization", test.token))
		if answer.StatusCode != test.status || answer.Header.Get("Cache-Control") != test.cached {
			t.Errorf("%s with %q: %d, Cache-Control %q: %s", test.path, test.token, answer.StatusCode, answer.Header.Get("Cache-Control"), body)
		}
		if test.status == 200 && body != test.body {
			t.Errorf("%s answers %q, want %q", test.path, body, test.body)
		}
		if test.status == 401 && problem(t, answer, body).Code != "invalid_token" {
			t.Errorf("%s answers %s", test.path, body)
		}
	}
}

func TestSchedulersGuardDecidesOnItsRoutesAlone(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		api.GuardScheduler = func(ctx huma.Context) error {
			if ctx.Header("Authorization") != "Bearer good" {
				return fault.New(fault.Unauthenticated, "invalid_token", "Be the scheduler.")
			}
			return nil
		}
		api.Guard = func(ctx huma.Context) (context.Context, error) { return ctx.Context(), nil }
		huma.Register(api, operation("GET", "/scheduler", guarded(httpapi.Scheduler)), ok)
		huma.Register(api, operation("GET", "/bearer", guarded(httpapi.Bearer)), ok)
		huma.Register(api, operation("GET", "/public"), ok)
	})
	for _, test := range []struct {
		path, token string
		status      int
	}{{"/scheduler", "Bearer good", 200}, {"/scheduler", "Bearer bad", 401}, {"/scheduler", "", 401}, {"/bearer", "", 200}, {"/public", "", 200}} {
		answer, body := do(t, request(t, "GET", house.URL+test.path, nil, "Authorization", test.token))
		if answer.StatusCode != test.status || test.status == 401 && problem(t, answer, body).Code != "invalid_token" {
			t.Errorf("%s with %q: %d %s", test.path, test.token, answer.StatusCode, body)
		}
	}
}

func TestRouteWithoutItsGuardRefusesEverybody(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		huma.Register(api, operation("GET", "/bearer", guarded(httpapi.Bearer)), ok)
		huma.Register(api, operation("GET", "/scheduler", guarded(httpapi.Scheduler)), ok)
	})
	for _, path := range []string{"/bearer", "/scheduler"} {
		if answer, body := do(t, request(t, "GET", house.URL+path, nil)); answer.StatusCode != 500 || problem(t, answer, body).Code != "internal" {
			t.Errorf("%s: %d %s", path, answer.StatusCode, body)
		}
	}
}

func TestRequestEndsAtTheFunctionsTimeout(t *testing.T) {
	t.Parallel()
	house := openFor(t, 20*time.Millisecond, func(api *httpapi.API) {
		huma.Register(api, operation("GET", "/wait"), func(ctx context.Context, _ *struct{}) (*said, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	answer, body := do(t, request(t, "GET", house.URL+"/wait", nil))
	if p := problem(t, answer, body); answer.StatusCode != 503 || p.Code != "deadline" {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}

func TestDocumentPointsToNoSchemaFiles(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	api := httpapi.New(mux, 0)
	signIn(api)
	if api.Config().OpenAPIPath != "" || api.OpenAPI().Info.Title != "DevOps Dashboard" {
		t.Errorf("config %+v", api.Config())
	}
	house := open(t, func(api *httpapi.API) { signIn(api) })
	for _, path := range []string{"/openapi.json", "/openapi.yaml", "/docs", "/schemas/Problem.json"} {
		if answer, body := do(t, request(t, "GET", house.URL+path, nil)); answer.StatusCode != 404 {
			t.Errorf("%s is served: %s", path, body)
		}
	}
}

func TestLateRoutesAnswerAsOthersDo(t *testing.T) {
	t.Parallel()
	var registered atomic.Pointer[httpapi.API]
	answers := map[bool]string{}
	for _, late := range []bool{false, true} {
		house := open(t, func(api *httpapi.API) {
			registered.Store(api)
			api.Late = late
			api.Cookies = []string{"b"}
			type named struct {
				Name   string `path:"name" maxLength:"5"`
				Cookie string `header:"Cookie"`
			}
			httpapi.Register(api, operation("GET", "/of/{name}", guarded(httpapi.Bearer)), func(_ context.Context, in *named) (*said, error) {
				return &said{in.Name + in.Cookie}, nil
			})
			httpapi.Register(api, operation("POST", "/of/{name}", guarded(httpapi.Scheduler)), ok)
			httpapi.Register(api, operation("PUT", "/of/{name}"), ok)
			// As functions do, after their routes.
			api.Guard = func(ctx huma.Context) (context.Context, error) { return ctx.Context(), nil }
			api.GuardScheduler = func(huma.Context) error { return fault.New(fault.Unauthenticated, "invalid_token", "Sign in.") }
			api.Limit = func(ctx huma.Context, next func(huma.Context)) error {
				if ctx.Method() == "PUT" {
					return fault.New(fault.Invalid, "limited", "No more.")
				}
				next(ctx)
				return nil
			}
		})
		if served := len(registered.Load().Served()); late != (served == 0) {
			t.Errorf("late %t: %d routes are known before a request", late, served)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		said := map[string]string{}
		for _, asked := range []string{"GET /of/x", "GET /of/x?y=1", "GET /of/too-long", "HEAD /of/x", "POST /of/x", "PUT /of/x", "DELETE /of/x", "GET /of/x/y"} {
			for range 4 { // the first requests at once
				all.Go(func() {
					method, path, _ := strings.Cut(asked, " ")
					answer, body := do(t, request(t, method, house.URL+path, nil, "Cookie", "a=1; b=2", "X-Request-Id", "same"))
					mu.Lock()
					defer mu.Unlock()
					said[asked] = fmt.Sprint(answer.StatusCode, answer.Header.Get("Cache-Control"), requestID.ReplaceAllString(body, ""))
				})
			}
		}
		all.Wait()
		answers[late] = fmt.Sprint(said)
	}
	if diff := cmp.Diff(answers[false], answers[true]); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{`200no-store"xb=2"`, "401", "limited", "405", "404", "422"} {
		if !strings.Contains(answers[true], want) {
			t.Errorf("no %s in %s", want, answers[true])
		}
	}
}

var requestID = regexp.MustCompile(`"request_id":"[^"]*"`)
