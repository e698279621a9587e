// Package postgres opens the one connection pool of a process and says which of
// PostgreSQL's errors mean that it is away. The statements are left to those who
// own the tables.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"cloud.google.com/go/cloudsqlconn"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/secrets"
)

// Need declares that a function uses PostgreSQL. Either DATABASE_URL says where
// it is, or DATABASE_INSTANCE names a Cloud SQL instance that is reached with the
// function's own account and no password.
var Need = NeedOf(4)

// NeedOf is Need for a function of which one instance wants so many connections.
func NeedOf(connections int) function.Need {
	return function.Need{Name: "postgres", Settings: []function.Setting{
		{Name: "DATABASE_URL", Secret: true, Optional: true, Doc: "where PostgreSQL is: postgres://USER:PASSWORD@HOST/NAME; unless DATABASE_INSTANCE is set"},
		{Name: "DATABASE_INSTANCE", Optional: true, Doc: "a Cloud SQL instance, PROJECT:REGION:NAME, reached with IAM authentication"},
		{Name: "DATABASE_USER", Optional: true, Doc: "with DATABASE_INSTANCE: the function's account without .gserviceaccount.com"},
		{Name: "DATABASE_NAME", Default: "dashboard", Doc: "with DATABASE_INSTANCE: the database"},
		{Name: "DATABASE_POOL", Default: strconv.Itoa(connections), Doc: "the most connections of one instance"},
		{Name: "DATABASE_EXEC_MODE", Default: "cache_statement", Doc: "cache_statement, or exec behind a transaction pooler"},
	}}
}

// DB runs statements; a Database and a transaction both do.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Database is a connection pool that is opened at its first use. Its errors are
// faults where PostgreSQL is away.
type Database struct {
	open func(context.Context) (*pgxpool.Pool, func() error, error)

	mu    sync.Mutex
	pool  *pgxpool.Pool
	close func() error
}

// For returns the process's database.
func For(env *function.Env) *Database {
	return function.Shared(env, Need, func() *Database { return newDatabase(env) })
}

// newDatabase returns a database whose Cloud SQL dialer, if it has one, is made
// with further options.
func newDatabase(env *function.Env, dialer ...cloudsqlconn.Option) *Database {
	s := settings{
		url:      secrets.For(env, "DATABASE_URL"),
		instance: env.Setting("DATABASE_INSTANCE"),
		user:     env.Setting("DATABASE_USER"),
		name:     env.Setting("DATABASE_NAME"),
		pool:     env.Setting("DATABASE_POOL"),
		execMode: env.Setting("DATABASE_EXEC_MODE"),
		dialer:   dialer,
		traced:   env.Traced(),
	}
	d := &Database{open: s.open}
	env.OnStop(d.stop)
	return d
}

// Over returns a database over a pool that is open already; its owner closes it.
func Over(pool *pgxpool.Pool) *Database { return &Database{pool: pool} }

type settings struct {
	url                                  *secrets.Value
	instance, user, name, pool, execMode string
	dialer                               []cloudsqlconn.Option
	traced                               bool
}

// open makes the pool without connecting. The second result closes what the pool
// dials with.
func (s settings) open(ctx context.Context) (*pgxpool.Pool, func() error, error) {
	url, err := s.url.Get(ctx)
	if err != nil {
		return nil, nil, err
	}
	if url == "" && s.instance == "" {
		return nil, nil, errors.New("set DATABASE_URL or DATABASE_INSTANCE")
	}
	if s.instance != "" {
		// The dialer knows the address and encrypts. An address of one host here
		// keeps the driver from trying each that localhost stands for.
		url = fmt.Sprintf("host=127.0.0.1 user='%s' database='%s' sslmode=disable", s.user, s.name)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, nil, errors.New("DATABASE_URL is not a PostgreSQL URL") // the parser's words may hold the password
	}
	if err := s.tune(config); err != nil {
		return nil, nil, err
	}
	closeDialer := func() error { return nil }
	if s.instance != "" {
		// Nothing in the background, where there is no CPU between requests: the
		// certificate is refreshed when it is needed, and no metrics are sent,
		// which would take one more role.
		options := append([]cloudsqlconn.Option{
			cloudsqlconn.WithIAMAuthN(), cloudsqlconn.WithLazyRefresh(), cloudsqlconn.WithBuiltInMetrics(false),
		}, s.dialer...)
		dialer, err := cloudsqlconn.NewDialer(ctx, options...)
		if err != nil {
			return nil, nil, err
		}
		closeDialer = dialer.Close
		redial := &redial{now: time.Now, dial: func(ctx context.Context) (net.Conn, error) { return dialer.Dial(ctx, s.instance) }}
		config.ConnConfig.DialFunc = redial.Dial
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		return nil, nil, errors.Join(err, closeDialer())
	}
	return pool, closeDialer, nil
}

