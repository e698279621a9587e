package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/cloudsqltest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// behindCloudSQL returns a fresh database behind an instance, and the proxy that
// stands between the two.
func behindCloudSQL(t *testing.T) (*postgres.Database, *cloudsqltest.Instance, *pgtest.Proxy) {
	t.Helper()
	proxy := pgtest.NewProxy(t, pgtest.URL(t))
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := cloudsqltest.New(t, at.Host)
	env := newEnv(map[string]string{
		"DATABASE_INSTANCE": cloudsqltest.Name, "DATABASE_USER": at.User.Username(), "DATABASE_NAME": strings.TrimPrefix(at.Path, "/"),
	})
	db := postgres.NewDatabase(env, c.Options()...)
	t.Cleanup(func() {
		if err := env.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return db, c, proxy
}

func TestCloudSQL(t *testing.T) {
	t.Parallel()
	db, c, proxy := behindCloudSQL(t)
	if _, err := db.Pool(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.Asked) != 0 {
		t.Errorf("asked for %q before a statement", c.Asked)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if n, err := ask[int](t.Context(), db, "SELECT 1"); err != nil || n != 1 {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	all.Wait()
	c.Set(func() {
		if len(c.Asked) != 2 || len(c.Logins) != 1 || c.Logins[0] != "login 1" {
			t.Errorf("asked for %q with %q; want each once, with the login token", c.Asked, c.Logins)
		}
	})

	// The database breaks under the connections and comes back.
	proxy.Break()
	if _, err := ask[int](t.Context(), db, "SELECT 1"); !unavailable(err) {
		t.Errorf("while it is away: %v", err)
	}
	proxy.Restore()
	for {
		// Connections that broke in the pool are found one by one.
		if n, err := ask[int](t.Context(), db, "SELECT 1"); err == nil && n == 1 {
			break
		} else if !unavailable(err) {
			t.Fatalf("when it is back: %v", err)
		}
	}
}

// An Admin API that fails, has been asked too often or forbids means that there is no
// database now; it is asked again when it has recovered.
func TestCloudSQLWithoutTheAdminAPI(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 503, 429, 403} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			db, c, _ := behindCloudSQL(t)
			c.Set(func() { c.Refuses = status })
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := ask[int](ctx, db, "SELECT 1"); !unavailable(err) {
				t.Errorf("while it refuses: %v", err)
			}
			c.Set(func() { c.Refuses = 0 })
			back(t, db)
		})
	}
}

// back asks until the database answers.
func back(t *testing.T, db *postgres.Database) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		n, err := ask[int](ctx, db, "SELECT 1")
		if err == nil && n == 1 {
			return
		}
		if ctx.Err() != nil || !unavailable(err) {
			t.Fatalf("when it is back: %v", err)
		}
	}
}

// What runs when the proxy dies is lost, and known to be; the next statement has a
// connection of its own, with the certificate that there is.
func TestCloudSQLProxyDiesUnderAStatement(t *testing.T) {
	t.Parallel()
	db, c, proxy := behindCloudSQL(t)
	for step := 2; ; step++ { // the first is the connection
		back(t, db)
		proxy.BreakAt(step)
		_, err := ask[string](t.Context(), db, "SELECT repeat('x', 100000)")
		broken := proxy.Broken()
		proxy.Restore()
		if broken && !unavailable(err) || !broken && err != nil {
			t.Errorf("step %d: %v; it broke: %v", step, err, broken)
		}
		if !broken {
			break
		}
	}
	c.Set(func() {
		if len(c.Asked) != 2 {
			t.Errorf("the API was asked for %q", c.Asked)
		}
	})
}

// However often the database is asked for while nobody listens, the Admin API is
// spared: its quota is what the recovery needs.
func TestCloudSQLProxyIsAwayWhenDialled(t *testing.T) {
	t.Parallel()
	db, c, _ := behindCloudSQL(t)
	c.Set(func() { c.Unreachable = true })
	began := time.Now()
	for range 200 {
		if _, err := ask[int](t.Context(), db, "SELECT 1"); !unavailable(err) {
			t.Errorf("while nobody listens: %v", err)
		}
	}
	took := time.Since(began)
	c.Set(func() {
		// At the start, and after each pause: of a quarter of a second and longer.
		if most := 2 * (2 + int(took/(250*time.Millisecond))); len(c.Asked) > most {
			t.Errorf("the API was asked %d times for 200 statements in %s", len(c.Asked), took)
		}
		c.Unreachable = false
	})
	back(t, db)
}

