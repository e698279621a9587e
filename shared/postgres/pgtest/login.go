package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/migrations/migrate"
	"github.com/devops-dashboard/dashboard/shared/function"
)

// As returns the address of a migrated database for the login of the named
// function, which may do there what the function declares and no more.
func As(t testing.TB, database, name string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	// The login belongs to the server and outlives this process, and others make
	// it at the same moment: who knows the server's password knows the login's,
	// and another password is another login.
	owner, _ := u.User.Password()
	sum := sha256.Sum256([]byte("login of a test " + name + " " + owner))
	text := hex.EncodeToString(sum[:])
	password := text[8:]
	member := migrate.Member{Function: name, Login: "pgtest_" + name + "_" + text[:8]}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if err := migrate.Login(t.Context(), conn, member, password); err != nil {
		t.Fatalf("tests need a database whose owner may make roles: %v", err)
	}
	u.User = url.UserPassword(member.Login, password)
	return u.String()
}

// ForEveryGrant asserts that fn declares no more than it needs: without any one
// privilege, do fails, which makes a request of each kind to fn at its own login
// and tells whether all succeeded. It asserts too that fn is not disturbed by a
// column it does not know: migrations come before the functions that need them.
func ForEveryGrant(t testing.TB, database string, fn function.Function, do func() bool) {
	t.Helper()
	owner, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close(context.WithoutCancel(t.Context())) }()
	exec := func(sql string) {
		t.Helper()
		if _, err := owner.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, g := range fn.Tables {
		exec("ALTER TABLE " + g.Table + " ADD COLUMN of_the_next_version int")
	}
	if !do() {
		t.Fatalf("%s does not work with what it declares", fn.Name)
	}
	for _, g := range fn.Tables {
		for _, privilege := range g.Single() {
			exec("REVOKE " + privilege + " ON " + g.Table + " FROM " + function.DatabaseRole(fn))
			if do() {
				t.Errorf("%s declares %s on %s and works without", fn.Name, privilege, g.Table)
			}
			exec("GRANT " + privilege + " ON " + g.Table + " TO " + function.DatabaseRole(fn))
		}
	}
	if !do() {
		t.Errorf("%s does not work with what it was given back", fn.Name)
	}
}
