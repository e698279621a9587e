package functions_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// versions is the table that the migrations themselves write; no function owns it.
const versions = "goose_db_version"

// schema returns the columns of each table, in order.
func schema(t *testing.T, url string) map[string][]string {
	t.Helper()
	conn := connect(t, url)
	rows, err := conn.Query(t.Context(), "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][]string{}
	var table, column string
	_, err = pgx.ForEachRow(rows, []any{&table, &column}, func() error {
		tables[table] = append(tables[table], column)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tables
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // each statement once
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}

func TestEachTableHasOneOwner(t *testing.T) {
	t.Parallel()
	tables := schema(t, pgtest.URL(t))
	owners := map[string]string{versions: "the migrations"}
	for _, fn := range functions.All {
		if function.DatabaseRole(fn) == "" && len(fn.Tables) > 0 {
			t.Errorf("%s declares tables and no need of PostgreSQL", fn.Name)
		}
		seen := map[string]bool{}
		for _, g := range fn.Tables {
			if seen[g.Table] {
				t.Errorf("%s declares %s twice", fn.Name, g.Table)
			}
			seen[g.Table] = true
			if other, taken := owners[g.Table]; g.Owner && taken {
				t.Errorf("%s is owned by %s and %s", g.Table, other, fn.Name)
			} else if g.Owner {
				owners[g.Table] = fn.Name
			}
			if tables[g.Table] == nil {
				t.Errorf("%s declares the table %s, which the migrations do not make", fn.Name, g.Table)
			}
			for _, columns := range []string{g.Select, g.Insert, g.Update} {
				if columns == "" {
					continue
				}
				var named []string
				for column := range strings.SplitSeq(columns, ", ") {
					if slices.Contains(named, column) || !slices.Contains(tables[g.Table], column) {
						t.Errorf("%s names the column %q of %s, which is named twice or not there", fn.Name, column, g.Table)
					}
					named = append(named, column)
				}
			}
		}
	}
	for table := range tables {
		if owners[table] == "" {
			t.Errorf("no function owns the table %s", table)
		}
	}
}

// TestLoginsMayDoWhatIsDeclaredAndNothingElse tries every verb on every column of
// every table, at the login of every function.
func TestLoginsMayDoWhatIsDeclaredAndNothingElse(t *testing.T) {
	t.Parallel()
	if *update {
		t.Skip("the grants compiled into this test are those before -update")
	}
	url := pgtest.URL(t)
	tables := schema(t, url)
	for _, fn := range functions.All {
		if function.DatabaseRole(fn) == "" {
			continue
		}
		t.Run(fn.Name, func(t *testing.T) {
			t.Parallel()
			login := connect(t, pgtest.As(t, url, fn.Name))
			declared, allowed := map[string]bool{}, map[string]bool{}
			for _, g := range fn.Tables {
				for _, privilege := range g.Single() {
					declared[privilege+" ON "+g.Table] = true
				}
			}
			try := func(privilege, table, sql string) {
				t.Helper()
				if may(t, login, sql) {
					allowed[privilege+" ON "+table] = true
				}
			}
			for table, columns := range tables {
				for _, c := range columns {
					try("SELECT ("+c+")", table, "SELECT "+c+" FROM "+table+" WHERE false")
					try("INSERT ("+c+")", table, "INSERT INTO "+table+" ("+c+") OVERRIDING SYSTEM VALUE SELECT NULL WHERE false")
					try("UPDATE ("+c+")", table, "UPDATE "+table+" SET "+c+" = DEFAULT WHERE false")
				}
				try("DELETE", table, "DELETE FROM "+table+" WHERE false")
				try("TRUNCATE", table, "TRUNCATE "+table)
			}
			if diff := cmp.Diff(declared, allowed); diff != "" {
				t.Errorf("declared, and allowed: %s", diff)
			}
			if may(t, login, "CREATE TABLE own ()") || may(t, login, "SET ROLE "+owner(t, url)) {
				t.Error("the login may make tables or become the owner")
			}
			var super bool
			if err := login.QueryRow(t.Context(), "SELECT rolsuper OR rolcreaterole OR rolbypassrls FROM pg_roles WHERE rolname = session_user").Scan(&super); err != nil || super {
				t.Errorf("the login stands above grants, or %v", err)
			}
		})
	}
}

func owner(t *testing.T, url string) string {
	t.Helper()
	var name string
	if err := connect(t, url).QueryRow(t.Context(), "SELECT quote_ident(session_user)").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

// may tells whether PostgreSQL lets the login run a statement, and fails when it
// refuses for another reason than rights.
func may(t *testing.T, login *pgx.Conn, sql string) bool {
	t.Helper()
	_, err := login.Exec(t.Context(), sql)
	var server *pgconn.PgError
	if err != nil && (!errors.As(err, &server) || server.Code != "42501") { // insufficient_privilege
		t.Errorf("%s: %v", sql, err)
	}
	return err == nil
}

// What the declarations are for, in words and at real logins.
func TestAThiefOfOneLoginDoesNotGetFar(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	session := `(user_id, epoch, issued_at, expires_at, absolute_expires_at) VALUES (gen_random_uuid(), 0, now(), now(), now())`
	for _, fn := range functions.All {
		if function.DatabaseRole(fn) == "" {
			continue
		}
		login := connect(t, pgtest.As(t, url, fn.Name))
		for what, c := range map[string]struct {
			sql string
			may []string // who else than nobody
		}{
			"reads password hashes":      {"SELECT password_hash FROM users", []string{"auth"}},
			"reads addresses":            {"SELECT email FROM users", []string{"auth", "rollup"}},
			"makes users":                {"INSERT INTO users (email, email_key, name, password_hash) VALUES ('a', 'a', 'a', '')", []string{"auth"}},
			"sets passwords":             {"UPDATE users SET password_hash = ''", []string{"auth"}},
			"renames users":              {"UPDATE users SET name = ''", []string{"auth"}},
			"deletes users":              {"DELETE FROM users", []string{"auth"}},
			"opens sessions":             {"INSERT INTO sessions " + session + " ON CONFLICT DO NOTHING", []string{"auth"}},
			"ends sessions":              {"UPDATE sessions SET revoked_at = now()", []string{"auth", "refresh"}},
			"revives sessions":           {"UPDATE sessions SET absolute_expires_at = now()", nil},
			"takes sessions over":        {"UPDATE sessions SET user_id = user_id", nil},
			"deletes sessions":           {"DELETE FROM sessions", []string{"rollup"}},
			"joins teams":                {"INSERT INTO memberships (user_id, team_id, role) SELECT id, id, 'owner' FROM users WHERE false", []string{"auth"}},
			"reads the audit log":        {"SELECT kind FROM auth_events", []string{"auth"}},
			"makes API tokens":           {"INSERT INTO api_tokens (team_id, name, scope, secret_hash, expires_at) SELECT id, '', 'read', sha256(''), now() FROM teams WHERE false", []string{"auth"}},
			"revives API tokens":         {"UPDATE api_tokens SET expires_at = now()", nil},
			"makes links":                {"INSERT INTO links (kind, secret_hash, expires_at) SELECT 'owner', sha256(''), now() WHERE false", []string{"auth", "rollup"}},
			"rewrites the audit log":     {"UPDATE auth_events SET kind = ''", nil},
			"deletes from the audit log": {"DELETE FROM auth_events", nil},
			"invents deployments":        {"UPDATE deployments SET status = 'success'", []string{"metrics"}},
			"moves deployments":          {"UPDATE deployments SET sha = ''", nil},
			"deletes deployments":        {"DELETE FROM deployments", nil},
			"has repositories trusted":   {"UPDATE trusted_repositories SET name = ''", []string{"auth"}},
			"moves trust":                {"UPDATE trusted_repositories SET repository_id = 1", nil},
			"makes used tokens good":     {"DELETE FROM used_workflow_tokens", []string{"rollup"}},
			"invents figures":            {"UPDATE rollup_deployments SET deployed = 0", []string{"rollup"}},
			"moves the schema":           {"UPDATE goose_db_version SET is_applied = true", nil},
		} {
			tx, err := login.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = tx.Exec(t.Context(), c.sql)
			_ = tx.Rollback(t.Context())
			var server *pgconn.PgError
			refused := errors.As(err, &server) && server.Code == "42501"
			if want := !slices.Contains(c.may, fn.Name); refused != want {
				t.Errorf("%s %s: %v", fn.Name, what, err)
			}
		}
	}
}
