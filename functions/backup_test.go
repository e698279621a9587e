package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/functions/dev/demo"
	"github.com/devops-dashboard/dashboard/functions/dev/history"
	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/infra/backup/archive"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// product is the functions that have figures, each at its own login.
type product struct {
	owner    string // address of the database for who made it
	settings map[string]string
	handlers map[string]http.Handler
}

func newProduct(t *testing.T, owner string, settings map[string]string) product {
	t.Helper()
	p := product{owner, settings, map[string]http.Handler{}}
	for _, fn := range []function.Function{auth.Function, metrics.Function, rollup.Function} {
		login := pgtest.As(t, owner, fn.Name)
		lookup := func(name string) (string, bool) {
			if name == "DATABASE_URL" {
				return login, true
			}
			value, ok := settings[name]
			return value, ok
		}
		env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, lookup)
		handler, err := function.Handler(env, fn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = env.Stop(context.Background()) })
		p.handlers[fn.Name] = handler
	}
	return p
}

// ask calls a function and returns what it answers, which must be a success.
func (p product) ask(t *testing.T, fn, method, path, token, body string) []byte {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer := httptest.NewRecorder()
	p.handlers[fn].ServeHTTP(answer, r)
	if answer.Code >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, answer.Code, answer.Body)
	}
	return answer.Body.Bytes()
}

func (p product) condense(t *testing.T) {
	t.Helper()
	var done rollup.Condensation
	if err := json.Unmarshal(p.ask(t, "rollup", "POST", "/api/rollup/condense", "", ""), &done); err != nil || done.Left != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
}

// figures signs in and returns what the product answers of the last year.
func (p product) figures(t *testing.T) string {
	t.Helper()
	var in struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(p.ask(t, "auth", "POST", "/api/auth/login", "", `{"email":"o@example.com","password":"a long enough passphrase"}`), &in); err != nil {
		t.Fatal(err)
	}
	services := p.ask(t, "metrics", "GET", "/api/metrics/services", in.AccessToken, "")
	var list struct{ Services []struct{ ID string } }
	if err := json.Unmarshal(services, &list); err != nil || len(list.Services) != 1 {
		t.Fatalf("%s: %v", services, err)
	}
	all := string(services)
	year := url.Values{"service": {list.Services[0].ID}, "from": {time.Now().AddDate(-1, 0, 0).Format(time.DateOnly)}, "to": {time.Now().Format(time.DateOnly)}}.Encode()
	for _, r := range function.Routes(metrics.Function) {
		if r.Method == "GET" && r.Path != "/api/metrics/services" && !strings.Contains(r.Path, "{") {
			all += string(p.ask(t, "metrics", "GET", r.Path+"?"+year, in.AccessToken, ""))
		}
	}
	return all
}

// rows sums up each table of a database, row for row.
func rows(t *testing.T, address string) map[string]string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	found, err := conn.Query(t.Context(), "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil || len(tables) < 10 {
		t.Fatalf("%v, %v", tables, err)
	}
	sums := map[string]string{}
	for _, table := range tables {
		var count int
		var sum string
		if err := conn.QueryRow(t.Context(), fmt.Sprintf("SELECT count(*), coalesce(md5(string_agg(r::text, E'\n' ORDER BY r::text)), '') FROM %s r", table)).Scan(&count, &sum); err != nil {
			t.Fatal(err)
		}
		sums[table] = fmt.Sprintf("%d rows, %s", count, sum)
	}
	return sums
}

// TestARestoredDatabaseIsTheSame dumps the database of a product with a year of
// history and restores it into an empty one: every table is equal row for row, and
// the functions, at their own logins, answer the same.
func TestARestoredDatabaseIsTheSame(t *testing.T) {
	t.Parallel()
	settings := identitytest.Settings(t)
	settings["REDIS_URL"], settings["RATE_LIMIT_SCALE"] = redistest.URL(t), unlimited
	before := newProduct(t, pgtest.URL(t), settings)
	before.ask(t, "auth", "POST", "/api/auth/register", "", `{"email":"o@example.com","password":"a long enough passphrase","name":"O","team":"T","time_zone":"Europe/Berlin"}`)
	pool := poolOf(t, before.owner)
	var team uuid.UUID
	if err := pool.QueryRow(t.Context(), "SELECT id FROM teams").Scan(&team); err != nil {
		t.Fatal(err)
	}
	if _, err := history.Import(t.Context(), postgres.Over(pool), team, demo.New(1, time.Now()), nil); err != nil {
		t.Fatal(err)
	}
	before.condense(t)
	figures := before.figures(t)
	if len(figures) < 10_000 {
		t.Fatalf("there is nothing to compare: %s", figures)
	}

	file := filepath.Join(t.TempDir(), "a.dump")
	backup(t, before.owner, "dump", file)
	// An empty database on the same server: a fresh one whose schema is taken away.
	after := pgtest.URL(t)
	if err := execute(t, after, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public"); err != nil {
		t.Fatal(err)
	}
	backup(t, after, "restore", file)
	if diff := cmp.Diff(rows(t, before.owner), rows(t, after)); diff != "" {
		t.Errorf("before, after: %s", diff)
	}
	restored := newProduct(t, after, settings)
	if diff := cmp.Diff(figures, restored.figures(t)); diff != "" {
		t.Errorf("before, after: %s", diff)
	}
	// What the next row is called goes on where it was.
	if _, err := history.Import(t.Context(), postgres.Over(poolOf(t, after)), team, demo.New(2, time.Now()), nil); err != nil {
		t.Errorf("the restored database takes nothing new: %v", err)
	}
	// And nobody may do more than before.
	if err := execute(t, pgtest.As(t, after, "metrics"), "SELECT password_hash FROM users"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("metrics reads passwords: %v", err)
	}
}

func backup(t *testing.T, address string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	getenv := func(name string) string {
		return map[string]string{"DATABASE_URL": address, "PATH": os.Getenv("PATH")}[name]
	}
	if code := archive.Run(t.Context(), args, getenv, &out); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, out.String())
	}
}

func poolOf(t *testing.T, address string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func execute(t *testing.T, address string, statements ...string) error {
	t.Helper()
	for _, sql := range statements {
		if _, err := poolOf(t, address).Exec(t.Context(), sql); err != nil {
			return err
		}
	}
	return nil
}
