package pgtest_test

import (
	"context"
	"testing"
	"time"

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
