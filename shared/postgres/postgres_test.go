package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// newEnv returns the environment of a function that needs PostgreSQL.
func newEnv(settings map[string]string) *function.Env {
	lookup := func(name string) (string, bool) { v, ok := settings[name]; return v, ok }
	return function.NewEnv(slog.New(slog.DiscardHandler), time.Now, lookup).
		For(function.Function{Name: "test", Needs: []function.Need{postgres.Need}})
}

func unavailable(err error) bool { return fault.From(err).Kind == fault.Unavailable }

func ask[T any](ctx context.Context, db postgres.DB, sql string, args ...any) (T, error) {
	var answer T
	err := db.QueryRow(ctx, sql, args...).Scan(&answer)
	return answer, err
}

func TestOpenedAtFirstUseAndClosedAtTheStop(t *testing.T) {
	t.Parallel()
	proxy := pgtest.NewProxy(t, pgtest.URL(t))
	proxy.Break() // the database is away while the process starts
	env := newEnv(map[string]string{"DATABASE_URL": proxy.URL})
	db := postgres.For(env)
	if postgres.For(env) != db {
		t.Error("two functions of a process have two pools")
	}
	if _, err := db.Pool(t.Context()); err != nil {
		t.Errorf("a pool that has not connected: %v", err)
	}
	if _, err := ask[int](t.Context(), db, "SELECT 1"); !unavailable(err) {
		t.Errorf("while the database is away: %v", err)
	}
	proxy.Restore()
	if n, err := ask[int](t.Context(), db, "SELECT 1"); err != nil || n != 1 {
		t.Errorf("when it is back: %d, %v", n, err)
	}
	if err := env.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := ask[int](t.Context(), db, "SELECT 1"); err == nil {
		t.Error("the pool is open after the stop")
	}
	unused := newEnv(map[string]string{"DATABASE_URL": proxy.URL})
	postgres.For(unused)
	if err := unused.Stop(t.Context()); err != nil {
		t.Errorf("the stop of what was never opened: %v", err)
	}
}

