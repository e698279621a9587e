package access

import (
	"context"
	"errors"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// Clause is the beginning of a statement, to be followed by its own WITH queries or
// its SELECT: it names my_teams (id, name, time_zone, role), the teams in which the
// caller has what the route needs. The role of a token is viewer.
type Clause struct {
	SQL  string
	args pgx.NamedArgs
}

// Args returns the statement's arguments: the clause's and its own.
func (c Clause) Args(own pgx.NamedArgs) pgx.NamedArgs {
	all := maps.Clone(c.args)
	maps.Copy(all, own)
	return all
}

// A session that was ended, or outlived by its account, gives no team: the access
// token alone would be good for a quarter of an hour more.
const ofPerson = `
	WITH my_teams AS NOT MATERIALIZED (
		SELECT t.id, t.name, t.time_zone, m.role
		FROM memberships m JOIN teams t ON t.id = m.team_id
		WHERE m.user_id = @caller AND m.role = ANY (@roles::text[]) AND ` + sessionLives + `)`

const sessionLives = `EXISTS (
			SELECT FROM sessions s JOIN users u ON u.id = s.user_id AND u.session_epoch = s.epoch
			WHERE s.id = @session AND s.user_id = @caller AND s.revoked_at IS NULL AND u.disabled_at IS NULL)`

// When a token was last used is kept by the minute: one that is used a hundred
// times a second is written once.
const ofToken = `
	WITH my_token AS MATERIALIZED (
		SELECT id, team_id, last_used_at FROM api_tokens
		WHERE secret_hash = @token AND scope = @scope AND revoked_at IS NULL AND expires_at > clock_timestamp()),
	used AS (
		UPDATE api_tokens SET last_used_at = clock_timestamp() FROM my_token
		WHERE api_tokens.id = my_token.id AND (my_token.last_used_at IS NULL OR my_token.last_used_at < clock_timestamp() - interval '1 minute')),
	my_teams AS NOT MATERIALIZED (
		SELECT t.id, t.name, t.time_zone, 'viewer' AS role FROM my_token k JOIN teams t ON t.id = k.team_id)`

// Teams returns the clause for the caller of ctx. It panics on a route that asks for
// no role: everything that is a team's is reached through the clause, so that no
// handler can forget to ask.
func Teams(ctx context.Context) Clause {
	caller := CallerOf(ctx)
	if caller.asks.role == "" {
		panic("access.Teams in a route that was not registered by access.For or access.ForTokens")
	}
	return caller.teams()
}

func (c Caller) teams() Clause {
	if c.Token != (Digest{}) {
		return Clause{ofToken, pgx.NamedArgs{"token": c.Token.Bytes(), "scope": string(c.asks.scope)}}
	}
	return Clause{ofPerson, pgx.NamedArgs{"caller": c.User, "session": c.Session, "roles": c.asks.role.orMore()}}
}

// Check returns why a statement that began with Teams found nothing, as far as it
// was for want of a right in general: the session has ended, or the token is not
// known, or not for this. It is nil where the caller is well and what they asked for
// is not there for them.
func Check(ctx context.Context, db postgres.DB) error {
	caller := CallerOf(ctx)
	if caller.Token != (Digest{}) {
		var scope Scope
		err := db.QueryRow(ctx, `SELECT scope FROM api_tokens WHERE secret_hash = @token AND revoked_at IS NULL AND expires_at > clock_timestamp()`,
			pgx.NamedArgs{"token": caller.Token.Bytes()}).Scan(&scope)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrTokenEnded
		}
		if err != nil {
			return err
		}
		return caller.asks.refuses(scope)
	}
	var lives bool
	err := db.QueryRow(ctx, "SELECT "+sessionLives, pgx.NamedArgs{"caller": caller.User, "session": caller.Session}).Scan(&lives)
	if err != nil || lives {
		return err
	}
	return identity.ErrSessionEnded
}

// Refusal is Check for a route about one team, named by its id, of which it found
// nothing that the caller may act on: a member is told which role it takes, and
// anybody else that there is no such team.
func Refusal(ctx context.Context, db postgres.DB, team any) error {
	if err := Check(ctx, db); err != nil {
		return err
	}
	caller := CallerOf(ctx)
	least := caller.asks.role
	caller.asks.role = Viewer
	clause := caller.teams()
	var role Role
	err := db.QueryRow(ctx, clause.SQL+" SELECT role FROM my_teams WHERE id = @team", clause.Args(pgx.NamedArgs{"team": team})).Scan(&role)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fault.New(fault.NotFound, "not_found", "There is no such team of yours. GET /api/auth/me lists them.")
	case err != nil:
		return err
	}
	return fault.New(fault.Forbidden, "role_too_low", "This takes the role "+string(least)+" in the team, and yours is "+string(role)+". An owner can change it.")
}
