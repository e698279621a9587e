package postgres_test

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

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
		if len(c.Asked) != 2 || len(c.Logins) != 1 || c.Logins[0] != "login" {
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

func TestCloudSQLWithoutTheAdminAPI(t *testing.T) {
	t.Parallel()
	db, c, _ := behindCloudSQL(t)
	c.Set(func() { c.Down = true })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := ask[int](ctx, db, "SELECT 1"); !unavailable(err) {
		t.Errorf("while it is away: %v", err)
	}
	c.Set(func() { c.Down = false })
	for ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second); ; {
		defer cancel()
		n, err := ask[int](ctx, db, "SELECT 1")
		if err == nil && n == 1 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("when it is back: %v", err)
		}
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