func TestErrorOfOpeningIsNotRemembered(t *testing.T) {
	t.Parallel()
	opened := 0
	url := pgtest.URL(t)
	db := postgres.Opening(func(ctx context.Context) (*pgxpool.Pool, func() error, error) {
		if opened++; opened <= 4 {
			return nil, nil, errors.New("not yet")
		}
		pool, err := pgxpool.New(ctx, url)
		if err == nil {
			t.Cleanup(pool.Close)
		}
		return pool, nil, err
	})
	_, execErr := db.Exec(t.Context(), "SELECT 1")
	rows, queryErr := db.Query(t.Context(), "SELECT 1")
	_, valuesErr := rows.Values()
	_, collectErr := pgx.CollectRows(rows, pgx.RowTo[int])
	if rows.Conn() != nil || rows.TypeMap() != nil || rows.RawValues() != nil || rows.FieldDescriptions() != nil || rows.CommandTag().String() != "" {
		t.Error("rows of a statement that did not run hold something")
	}
	_, rowErr := ask[int](t.Context(), db, "SELECT 1")
	txErr := db.Transaction(t.Context(), func(pgx.Tx) error { return nil })
	for i, err := range []error{execErr, queryErr, rows.Scan(), valuesErr, collectErr, rowErr, txErr} {
		if !unavailable(err) {
			t.Errorf("%d: %v", i, err)
		}
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := ask[int](t.Context(), db, "SELECT 1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if opened != 5 {
		t.Errorf("opened %d times; want 4 failures and one pool", opened)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	const url = "postgres://u@127.0.0.1:1/d"
	for name, c := range map[string]struct {
		settings map[string]string
		wrong    string // in the error; "" is none
		check    func(*pgxpool.Config) any
		want     any
	}{
		"nothing":  {settings: nil, wrong: "set DATABASE_URL or DATABASE_INSTANCE"},
		"no URL":   {settings: map[string]string{"DATABASE_URL": "postgres://u:hunter2@h:port/d"}, wrong: "not a PostgreSQL URL"},
		"no pool":  {settings: map[string]string{"DATABASE_URL": url, "DATABASE_POOL": "0"}, wrong: "DATABASE_POOL"},
		"odd pool": {settings: map[string]string{"DATABASE_URL": url, "DATABASE_POOL": "4.5"}, wrong: "DATABASE_POOL"},
		"odd mode": {settings: map[string]string{"DATABASE_URL": url, "DATABASE_EXEC_MODE": "fast"}, wrong: "DATABASE_EXEC_MODE"},
		"pool of four": {settings: map[string]string{"DATABASE_URL": url},
			check: func(c *pgxpool.Config) any { return []int32{c.MinConns, c.MaxConns} }, want: []int32{0, 4}},
		"pool of nine": {settings: map[string]string{"DATABASE_URL": url, "DATABASE_POOL": "9"},
			check: func(c *pgxpool.Config) any { return c.MaxConns }, want: int32(9)},
		"lives less than an IAM login": {settings: map[string]string{"DATABASE_URL": url},
			check: func(c *pgxpool.Config) any { return c.MaxConnLifetime+c.MaxConnLifetimeJitter < time.Hour }, want: true},
		"gives up connecting in time": {settings: map[string]string{"DATABASE_URL": url},
			check: func(c *pgxpool.Config) any { return c.ConnConfig.ConnectTimeout <= 2*time.Second }, want: true},
		"caches statements": {settings: map[string]string{"DATABASE_URL": url},
			check: func(c *pgxpool.Config) any { return c.ConnConfig.DefaultQueryExecMode }, want: pgx.QueryExecModeCacheStatement},
		"parameters": {settings: map[string]string{"DATABASE_URL": url},
			check: func(c *pgxpool.Config) any { return c.ConnConfig.RuntimeParams }, want: map[string]string{"lock_timeout": "1500", "application_name": "devops-dashboard", "jit": "off"}},
		"behind a pooler": {settings: map[string]string{"DATABASE_URL": url, "DATABASE_EXEC_MODE": "exec"},
			check: func(c *pgxpool.Config) any {
				return fmt.Sprint(c.ConnConfig.DefaultQueryExecMode, c.ConnConfig.RuntimeParams["lock_timeout"])
			}, want: fmt.Sprint(pgx.QueryExecModeExec, "")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(c.settings)
			pool, err := postgres.For(env).Pool(t.Context())
			defer func() { _ = env.Stop(context.Background()) }()
			if c.wrong != "" {
				if !unavailable(err) || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("want %q, got %v", c.wrong, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, c.check(pool.Config())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestURLThatCannotBeRead(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
	_, err := postgres.For(newEnv(map[string]string{"DATABASE_URL": "sm://projects/p/secrets/s/versions/1"})).Pool(t.Context())
	if !unavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestBothExecModesWork(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_statement", "exec"} {
		env := newEnv(map[string]string{"DATABASE_URL": pgtest.URL(t), "DATABASE_EXEC_MODE": mode})
		db := postgres.For(env)
		for range 2 {
			if n, err := ask[int](t.Context(), db, "SELECT $1 + 1", 41); err != nil || n != 42 {
				t.Errorf("%s: %d, %v", mode, n, err)
			}
		}
		prepared, err := ask[int](t.Context(), db, "SELECT count(*)::int FROM pg_prepared_statements")
		if err != nil || (prepared > 0) != (mode == "cache_statement") {
			t.Errorf("%s: %d statements are prepared, %v", mode, prepared, err)
		}
		if err := env.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// raise has the server answer with a code of its own.
func raise(ctx context.Context, db postgres.DB, code string) error {
	_, err := db.Exec(ctx, fmt.Sprintf("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '%s'; END $$", code))
	return err
}

func TestFaultOfTheServersAnswers(t *testing.T) {
	t.Parallel()
	db := postgres.Over(pgtest.Pool(t))
	for code, away := range map[string]bool{
		"08000": true, "08006": true, // connection
		"53000": true, "53100": true, "53200": true, "53300": true, // out of disk, memory, connections
		"57P01": true, "57P02": true, "57P03": true, "57P05": true, // stopping, crashed, starting, idle
		"58000": true, "58030": true, // I/O
		"25006": true,                // read-only after a failover
		"40001": true, "40P01": true, // serialization, deadlock
		"55P03": true, // lock_timeout
		"57014": true, // statement_timeout
		"22012": false, "23505": false, "23503": false, "42601": false, "42P01": false, "42501": false,
		"25001": false, "40002": false, "55006": false, "57000": false, "P0001": false, "XX000": false,
	} {
		err := raise(t.Context(), db, code)
		var server *pgconn.PgError
		if !errors.As(err, &server) || server.Code != code || unavailable(err) != away {
			t.Errorf("%s: unavailable is %v: %v", code, unavailable(err), err)
		}
	}
}

func TestRefusedLoginIsAway(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path += "_gone"
	env := newEnv(map[string]string{"DATABASE_URL": u.String()})
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	_, err = ask[int](t.Context(), postgres.For(env), "SELECT 1")
	var server *pgconn.PgError
	if !errors.As(err, &server) || server.Code != "3D000" || !unavailable(err) {
		t.Errorf("a database that is not there: %v", err)
	}
}

func TestFaultOfOtherErrors(t *testing.T) {
	t.Parallel()
	known := fault.New(fault.Conflict, "c", "d")
	for name, c := range map[string]struct {
		err  error
		away bool
	}{
		"EOF":            {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		"closed":         {net.ErrClosed, true},
		"timeout":        {context.DeadlineExceeded, true},
		"network":        {&net.OpError{Op: "dial", Err: errors.New("refused")}, true},
		"no rows":        {pgx.ErrNoRows, false},
		"own":            {errors.New("ours"), false},
		"no code":        {&pgconn.PgError{}, false},
		"the callers":    {context.Canceled, false},
		"a fault before": {known, false},
	} {
		got := postgres.Fault(c.err)
		if !errors.Is(got, c.err) || unavailable(got) != c.away || (!c.away && got != c.err) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if postgres.Fault(nil) != nil {
		t.Error("a fault of nothing")
	}
}

func TestErrorsOfLiveStatements(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	env := newEnv(map[string]string{"DATABASE_URL": url})
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	db := postgres.For(env)
	if _, err := db.Exec(t.Context(), "CREATE TABLE numbers (n int CONSTRAINT numbers_once UNIQUE); INSERT INTO numbers VALUES (1)"); err != nil {
		t.Fatal(err)
	}

	_, err := ask[int](t.Context(), db, "SELECT n FROM numbers WHERE n = 2")
	if !errors.Is(err, pgx.ErrNoRows) || unavailable(err) {
		t.Errorf("a missing row: %v", err)
	}
	_, err = db.Exec(t.Context(), "INSERT INTO numbers VALUES (1)")
	if !postgres.Violates(err, "numbers_once") || postgres.Violates(err, "another") || unavailable(err) {
		t.Errorf("a broken rule: %v", err)
	}
	if postgres.Violates(errors.New("x"), "numbers_once") {
		t.Error("any error violates")
	}

	// A lock that is not had in time.
	pool, err := db.Pool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "LOCK TABLE numbers"); err != nil {
			return err
		}
		_, err := db.Exec(t.Context(), "INSERT INTO numbers VALUES (3)")
		if !unavailable(err) {
			t.Errorf("a lock that is held: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	// A statement that outlives its caller's patience.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := ask[string](ctx, db, "SELECT pg_sleep(60)::text"); !unavailable(err) {
		t.Errorf("a deadline: %v", err)
	}
}

// A server that has become read-only is found out once, and not for as long as a
// connection to it lives.
func TestConnectionThatTakesNoWritesIsNotKept(t *testing.T) {
	t.Parallel()
	env := newEnv(map[string]string{"DATABASE_URL": pgtest.URL(t), "DATABASE_POOL": "1"})
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	db := postgres.For(env)
	for _, sql := range []string{"CREATE TABLE numbers (n int UNIQUE)", "INSERT INTO numbers VALUES (1)", "SET default_transaction_read_only = on"} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	pid := func() int {
		n, err := ask[int](t.Context(), db, "SELECT pg_backend_pid()")
		if err != nil {
			t.Error(err)
		}
		return n
	}
	before := pid()
	if _, err := db.Exec(t.Context(), "INSERT INTO numbers VALUES (2)"); !unavailable(err) {
		t.Errorf("while it is read-only: %v", err)
	}
	if _, err := db.Exec(t.Context(), "INSERT INTO numbers VALUES (2)"); err != nil || pid() == before {
		t.Errorf("the connection was kept: %v", err)
	}
	before = pid()
	if _, err := db.Exec(t.Context(), "INSERT INTO numbers VALUES (2)"); unavailable(err) || pid() != before {
		t.Errorf("a connection is dropped for any error: %v", err)
	}
}

func TestTransaction(t *testing.T) {
	t.Parallel()
	db := postgres.Over(pgtest.Pool(t))
	if _, err := db.Exec(t.Context(), "CREATE TABLE numbers (n int)"); err != nil {
		t.Fatal(err)
	}
	own := errors.New("ours")
	for _, fails := range []error{nil, own} {
		err := db.Transaction(t.Context(), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), "INSERT INTO numbers VALUES (1)")
			return errors.Join(err, fails)
		})
		if !errors.Is(err, fails) {
			t.Errorf("want %v, got %v", fails, err)
		}
	}
	if n, err := ask[int](t.Context(), db, "SELECT count(*)::int FROM numbers"); err != nil || n != 1 {
		t.Errorf("%d rows, %v; want those of the one that succeeded", n, err)
	}
}

func TestEachBrokenStepIsUnavailable(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	for name, do := range map[string]func(*postgres.Database) error{
		"exec": func(db *postgres.Database) error {
			_, err := db.Exec(t.Context(), "SELECT $1::int", 1)
			return err
		},
		"row": func(db *postgres.Database) error {
			_, err := ask[int](t.Context(), db, "SELECT $1::int", 1)
			return err
		},
		"rows": func(db *postgres.Database) error {
			rows, err := db.Query(t.Context(), "SELECT generate_series(1, $1::int)", 3)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var n int
				if err := rows.Scan(&n); err != nil {
					return err
				}
			}
			return rows.Err()
		},
		"collected": func(db *postgres.Database) error {
			rows, _ := db.Query(t.Context(), "SELECT generate_series(1, 3)")
			_, err := pgx.CollectRows(rows, pgx.RowTo[int])
			return err
		},
		"transaction": func(db *postgres.Database) error {
			return db.Transaction(t.Context(), func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), "CREATE TEMPORARY TABLE x () ON COMMIT DROP")
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pgtest.ForEveryBreak(t, url, do)
		})
	}
}
