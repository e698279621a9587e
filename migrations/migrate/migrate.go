// Package migrate applies the migrations to a database. Who runs it (the migrate
// job in the cloud, the local server, tests) is left to them.
package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/devops-dashboard/dashboard/migrations"
)

// Up brings the database at url up to date and returns the files it applied.
// Two calls at once are safe: the second waits for the first.
func Up(ctx context.Context, url string) ([]string, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("the database's address: %w", err)
	}
	db := stdlib.OpenDB(*config)
	defer func() { _ = db.Close() }()
	return up(ctx, db)
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
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("apply migrations: %w", err)
	}
	applied := make([]string, len(results))
	for i, r := range results {
		applied[i] = r.Source.Path
	}
	return applied, nil
}

// Run applies the migrations to the database at url, says on out what it did and
// returns the exit code.
func Run(ctx context.Context, url string, out io.Writer) int {
	if url == "" {
		fmt.Fprintln(out, "set DATABASE_URL to the database to migrate: postgres://USER:PASSWORD@HOST/NAME")
		return 2
	}
	applied, err := Up(ctx, url)
	if err != nil {
		fmt.Fprintln(out, err)
		return 1
	}
	for _, file := range applied {
		fmt.Fprintln(out, "applied", file)
	}
	fmt.Fprintln(out, "the schema is at version", migrations.Version())
	return 0
}
