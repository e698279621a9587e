package pgtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestServerMayEndAndStart(t *testing.T) {
	t.Parallel()
	s := pgtest.NewServer(t)
	pool, err := pgxpool.New(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db := postgres.Over(pool)
	ask := func(ctx context.Context) error {
		_, err := db.Exec(ctx, "SELECT FROM users")
		return err
	}
	for _, end := range []func(){s.Kill, s.Stop} {
		if err := ask(t.Context()); err != nil {
			t.Fatal(err)
		}
		end()
		away := func() bool { return fault.From(ask(t.Context())).Kind == fault.Unavailable }
		// A backend may outlive its killed server for a moment.
		for deadline := time.Now().Add(10 * time.Second); !away(); {
			if time.Now().After(deadline) {
				t.Fatal("it answers on")
			}
		}
		if !away() {
			t.Error("it answers again")
		}
		s.Start()
	}
}

// A server that fails over is reached at the same address through a proxy, reads, and
// writes when it is promoted.
func TestFailOver(t *testing.T) {
	t.Parallel()
	s := pgtest.NewDurableServer(t)
	proxy := pgtest.NewProxy(t, s.URL)
	pool, err := pgxpool.New(t.Context(), proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	write := func() error {
		_, err := pool.Exec(t.Context(), "INSERT INTO teams (name, time_zone) VALUES ('team', 'UTC')")
		return err
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	s.FailOver()
	proxy.Lead(t, s.URL)
	pool.Reset()
	var server *pgconn.PgError
	if err := write(); !errors.As(err, &server) || server.Code != "25006" {
		t.Errorf("a standby writes: %v", err)
	}
	s.Promote()
	if err := write(); err != nil {
		t.Errorf("when it is promoted: %v", err)
	}
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM teams").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d of 2 rows are there: %v", n, err)
	}
}
