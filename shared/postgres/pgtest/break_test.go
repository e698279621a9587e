package pgtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestForEveryBreakReachesEachStep(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	var rounds, began, read, committed int
	pgtest.ForEveryBreak(t, url, func(db *postgres.Database) error {
		rounds++
		err := db.Transaction(t.Context(), func(tx pgx.Tx) error {
			began++
			rows, err := tx.Query(t.Context(), "SELECT generate_series(1, 3)")
			if err != nil {
				return err
			}
			_, err = pgx.CollectRows(rows, pgx.RowTo[int])
			if err != nil {
				return err
			}
			read++
			_, err = tx.CopyFrom(t.Context(), pgx.Identifier{"users"}, []string{"id"}, pgx.CopyFromRows(nil))
			return err
		})
		if err == nil {
			committed++
		}
		return err
	})
	if committed != 1 || rounds-began < 3 || began-read < 4 || read-committed < 4 {
		t.Errorf("rounds=%d began=%d read=%d committed=%d: some steps were not broken", rounds, began, read, committed)
	}
}

func TestBreakInACommitLeavesItsOutcomeOpen(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), "CREATE TABLE marks (n int)"); err != nil {
		t.Fatal(err)
	}
	failed := 0
	pgtest.ForEveryBreak(t, url, func(db *postgres.Database) error {
		_, err := db.Exec(t.Context(), "INSERT INTO marks VALUES (1)")
		if err != nil {
			failed++
		}
		return err
	})
	var marks int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM marks").Scan(&marks); err != nil {
		t.Fatal(err)
	}
	if marks != 2 {
		t.Errorf("%d rows after %d failures and a success; want 2: the one whose answer was lost is there", marks, failed)
	}
}

func TestHangHoldsUntilRestore(t *testing.T) {
	t.Parallel()
	proxy := pgtest.NewProxy(t, pgtest.URL(t))
	conn, err := pgx.Connect(t.Context(), proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	proxy.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := pgx.Connect(ctx, proxy.URL); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("connected to a database that hangs: %v", err)
	}
	answered := make(chan error, 1)
	go func() { _, err := conn.Exec(t.Context(), "SELECT 1"); answered <- err }()
	select {
	case err := <-answered:
		t.Errorf("an answer came through the hang: %v", err)
	case <-ctx.Done():
	}
	proxy.Restore()
	if err := <-answered; err != nil {
		t.Errorf("after Restore: %v", err)
	}
}

func TestHoldKeepsBackTheAnswerAlone(t *testing.T) {
	t.Parallel()
	server := pgtest.URL(t)
	proxy := pgtest.NewProxy(t, server)
	held, err := pgx.Connect(t.Context(), proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close(context.Background()) }()
	direct, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = direct.Close(context.Background()) }()
	proxy.Hold()
	answered := make(chan error, 1)
	go func() { _, err := held.Exec(t.Context(), "CREATE TABLE done ()"); answered <- err }()
	for done := false; !done; {
		if err := direct.QueryRow(t.Context(), "SELECT to_regclass('done') IS NOT NULL").Scan(&done); err != nil {
			t.Fatal(err)
		}
	}
	if len(answered) > 0 {
		t.Errorf("an answer came through the hold: %v", <-answered)
	}
	proxy.Restore()
	if err := <-answered; err != nil {
		t.Errorf("after Restore: %v", err)
	}
}

func TestBreakAndRestore(t *testing.T) {
	t.Parallel()
	proxy := pgtest.NewProxy(t, pgtest.URL(t))
	pool, err := pgxpool.New(t.Context(), proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db := postgres.Over(pool)
	for range 2 {
		if _, err := db.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		proxy.Break()
		for range 2 { // the connection that was there, then a new one
			if _, err := db.Exec(t.Context(), "SELECT 1"); err == nil {
				t.Fatal("a broken proxy answered")
			}
		}
		proxy.Restore()
	}
}
