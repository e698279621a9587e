package refresh

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// grace is how long a replaced token still leads to the current one, counted from
// the moment it was replaced. It never starts anew.
const grace = 30 * time.Second

// remembered is how many replaced generations have that grace. The schema holds
// no more.
const remembered = 16

// rotateSQL judges the presented token and does what follows, in one statement:
// whatever ends this process, the row is as before or as after.
//
// cur waits for whoever holds the row and then sees what they left, also at READ
// COMMITTED. The clock is read after that wait: now() would be the time before
// it. A converging caller writes nothing. The absolute expiry is not compared:
// the table holds expires_at at or before it.
const rotateSQL = `
WITH cur AS MATERIALIZED (
  SELECT s.id, s.user_id, s.gen, s.jti, s.issued_at, s.expires_at, s.absolute_expires_at, s.superseded, s.epoch,
         s.revoked_at, s.revoke_reason, u.session_epoch, u.disabled_at
    FROM sessions s JOIN users u ON u.id = s.user_id
   WHERE s.id = $1::uuid AND s.user_id = $2::uuid
     FOR UPDATE OF s
), timed AS MATERIALIZED (
  SELECT cur.*, clock_timestamp() AS ts FROM cur
), v AS MATERIALIZED (
  SELECT timed.*, CASE
      WHEN revoked_at IS NOT NULL OR disabled_at IS NOT NULL OR epoch <> session_epoch THEN 'revoked'
      WHEN ts >= expires_at                                                           THEN 'expired'
      WHEN $3::bigint = gen AND $4::uuid = jti                                        THEN 'rotate'
      WHEN $3::bigint < gen AND gen - $3::bigint <= cardinality(superseded)
           AND ts < superseded[(gen - $3::bigint)::int] + $6::interval                THEN 'converge'
      WHEN $3::bigint > gen                                                           THEN 'unknown'
      ELSE 'reuse' END AS verdict
    FROM timed
), w AS (
  UPDATE sessions s
     SET gen           = CASE v.verdict WHEN 'rotate' THEN v.gen + 1 ELSE v.gen END,
         jti           = CASE v.verdict WHEN 'rotate' THEN $5::uuid ELSE v.jti END,
         issued_at     = CASE v.verdict WHEN 'rotate' THEN v.ts ELSE v.issued_at END,
         expires_at    = CASE v.verdict WHEN 'rotate' THEN LEAST(v.ts + $7::interval, v.absolute_expires_at) ELSE v.expires_at END,
         superseded    = CASE v.verdict WHEN 'rotate' THEN (array_prepend(v.ts, v.superseded))[1:$8::int] ELSE v.superseded END,
         revoked_at    = CASE v.verdict WHEN 'reuse' THEN v.ts ELSE v.revoked_at END,
         revoke_reason = CASE v.verdict WHEN 'reuse' THEN 'reuse' ELSE v.revoke_reason END
    FROM v
   WHERE s.id = v.id AND v.verdict IN ('rotate', 'reuse')
  RETURNING s.id, s.gen, s.jti, s.issued_at, s.expires_at
), audit AS (
  INSERT INTO auth_events (kind, at, user_id, session_id, detail)
  SELECT 'refresh_reuse', v.ts, v.user_id, v.id, jsonb_build_object('presented', $3::bigint, 'current', v.gen)
    FROM v WHERE v.verdict = 'reuse'
)
SELECT v.verdict, v.id, v.user_id, COALESCE(w.gen, v.gen) AS gen, COALESCE(w.jti, v.jti) AS jti,
       COALESCE(w.issued_at, v.issued_at) AS issued_at, COALESCE(w.expires_at, v.expires_at) AS expires_at, v.absolute_expires_at, v.ts
  FROM v LEFT JOIN w ON w.id = v.id`

// rotate judges token and returns the session as it is afterwards. Running it
// again with the same token converges.
func rotate(ctx context.Context, db postgres.DB, token identity.Refresh) (verdict, identity.Session, error) {
	var v verdict
	var s identity.Session
	err := db.QueryRow(ctx, rotateSQL,
		sent(token.Session), sent(token.User), token.Generation, sent(token.ID), sent(uuid.New()), grace, identity.SessionLifetime, remembered,
	).Scan(&v, (*[16]byte)(&s.ID), (*[16]byte)(&s.User), &s.Generation, (*[16]byte)(&s.Token), &s.IssuedAt, &s.ExpiresAt, &s.AbsoluteExpiresAt, &s.Now)
	if errors.Is(err, pgx.ErrNoRows) {
		return unknown, identity.Session{}, nil
	}
	return v, s, err
}

// sent is a UUID as pgx sends it without a detour: it takes uuid.UUID by way of
// its text, and scans it so, which together took 10 of 150 µs of processor.
func sent(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }
