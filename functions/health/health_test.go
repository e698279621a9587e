package health_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/functions/health"
	"github.com/devops-dashboard/dashboard/migrations"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// at is what the clock of every test says.
var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// serve serves health with the settings, and returns its log too.
func serve(t *testing.T, databaseURL, redisURL string) (http.Handler, *bytes.Buffer) {
	t.Helper()
	settings := map[string]string{"DATABASE_URL": databaseURL, "REDIS_URL": redisURL, "RELEASE": "0123abc"}
	var mu sync.Mutex
	log := &bytes.Buffer{}
	env := function.NewEnv(slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(b)
	}), nil)), func() time.Time { return at }, func(name string) (string, bool) {
		value, ok := settings[name]
		return value, ok
	})
	handler, err := function.Handler(env, health.Function)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := env.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return handler, log
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

func get(t *testing.T, handler http.Handler, path string) (*httptest.ResponseRecorder, health.Health) {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	var h health.Health
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&h); err != nil {
		t.Fatal(err)
	}
	if got := w.Header().Get("Content-Type"); got != "application/health+json" {
		t.Errorf("Content-Type = %q", got)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q", got)
	}
	return w, h
}

// settled asks until the answer is as wanted, a few times at most: on a machine
// that is short of time a good dependency may miss its second.
func settled(t *testing.T, handler http.Handler, want health.Health) (w *httptest.ResponseRecorder, got health.Health) {
	t.Helper()
	for range 5 {
		if w, got = get(t, handler, "/api/health"); cmp.Equal(want, got) {
			break
		}
	}
	return w, got
}

// change runs a statement on a database.
func change(t *testing.T, url, sql string) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close(context.WithoutCancel(t.Context())) }()
	if _, err := connection.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// hole is a listener that takes connections and never answers.
type hole struct {
	net.Listener
	taken atomic.Int64
}

func dig(t *testing.T) *hole {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &hole{Listener: listener}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			h.taken.Add(1)
			t.Cleanup(func() { _ = connection.Close() })
		}
	}()
	return h
}

func (h *hole) address() string { return h.Addr().String() }

// closed is an address that nobody listens on.
func closed(t *testing.T) string {
	t.Helper()
	h := dig(t)
	_ = h.Close()
	return h.address()
}

func as(t *testing.T, address, user string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, "hunter2")
	return u.String()
}

