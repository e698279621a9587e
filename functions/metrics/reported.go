package metrics

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
)

// environmentsMost is how many environments a service has at most: previews, each
// with a name of its own, belong into one.
const environmentsMost = 100

// named are the services that a report may be about.
const named = `(s.id = @service OR @service::uuid IS NULL AND s.name = @name)`

// The environment's row is locked, also where it is not new: reports about one
// environment come one after the other, and the next statement reads what those
// before it have written.
const reportedPlaceSQL = `,
	named AS (
		SELECT s.id, s.time_zone FROM my_services s
		WHERE ` + named + ` AND (@team::uuid IS NULL OR s.team_id = @team)),
	one AS (SELECT id, time_zone FROM named LIMIT 1),
	environment AS (
		INSERT INTO environments (service_id, name, kind) SELECT one.id, @environment, @kind FROM one
		WHERE (SELECT count(*) FROM environments e WHERE e.service_id = one.id AND e.name <> @environment) < @most
		ON CONFLICT (service_id, name) DO UPDATE SET kind = environments.kind
		RETURNING id)
	SELECT (SELECT count(*) FROM named), one.id, one.time_zone, environment.id
	FROM (VALUES (1)) always LEFT JOIN one ON true LEFT JOIN environment ON true`

// What stands is the same in whatever order reports come. A report that changes
// nothing marks no day; one that does marks the day before it and the day after.
const reportedSQL = `
	WITH old AS (
		SELECT id, sha, status, finished_at FROM deployments WHERE environment_id = @environment AND external_id = @external_id),
	written AS (
		INSERT INTO deployments AS d (environment_id, external_id, ref, sha, status, finished_at)
		VALUES (@environment, @external_id, @ref, @sha, @status, @finished_at)
		ON CONFLICT (environment_id, external_id) DO UPDATE SET status = excluded.status, finished_at = excluded.finished_at
		WHERE d.sha = excluded.sha AND (
			array_position(@ranks::text[], excluded.status) > array_position(@ranks, d.status)
			OR excluded.status = d.status AND excluded.finished_at < d.finished_at)
		RETURNING d.id, d.status, d.finished_at),
	marked AS (
		INSERT INTO dirty_days (rollup, scope, day)
		SELECT DISTINCT 'deployments', @environment::uuid, (at AT TIME ZONE @time_zone)::date
		FROM (SELECT finished_at FROM old UNION SELECT finished_at FROM written) touched (at)
		WHERE at IS NOT NULL AND EXISTS (SELECT FROM written))
	SELECT COALESCE(w.id, o.id), COALESCE(w.status, o.status), COALESCE(w.finished_at, o.finished_at), w.id IS NOT NULL, COALESCE(o.sha <> @sha, false)
	FROM (VALUES (1)) always LEFT JOIN written w ON true LEFT JOIN old o ON true`

// ranks are what may be told of a deployment: a later one stands over those before.
var ranks = []string{"running", "failure", "success"}

// errNoPlace is that there is no service of the caller's for a report.
var errNoPlace = fault.New(fault.NotFound, "not_found", "There is no such service in your teams. GET /api/metrics/services lists what there is.")

// save writes what was told, in one transaction with the use of a job's token: what
// is refused uses none up.
func (r reports) save(ctx context.Context, told toldDeployment) (known Reported, err error) {
	err = r.db.Transaction(ctx, func(tx pgx.Tx) error {
		environment, zone, err := r.place(ctx, tx, told, &known)
		if err != nil {
			return err
		}
		args := pgx.NamedArgs{
			"environment": environment, "time_zone": zone, "external_id": told.externalID, "ref": told.ref, "sha": told.sha,
			"status": told.status, "finished_at": told.finishedAt, "ranks": ranks,
		}
		var other bool
		err = tx.QueryRow(ctx, reportedSQL, args).Scan(&known.ID, &known.Status, &known.FinishedAt, &known.Changed, &other)
		if err == nil && other {
			err = fault.New(fault.Conflict, "other_commit", "The deployment of this external_id was of another commit. Give each deployment an external_id of its own.")
		}
		return err
	})
	if fault.From(err) == errNoPlace {
		return known, r.whyNoPlace(ctx, told)
	}
	if known.FinishedAt != nil {
		*known.FinishedAt = known.FinishedAt.UTC()
	}
	return known, err
}

// place returns the environment of a report, locked, and the team's time zone.
func (r reports) place(ctx context.Context, tx pgx.Tx, told toldDeployment, known *Reported) (environment uuid.UUID, zone string, err error) {
	teams := access.Teams(ctx)
	own := told.args()
	own["now"], own["environment"], own["kind"], own["most"] = r.now(), told.environment, told.kind, environmentsMost
	var services int
	var service, found *uuid.UUID
	var timeZone *string
	err = tx.QueryRow(ctx, teams.SQL+mine+reportedPlaceSQL, teams.Args(own)).Scan(&services, &service, &timeZone, &found)
	switch {
	case err != nil:
		return environment, zone, err
	case services == 0:
		return environment, zone, errNoPlace
	case services > 1:
		return environment, zone, fault.InvalidField("body.service", "is the name of several services; send the id of the one, or its team")
	case found == nil:
		return environment, zone, fault.New(fault.Conflict, "too_many", fmt.Sprintf("The number of environments of a service is at most %d. Report previews as one environment.", environmentsMost))
	}
	known.Service = *service
	return *found, *timeZone, nil
}

// args are what names the service.
func (t toldDeployment) args() pgx.NamedArgs {
	return pgx.NamedArgs{"service": t.service, "name": t.name, "team": t.team}
}

// whyNoPlace tells a viewer what it takes, and everybody else that there is no such
// service.
func (r reports) whyNoPlace(ctx context.Context, told toldDeployment) error {
	err := access.RefusalOf(ctx, r.db, `
	SELECT t.role FROM my_teams t JOIN repositories r ON r.team_id = t.id JOIN services s ON s.repository_id = r.id
	WHERE `+named+` AND (@team::uuid IS NULL OR t.id = @team) LIMIT 1`, told.args())
	if err == nil {
		return errNoPlace
	}
	return err
}
