package pgtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/migrations"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestEachTestHasItsOwnDatabase(t *testing.T) {
	t.Parallel()
	var first string
	t.Run("made and dropped", func(t *testing.T) {
		first = pgtest.URL(t)
		pool := pgtest.Pool(t)
		if _, err := pool.Exec(t.Context(), "CREATE TABLE mine ()"); err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.Connect(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		// It is dropped all the same: a test may forget to close.
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		var version int64
		if err := conn.QueryRow(t.Context(), "SELECT max(version_id) FROM goose_db_version").Scan(&version); err != nil || version != migrations.Version() {
			t.Errorf("the schema is at %d, want %d: %v", version, migrations.Version(), err)
		}
		if _, err := conn.Exec(t.Context(), "SELECT FROM mine"); err == nil {
			t.Error("two databases are one")
		}
	})
	if conn, err := pgx.Connect(t.Context(), first); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the database outlives its test")
	}
}
