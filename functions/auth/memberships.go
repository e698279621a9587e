package auth

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
)

// owners are those of the team, locked, and the member it is about, locked after
// them. Locking a row reads it anew: of two owners who leave at the same time, the
// second finds the first gone, and of two who remove each other, the second finds
// that they are no owner any more. The accounts come first, as in deleteUser, and
// owners in one order and before anybody else, so that nobody waits in a circle.
const owners = `,
	people AS MATERIALIZED (
		SELECT id FROM users WHERE (SELECT count(*) FROM team) > 0 AND id IN (@caller, @user) ORDER BY id FOR KEY SHARE),
	owners AS MATERIALIZED (
		SELECT m.user_id FROM memberships m WHERE (SELECT count(*) FROM people) > 0 AND m.team_id = (SELECT id FROM team) AND m.role = 'owner'
		ORDER BY m.user_id FOR UPDATE),
	target AS MATERIALIZED (
		SELECT m.user_id, m.role FROM memberships m
		WHERE (SELECT count(*) FROM owners) > 0 AND m.team_id = (SELECT id FROM team) AND m.user_id = @user FOR UPDATE),
	may AS MATERIALIZED (
		SELECT EXISTS (SELECT FROM owners WHERE user_id = @caller) AS act,
			EXISTS (SELECT FROM owners WHERE user_id <> @user) AS spare)`

// outcome is what a change of a membership found.
type outcome struct {
	act    bool    // whether the caller is an owner, now that nobody else changes that
	spare  bool    // whether there is an owner besides the member it is about
	before *string // the role of the member, nil if there is no such member
}

func (t teams) change(ctx context.Context, team, member uuid.UUID, kind, sql string, args pgx.NamedArgs) (o outcome, err error) {
	bound := pgx.NamedArgs{"user": member, "kind": kind}
	for name, value := range args {
		bound[name] = value
	}
	err = t.inTeam(ctx, team, owners+sql+`
	SELECT may.act, may.spare, target.role FROM team CROSS JOIN may LEFT JOIN target ON true`, bound, &o.act, &o.spare, &o.before)
	return o, err
}

// setRole gives a member a role, unless that would leave the team without an owner.
func (t teams) setRole(ctx context.Context, team, member uuid.UUID, role access.Role) (outcome, error) {
	return t.change(ctx, team, member, "role_changed", `,
	changed AS (
		UPDATE memberships m SET role = @role FROM target, may
		WHERE m.team_id = @team AND m.user_id = target.user_id AND target.role <> @role AND may.act AND (@role = 'owner' OR may.spare)
		RETURNING jsonb_build_object('user', m.user_id, 'from', target.role, 'to', m.role) AS detail),
	audit AS (`+note+`changed)`, pgx.NamedArgs{"role": string(role)})
}

// transfer makes a member an owner and the caller an editor.
func (t teams) transfer(ctx context.Context, team, member uuid.UUID) (outcome, error) {
	return t.change(ctx, team, member, "team_transferred", `,
	raised AS (
		UPDATE memberships m SET role = CASE m.user_id WHEN @caller THEN 'editor' ELSE 'owner' END FROM target, may
		WHERE m.team_id = @team AND m.user_id IN (target.user_id, @caller) AND target.user_id <> @caller AND may.act
		RETURNING m.user_id),
	audit AS (`+note+`(SELECT jsonb_build_object('user', user_id) AS detail FROM raised WHERE user_id <> @caller) r)`, nil)
}

// remove takes a member out of the team, unless that would leave it without an
// owner.
func (t teams) remove(ctx context.Context, team, member uuid.UUID) (outcome, error) {
	return t.change(ctx, team, member, "member_removed", `,
	gone AS (
		DELETE FROM memberships m USING target, may
		WHERE m.team_id = @team AND m.user_id = target.user_id AND may.act AND (target.role <> 'owner' OR may.spare)
		RETURNING jsonb_build_object('user', m.user_id, 'role', m.role) AS detail),
	audit AS (`+note+`gone)`, nil)
}

// leave takes the caller out of the team.
func (t teams) leave(ctx context.Context, team uuid.UUID) (outcome, error) {
	return t.change(ctx, team, access.CallerOf(ctx).User, "member_left", `,
	gone AS (
		DELETE FROM memberships m USING target, may
		WHERE m.team_id = @team AND m.user_id = target.user_id AND (target.role <> 'owner' OR may.spare)
		RETURNING jsonb_build_object('role', m.role) AS detail),
	audit AS (`+note+`gone)`, nil)
}

func (t teams) members(ctx context.Context, team uuid.UUID) ([]Member, error) {
	return listInTeam(ctx, t, team, `
	SELECT u.id::text, u.name, u.email, m.role, m.created_at FROM team
		JOIN memberships m ON m.team_id = team.id JOIN users u ON u.id = m.user_id
	ORDER BY lower(u.name), u.id`, nil, func(row pgx.CollectableRow) (m Member, err error) {
		err = row.Scan(&m.ID, &m.Name, &m.Email, &m.Role, &m.Since)
		m.Since = m.Since.UTC()
		return m, err
	})
}
