package health

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/devops-dashboard/dashboard/migrations"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// schemaError is a schema that lacks what this build was made for.
type schemaError struct{ found, expected int64 }

func (e *schemaError) Error() string {
	return fmt.Sprintf("schema version %d, expected %d", e.found, e.expected)
}

// askSchema compares the database's schema version with this build's. A later one is
// well: migrations go ahead of the functions, and take nothing away from those that
// still serve. The table is written by the migrations.
func askSchema(ctx context.Context, db postgres.DB) error {
	var found int64
	err := db.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&found)
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "42P01" { // undefined_table: never migrated
		err = nil
	}
	if err != nil {
		return err
	}
	if expected := migrations.Version(); found < expected {
		return &schemaError{found, expected}
	}
	return nil
}
