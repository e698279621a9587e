package functions_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// soon is how long a test waits for what must come within seconds.
const soon = 30 * time.Second

// until asks until the answer is yes, and returns how long that took.
func until(t *testing.T, what string, yes func() bool) time.Duration {
	t.Helper()
	for began := time.Now(); ; {
		if yes() {
			return time.Since(began).Round(time.Millisecond)
		}
		if time.Since(began) > soon {
			t.Fatalf("not within %s: %s", soon, what)
		}
	}
}

// An account that was opened is there, though the database is killed under those who
// open theirs. Who was not told so may try again.
func TestAcknowledgedAccountsSurviveAKilledDatabase(t *testing.T) {
	t.Parallel()
	server := pgtest.NewDurableServer(t)
	settings := everywhere(t)
	settings["DATABASE_URL"], settings["RATE_LIMIT_SCALE"] = server.URL, unlimited
	e := startEverything(t, settings)
	const callers = 3
	type told struct {
		caller, status int
		began          time.Time
		email          string
	}
	answers, enough := make(chan told, 1<<16), make(chan struct{})
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for {
				email, began := uuid.NewString()+"@example.com", time.Now()
				status, header, text, err := e.ask("POST", "/api/auth/register", map[string]string{"email": email, "password": walkersPassword, "name": "A", "team": "A"})
				if err != nil || status != http.StatusCreated && (status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || header.Get("Set-Cookie") != "") {
					t.Errorf("%d %s %v", status, text, err)
					return
				}
				answers <- told{caller, status, began, email}
				select {
				case <-enough:
					return
				default:
				}
			}
		})
	}
	stop := sync.OnceFunc(func() { close(enough); all.Wait(); close(answers) })
	t.Cleanup(stop)
	var acknowledged []string
	note := func(a told) {
		if a.status == http.StatusCreated {
			acknowledged = append(acknowledged, a.email)
		}
	}
	each := func(status int) {
		t.Helper()
		since, seen := time.Now(), map[int]bool{}
		for timeout := time.After(soon); len(seen) < callers; {
			select {
			case a := <-answers:
				note(a)
				if a.status == status && a.began.After(since) {
					seen[a.caller] = true
				}
			case <-timeout:
				t.Fatalf("%d of %d callers were answered %d", len(seen), callers, status)
			}
		}
	}
	each(http.StatusCreated)
	server.Kill()
	each(http.StatusServiceUnavailable)
	server.Start()
	back := time.Now()
	each(http.StatusCreated)
	t.Logf("accounts are opened again after %v", time.Since(back).Round(time.Millisecond))
	stop()
	for a := range answers {
		note(a)
	}
	connection, err := pgx.Connect(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close(context.WithoutCancel(t.Context())) }()
	var found int
	err = connection.QueryRow(t.Context(), "SELECT count(*) FROM users JOIN memberships ON user_id = users.id WHERE email = ANY ($1)", acknowledged).Scan(&found)
	if err != nil || found != len(acknowledged) {
		t.Errorf("of %d accounts that were opened %d are there: %v", len(acknowledged), found, err)
	}
}

// Whatever becomes of Redis, everybody is served, nobody has their limit anew, health
// tells, and the same process counts in Redis again when that is back.
func TestRedisInTrouble(t *testing.T) {
	t.Parallel()
	type admin func(args ...any)
	for name, c := range map[string]struct {
		begin, end func(*redistest.Server, admin)
	}{
		"killed": {func(s *redistest.Server, _ admin) { s.Kill() }, func(s *redistest.Server, _ admin) { s.Start() }},
		"frozen": {func(s *redistest.Server, _ admin) { s.Freeze() }, func(s *redistest.Server, _ admin) { s.Thaw() }},
		"full": {func(_ *redistest.Server, do admin) {
			do("CONFIG", "SET", "maxmemory-policy", "noeviction")
			do("CONFIG", "SET", "maxmemory", "1")
		}, func(_ *redistest.Server, do admin) { do("CONFIG", "SET", "maxmemory", "0") }},
		"a replica": {func(_ *redistest.Server, do admin) { do("REPLICAOF", "127.0.0.1", "1") }, func(_ *redistest.Server, do admin) { do("REPLICAOF", "NO", "ONE") }},
		"out of clients": {func(_ *redistest.Server, do admin) {
			do("CONFIG", "SET", "maxclients", "1")
			do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}, func(_ *redistest.Server, do admin) { do("CONFIG", "SET", "maxclients", "1000") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.NewServer(t)
			client := goredis.NewClient(&goredis.Options{Network: "unix", Addr: strings.TrimPrefix(server.URL, "unix://"), PoolSize: 1, DisableIdentity: true})
			t.Cleanup(func() { _ = client.Close() })
			do := func(args ...any) {
				t.Helper()
				if err := client.Do(t.Context(), args...).Err(); err != nil {
					t.Fatalf("%v: %v", args, err)
				}
			}
			settings := everywhere(t)
			settings["REDIS_URL"] = server.URL
			w := startEverything(t, settings).watcher(t)
			healthy := func() bool {
				status, _, text, err := w.ask("GET", "/api/health", nil)
				var health struct {
					Checks map[string][]struct{ Status string }
				}
				if err != nil || json.Unmarshal(text, &health) != nil || status != 200 && status != 503 || len(health.Checks["redis:responseTime"]) != 1 {
					t.Fatalf("health: %d %s %v", status, text, err)
				}
				return health.Checks["redis:responseTime"][0].Status == "pass"
			}
			// One of the sixty a minute, which ends a session that is not there.
			limited := func() (admitted bool) {
				status, header, text, err := w.ask("DELETE", "/api/auth/sessions/"+uuid.NewString(), nil, "Authorization", "Bearer "+w.token)
				if err != nil || status != 404 && (status != 429 || header.Get("Retry-After") == "") {
					t.Fatalf("a limited call: %d %s %v", status, text, err)
				}
				return status == 404
			}
			// It is used up while Redis counts.
			until(t, "the limit is used up", func() bool { return !limited() })
			began := time.Now()
			c.begin(server, do)
			until(t, "health tells of it", func() bool { return !healthy() })
			admitted, most := 0, time.Duration(0)
			for range 10 {
				asked := time.Now()
				if limited() {
					admitted++
				}
				most = max(most, time.Since(asked))
				status, header, text, err := w.ask("POST", "/api/auth/refresh", nil, "Cookie", w.cookie)
				if err != nil || status != 200 {
					t.Fatalf("refresh: %d %s %v", status, text, err)
				}
				w.keep(header)
			}
			status, _, text, err := w.ask("POST", "/api/auth/login", map[string]string{"email": "watcher@example.com", "password": walkersPassword})
			if err != nil || status != 200 {
				t.Errorf("a sign-in: %d %s %v", status, text, err)
			}
			if refilled := int(time.Since(began)/time.Second) + 2; admitted > refilled {
				t.Errorf("%d calls were admitted while %d were restored", admitted, refilled)
			}
			c.end(server, do)
			ended := until(t, "health tells that it is over", healthy)
			do("FLUSHALL")
			counts := until(t, "limits are counted in Redis", func() bool {
				limited()
				keys, err := client.Keys(t.Context(), "limit:account-user:*").Result()
				return err == nil && len(keys) > 0
			})
			t.Logf("an answer took %v at most; health told of its end after %v, and limits were counted in Redis %v later", most.Round(time.Millisecond), ended, counts)
		})
	}
}
