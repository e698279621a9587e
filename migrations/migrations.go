// Package migrations holds the schema, one numbered SQL file a change, and what the
// functions' logins may do with it. Applying both is left to package migrate, so
// that asking for the version links nothing.
package migrations

import (
	"embed"
	"io/fs"
	"strconv"
	"strings"
)

// Files are the migrations, in the form that goose reads.
//
//go:embed [0-9]*.sql
var Files embed.FS

// Grants is the SQL that says what the login of each function may do, printed
// from the functions' declarations.
//
//go:embed grants.sql
var Grants string

// Version is the number of the newest migration: the schema that this build
// expects.
func Version() int64 {
	names, _ := fs.Glob(Files, "*.sql") // sorted; the pattern is good
	number, _, _ := strings.Cut(names[len(names)-1], "_")
	version, _ := strconv.ParseInt(number, 10, 64)
	return version
}
