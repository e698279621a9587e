package access

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// Clause is the beginning of a statement, to be followed by its own WITH queries or
// its SELECT: it names my_teams (id, name, time_zone, role), the teams in which the
// caller has what the route needs. The role of a token or a job is viewer.
type Clause struct {
	SQL  string
	args pgx.NamedArgs
}

// Args returns the statement's arguments: the clause's and its own. It panics where
// one of its own would take the place of the clause's: who calls would then decide
// what the clause asks.
func (c Clause) Args(own pgx.NamedArgs) pgx.NamedArgs {
	all := maps.Clone(own)
	if all == nil {
		all = pgx.NamedArgs{}
	}
	for name, value := range c.args {
		if _, taken := all[name]; taken {
			panic("a statement names its argument @" + name + " as access.Teams does")
		}
		all[name] = value
	}
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

// A job has the teams that trust its repository, by its number and its owner's: a
// name, and a repository that is handed over, may be somebody else's tomorrow. Its
// token is used up by the statement, which gives no team to the second of two at the
// same time: that one waits for what becomes of the first. Whoever finds nothing to do
// has to roll back, so that a refusal uses nothing up.
const ofWorkflow = `
	WITH my_trust AS MATERIALIZED (SELECT team_id ` + trusted + `),
	used AS (
		INSERT INTO used_workflow_tokens (token, expires_at) SELECT @job_token, @job_expires WHERE EXISTS (SELECT FROM my_trust)
		ON CONFLICT DO NOTHING RETURNING true),
	my_teams AS NOT MATERIALIZED (
		SELECT t.id, t.name, t.time_zone, 'viewer' AS role FROM teams t
		WHERE t.id IN (SELECT team_id FROM my_trust) AND EXISTS (SELECT FROM used))`

const trusted = `FROM trusted_repositories
		WHERE repository_id = @job_repository AND repository_owner_id = @job_owner AND (environment = '' OR lower(environment) = lower(@job_environment))`

// ofJob are what the clause and Check ask about a job.
func (c Caller) ofJob() pgx.NamedArgs {
	w := c.Workflow
	return pgx.NamedArgs{"job_token": w.ID[:], "job_expires": w.ExpiresAt, "job_repository": w.Repository, "job_owner": w.Owner, "job_environment": w.Environment}
}

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
	if c.Workflow != nil {
		return Clause{ofWorkflow, c.ofJob()}
	}
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
	if caller.Workflow != nil {
		return caller.checkJob(ctx, db)
	}
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

func (c Caller) checkJob(ctx context.Context, db postgres.DB) error {
	var trusts, used bool
	err := db.QueryRow(ctx, `SELECT EXISTS (SELECT `+trusted+`), EXISTS (SELECT FROM used_workflow_tokens WHERE token = @job_token)`, c.ofJob()).Scan(&trusts, &used)
	switch {
	case err != nil:
		return err
	case used:
		return fault.New(fault.Unauthenticated, "token_used", "This token of a workflow was used, and is good once. Ask for a new one for each report, and for each attempt at one.")
	case !trusts:
		in := "without an environment"
		if c.Workflow.Environment != "" {
			in = "in the environment " + c.Workflow.Environment
		}
		return fault.New(fault.Forbidden, "untrusted_repository", fmt.Sprintf("No team trusts jobs %s of %s (repository_id %d, repository_owner_id %d). An owner of a team adds it to its trusted repositories, with both numbers.",
			in, c.Workflow.Name, c.Workflow.Repository, c.Workflow.Owner))
	}
	return nil
}

// Refusal is Check for a route about one team, named by its id, of which it found
// nothing that the caller may act on: a member is told which role it takes, and
// anybody else that there is no such team.
func Refusal(ctx context.Context, db postgres.DB, team any) error {
	err := RefusalOf(ctx, db, " SELECT role FROM my_teams WHERE id = @team", pgx.NamedArgs{"team": team})
	if err == nil {
		err = fault.New(fault.NotFound, "not_found", "There is no such team of yours. GET /api/auth/me lists them.")
	}
	return err
}

// RefusalOf is Check for a route about one thing, for which sql, which goes on after
// the clause, selects the role that the caller has in its team. A member is told which
// role it takes; it is nil for whoever cannot see the thing.
func RefusalOf(ctx context.Context, db postgres.DB, sql string, args pgx.NamedArgs) error {
	if err := Check(ctx, db); err != nil {
		return err
	}
	caller := CallerOf(ctx)
	if caller.User == uuid.Nil {
		return nil // what is no person has no role that could be too low
	}
	least := caller.asks.role
	caller.asks.role = Viewer
	clause := caller.teams()
	var role Role
	err := db.QueryRow(ctx, clause.SQL+sql, clause.Args(args)).Scan(&role)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fault.New(fault.Forbidden, "role_too_low", "This takes the role "+string(least)+" in the team, and yours is "+string(role)+". An owner can change it.")
}
