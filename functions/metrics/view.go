package metrics

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// mine follows access.Teams and names what the caller's teams own. Statements start
// from my_services or my_environments, so that things of other teams and things
// that do not exist answer alike. today is the day at @now where the team is.
const mine = `,
	my_services AS NOT MATERIALIZED (
		SELECT s.id, s.name, s.deployed_by, s.repository_id, r.name AS repository_name,
			t.id AS team_id, t.name AS team_name, t.time_zone, (@now::timestamptz AT TIME ZONE t.time_zone)::date AS today
		FROM my_teams t
			JOIN repositories r ON r.team_id = t.id
			JOIN services s ON s.repository_id = r.id),
	my_environments AS NOT MATERIALIZED (
		SELECT e.id, e.name, e.service_id, s.repository_id, s.time_zone, s.today
		FROM my_services s JOIN environments e ON e.service_id = s.id)`

// view is the database as one caller may see it. Nothing in this package reaches
// the database but through it.
type view struct {
	db  *postgres.Database
	now func() time.Time
}

// query runs sql after mine for the caller of ctx, and calls each for every row,
// scanned into. Where there is no row, it asks whether that is because the
// caller's session or token has ended, which is a fault.
func (v view) query(ctx context.Context, sql string, args pgx.NamedArgs, into []any, each func() error) error {
	teams := access.Teams(ctx)
	bound := teams.Args(args)
	bound["now"] = v.now()
	rows, err := v.db.Query(ctx, teams.SQL+mine+sql, bound)
	if err != nil {
		return err
	}
	found := false
	_, err = pgx.ForEachRow(rows, into, func() error {
		found = true
		return each()
	})
	if err != nil || found {
		return err
	}
	return access.Check(ctx, v.db)
}

// place says which days a scope's facts fall on.
type place struct {
	timeZone string
	today    time.Time
}

// days runs a statement whose rows begin with the place and a day, and calls each
// for every row with a day, the rest of it scanned into. A statement that finds
// its scope answers at least one row; none is NotFound, for what. Statements read
// rollups in a lateral join with OFFSET 0, which PostgreSQL does not take apart:
// it would rather begin with the days and prove for each that the caller may see
// it.
func (v view) days(ctx context.Context, what, sql string, args pgx.NamedArgs, into []any, each func(day time.Time) error) (place, error) {
	var where place
	var day *time.Time
	found := false
	err := v.query(ctx, sql, args, append([]any{&where.timeZone, &where.today, &day}, into...), func() error {
		found = true
		if day == nil {
			return nil
		}
		return each(*day)
	})
	if err == nil && !found {
		err = notFound(what)
	}
	return where, err
}

// notFound is the one answer for what does not exist and what other teams own.
func notFound(what string) error {
	return fault.New(fault.NotFound, "not_found", "There is no such "+what+" in your teams. GET /api/metrics/services lists what there is.")
}
