package auth

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// opening is what a session is opened with, besides its user.
type opening struct {
	replaces  []uuid.UUID // sessions of the same browser, which end
	userAgent string
}

// openSession is the part of a statement that opens a session s for the user in
// u, if there is one. Its parameters, $1 to $4, are an opening's args.
const openSession = `c AS MATERIALIZED (
  SELECT clock_timestamp() AS ts
), s AS (
  INSERT INTO sessions (user_id, epoch, issued_at, expires_at, absolute_expires_at, user_agent)
  SELECT u.id, u.session_epoch, c.ts, c.ts + $1::interval, c.ts + $2::interval, $3 FROM u, c
  RETURNING id, user_id, gen, jti, issued_at, expires_at, absolute_expires_at, epoch
), old AS (
  UPDATE sessions SET revoked_at = s.issued_at, revoke_reason = 'replaced'
    FROM s WHERE sessions.id = ANY($4::text[]::uuid[]) AND sessions.revoked_at IS NULL
)`

func (o opening) args() []any {
	return []any{identity.SessionLifetime, identity.AbsoluteLifetime, o.userAgent, texts(o.replaces)}
}

// sessionColumns are scanned by scanSession.
const sessionColumns = `s.id, s.user_id, s.gen, s.jti, s.issued_at, s.expires_at, s.absolute_expires_at, s.issued_at, s.epoch`

func scanSession(s *identity.Session) []any {
	return []any{&s.ID, &s.User, &s.Generation, &s.Token, &s.IssuedAt, &s.ExpiresAt, &s.AbsoluteExpiresAt, &s.Now, &s.Epoch}
}

// signIn opens a session for an account whose password was proved. There is no
// row if the account was disabled or given another password since it was read.
func signIn(ctx context.Context, db postgres.DB, a account, o opening) (identity.Session, Profile, error) {
	var session identity.Session
	var profile Profile
	err := db.QueryRow(ctx, `
WITH u AS (
  SELECT id, email, name, session_epoch FROM users WHERE id = $5 AND password_hash = $6 AND disabled_at IS NULL
), `+openSession+`, audit AS (
  INSERT INTO auth_events (kind, user_id, session_id) SELECT 'login', user_id, id FROM s
)
SELECT `+sessionColumns+`, `+profileColumn+` FROM s, u`,
		append(o.args(), a.id, a.hash)...,
	).Scan(append(scanSession(&session), &profile)...)
	return session, profile, err
}

// endSessions ends those of the sessions that have not ended.
func endSessions(ctx context.Context, db postgres.DB, sessions []uuid.UUID) error {
	_, err := db.Exec(ctx, `
WITH ended AS (
  UPDATE sessions SET revoked_at = clock_timestamp(), revoke_reason = 'logout'
   WHERE id = ANY($1::text[]::uuid[]) AND revoked_at IS NULL
  RETURNING id, user_id
)
INSERT INTO auth_events (kind, user_id, session_id) SELECT 'logout', user_id, id FROM ended`, texts(sessions))
	return err
}

// sessionsMost is how many sessions are listed.
const sessionsMost = 200

// sessionsOf lists the sessions of the caller, the caller's own among them unless
// it has ended. When a session was last refreshed is told by the quarter of an
// hour: who stole an access token could else time the use of a copied cookie.
func sessionsOf(ctx context.Context, db postgres.DB, caller access.Caller) ([]Session, error) {
	rows, err := db.Query(ctx, `
WITH `+living+`
SELECT s.id::text, s.id = $2, s.user_agent, s.created_at, date_bin('15 minutes', s.issued_at, 'epoch')
  FROM sessions s, me
 WHERE s.user_id = me.id AND s.epoch = me.session_epoch AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()
 ORDER BY s.id = $2 DESC, s.issued_at DESC, s.id
 LIMIT $3`, caller.User, caller.Session, sessionsMost)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Session, err error) {
		var userAgent string
		err = row.Scan(&s.ID, &s.Current, &userAgent, &s.CreatedAt, &s.LastSeenAt)
		s.Device, s.CreatedAt, s.LastSeenAt = device(userAgent), s.CreatedAt.UTC(), s.LastSeenAt.UTC()
		return s, err
	})
}

// endSession ends a session of the caller's account. It tells whether the caller's
// own session lives, and whether the other one is of the same account.
func endSession(ctx context.Context, db postgres.DB, caller access.Caller, session uuid.UUID) (alive, own bool, err error) {
	err = db.QueryRow(ctx, `
WITH `+living+`, ended AS (
  UPDATE sessions SET revoked_at = clock_timestamp(), revoke_reason = 'ended'
    FROM me WHERE sessions.id = $3 AND sessions.user_id = me.id AND sessions.revoked_at IS NULL
  RETURNING sessions.id, sessions.user_id
), audit AS (
  INSERT INTO auth_events (kind, user_id, session_id, detail) SELECT 'session_ended', user_id, id, jsonb_build_object('by', $2::uuid) FROM ended
)
SELECT EXISTS (SELECT FROM me), EXISTS (SELECT FROM sessions s, me WHERE s.id = $3 AND s.user_id = me.id)`,
		caller.User, caller.Session, session).Scan(&alive, &own)
	return alive, own, err
}

// endAllSessions ends the sessions of the caller's account, also those that are
// being opened: the update cannot see them, and their epoch is over. It tells
// whether the caller's own session lived.
func endAllSessions(ctx context.Context, db postgres.DB, caller access.Caller) (alive bool, err error) {
	err = db.QueryRow(ctx, `
WITH `+living+`, u AS (
  UPDATE users SET session_epoch = users.session_epoch + 1 FROM me WHERE users.id = me.id RETURNING users.id
), ended AS (
  UPDATE sessions SET revoked_at = clock_timestamp(), revoke_reason = 'everywhere'
    FROM u WHERE sessions.user_id = u.id AND sessions.revoked_at IS NULL
), audit AS (
  INSERT INTO auth_events (kind, user_id, session_id) SELECT 'logout_everywhere', id, $2 FROM u
)
SELECT EXISTS (SELECT FROM me)`, caller.User, caller.Session).Scan(&alive)
	return alive, err
}

// recordFailure keeps in the audit log that somebody was refused. The address that
// was tried is not kept: where it has no account, it may be a password.
func recordFailure(ctx context.Context, db postgres.DB, kind string, a account, why string) error {
	var user *uuid.UUID
	if a.exists() {
		user = &a.id
	}
	_, err := db.Exec(ctx, `INSERT INTO auth_events (kind, user_id, detail) VALUES ($1, $2, jsonb_build_object('why', $3::text))`, kind, user, why)
	return err
}

// texts returns ids as pgx can send them also where it does not ask PostgreSQL
// for the types of parameters (DATABASE_EXEC_MODE=exec).
func texts(ids []uuid.UUID) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = id.String()
	}
	return all
}

// userAgentMost is how many bytes of a User-Agent are kept.
const userAgentMost = 256

// clip returns text as PostgreSQL can hold it, cut where a character ends.
func clip(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
	if len(text) <= userAgentMost {
		return text
	}
	end := userAgentMost
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
