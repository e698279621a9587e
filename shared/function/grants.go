package function

import (
	"fmt"
	"slices"
	"strings"
)

// Grant is what a function does with one table. PostgreSQL holds the function's
// login to it, see Grants. Columns are listed as in SQL: "id, name".
type Grant struct {
	Table  string
	Owner  bool   // the function whose table it is; others write to it as guests
	Select string // the columns that are read, also those that conditions compare
	Insert string // the columns that are given a value
	Update string
	Delete bool
}

// privileges lists what g grants, as GRANT and REVOKE take it.
func (g Grant) privileges() []string {
	var all []string
	for _, p := range []struct{ verb, columns string }{{"SELECT", g.Select}, {"INSERT", g.Insert}, {"UPDATE", g.Update}} {
		if p.columns != "" {
			all = append(all, p.verb+" ("+p.columns+")")
		}
	}
	if g.Delete {
		all = append(all, "DELETE")
	}
	return all
}

// Single returns what g grants one by one, as GRANT and REVOKE take it: a verb,
// and the column where it is of one.
func (g Grant) Single() []string {
	var all []string
	for _, p := range g.privileges() {
		verb, columns, ofColumns := strings.Cut(strings.TrimSuffix(p, ")"), " (")
		if !ofColumns {
			all = append(all, verb)
			continue
		}
		for _, column := range strings.Split(columns, ", ") {
			all = append(all, verb+" ("+column+")")
		}
	}
	return all
}

// needsPostgres tells whether f declares the need of package postgres, which
// imports this one.
func (f Function) needsPostgres() bool {
	return slices.ContainsFunc(f.Needs, func(n Need) bool { return n.Name == "postgres" })
}

// DatabaseRole is the group role in PostgreSQL that may do what fn declares; fn's
// logins are its members. It is empty for a function without a database.
func DatabaseRole(fn Function) string {
	if !fn.needsPostgres() {
		return ""
	}
	return "dashboard_" + fn.Name
}

// Grants returns the SQL that has each function's group role do what the function
// declares, and nothing else. The roles must exist.
func Grants(fns ...Function) string {
	var roles, tables []string
	var grants strings.Builder
	for _, fn := range fns {
		role := DatabaseRole(fn)
		if role == "" {
			continue
		}
		roles = append(roles, role)
		fmt.Fprintf(&grants, "\n-- %s %s\n", fn.Name, fn.Doc)
		for _, g := range fn.Tables {
			tables = append(tables, g.Table)
			fmt.Fprintf(&grants, "GRANT %s ON %s TO %s;\n", strings.Join(g.privileges(), ",\n  "), g.Table, role)
		}
	}
	slices.Sort(tables)
	return fmt.Sprintf(`-- Printed from functions.All by: go test ./functions -update. Do not edit.
--
-- What the login of each function may do. It is granted to a group role, which
-- migrate makes before it runs this; the login is a member. A function that is not
-- named here has no access, and nobody has any by being anybody.

REVOKE ALL ON %[1]s
  FROM PUBLIC, %[2]s;
DO $$
BEGIN
  -- Up to PostgreSQL 14 anybody may make tables and functions beside ours.
  EXECUTE format('REVOKE CREATE ON SCHEMA %%I FROM PUBLIC', current_schema());
  EXECUTE format('GRANT USAGE ON SCHEMA %%I TO %[2]s', current_schema());
END $$;
%[3]s`, strings.Join(slices.Compact(tables), ",\n  "), strings.Join(roles, ", "), &grants)
}
