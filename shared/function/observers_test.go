package function_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/tracing/tracingtest"
)

// failing is a function that fails.
var failing = function.Function{Name: "failing", Routes: func(api *httpapi.API, _ *function.Env) {
	huma.Register(api, huma.Operation{OperationID: "fail", Method: "GET", Path: "/fail/{id}", Security: httpapi.Public}, func(context.Context, *struct {
		ID string `path:"id"`
	}) (*struct{}, error) {
		return nil, errors.New("out of luck")
	})
}}

// sentry keeps what it is sent.
type sentry struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func newSentry(t *testing.T) *sentry {
	t.Helper()
	s := &sentry{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, string(body))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sentry) dsn() string { return strings.Replace(s.URL, "http://", "http://key@", 1) + "/1" }

func (s *sentry) events() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}

func TestFailuresAndTracesAreTold(t *testing.T) {
	t.Parallel()
	ingest, collector := newSentry(t), tracingtest.New(t)
	env := newEnv("SENTRY_DSN", ingest.dsn(), "OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL, "RELEASE", "abc123", "DEPLOYMENT_ENVIRONMENT", "staging")
	handler, err := function.Handler(env, failing)
	if err != nil {
		t.Fatal(err)
	}
	if len(ingest.events()) > 0 || !env.Traced() {
		t.Error("something is told before the first request")
	}
	ask := func() {
		r := httptest.NewRequest("GET", "/fail/path-value", nil)
		r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	ask()
	span, by := collector.Span(t, "GET /fail/{id}")
	if by != "failing" || tracingtest.Attribute(span, "http.response.status_code") != int64(500) || tracingtest.Attribute(span, "http.route") != "/fail/{id}" ||
		tracingtest.Attribute(span, "error.type") != "500" || tracingtest.Attribute(span, "http.request.method") != "GET" {
		t.Errorf("%s: %v", by, span)
	}
	if got := ingest.events(); len(got) != 1 || !strings.Contains(got[0], `"function":"failing"`) || !strings.Contains(got[0], `"release":"abc123"`) || !strings.Contains(got[0], `"environment":"staging"`) ||
		!strings.Contains(got[0], "out of luck") || !strings.Contains(got[0], `"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736"`) {
		t.Errorf("got %s", got)
	}
	if strings.Contains(strings.Join(ingest.events(), "")+collector.Text(), "path-value") {
		t.Error("the path is told")
	}
	ask() // waits for the next that is due
	if len(ingest.events()) != 1 {
		t.Error("was sent at once")
	}
	if err := env.Stop(t.Context()); err != nil || len(ingest.events()) != 2 {
		t.Errorf("at the end: %v; %d events", err, len(ingest.events()))
	}
}

func TestNobodyIsToldUnlessSettingsSay(t *testing.T) {
	t.Parallel()
	env := newEnv()
	handler, err := function.Handler(env, failing)
	if err != nil || env.Traced() {
		t.Fatal(err)
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/fail/1", nil))
	if err := env.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	// A reference is not read at the start.
	if _, err := function.Handler(newEnv("SENTRY_DSN", "sm://projects/p/secrets/SENTRY_DSN/versions/latest",
		"OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS", "sm://projects/p/secrets/H/versions/latest"), failing); err != nil {
		t.Error(err)
	}
}

func TestWrongObserversStopTheStart(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for _, settings := range [][]string{
		{"SENTRY_DSN", "https://hunter2"},
		{endpoint, "collector.example.com"},
		{endpoint, "grpc://collector.example.com"},
		{endpoint, "https://user:hunter2@collector.example.com"},
		{endpoint, "https://collector.example.com?key=hunter2"},
		{endpoint, "https://"},
		{endpoint, ":"},
		{"OTEL_TRACES_SAMPLER_ARG", "1.5", endpoint, "https://collector.example.com"},
		{"OTEL_TRACES_SAMPLER_ARG", "-1", endpoint, "https://collector.example.com"},
		{"OTEL_TRACES_SAMPLER_ARG", "NaN", endpoint, "https://collector.example.com"},
		{"OTEL_TRACES_SAMPLER_ARG", "all", endpoint, "https://collector.example.com"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "hunter2", endpoint, "https://collector.example.com"},
	} {
		_, err := function.Handler(newEnv(settings...), failing)
		if err == nil || !strings.Contains(err.Error(), settings[0]) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: %v", settings, err)
		}
	}
}

// What could not be told is told at SIGTERM, before anything is closed.
func TestTheEndTellsTheRest(t *testing.T) {
	t.Parallel()
	collector := tracingtest.New(t)
	p := start(t, "main", "WORK=x", "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	p.until(t, 200)
	answered := p.begin(t)
	_ = p.Process.Signal(syscall.SIGTERM)
	_, _ = io.WriteString(p.in, "x")
	<-answered
	p.says(t, "closed")
	if err := p.Wait(); err != nil {
		t.Errorf("%v: %s", err, p.errors)
	}
	if _, by := collector.Span(t, "GET /work"); by != "worker" {
		t.Errorf("from %s", by)
	}
}

// A collector that hangs at the end is waited for no longer than the rest allows.
func TestTheEndDoesNotWaitForLong(t *testing.T) {
	t.Parallel()
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }))
	t.Cleanup(func() { hangs.CloseClientConnections(); hangs.Close() })
	env := newEnv("SENTRY_DSN", strings.Replace(hangs.URL, "http://", "http://key@", 1)+"/1", "OTEL_EXPORTER_OTLP_ENDPOINT", hangs.URL)
	closed := false
	env.OnStop(func(context.Context) error { closed = true; return nil })
	handler, err := function.Handler(env, failing)
	if err != nil {
		t.Fatal(err)
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/fail/1", nil))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	err = env.Stop(ctx)
	if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "Sentry") || !strings.Contains(err.Error(), "trace collector") || took > 5*time.Second || !closed {
		t.Errorf("%v after %s; closed: %t", err, took, closed)
	}
}
