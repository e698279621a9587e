package migrate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/devops-dashboard/dashboard/migrations"
)

// Member is a login that a function signs in with.
type Member struct{ Function, Login string }

func (m Member) group() string { return "dashboard_" + m.Function }

// groups are the roles that the grants name, in the order of the functions.
var groups = sync.OnceValue(func() []string {
	var all []string
	for _, role := range regexp.MustCompile(`\bdashboard_\w+`).FindAllString(migrations.Grants, -1) {
		if !slices.Contains(all, role) {
			all = append(all, role)
		}
	}
	return all
})

// ParseMembers reads "auth=LOGIN,refresh=LOGIN", or nothing.
func ParseMembers(text string) ([]Member, error) {
	var all []Member
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		function, login, _ := strings.Cut(part, "=")
		m := Member{strings.TrimSpace(function), strings.TrimSpace(login)}
		switch {
		case m.Login == "":
			return nil, fmt.Errorf("DATABASE_MEMBERS: %q is not FUNCTION=LOGIN", part)
		case !slices.Contains(groups(), m.group()):
			return nil, fmt.Errorf("DATABASE_MEMBERS: no function %q uses the database; these do: %s",
				m.Function, strings.ReplaceAll(strings.Join(groups(), ", "), "dashboard_", ""))
		case slices.ContainsFunc(all, func(other Member) bool { return other.Login == m.Login }):
			return nil, fmt.Errorf("DATABASE_MEMBERS names the login %q twice; each function needs one of its own", m.Login)
		}
		all = append(all, m)
	}
	return all, nil
}

// grant makes the groups, has them be able to do what the grants say and nothing
// else, and has each member be in its group alone. It is all or nothing, and
// nobody sees a moment between.
func grant(ctx context.Context, conn *pgx.Conn, members []Member) (Outcome, error) {
	var out Outcome
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Whoever changes the rights on a table while another does fails.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('dashboard grants', 0))"); err != nil {
			return err
		}
		if err := makeGroups(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, migrations.Grants); err != nil {
			return err
		}
		for _, m := range members {
			joined, err := join(ctx, tx, m)
			if err != nil {
				return fmt.Errorf("make %s a member of %s: %w", m.Login, m.group(), err)
			}
			if joined {
				out.Joined = append(out.Joined, m)
			}
		}
		return nil
	})
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, errNoRoles) && len(members) == 0:
		return Outcome{OneLogin: true}, nil
	default:
		return Outcome{}, fmt.Errorf("grant: %w", err)
	}
}

// errNoRoles means that there are no groups and that we may not make them.
var errNoRoles = errors.New("this login may not make roles, so that no other can be given a part of its rights")

// makeGroups makes the groups that the server does not have. Groups belong to the
// server and the lock to the database: for another database of the server they may
// be made at the same moment.
func makeGroups(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "SELECT name FROM unnest($1::text[]) WITH ORDINALITY AS g (name, n) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) ORDER BY n", groups())
	if err != nil {
		return err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, role := range missing {
		err := unlessThere(ctx, tx, "CREATE ROLE "+role+" NOLOGIN")
		if code(err) == "42501" { // insufficient_privilege
			return refused(ctx, tx, role)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// refused returns what it means that we may not make a group: errNoRoles where
// this database has never known one. Where it has, functions run under logins of
// their own, and would be left without rights.
func refused(ctx context.Context, tx pgx.Tx, role string) error {
	var known bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid JOIN pg_roles r ON r.oid = d.refobjid
			WHERE b.datname = current_database() AND d.refclassid = 'pg_authid'::regclass AND r.rolname = ANY ($1))`, groups()).Scan(&known)
	switch {
	case err != nil:
		return err
	case known:
		return fmt.Errorf("the role %[1]s is missing, and this login may not make it: have one who may run CREATE ROLE %[1]s NOLOGIN", role)
	}
	return errNoRoles
}

// join makes a login a member of its group and of no other of ours, and tells
// whether it had to be made one.
func join(ctx context.Context, tx pgx.Tx, m Member) (bool, error) {
	rows, err := tx.Query(ctx, `
		SELECT DISTINCT g.rolname FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles l ON l.oid = a.member
		WHERE l.rolname = $1 AND g.rolname = ANY ($2)`, m.Login, groups())
	if err != nil {
		return false, err
	}
	in, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return false, err
	}
	login := pgx.Identifier{m.Login}.Sanitize()
	for _, group := range in {
		if group == m.group() {
			continue
		}
		if _, err := tx.Exec(ctx, "REVOKE "+group+" FROM "+login); err != nil {
			return false, err
		}
	}
	if slices.Contains(in, m.group()) {
		return false, nil
	}
	return true, unlessThere(ctx, tx, "GRANT "+m.group()+" TO "+login)
}

// Login makes a login that is a member of the function's group, unless the server
// has it already: for the servers of our own that tests and local runs use.
func Login(ctx context.Context, conn *pgx.Conn, m Member, password string) error {
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", m.Login).Scan(&there); err != nil || there {
		return err
	}
	// One statement, so that nobody meets it before it is a member.
	sql := fmt.Sprintf("CREATE ROLE %s LOGIN IN ROLE %s", pgx.Identifier{m.Login}.Sanitize(), m.group())
	if password != "" {
		sql += " PASSWORD '" + strings.ReplaceAll(password, "'", "''") + "'"
	}
	return unlessThere(ctx, conn, sql)
}

// unlessThere runs a statement that makes something, and takes it for done when
// somebody else has just made the same.
func unlessThere(ctx context.Context, db interface {
	Begin(context.Context) (pgx.Tx, error)
}, sql string) error {
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql)
		return err
	})
	switch code(err) {
	case "42710", "23505": // duplicate_object, unique_violation
		return nil
	}
	return err
}

func code(err error) string {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return ""
	}
	return server.Code
}
