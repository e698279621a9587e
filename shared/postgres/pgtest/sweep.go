package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// oldDatabase is older than any run of a test may get.
	oldDatabase = 2 * time.Hour
	// oldTemplate is how long nobody used a template that nobody will use again.
	oldTemplate = 7 * 24 * time.Hour
)

// databaseName returns a new name that tells when the database was made.
func databaseName(now time.Time) string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return fmt.Sprintf("test_%x_%s", now.Unix(), hex.EncodeToString(b))
}

// madeAt reads the time from a name, if it is one of ours.
func madeAt(name string) (time.Time, bool) {
	stamp, _, found := strings.Cut(strings.TrimPrefix(name, "test_"), "_")
	seconds, err := strconv.ParseInt(stamp, 16, 64)
	return time.Unix(seconds, 0), found && err == nil
}

const usedOn = "last used on "

// markUsed notes on a template that it was used today.
func markUsed(ctx context.Context, conn *pgx.Conn, template string) error {
	_, err := conn.Exec(ctx, fmt.Sprintf("COMMENT ON DATABASE %s IS '%s%s'", template, usedOn, time.Now().UTC().Format(time.DateOnly)))
	return err
}

// sweep drops what killed runs and earlier migrations left: databases of tests
// that are older than age and that nobody is connected to, and old templates.
func sweep(ctx context.Context, conn *pgx.Conn, age time.Duration) error {
	rows, err := conn.Query(ctx, `
		SELECT datname, datistemplate, coalesce(shobj_description(oid, 'pg_database'), '')
		FROM pg_database AS d
		WHERE datname ~ '^(test|template)_' AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datid = d.oid)`)
	if err != nil {
		return err
	}
	type database struct {
		Name     string
		Template bool
		Comment  string
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[database])
	if err != nil {
		return err
	}
	for _, d := range all {
		since, ok := madeAt(d.Name)
		limit := age
		if d.Template {
			day, err := time.Parse(usedOn+time.DateOnly, d.Comment)
			since, ok, limit = day, err == nil, oldTemplate
		}
		if !ok || time.Since(since) < limit {
			continue
		}
		if d.Template {
			_, _ = conn.Exec(ctx, "ALTER DATABASE "+d.Name+" IS_TEMPLATE false")
		}
		_, _ = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+d.Name) // it may have found a user just now
	}
	return ctx.Err()
}
