package auth

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// How long a link is good.
const (
	invitationLifetime = 7 * 24 * time.Hour
	passwordLifetime   = time.Hour
	ownerLifetime      = 24 * time.Hour
)

// good is the condition of a link l that was not used, not revoked, is not too old,
// and which who made it could still make: a link that somebody keeps must not lead
// back in when they are no owner any more, nor into a team that the member of a
// password link has joined since.
var good = `l.used_at IS NULL AND l.revoked_at IS NULL AND l.expires_at > clock_timestamp() AND CASE l.kind
    WHEN 'invitation' THEN EXISTS (SELECT FROM memberships v WHERE v.team_id = l.team_id AND v.user_id = l.created_by AND v.role = 'owner')
    WHEN 'password' THEN l.created_by IS NULL OR ` + ownsAllOf("l.created_by", "l.user_id") + `
    ELSE true END`

// ownsAllOf is the condition that one account owns the teams of another, all there
// are and one at least.
func ownsAllOf(owner, member string) string {
	return `(SELECT COALESCE(bool_and(mine.user_id IS NOT NULL), false) FROM memberships theirs
      LEFT JOIN memberships mine ON mine.team_id = theirs.team_id AND mine.user_id = ` + owner + ` AND mine.role = 'owner'
     WHERE theirs.user_id = ` + member + `)`
}

// linkOf is the part of a statement that finds and locks the link whose secret is
// hashed to the parameter, as link. Who waits for the lock sees what the one before
// made of it, so that a link does its one thing once. The account and the team that
// it is about are locked before it, in the order of deleteUser, which takes links
// along: else the two would wait for each other.
func linkOf(parameter string) string {
	about := func(column string) string {
		return `(SELECT l.` + column + ` FROM links l WHERE l.secret_hash = ` + parameter + `)`
	}
	return `whose AS MATERIALIZED (
  SELECT id FROM users WHERE id = ` + about("user_id") + ` FOR NO KEY UPDATE
), place AS MATERIALIZED (
  SELECT id FROM teams WHERE (SELECT count(*) FROM whose) >= 0 AND id = ` + about("team_id") + ` FOR KEY SHARE
), link AS MATERIALIZED (
  SELECT l.id, l.kind, l.team_id, l.role, l.user_id, l.used_at, l.used_by, l.revoked_at, ` + good + ` AS good
    FROM links l WHERE (SELECT count(*) FROM place) >= 0 AND l.secret_hash = ` + parameter + ` FOR UPDATE
)`
}

// endLinks is the part of a statement that ends the links by which the owner of
// session s could be given yet another password, but for the one whose secret is
// hashed to except. One that is being used at this moment is passed over: whoever
// uses it waits for the account that is changed here.
func endLinks(except string) string {
	return `links_ended AS (
  UPDATE links SET revoked_at = s.issued_at FROM s WHERE links.id IN (
    SELECT l.id FROM links l WHERE l.kind = 'password' AND l.user_id = s.user_id AND l.secret_hash IS DISTINCT FROM ` + except + ` AND l.used_at IS NULL AND l.revoked_at IS NULL FOR UPDATE OF l SKIP LOCKED)
)`
}

// link is what was found of one.
type link struct {
	kind    string
	good    bool
	used    bool
	revoked bool
}

// linkColumns are scanned by scanLink; without a link they are null.
const linkColumns = `COALESCE(link.kind, ''), COALESCE(link.good, false), link.used_at IS NOT NULL, link.revoked_at IS NOT NULL`

func scanLink(l *link) []any { return []any{&l.kind, &l.good, &l.used, &l.revoked} }

// invite makes an invitation. It tells whether there was room for one.
func (t teams) invite(ctx context.Context, team uuid.UUID, role, forWhom string, secret access.Digest) (i Invitation, room bool, err error) {
	var id *string
	var created, expires *time.Time
	err = t.inTeam(ctx, team, `,
	l AS (
		INSERT INTO links (kind, secret_hash, team_id, role, note, created_by, expires_at)
		SELECT 'invitation', @secret, team.id, @role, @note, actor.id, now() + @lifetime::interval FROM team, actor
		WHERE (SELECT count(*) FROM links l WHERE l.team_id = team.id AND `+good+`) < @most
		RETURNING id, created_at, expires_at, jsonb_build_object('invitation', id, 'role', role) AS detail),
	audit AS (`+note+`l)
	SELECT l.id::text, l.created_at, l.expires_at FROM team LEFT JOIN l ON true`,
		pgx.NamedArgs{"kind": "invited", "secret": secret.Bytes(), "role": role, "note": forWhom, "lifetime": invitationLifetime, "most": invitationsMost},
		&id, &created, &expires)
	if err != nil || id == nil {
		return Invitation{}, false, err
	}
	return Invitation{ID: *id, Role: role, For: forWhom, CreatedAt: created.UTC(), ExpiresAt: expires.UTC()}, true, nil
}

