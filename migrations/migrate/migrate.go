// Package migrate applies the migrations to a database and gives each function's
// login what the function declares. Who runs it (the migrate job in the cloud, the
// local server, tests) is left to them.
package migrate

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/devops-dashboard/dashboard/migrations"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/secrets"
)

// Outcome is what Up did.
type Outcome struct {
	Applied  []string // the files, in order
	Joined   []Member // the logins that were made members
	OneLogin bool     // roles cannot be made here: every function runs under the owner's login
}

// Up brings the database at url up to date, and has the functions' groups be able
// to do what migrations.Grants says and each of members be in its group alone. Two
// calls at once are safe: the second waits for the first.
func Up(ctx context.Context, url string, members ...Member) (Outcome, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return Outcome{}, fmt.Errorf("the database's address: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	db := stdlib.OpenDB(*config)
	applied, err := up(ctx, db)
	if err := cmp.Or(err, db.Close()); err != nil {
		return Outcome{}, fmt.Errorf("apply migrations: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return Outcome{}, fmt.Errorf("grant: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	out, err := grant(ctx, conn, members)
	out.Applied = applied
	return out, err
}

func up(ctx context.Context, db *sql.DB) ([]string, error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files, goose.WithSessionLocker(locker))
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, err
	}
	applied := make([]string, len(results))
	for i, r := range results {
		applied[i] = r.Source.Path
	}
	return applied, nil
}

// job is what the migrate job reads from its environment.
var job = function.Function{Name: "migrate", Settings: []function.Setting{
	{Name: "DATABASE_URL", Secret: true, Optional: true, Doc: "the database to migrate, as the owner of its tables"},
	{Name: "DATABASE_MEMBERS", Optional: true, Doc: "the logins that the functions use: function=login, with commas between"},
}}

// Run migrates the database that DATABASE_URL names, or refers to in Secret Manager,
// with the members that DATABASE_MEMBERS names, says on out what it did and returns
// the exit code.
func Run(ctx context.Context, lookup function.Lookup, out io.Writer) int {
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, lookup).For(job)
	defer func() { _ = env.Stop(context.WithoutCancel(ctx)) }()
	return run(ctx, env, out)
}

func run(ctx context.Context, env *function.Env, out io.Writer) int {
	url, err := secrets.For(env, "DATABASE_URL").Get(ctx)
	if err != nil {
		fmt.Fprintln(out, "cannot be read:", errors.Unwrap(err))
		return 1
	}
	if url == "" {
		fmt.Fprintln(out, "set DATABASE_URL to the database to migrate: postgres://USER:PASSWORD@HOST/NAME")
		return 2
	}
	members, err := ParseMembers(env.Setting("DATABASE_MEMBERS"))
	if err != nil {
		fmt.Fprintln(out, err)
		return 2
	}
	did, err := Up(ctx, url, members...)
	for _, file := range did.Applied {
		fmt.Fprintln(out, "applied", file)
	}
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	for _, m := range did.Joined {
		fmt.Fprintf(out, "%s may do what %s declares\n", m.Login, m.Function)
	}
	if did.OneLogin {
		fmt.Fprintln(out, "roles cannot be made here, so every function runs under one login, that of DATABASE_URL, and may do everything")
	}
	fmt.Fprintln(out, "the schema is at version", migrations.Version())
	return 0
}