func TestHealthSaysHowEachDependencyIs(t *testing.T) {
	t.Parallel()
	expected := migrations.Version()
	found := func(version int64) string { return fmt.Sprintf("schema version %d, expected %d", version, expected) }
	postgres := func(t *testing.T) string { return pgtest.As(t, pgtest.URL(t), "health") }
	changed := func(sql string) func(*testing.T) string {
		return func(t *testing.T) string {
			url := pgtest.URL(t)
			change(t, url, sql)
			return pgtest.As(t, url, "health")
		}
	}
	redis := func(t *testing.T) string { return "redis://" + miniredis.RunT(t).Addr() }
	// saying is a Redis that answers every write with an error.
	saying := func(answer string) func(t *testing.T) string {
		return func(t *testing.T) string {
			fake := miniredis.RunT(t)
			fake.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
				if cmd == "SET" {
					c.WriteError(answer)
				}
				return cmd == "SET"
			})
			return "redis://" + fake.Addr()
		}
	}
	for name, test := range map[string]struct {
		postgres, redis func(*testing.T) string
		failed          map[string]string // output by check
	}{
		"all well": {postgres, redis, nil},
		"postgres refuses": {func(t *testing.T) string { return "postgres://u:hunter2@" + closed(t) + "/x" }, redis,
			map[string]string{"postgres": "not reachable", "schema": "not reachable"}},
		"postgres hangs": {func(t *testing.T) string { return "postgres://u:hunter2@" + dig(t).address() + "/x?sslmode=disable" }, redis,
			map[string]string{"postgres": "no answer in time", "schema": "no answer in time"}},
		"postgres knows no such account": {func(t *testing.T) string { return as(t, pgtest.URL(t), "nobody_of_ours") }, redis,
			map[string]string{"postgres": "login refused", "schema": "login refused"}},
		"no address": {func(*testing.T) string { return "not a hunter2 url" }, redis,
			map[string]string{"postgres": "not reachable", "schema": "not reachable"}},
		"the schema is older": {changed("DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)"), redis,
			map[string]string{"schema": found(expected - 1)}},
		"the schema is newer": {changed("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)"), redis, nil},
		"there is no schema": {changed("DROP TABLE goose_db_version"), redis,
			map[string]string{"schema": found(0)}},
		"the schema table is another": {func(t *testing.T) string {
			url := pgtest.URL(t)
			change(t, url, "ALTER TABLE goose_db_version RENAME COLUMN version_id TO v")
			return pgtest.As(t, url, "health")
		}, redis, map[string]string{"schema": "not reachable"}},
		"redis refuses":      {postgres, func(t *testing.T) string { return "redis://" + closed(t) }, map[string]string{"redis": "not reachable"}},
		"redis hangs":        {postgres, func(t *testing.T) string { return "redis://" + dig(t).address() }, map[string]string{"redis": "no answer in time"}},
		"redis is full":      {postgres, saying("OOM command not allowed when used memory > 'maxmemory'."), map[string]string{"redis": "takes no writes"}},
		"redis cannot save":  {postgres, saying("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."), map[string]string{"redis": "takes no writes"}},
		"redis forbids it":   {postgres, saying("NOPERM this user has no permissions to run the 'set' command"), map[string]string{"redis": "login refused"}},
		"redis is a replica": {postgres, saying("READONLY You can't write against a read only replica."), map[string]string{"redis": "takes no writes"}},
		"redis wants a password": {postgres, func(t *testing.T) string {
			server := miniredis.RunT(t)
			server.RequireAuth("hunter3")
			return "redis://" + server.Addr()
		}, map[string]string{"redis": "login refused"}},
		"redis wants another password": {postgres, func(t *testing.T) string {
			server := miniredis.RunT(t)
			server.RequireAuth("hunter3")
			return "redis://:hunter2@" + server.Addr()
		}, map[string]string{"redis": "login refused"}},
		"all hang": {
			func(t *testing.T) string { return "postgres://u:hunter2@" + dig(t).address() + "/x?sslmode=disable" },
			func(t *testing.T) string { return "redis://" + dig(t).address() },
			map[string]string{"postgres": "no answer in time", "schema": "no answer in time", "redis": "no answer in time"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler, log := serve(t, test.postgres(t), test.redis(t))
			want := health.Health{Status: "pass", Version: "1", ReleaseID: "0123abc", ServiceID: "devops-dashboard", Checks: map[string][]health.HealthCheck{}}
			status := 200
			for _, check := range []string{"postgres", "schema", "redis"} {
				c := health.HealthCheck{ComponentType: "datastore", Status: "pass", ObservedUnit: "ms", Time: at}
				if output, failed := test.failed[check]; failed {
					c.Status, c.Output, want.Status, status = "fail", output, "fail", 503
				}
				want.Checks[check+":responseTime"] = []health.HealthCheck{c}
			}
			w, got := settled(t, handler, want)
			if diff := cmp.Diff(want, got); diff != "" || w.Code != status {
				t.Errorf("status %d, want %d: %s", w.Code, status, diff)
			}
			for check := range test.failed {
				if !strings.Contains(log.String(), " "+check+"=") {
					t.Errorf("the log does not say why %s failed: %s", check, log)
				}
			}
			if strings.Contains(log.String(), "hunter") {
				t.Errorf("the log holds a password: %s", log)
			}
		})
	}
}

func TestHealthComesBack(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	handler, _ := serve(t, pgtest.As(t, pgtest.URL(t), "health"), "redis://"+server.Addr())
	is := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			if w, _ := get(t, handler, "/api/health"); w.Code == want {
				return
			}
		}
		t.Fatalf("the status never became %d", want)
	}
	is(200)
	server.Close()
	is(503)
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	is(200)
}

func TestFloodHoldsNoMoreConnectionsThanThePools(t *testing.T) {
	t.Parallel()
	database, cache := dig(t), dig(t)
	handler, _ := serve(t, "postgres://u@"+database.address()+"/x?sslmode=disable", "redis://"+cache.address())
	server := httptest.NewServer(handler)
	defer server.Close()
	var all sync.WaitGroup
	began := time.Now()
	for range 200 {
		all.Go(func() {
			answer, err := http.Get(server.URL + "/api/health")
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
			if answer.StatusCode != 503 {
				t.Errorf("status %d", answer.StatusCode)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if n := database.taken.Load(); n > 4 {
		t.Errorf("%d connections to PostgreSQL, the pool has 4", n)
	}
	if n := cache.taken.Load(); n > 20 {
		t.Errorf("%d connections to Redis for 200 requests", n)
	}
}

func TestLiveAndVersionAskNothing(t *testing.T) {
	t.Parallel()
	database, cache := dig(t), dig(t)
	handler, _ := serve(t, "postgres://u@"+database.address()+"/x", "redis://"+cache.address())
	w, got := get(t, handler, "/api/health/live")
	want := health.Health{Status: "pass", Version: "1", ReleaseID: "0123abc", ServiceID: "devops-dashboard"}
	if diff := cmp.Diff(want, got); diff != "" || w.Code != 200 {
		t.Errorf("status %d %s", w.Code, diff)
	}
	version := httptest.NewRecorder()
	handler.ServeHTTP(version, httptest.NewRequest("GET", "/api/version", nil))
	if version.Code != 200 || version.Body.String() != `{"commit":"0123abc"}`+"\n" || version.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s %v", version.Code, version.Body, version.Header())
	}
	if n := database.taken.Load() + cache.taken.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}