func (t teams) openInvitations(ctx context.Context, team uuid.UUID) ([]Invitation, error) {
	return listInTeam(ctx, t, team, `
	SELECT l.id::text, l.role, l.note, COALESCE(u.name, ''), l.created_at, l.expires_at
	FROM team JOIN links l ON l.team_id = team.id AND `+good+` LEFT JOIN users u ON u.id = l.created_by
	ORDER BY l.created_at DESC, l.id`, nil, func(row pgx.CollectableRow) (i Invitation, err error) {
		err = row.Scan(&i.ID, &i.Role, &i.For, &i.By, &i.CreatedAt, &i.ExpiresAt)
		i.CreatedAt, i.ExpiresAt = i.CreatedAt.UTC(), i.ExpiresAt.UTC()
		return i, err
	})
}

// revokeInvitation tells whether the team has such an invitation, good or not.
func (t teams) revokeInvitation(ctx context.Context, team, invitation uuid.UUID) (known bool, err error) {
	err = t.inTeam(ctx, team, `,
	l AS (
		UPDATE links l SET revoked_at = clock_timestamp() FROM team WHERE l.id = @invitation AND l.team_id = team.id AND l.used_at IS NULL AND l.revoked_at IS NULL
		RETURNING jsonb_build_object('invitation', l.id) AS detail),
	audit AS (`+note+`l)
	SELECT EXISTS (SELECT FROM links l WHERE l.id = @invitation AND l.team_id = team.id) FROM team`,
		pgx.NamedArgs{"kind": "invitation_revoked", "invitation": invitation}, &known)
	return known, err
}

// showLink returns what a link is good for.
func showLink(ctx context.Context, db postgres.DB, secret access.Digest) (l link, shown ShownLink, err error) {
	var expires *time.Time
	err = db.QueryRow(ctx, `
WITH link AS (
  SELECT l.kind, l.team_id, l.role, l.user_id, l.created_by, l.expires_at, l.used_at, l.revoked_at, `+good+` AS good FROM links l WHERE l.secret_hash = $1
)
SELECT `+linkColumns+`, COALESCE(t.name, ''), COALESCE(link.role, ''), COALESCE(u.name, ''), link.expires_at
  FROM (SELECT 1) one LEFT JOIN link ON true LEFT JOIN teams t ON t.id = link.team_id LEFT JOIN users u ON u.id = link.created_by`,
		secret.Bytes()).Scan(append(scanLink(&l), &shown.Team, &shown.Role, &shown.By, &expires)...)
	if expires != nil {
		shown.ExpiresAt = expires.UTC()
	}
	shown.Kind = l.kind
	return l, shown, err
}

// accepted is what became of an invitation that somebody accepts.
type accepted struct {
	link   link
	team   *Team // that the caller belongs to now; nil if there was no room
	member bool  // whether the caller belonged to it before
	full   string
}

// accept makes the caller a member of the invitation's team. Who accepts twice, or
// belongs to the team already, is told of the membership; the invitation of who
// belongs already stays good for somebody else.
func accept(ctx context.Context, db postgres.DB, caller access.Caller, secret access.Digest) (a accepted, err error) {
	var id, name, role, zone *string
	err = db.QueryRow(ctx, `
WITH `+living+`, `+joined+`, `+linkOf("$3")+`, was AS (
  SELECT m.role FROM memberships m, link, me WHERE m.team_id = link.team_id AND m.user_id = me.id
), size AS (
  SELECT count(*) AS n FROM memberships m, link WHERE m.team_id = link.team_id
), m AS (
  INSERT INTO memberships (user_id, team_id, role)
  SELECT me.id, link.team_id, link.role FROM me, link, joined, size
   WHERE link.good AND link.kind = 'invitation' AND joined.n < $4 AND size.n < $5
  ON CONFLICT (user_id, team_id) DO NOTHING
  RETURNING user_id, team_id, role
), l AS (
  UPDATE links SET used_at = clock_timestamp(), used_by = m.user_id FROM m, link WHERE links.id = link.id
), audit AS (
  INSERT INTO auth_events (kind, user_id, session_id, team_id, detail)
  SELECT 'invitation_accepted', m.user_id, $2, m.team_id, jsonb_build_object('invitation', link.id, 'role', m.role) FROM m, link
)
SELECT `+linkColumns+`, t.id::text, t.name, COALESCE(m.role, was.role), t.time_zone, was.role IS NOT NULL,
       CASE WHEN joined.n >= $4 THEN 'account' WHEN size.n >= $5 THEN 'team' ELSE '' END
  FROM me CROSS JOIN joined CROSS JOIN size LEFT JOIN link ON true LEFT JOIN was ON true LEFT JOIN m ON true
  LEFT JOIN teams t ON t.id = link.team_id AND COALESCE(m.role, was.role) IS NOT NULL`,
		caller.User, caller.Session, secret.Bytes(), teamsMost, membersMost,
	).Scan(append(scanLink(&a.link), &id, &name, &role, &zone, &a.member, &a.full)...)
	if err == nil && id != nil {
		a.team = &Team{ID: *id, Name: *name, Role: *role, TimeZone: *zone}
	}
	return a, err
}