// By a clock that is set by hand, each pause is twice as long as the one before, and
// a success ends them.
func TestCloudSQLIsDialledAgainAfterAPause(t *testing.T) {
	t.Parallel()
	now, dialled := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), 0
	gone := errors.New("gone")
	var fails error
	dial := postgres.Redialing(func() time.Time { return now }, func(context.Context) (net.Conn, error) {
		dialled++
		return nil, fails
	})
	try := func(after time.Duration, want int, err error) {
		t.Helper()
		now = now.Add(after)
		if _, got := dial(t.Context(), "", ""); !errors.Is(got, err) || dialled != want {
			t.Errorf("dialled %d times, want %d: %v", dialled, want, got)
		}
	}
	try(0, 1, nil)
	fails = gone
	try(0, 2, gone)
	for i, pause := range []time.Duration{250, 500, 1000, 2000, 4000, 4000} {
		try(pause*time.Millisecond-1, 2+i, gone)
		try(1, 3+i, gone)
	}
	fails = nil
	try(4*time.Second, 9, nil)
	try(0, 10, nil)
	fails = gone
	try(0, 11, gone)
	try(250*time.Millisecond, 12, gone)
}

// A certificate is used until four minutes before its end, by any number of
// connections. Here that is a second or two.
func TestCloudSQLAsksTwiceForACertificate(t *testing.T) {
	t.Parallel()
	db, c, proxy := behindCloudSQL(t)
	c.Set(func() { c.Expires = 4*time.Minute + 2*time.Second }) // X.509 has whole seconds
	const certificates = 3
	connections, asked, logins := 0, 0, 0
	for logins < certificates {
		proxy.Break()
		proxy.Restore()
		back(t, db)
		connections++
		c.Set(func() { asked, logins = len(c.Asked), len(c.Logins) })
	}
	if asked != 2*certificates || connections < 4*certificates {
		t.Errorf("the API was asked %d times for %d certificates and %d connections", asked, certificates, connections)
	}
	t.Logf("%d connections, %d certificates, %d questions", connections, certificates, asked)
}

// A login is good for no longer than its token: when that has expired another is had,
// whatever the certificate says.
func TestCloudSQLLoginIsRenewedWithItsToken(t *testing.T) {
	t.Parallel()
	db, c, proxy := behindCloudSQL(t)
	c.Set(func() { c.TokenExpires = time.Second }) // at once, by the connector's margin
	for range 3 {
		proxy.Break()
		proxy.Restore()
		back(t, db)
	}
	c.Set(func() {
		seen := map[string]bool{}
		for _, login := range c.Logins {
			if seen[login] || !strings.HasPrefix(login, "login ") {
				t.Errorf("signed in with %q", c.Logins)
			}
			seen[login] = true
		}
		if len(seen) < 3 {
			t.Errorf("signed in with %q", c.Logins)
		}
	})
}

// The pool is as large as the manifest says, whatever number waits for it.
func TestCloudSQLPoolIsThatOfTheManifest(t *testing.T) {
	t.Parallel()
	db, _, _ := behindCloudSQL(t)
	pool, err := db.Pool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	back(t, db) // a busy machine may take long for the first certificate
	before := pool.Stat().NewConnsCount()
	declared := postgres.Need.Settings[slices.IndexFunc(postgres.Need.Settings, func(s function.Setting) bool { return s.Name == "DATABASE_POOL" })].Default
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := ask[int](t.Context(), db, "SELECT 1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if s := pool.Stat(); fmt.Sprint(s.MaxConns()) != declared || s.NewConnsCount()-before > int64(s.MaxConns()) {
		t.Errorf("%d of %d connections were made, %s are declared", s.NewConnsCount()-before, s.MaxConns(), declared)
	}
}

func TestCloudSQLCertificateIsRenewedWhenNeeded(t *testing.T) {
	t.Parallel()
	db, c, proxy := behindCloudSQL(t)
	c.Set(func() { c.Expires = time.Second }) // at once, by the connector's margin
	for range 3 {
		if _, err := ask[int](t.Context(), db, "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		proxy.Break() // so that the next statement takes a new connection
		_, _ = ask[int](t.Context(), db, "SELECT 1")
		proxy.Restore()
	}
	c.Set(func() {
		if len(c.Logins) < 3 {
			t.Errorf("%d certificates for 3 connections, each after the last had expired", len(c.Logins))
		}
	})
}

func TestCloudSQLSettings(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
	_, err := postgres.For(newEnv(map[string]string{"DATABASE_INSTANCE": cloudsqltest.Name, "DATABASE_USER": "u"})).Pool(t.Context())
	if !unavailable(err) || !strings.Contains(err.Error(), "nonexistent") {
		t.Errorf("without credentials: %v", err)
	}
	db := postgres.NewDatabase(newEnv(map[string]string{"DATABASE_INSTANCE": "no-instance", "DATABASE_USER": "u"}), cloudsqltest.New(t, "127.0.0.1:1").Options()...)
	if _, err := ask[int](t.Context(), db, "SELECT 1"); !unavailable(err) || !strings.Contains(err.Error(), "no-instance") {
		t.Errorf("a name that is none: %v", err)
	}
}
