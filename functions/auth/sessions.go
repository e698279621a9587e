package auth

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

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
  RETURNING *
), old AS (
  UPDATE sessions SET revoked_at = s.issued_at, revoke_reason = 'replaced'
    FROM s WHERE sessions.id = ANY($4::text[]::uuid[]) AND sessions.revoked_at IS NULL
)`

func (o opening) args() []any {
	return []any{identity.SessionLifetime, identity.AbsoluteLifetime, o.userAgent, texts(o.replaces)}
}

// sessionColumns are scanned by scanSession.
const sessionColumns = `s.id, s.user_id, s.gen, s.jti, s.issued_at, s.expires_at, s.absolute_expires_at, s.issued_at`

func scanSession(s *identity.Session) []any {
	return []any{&s.ID, &s.User, &s.Generation, &s.Token, &s.IssuedAt, &s.ExpiresAt, &s.AbsoluteExpiresAt, &s.Now}
}

// signIn opens a session for an account whose password was proved. There is no
// row if the account was disabled or given another password since it was read.
func signIn(ctx context.Context, db postgres.DB, a account, o opening) (identity.Session, Profile, error) {
	var session identity.Session
	var profile Profile
	err := db.QueryRow(ctx, `
WITH u AS (
  SELECT * FROM users WHERE id = $5 AND password_hash = $6 AND disabled_at IS NULL
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
