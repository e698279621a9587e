package auth

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// account is what signing in needs to know of a user.
type account struct {
	id       uuid.UUID
	hash     string
	disabled bool
}

func (a account) exists() bool { return a.id != uuid.Nil }

// findAccount returns the account of an address, or one that does not exist.
func findAccount(ctx context.Context, db postgres.DB, email address) (account, error) {
	var a account
	err := db.QueryRow(ctx, `SELECT id, password_hash, disabled_at IS NOT NULL FROM users WHERE email_key = $1`, email.key).
		Scan(&a.id, &a.hash, &a.disabled)
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
	hash           string
	team, timeZone string
}

// openAccount makes the user, the team, the membership and the session, all or
// none. The comparison with a time makes PostgreSQL refuse a zone that it cannot
// compute with.
func openAccount(ctx context.Context, db postgres.DB, n newAccount, o opening) (identity.Session, Profile, error) {
	var session identity.Session
	var team uuid.UUID
	err := db.QueryRow(ctx, `
WITH u AS (
  INSERT INTO users (email, email_key, name, password_hash) VALUES ($5, $6, $7, $8) RETURNING id, session_epoch
), t AS (
  INSERT INTO teams (name, time_zone) SELECT $9, $10 WHERE now() AT TIME ZONE $10 IS NOT NULL RETURNING id
), m AS (
  INSERT INTO memberships (user_id, team_id, role) SELECT u.id, t.id, 'owner' FROM u, t
), `+openSession+`, audit AS (
  INSERT INTO auth_events (kind, user_id, session_id) SELECT 'register', user_id, id FROM s
)
SELECT `+sessionColumns+`, t.id FROM s, t`,
		append(o.args(), n.email.written, n.email.key, n.name, n.hash, n.team, n.timeZone)...,
	).Scan(append(scanSession(&session), &team)...)
	return session, Profile{
		ID: session.User.String(), Email: n.email.written, Name: n.name,
		Teams: []Team{{ID: team.String(), Name: n.team, Role: "owner", TimeZone: n.timeZone}},
	}, err
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

// profileOf returns the caller's profile, or no row if the session was ended.
func profileOf(ctx context.Context, db postgres.DB, caller identity.Caller) (Profile, error) {
	var p Profile
	err := db.QueryRow(ctx, `
SELECT `+profileColumn+`
  FROM users u JOIN sessions s ON s.user_id = u.id AND s.epoch = u.session_epoch
 WHERE u.id = $1 AND s.id = $2 AND u.disabled_at IS NULL AND s.revoked_at IS NULL`,
		caller.User, caller.Session).Scan(&p)
	return p, err
}
