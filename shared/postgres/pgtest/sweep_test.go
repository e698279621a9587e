package pgtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func TestSweepDropsWhatNobodyNeeds(t *testing.T) {
	t.Parallel()
	server := serverURL(t)
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	create := func(name string) string {
		t.Helper()
		run(t, server, "CREATE DATABASE "+name)
		t.Cleanup(func() {
			ctx := context.Background()
			conn, err := pgx.Connect(ctx, server)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(ctx) }()
			_, _ = conn.Exec(ctx, "ALTER DATABASE "+name+" IS_TEMPLATE false")
			_, _ = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		})
		return name
	}
	own := databaseName(time.Now())[len("test_"):]
	ago := func(d time.Duration) string { return databaseName(time.Now().Add(-d)) }
	left := create(ago(oldDatabase + time.Minute))
	used := create(ago(oldDatabase + time.Minute))
	fresh := create(ago(oldDatabase - time.Minute))
	foreign := create("test_of_somebody_" + own)
	template := func(kind string, day time.Time) string {
		name := create("template_" + kind + "_" + own)
		run(t, server, fmt.Sprintf("COMMENT ON DATABASE %s IS '%s%s'", name, usedOn, day.Format(time.DateOnly)))
		run(t, server, "ALTER DATABASE "+name+" IS_TEMPLATE true")
		return name
	}
	oldOne := template("old", time.Now().Add(-oldTemplate-48*time.Hour))
	newOne := template("new", time.Now().Add(-oldTemplate+48*time.Hour))
	stays, err := pgx.Connect(t.Context(), withDatabase(t, server, used))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stays.Close(context.Background()) }()

	if err := sweep(t.Context(), conn, oldDatabase); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{left: false, used: true, fresh: true, foreign: true, oldOne: false, newOne: true}
	got := map[string]bool{}
	for name := range want {
		var there bool
		if err := conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there); err != nil {
			t.Fatal(err)
		}
		got[name] = there
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
