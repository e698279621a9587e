package metrics

import (
	"context"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// alive tells whether the caller's session has neither been ended nor outlived by
// its account: an access token alone would be good for a quarter of an hour more.
const alive = `EXISTS (
			SELECT FROM sessions s JOIN users u ON u.id = s.user_id AND u.session_epoch = s.epoch
			WHERE s.id = @session AND s.user_id = @caller AND s.revoked_at IS NULL AND u.disabled_at IS NULL)`

// mine begins every statement: it names what the caller's teams own while the
// caller's session lives, and nothing else. Statements start from my_services or
// my_environments, so that things of other teams and things that do not exist
// answer alike. today is the day at @now where the team is.
const mine = `
	WITH my_services AS NOT MATERIALIZED (
		SELECT s.id, s.name, s.deployed_by, s.repository_id, r.name AS repository_name,
			t.id AS team_id, t.name AS team_name, t.time_zone, (@now::timestamptz AT TIME ZONE t.time_zone)::date AS today
		FROM memberships m
			JOIN teams t ON t.id = m.team_id
			JOIN repositories r ON r.team_id = t.id
			JOIN services s ON s.repository_id = r.id
		WHERE m.user_id = @caller AND ` + alive + `),
	my_environments AS NOT MATERIALIZED (
		SELECT e.id, e.name, e.service_id, s.repository_id, s.time_zone, s.today
		FROM my_services s JOIN environments e ON e.service_id = s.id)`

// view is the database as one caller may see it. Nothing in this package reaches
// the database but through it.
type view struct {
	db  postgres.DB
	now func() time.Time
}

// query runs mine and sql for the caller of ctx, and calls each for every row,
// scanned into. Where there is no row, it asks whether that is because the
// caller's session has ended, which is a fault.
func (v view) query(ctx context.Context, sql string, args pgx.NamedArgs, into []any, each func() error) error {
	caller := identity.CallerOf(ctx)
	bound := pgx.NamedArgs{"caller": caller.User, "session": caller.Session, "now": v.now()}
	maps.Copy(bound, args)
	rows, err := v.db.Query(ctx, mine+sql, bound)
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
	return v.checkSession(ctx, caller)
}

// checkSession returns a fault if the caller's session has ended.
func (v view) checkSession(ctx context.Context, caller identity.Caller) error {
	var lives bool
	err := v.db.QueryRow(ctx, "SELECT "+alive, pgx.NamedArgs{"caller": caller.User, "session": caller.Session}).Scan(&lives)
	if err != nil || lives {
		return err
	}
	return identity.ErrSessionEnded
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
