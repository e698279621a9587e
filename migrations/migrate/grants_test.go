package migrate_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/devops-dashboard/dashboard/migrations/migrate"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// newLogin makes a login as an operator does, and returns its name and the address
// that it has url at.
func newLogin(t *testing.T, url, name string) (login, address string) {
	t.Helper()
	conn := connect(t, url)
	login, password := name+strings.ToLower(rand.Text()), rand.Text()
	quoted := pgx.Identifier{login}.Sanitize()
	exec(t, conn, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", quoted, password))
	t.Cleanup(func() { _, _ = conn.Exec(context.Background(), "DROP ROLE "+quoted) })
	return login, as(t, url, login, password)
}

func as(t *testing.T, address, login, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(login, password)
	return u.String()
}

func in(t *testing.T, address, database string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

// refused tells whether the login at url may not run a statement.
func refused(t *testing.T, url, sql string) bool {
	t.Helper()
	_, err := connect(t, url).Exec(t.Context(), sql)
	var server *pgconn.PgError
	if err != nil && (!errors.As(err, &server) || server.Code != "42501") {
		t.Errorf("%s: %v", sql, err)
	}
	return err != nil
}

const readsHashes, readsTeams = "SELECT password_hash FROM users", "SELECT id, name FROM teams"

func TestMembersMayDoWhatTheirFunctionDeclares(t *testing.T) {
	t.Parallel()
	url := empty(t)
	// As Cloud SQL names an account of Google's.
	auth, authURL := newLogin(t, url, "fn-auth@project.iam-")
	metrics, metricsURL := newLogin(t, url, "fn-metrics@project.iam-")
	code, out := run(t, url, "auth="+auth, " metrics = "+metrics, "")
	if code != 0 || !strings.Contains(out, auth+" may do what auth declares\n") || !strings.Contains(out, metrics+" may do what metrics declares\n") {
		t.Fatalf("exit code %d: %s", code, out)
	}
	if refused(t, authURL, readsHashes) || refused(t, authURL, readsTeams) || refused(t, metricsURL, readsTeams) || !refused(t, metricsURL, readsHashes) {
		t.Error("the logins may do something else")
	}
	if code, out := run(t, url, "auth="+auth, "metrics="+metrics); code != 0 || strings.Contains(out, "declares") {
		t.Errorf("the second time: exit code %d: %s", code, out)
	}
	// Given to another function, a login keeps nothing of the first.
	if code, out := run(t, url, "metrics="+auth); code != 0 || !refused(t, authURL, readsHashes) || refused(t, authURL, readsTeams) {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func TestGrantsAreBroughtBackToWhatIsDeclared(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	metrics := pgtest.As(t, url, "metrics")
	_, nobody := newLogin(t, url, "nobody")
	owner := connect(t, url)
	exec(t, owner, `GRANT SELECT, UPDATE (name) ON users TO dashboard_metrics; GRANT SELECT (password_hash) ON users TO PUBLIC; REVOKE SELECT (name) ON teams FROM dashboard_metrics`)
	exec(t, owner, "GRANT CREATE ON SCHEMA public TO PUBLIC")
	if refused(t, metrics, readsHashes) || refused(t, nobody, readsHashes) || !refused(t, metrics, readsTeams) {
		t.Fatal("the grants of the test do nothing")
	}
	if code, out := run(t, url); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, sql := range []string{readsHashes, "UPDATE users SET name = '' WHERE false", "CREATE TABLE own ()"} {
		if !refused(t, metrics, sql) || !refused(t, nobody, sql) {
			t.Errorf("still allowed: %s", sql)
		}
	}
	if refused(t, metrics, readsTeams) {
		t.Error("what is declared was not given back")
	}
}

func TestBreakLeavesGrantsWhole(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	owner := connect(t, url)
	first, _ := newLogin(t, url, "first")
	second, _ := newLogin(t, url, "second")
	exec(t, owner, "GRANT dashboard_refresh TO "+first)
	exec(t, owner, "REVOKE SELECT (name) ON teams FROM dashboard_metrics")
	members := []migrate.Member{{Function: "auth", Login: first}, {Function: "auth", Login: second}}
	whole := func() (done bool) {
		t.Helper()
		var parts []bool
		err := owner.QueryRow(t.Context(), `SELECT ARRAY[has_column_privilege('dashboard_metrics', 'teams', 'name', 'SELECT'),
			pg_has_role($1, 'dashboard_auth', 'MEMBER'), NOT pg_has_role($1, 'dashboard_refresh', 'MEMBER'), pg_has_role($2, 'dashboard_auth', 'MEMBER')]`, first, second).Scan(&parts)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(parts, true) && slices.Contains(parts, false) {
			t.Errorf("half is done: %v", parts)
		}
		return parts[0]
	}
	for n, proxy := range pgtest.Breaks(t, url) {
		conn, err := pgx.Connect(t.Context(), proxy.URL)
		if err != nil {
			continue
		}
		_, err = migrate.Grant(t.Context(), conn, members)
		_ = conn.Close(t.Context())
		if proxy.Broken() != (err != nil) {
			t.Errorf("step %d: broken is %v, the error %v", n, proxy.Broken(), err)
		}
		if done := whole(); !done && err == nil {
			t.Errorf("step %d: no error, and nothing done", n)
		}
	}
}

func TestMembersThatCannotBeHad(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	for members, c := range map[string]struct {
		code int
		want string
	}{
		"auth":               {2, `"auth" is not FUNCTION=LOGIN`},
		"auth=":              {2, "is not FUNCTION=LOGIN"},
		"atuh=x":             {2, `no function "atuh" uses the database; these do: auth, refresh,`},
		"web=x":              {2, `no function "web" uses the database`},
		"auth=x,refresh=x":   {2, `the login "x" twice`},
		`auth=no"such login`: {1, `make no"such login a member of dashboard_auth`},
	} {
		if code, out := run(t, url, members); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit code %d: %s", members, code, out)
		}
	}
}

// A server of its own, which has no groups yet.
func TestServerWithoutGroups(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	super := connect(t, server.URL)
	drop := func(conn *pgx.Conn, groups ...string) {
		t.Helper()
		exec(t, conn, "DROP OWNED BY "+strings.Join(groups, ", "))
	}
	dropAll := func(conns ...*pgx.Conn) {
		t.Helper()
		for _, conn := range conns {
			drop(conn, migrate.Groups()...)
		}
		exec(t, super, "DROP ROLE "+strings.Join(migrate.Groups(), ", "))
	}
	dropAll(super)

	// The owner of a hosted database, which may make no roles.
	exec(t, super, "CREATE ROLE hosted LOGIN")
	exec(t, super, "CREATE DATABASE hosted OWNER hosted")
	hosted := in(t, as(t, server.URL, "hosted", ""), "hosted")
	for range 2 {
		code, out := run(t, hosted)
		if code != 0 || strings.Count(out, "every function runs under one login") != 1 {
			t.Fatalf("exit code %d: %s", code, out)
		}
	}
	if refused(t, hosted, readsHashes) {
		t.Error("the owner may not read")
	}
	if code, out := run(t, hosted, "auth=hosted"); code != 1 || !strings.Contains(out, "may not make roles") {
		t.Errorf("with members: exit code %d: %s", code, out)
	}
	// Somebody who may has made them.
	for _, group := range migrate.Groups() {
		exec(t, super, "CREATE ROLE "+group+" NOLOGIN")
	}
	exec(t, super, "CREATE ROLE reader LOGIN IN ROLE dashboard_metrics")
	reader := in(t, as(t, server.URL, "reader", ""), "hosted")
	if code, out := run(t, hosted); code != 0 || strings.Contains(out, "one login") || refused(t, reader, readsTeams) || !refused(t, reader, readsHashes) {
		t.Errorf("with groups: exit code %d: %s", code, out)
	}
	// A group that is new has to be made by them too; the others are in use.
	database := connect(t, in(t, server.URL, "hosted"))
	drop(database, "dashboard_health")
	exec(t, super, "DROP ROLE dashboard_health")
	if code, out := run(t, hosted); code != 1 || !strings.Contains(out, "CREATE ROLE dashboard_health NOLOGIN") || refused(t, reader, readsTeams) {
		t.Errorf("with a group missing: exit code %d: %s", code, out)
	}
	exec(t, super, "CREATE ROLE dashboard_health NOLOGIN")
	dropAll(database)

	// Groups belong to the server, and two databases of it may be first at once.
	var all sync.WaitGroup
	for n := range 4 {
		name := fmt.Sprint("first_", n)
		exec(t, super, "CREATE DATABASE "+name)
		all.Go(func() {
			if did, err := migrate.Up(t.Context(), in(t, server.URL, name)); err != nil || did.OneLogin {
				t.Errorf("%+v, %v", did, err)
			}
		})
	}
	all.Wait()
	for n := range 4 {
		conn := connect(t, in(t, server.URL, fmt.Sprint("first_", n)))
		all.Go(func() {
			for _, function := range []string{"auth", "refresh"} {
				if err := migrate.Login(t.Context(), conn, migrate.Member{Function: function, Login: "of_" + function}, "it's"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if refused(t, in(t, as(t, server.URL, "of_auth", "it's"), "first_3"), readsHashes) {
		t.Error("the login of auth may not do what auth declares")
	}
}

func TestParseMembers(t *testing.T) {
	t.Parallel()
	got, err := migrate.ParseMembers(" auth = fn-auth@p.iam ,refresh=fn-refresh@p.iam,\n")
	want := []migrate.Member{{Function: "auth", Login: "fn-auth@p.iam"}, {Function: "refresh", Login: "fn-refresh@p.iam"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
}
