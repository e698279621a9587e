package migrate_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/migrations"
	"github.com/devops-dashboard/dashboard/migrations/migrate"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/secrets/secretstest"
)

// empty returns the address of a database without a schema.
func empty(t *testing.T) string {
	t.Helper()
	server := pgtest.URL(t)
	name := "empty_" + strings.ToLower(rand.Text())
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = conn.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
		_ = conn.Close(context.Background())
	})
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func run(t *testing.T, url string, members ...string) (code int, out string) {
	t.Helper()
	environment := map[string]string{"DATABASE_URL": url, "DATABASE_MEMBERS": strings.Join(members, ",")}
	var b bytes.Buffer
	code = migrate.Run(t.Context(), func(name string) (string, bool) { value, ok := environment[name]; return value, ok }, &b)
	return code, b.String()
}

func TestRunSaysWhatItDid(t *testing.T) {
	t.Parallel()
	url := empty(t)
	at := fmt.Sprintf("the schema is at version %d\n", migrations.Version())
	code, out := run(t, url)
	if code != 0 || strings.Count(out, "applied ") != int(migrations.Version()) || !strings.HasSuffix(out, at) {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out := run(t, url); code != 0 || out != at {
		t.Errorf("the second time: exit code %d: %s", code, out)
	}
}

// TestTheAddressMayBeASecret runs the job as Terraform sets it up: it is told where
// its address is, and may read that.
func TestTheAddressMayBeASecret(t *testing.T) {
	t.Parallel()
	manager := secretstest.New(t)
	reference := manager.Put("DATABASE_URL-migrate", empty(t))
	job := func(reference string) (code int, out string) {
		env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { return reference, name == "DATABASE_URL" }).For(migrate.Job)
		manager.Serve(env)
		var b bytes.Buffer
		code = migrate.RunIn(t.Context(), env, &b)
		if err := env.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		return code, b.String()
	}
	if code, out := job(reference); code != 0 || strings.Count(out, "applied ") != int(migrations.Version()) {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out := job("sm://projects/p/secrets/none/versions/latest"); code != 1 || !strings.HasPrefix(out, "cannot be read: setting DATABASE_URL: ") || !strings.Contains(out, "NotFound") {
		t.Errorf("a secret that is not there: exit code %d: %s", code, out)
	}
}

func TestTwoAtOnceApplyEachFileOnce(t *testing.T) {
	t.Parallel()
	url := empty(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	times := map[string]int{}
	for range 4 {
		all.Go(func() {
			did, err := migrate.Up(t.Context(), url)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, file := range did.Applied {
				times[file]++
			}
		})
	}
	all.Wait()
	if len(times) != int(migrations.Version()) {
		t.Errorf("applied %v", times)
	}
	for file, n := range times {
		if n != 1 {
			t.Errorf("%s was applied %d times", file, n)
		}
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		url  string
		code int
		want string
	}{
		"none":    {"", 2, "set DATABASE_URL"},
		"no URL":  {"postgres://u:hunter2@host:port", 1, "the database's address"},
		"nowhere": {"postgres://postgres@127.0.0.1:1/postgres?connect_timeout=1", 1, "apply migrations"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out := run(t, c.url)
			if code != c.code || !strings.Contains(out, c.want) || strings.Contains(out, "hunter2") {
				t.Errorf("exit code %d: %s", code, out)
			}
		})
	}
}

func TestBreakLeavesWholeMigrations(t *testing.T) {
	t.Parallel()
	url := empty(t)
	// Not at each of the sixty steps: goose waits for a second after some.
	proxy := pgtest.NewProxy(t, url)
	for n := 1; ; n += 9 {
		proxy.Restore()
		proxy.BreakAt(n)
		_, err := migrate.Up(t.Context(), proxy.URL)
		if broken := proxy.Broken(); broken != (err != nil) {
			t.Fatalf("step %d: broken is %v, the error %v", n, broken, err)
		} else if !broken {
			break
		}
	}
	if code, out := run(t, url); code != 0 || strings.Contains(out, "applied") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