func (s settings) tune(config *pgxpool.Config) error {
	most, err := strconv.ParseInt(s.pool, 10, 32)
	if err != nil || most < 1 {
		return fmt.Errorf("DATABASE_POOL must be a whole number from 1, not %q", s.pool)
	}
	config.MaxConns = int32(most)
	config.MinConns = 0
	config.MaxConnLifetime = 45 * time.Minute // an IAM login is good for an hour
	config.MaxConnIdleTime = time.Minute
	config.HealthCheckPeriod = time.Minute
	config.ConnConfig.ConnectTimeout = 2 * time.Second
	// A statement that waits for a lock gives up before its caller does.
	config.ConnConfig.RuntimeParams["lock_timeout"] = "1500"
	config.ConnConfig.RuntimeParams["application_name"] = "devops-dashboard"
	// A connection to a server that takes no writes leads there for as long as it lives,
	// or keeps that to itself though the server has changed its mind.
	fatal := config.ConnConfig.OnPgError
	config.ConnConfig.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		return err.Code != readOnly && fatal(conn, err)
	}
	// Compiling a statement costs more than any of ours takes.
	config.ConnConfig.RuntimeParams["jit"] = "off"
	if s.traced {
		config.ConnConfig.Tracer = spans{}
	}
	switch s.execMode {
	case "cache_statement":
	case "exec":
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
		// A transaction pooler refuses start-up parameters it does not know.
		delete(config.ConnConfig.RuntimeParams, "lock_timeout")
		delete(config.ConnConfig.RuntimeParams, "jit")
	default:
		return fmt.Errorf("DATABASE_EXEC_MODE must be cache_statement or exec, not %q", s.execMode)
	}
	return nil
}

// Pool returns the pool, opened at the first call; an error is not remembered.
func (d *Database) Pool(ctx context.Context) (*pgxpool.Pool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pool != nil {
		return d.pool, nil
	}
	pool, closeDialer, err := d.open(ctx)
	if err != nil {
		return nil, fault.Away("the database", err)
	}
	d.pool, d.close = pool, closeDialer
	return pool, nil
}

func (d *Database) stop(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pool == nil {
		return nil
	}
	d.pool.Close()
	return d.close()
}

// Exec runs a statement.
func (d *Database) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	pool, err := d.Pool(ctx)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := pool.Exec(ctx, sql, args...)
	return tag, Fault(err)
}

// Query runs a statement that answers rows. As with pgx, the rows hold the error
// too, so that it may be looked for once, at their end.
func (d *Database) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	pool, err := d.Pool(ctx)
	if err != nil {
		return noRows{err}, err
	}
	result, err := pool.Query(ctx, sql, args...)
	return rows{result}, Fault(err)
}

// QueryRow runs a statement that answers one row.
func (d *Database) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	pool, err := d.Pool(ctx)
	if err != nil {
		return row{err: err}
	}
	return row{Row: pool.QueryRow(ctx, sql, args...)}
}

// Transaction runs do in one transaction and commits unless it fails.
func (d *Database) Transaction(ctx context.Context, do func(pgx.Tx) error) error {
	pool, err := d.Pool(ctx)
	if err != nil {
		return err
	}
	return Fault(pgx.BeginFunc(ctx, pool, do))
}

type rows struct{ pgx.Rows }

func (r rows) Err() error             { return Fault(r.Rows.Err()) }
func (r rows) Scan(dest ...any) error { return Fault(r.Rows.Scan(dest...)) }

// noRows are the rows of a statement that did not run.
type noRows struct{ err error }

func (n noRows) Err() error                                 { return n.err }
func (n noRows) Scan(...any) error                          { return n.err }
func (n noRows) Values() ([]any, error)                     { return nil, n.err }
func (noRows) Close()                                       {}
func (noRows) Next() bool                                   { return false }
func (noRows) CommandTag() pgconn.CommandTag                { return pgconn.CommandTag{} }
func (noRows) FieldDescriptions() []pgconn.FieldDescription { return nil }
func (noRows) RawValues() [][]byte                          { return nil }
func (noRows) Conn() *pgx.Conn                              { return nil }
func (noRows) TypeMap() *pgtype.Map                         { return nil }

type row struct {
	pgx.Row
	err error
}

func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return Fault(r.Row.Scan(dest...))
}

// readOnly is the SQLSTATE of a write where none is taken.
const readOnly = "25006"

// away lists the SQLSTATE classes and codes that mean "not now": the server is
// down, starting, stopping, read-only after a failover, out of something, or a
// lock was not had in time. https://www.postgresql.org/docs/16/errcodes-appendix.html
var away = map[string]bool{
	"08": true, "53": true, "57P": true, "58": true,
	readOnly: true, "40001": true, "40P01": true, "55P03": true, "57014": true,
}

// Fault returns err as an Unavailable fault when the database is away, and as it
// is otherwise. A missing row and a broken rule are the caller's to judge.
func Fault(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	// First: also a refused login means that there is no database for us now.
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return fault.Away("the database", err)
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		for _, length := range []int{2, 3, len(server.Code)} {
			if len(server.Code) >= length && away[server.Code[:length]] {
				return fault.Away("the database", err)
			}
		}
		return err
	}
	var network net.Error
	if errors.As(err, &network) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) || brokenConnection(err) {
		return fault.Away("the database", err)
	}
	return err
}

// Violates tells whether err is a refusal by the named constraint.
func Violates(err error, constraint string) bool {
	var server *pgconn.PgError
	return errors.As(err, &server) && server.ConstraintName == constraint
}

// brokenConnection tells whether the connection ended under a statement.
func brokenConnection(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed)
}
