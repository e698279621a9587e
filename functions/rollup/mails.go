package rollup

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// mailTries is how often a letter is tried: after 1, 2, 4, 8 and 16 minutes again.
const mailTries = 6

// closeMails settles what there is no use in sending: what is for nobody, and what
// could not be sent in its time. Rows a day old are removed; by then they count
// towards no limit.
func closeMails(ctx context.Context, db postgres.DB) error {
	_, err := db.Exec(ctx, `
WITH old AS (
  DELETE FROM mails WHERE id IN (SELECT id FROM mails WHERE created_at < now() - interval '1 day' LIMIT 1000)
), closed AS (
  UPDATE mails m SET done_at = now()
   WHERE done_at IS NULL AND (attempts >= $1 AND due_at <= now() OR created_at < now() - interval '1 hour'
     OR NOT EXISTS (SELECT FROM users u WHERE u.id = m.user_id AND u.disabled_at IS NULL))
  RETURNING user_id, kind, attempts
)
INSERT INTO auth_events (kind, user_id, detail)
SELECT 'mail_failed', user_id, jsonb_build_object('mail', kind, 'attempts', attempts) FROM closed WHERE attempts > 0`, mailTries)
	return err
}

// dueMail is a letter that is due.
type dueMail struct {
	id       uuid.UUID
	kind, to string
	at       time.Time
}

// takeMail takes a letter to be sent, nil if none is due, and puts it off meanwhile:
// who dies over it leaves it to another. Several of one kind to one account are one.
// The link of a letter is made along with it.
func takeMail(ctx context.Context, db postgres.DB, secret access.Digest) (*dueMail, error) {
	var d dueMail
	err := db.QueryRow(ctx, `
WITH due AS MATERIALIZED (
  SELECT m.id, m.kind, m.user_id, m.created_at, u.email FROM mails m JOIN users u ON u.id = m.user_id
   WHERE m.done_at IS NULL AND m.due_at <= now() AND m.attempts < $2 AND u.disabled_at IS NULL
   ORDER BY m.due_at, m.id LIMIT 1 FOR UPDATE OF m SKIP LOCKED
), tried AS (
  UPDATE mails SET attempts = attempts + 1, due_at = now() + interval '1 minute' * 2 ^ attempts FROM due WHERE mails.id = due.id
), same AS (
  UPDATE mails SET done_at = now() FROM due WHERE mails.user_id = due.user_id AND mails.kind = due.kind AND mails.id <> due.id AND mails.done_at IS NULL
), l AS (
  INSERT INTO links (kind, secret_hash, user_id, expires_at) SELECT 'password', $1, user_id, now() + interval '1 hour' FROM due WHERE kind = 'password_forgotten' RETURNING id
), audit AS (
  INSERT INTO auth_events (kind, user_id, detail) SELECT 'password_link_made', due.user_id, jsonb_build_object('link', l.id, 'by', 'mail') FROM l, due
)
SELECT id, kind, email, created_at FROM due`, secret.Bytes(), mailTries).Scan(&d.id, &d.kind, &d.to, &d.at)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &d, err
}

// settleMail puts down what became of a letter.
func settleMail(ctx context.Context, db postgres.DB, id uuid.UUID, became string) error {
	_, err := db.Exec(ctx, `
WITH m AS (
  UPDATE mails SET done_at = now() WHERE id = $1 RETURNING user_id, kind
)
INSERT INTO auth_events (kind, user_id, detail) SELECT $2, user_id, jsonb_build_object('mail', kind) FROM m`, id, became)
	return err
}
