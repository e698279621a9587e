// Package pgtest gives each test a PostgreSQL database of its own, cloned from a
// migrated template; takes the database away at each step of what a test runs;
// and starts a server for tests that want to end it. The tests of a machine share
// the server that DATABASE_URL names, or one that starts with the first of them
// and ends after the last.
package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/migrations"
	"github.com/devops-dashboard/dashboard/migrations/migrate"
)

// URL returns the address of a fresh, migrated database that is dropped when the
// test ends.
func URL(t testing.TB) string {
	t.Helper()
	ctx := context.Background()
	server := serverURL(t)
	template := template(t, server)
	name := databaseName(time.Now())
	run(t, server, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, template))
	t.Cleanup(func() {
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close(ctx) }()
		_, _ = conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	})
	return withDatabase(t, server, name)
}

// Pool returns a pool on a fresh, migrated database.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), URL(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

var templateOnce sync.Map // server URL -> func() (string, error)

// template returns the name of the migrated template, made once per content of
// the migrations.
func template(t testing.TB, server string) string {
	t.Helper()
	once, _ := templateOnce.LoadOrStore(server, sync.OnceValues(func() (string, error) { return makeTemplate(server) }))
	name, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func makeTemplate(server string) (string, error) {
	ctx := context.Background()
	hash := sha256.New()
	names, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := migrations.Files.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(text), text)
	}
	fmt.Fprint(hash, migrations.Grants)
	name := "template_" + hex.EncodeToString(hash.Sum(nil))[:16]
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	// Test binaries run side by side: one makes the template, the others wait.
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtext($1))", name); err != nil {
		return "", err
	}
	var ready bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)", name).Scan(&ready); err != nil {
		return "", err
	}
	if err := sweep(ctx, conn, oldDatabase); err != nil {
		return "", err
	}
	if ready {
		return name, markUsed(ctx, conn, name)
	}
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + name, "CREATE DATABASE " + name} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return "", err
		}
	}
	target, err := replaceDatabase(server, name)
	if err != nil {
		return "", err
	}
	if _, err := migrate.Up(ctx, target); err != nil {
		return "", err
	}
	if err := markUsed(ctx, conn, name); err != nil {
		return "", err
	}
	// Last, so that a template is whole or absent.
	_, err = conn.Exec(ctx, "ALTER DATABASE "+name+" IS_TEMPLATE true")
	return name, err
}

// serverURL returns the server that tests share: DATABASE_URL, or one that is
// started for them.
func serverURL(t testing.TB) string {
	t.Helper()
	if url := os.Getenv("DATABASE_URL"); url != "" {
		return url
	}
	url, err := sharedServer()
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func run(t testing.TB, server, sql string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatal(err)
	}
}

func withDatabase(t testing.TB, server, name string) string {
	t.Helper()
	u, err := replaceDatabase(server, name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func replaceDatabase(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}
