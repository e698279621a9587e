package auth

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// The most that there is of each. They are no prices: they keep a list on one page
// and a mistake in a script small.
const (
	teamsMost       = 50 // that one account is in
	membersMost     = 500
	invitationsMost = 100 // that are open
	tokensMost      = 50  // that are good
	trustedMost     = 200
)

// joined is how many teams the account of the caller is in, to be followed by
// something that @most bounds.
const joined = `joined AS (SELECT count(*) AS n FROM memberships, me WHERE memberships.user_id = me.id)`

// newTeam makes a team of which the caller is the owner. There is no team if they
// are in as many as they may, and no row if their session was ended.
func newTeam(ctx context.Context, db postgres.DB, caller access.Caller, name, timeZone string) (*Team, error) {
	var id *uuid.UUID
	err := db.QueryRow(ctx, `
WITH `+living+`, `+joined+`, t AS (
  INSERT INTO teams (name, time_zone) SELECT $3, $4 FROM me, joined WHERE now() AT TIME ZONE $4 IS NOT NULL AND joined.n < $5 RETURNING id
), m AS (
  INSERT INTO memberships (user_id, team_id, role) SELECT me.id, t.id, 'owner' FROM me, t
), audit AS (
  INSERT INTO auth_events (kind, user_id, session_id, team_id) SELECT 'team_created', me.id, $2, t.id FROM me, t
)
SELECT t.id FROM me LEFT JOIN t ON true`, caller.User, caller.Session, name, timeZone, teamsMost).Scan(&id)
	if err != nil || id == nil {
		return nil, err
	}
	return &Team{ID: id.String(), Name: name, Role: string(access.Owner), TimeZone: timeZone}, nil
}

// acting follows access.Teams: the team @team, if the caller may act there, and
// actor, the caller.
const acting = `,
	team AS (SELECT id FROM my_teams WHERE id = @team),
	actor AS (SELECT @caller::uuid AS id, @session::uuid AS session)`

// note is the audit of what was done to something in the team, from the rows that
// follow, which must have a detail.
const note = `INSERT INTO auth_events (kind, user_id, session_id, team_id, detail)
		SELECT @kind, actor.id, actor.session, @team::uuid, detail FROM actor, `

// deletedMeanwhile are the constraints that refuse what is made for a team, or by an
// account, that is being deleted at this moment.
var deletedMeanwhile = []string{"links_team_id_fkey", "links_created_by_fkey", "api_tokens_team_id_fkey", "api_tokens_created_by_fkey"}

// inTeam runs a statement that begins with access.Teams and acting, and scans its
// one row. There is no row, or a role or a session is missing: that is a fault.
func (t teams) inTeam(ctx context.Context, team uuid.UUID, sql string, args pgx.NamedArgs, into ...any) error {
	clause := access.Teams(ctx)
	bound := clause.Args(args)
	bound["team"] = team
	err := t.db.QueryRow(ctx, clause.SQL+acting+sql, bound).Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) || slices.ContainsFunc(deletedMeanwhile, func(name string) bool { return postgres.Violates(err, name) }) {
		return access.Refusal(ctx, t.db, team)
	}
	return err
}

// listInTeam is inTeam for a statement of many rows. Where there is none, it asks
// whether that is since the caller may not see them.
func listInTeam[T any](ctx context.Context, t teams, team uuid.UUID, sql string, args pgx.NamedArgs, scan pgx.RowToFunc[T]) ([]T, error) {
	clause := access.Teams(ctx)
	bound := clause.Args(args)
	bound["team"] = team
	rows, err := t.db.Query(ctx, clause.SQL+acting+sql, bound)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, scan)
	if err != nil || len(found) > 0 {
		return found, err
	}
	var seen bool
	return []T{}, t.inTeam(ctx, team, " SELECT true FROM team", nil, &seen)
}

func (t teams) rename(ctx context.Context, team uuid.UUID, name string) error {
	var done bool
	return t.inTeam(ctx, team, `,
	changed AS (
		UPDATE teams SET name = @name FROM team WHERE teams.id = team.id AND teams.name <> @name
		RETURNING jsonb_build_object('name', teams.name) AS detail),
	audit AS (`+note+`changed)
	SELECT true FROM team`, pgx.NamedArgs{"kind": "team_renamed", "name": name}, &done)
}
