package auth

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/devops-dashboard/dashboard/functions/auth/github"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// account is what signing in needs to know of a user.
type account struct {
	id       uuid.UUID
	hash     string // empty: the account has no password
	disabled bool
	epoch    int64
}

func (a account) exists() bool { return a.id != uuid.Nil }

// whyRefused says, for the audit log alone, why a sign-in failed.
func (a account) whyRefused(passwordFits bool) string {
	switch {
	case !a.exists():
		return "unknown_account"
	case !passwordFits:
		return "wrong_password"
	}
	return "disabled"
}

// findAccount returns the account of an address, or one that does not exist.
func findAccount(ctx context.Context, db postgres.DB, email address) (account, error) {
	var a account
	err := db.QueryRow(ctx, `SELECT id, COALESCE(password_hash, ''), disabled_at IS NOT NULL, session_epoch FROM users WHERE email_key = $1`, email.key).
		Scan(&a.id, &a.hash, &a.disabled, &a.epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return account{}, nil
	}
	return a, err
}

// replaceHash replaces the hash that was read by another of the same password.
// It is no change of password: sessions live on.
func replaceHash(ctx context.Context, db postgres.DB, a account, hash string) error {
	_, err := db.Exec(ctx, `UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2`, a.id, a.hash, hash)
	return err
}

// newAccount is an account to be.
type newAccount struct {
	email          address
	name           string
	hash           string        // empty: without a password
	person         github.Person // who signs in so; the zero one is nobody
	team, timeZone string
	link           []byte   // the digest of a link's secret; nil without
	kinds          []string // of links with which one may register
}

// openAccount makes the user, the session and the membership, all or none: in a team
// of their own or, with an invitation, in the one that it leads to. A link is used
// up by it. There is no row if the link is good for nothing, or the team is full.
// The comparison with a time makes PostgreSQL refuse a zone that it cannot compute
// with.
func openAccount(ctx context.Context, db postgres.DB, n newAccount, o opening) (identity.Session, Profile, error) {
	var session identity.Session
	team := Team{Role: string(access.Owner)}
	err := db.QueryRow(ctx, `
WITH `+linkOf("$11")+`, way AS MATERIALIZED (
  SELECT link.id, CASE link.kind WHEN 'invitation' THEN link.team_id END AS team_id, CASE link.kind WHEN 'invitation' THEN link.role ELSE 'owner' END AS role
    FROM (SELECT 1) one LEFT JOIN link ON true
   WHERE $11::bytea IS NULL OR link.good AND link.kind = ANY($12::text[])
     AND (link.kind <> 'invitation' OR (SELECT count(*) FROM memberships m WHERE m.team_id = link.team_id) < $13)
), u AS (
  INSERT INTO users (email, email_key, name, password_hash) SELECT $5, $6, $7, NULLIF($8::text, '') FROM way RETURNING id, session_epoch
), known AS (
  INSERT INTO user_identities (provider, subject, user_id, login) SELECT 'github', $14::text, u.id, $15 FROM u WHERE $14 <> ''
), made AS (
  INSERT INTO teams (name, time_zone) SELECT $9, $10 FROM way WHERE team_id IS NULL AND now() AT TIME ZONE $10 IS NOT NULL RETURNING id, name, time_zone
), t AS (
  SELECT id, name, time_zone FROM made UNION ALL SELECT teams.id, teams.name, teams.time_zone FROM teams, way WHERE teams.id = way.team_id
), m AS (
  INSERT INTO memberships (user_id, team_id, role) SELECT u.id, t.id, way.role FROM u, t, way
), used AS (
  UPDATE links SET used_at = clock_timestamp(), used_by = u.id FROM u, way WHERE links.id = way.id
), `+openSession+`, audit AS (
  INSERT INTO auth_events (kind, user_id, session_id, team_id, detail)
  SELECT 'register', s.user_id, s.id, t.id, jsonb_strip_nulls(jsonb_build_object('link', way.id, 'github', NULLIF($15::text, ''))) FROM s, t, way
)
SELECT `+sessionColumns+`, t.id::text, t.name, t.time_zone, way.role FROM s, t, way`,
		append(o.args(), n.email.written, n.email.key, n.name, n.hash, n.team, n.timeZone, n.link, n.kinds, membersMost, n.person.ID, n.person.Login)...,
	).Scan(append(scanSession(&session), &team.ID, &team.Name, &team.TimeZone, &team.Role)...)
	return session, Profile{ID: session.User.String(), Email: n.email.written, Name: n.name, Teams: []Team{team}}, err
}

// unknownTimeZone tells whether PostgreSQL refused a time zone (SQLSTATE
// invalid_parameter_value).
func unknownTimeZone(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "22023"
}

// profileColumn is the Profile of the user u, as JSON.
const profileColumn = `jsonb_build_object('id', u.id, 'email', u.email, 'name', u.name, 'teams', COALESCE((
  SELECT jsonb_agg(jsonb_build_object('id', t.id, 'name', t.name, 'role', m.role, 'time_zone', t.time_zone) ORDER BY t.name, t.id)
    FROM memberships m JOIN teams t ON t.id = m.team_id WHERE m.user_id = u.id), '[]'))`

// living is the part of a statement that finds the caller ($1 the user, $2 the
// session) as me, unless the account or the session has ended.
const living = `me AS MATERIALIZED (
  SELECT u.id, u.email, u.name, u.password_hash, u.session_epoch FROM users u JOIN sessions s ON s.user_id = u.id AND s.epoch = u.session_epoch
   WHERE u.id = $1 AND s.id = $2 AND u.disabled_at IS NULL AND s.revoked_at IS NULL
)`

// profileOf returns the caller's profile, or no row if the session was ended.
func profileOf(ctx context.Context, db postgres.DB, caller access.Caller) (Profile, error) {
	var p Profile
	err := db.QueryRow(ctx, `WITH `+living+` SELECT `+profileColumn+` FROM me u`, caller.User, caller.Session).Scan(&p)
	return p, err
}

// findCaller returns the caller's account and address, or no row if the session
// was ended.
func findCaller(ctx context.Context, db postgres.DB, caller access.Caller) (account, string, error) {
	var a account
	var email string
	err := db.QueryRow(ctx, `WITH `+living+` SELECT id, COALESCE(password_hash, ''), email FROM me`, caller.User, caller.Session).
		Scan(&a.id, &a.hash, &email)
	return a, email, err
}

// replacePassword gives the account another password, ends all its sessions and
// opens one; links that would set it once more end as well. There is no row if the
// caller was signed out, or the account disabled or given another password, since
// it was read. The epoch ends also the sessions that a sign-in with the old
// password opens at this moment, which the update cannot see.
func replacePassword(ctx context.Context, db postgres.DB, caller access.Caller, a account, hash string, mails bool, o opening) (identity.Session, Profile, error) {
	var session identity.Session
	var profile Profile
	err := db.QueryRow(ctx, `
WITH u AS (
  UPDATE users SET password_hash = $7, session_epoch = session_epoch + 1
   WHERE id = $5 AND password_hash = $6 AND disabled_at IS NULL
     AND EXISTS (SELECT FROM sessions s WHERE s.id = $8 AND s.user_id = $5 AND s.epoch = users.session_epoch AND s.revoked_at IS NULL)
  RETURNING id, email, name, session_epoch
), `+openSession+`, ended AS (
  UPDATE sessions SET revoked_at = s.issued_at, revoke_reason = 'password'
    FROM s WHERE sessions.user_id = s.user_id AND sessions.revoked_at IS NULL
), `+endLinks("NULL")+`, `+tellChanged("$9")+`, audit AS (
  INSERT INTO auth_events (kind, user_id, session_id) SELECT 'password_changed', user_id, id FROM s
)
SELECT `+sessionColumns+`, `+profileColumn+` FROM s, u`,
		append(o.args(), a.id, a.hash, hash, caller.Session, mails)...,
	).Scan(append(scanSession(&session), &profile)...)
	return session, profile, err
}
