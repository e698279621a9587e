package auth

import (
	"context"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// mailNeed says whether mail is sent; rollup sends it, and has the server's address.
var mailNeed = function.Need{Name: "mail", Settings: []function.Setting{
	{Name: "MAIL_FROM", Optional: true, Doc: "whose mail it is, such as Dashboard <dashboard@example.com>; unset, no mail is sent"},
}}

// forgottenMost is how many links an address is mailed in an hour, whoever asks: an
// inbox is not to be filled. What is over that is passed over in silence, and the
// links before stay good, so that nobody keeps another from theirs.
const forgottenMost = 3

// putDownForgotten puts down that a link is to be mailed to an address, with or
// without an account.
func putDownForgotten(ctx context.Context, db postgres.DB, email address, pseudonym [16]byte) error {
	_, err := db.Exec(ctx, `
WITH asked AS (
  SELECT count(*) AS n FROM mails WHERE kind = 'password_forgotten' AND address = $2 AND created_at > now() - interval '1 hour'
), m AS (
  INSERT INTO mails (kind, user_id, address)
  SELECT 'password_forgotten', (SELECT id FROM users WHERE email_key = $1 AND disabled_at IS NULL), $2 FROM asked WHERE n < $3
  RETURNING kind, user_id
)
INSERT INTO auth_events (kind, user_id) SELECT kind, user_id FROM m`, email.key, pseudonym[:], forgottenMost)
	return err
}

// tellChanged is the part of a statement that has the owner of session s told that
// their password was changed, where the parameter says that mail is sent.
func tellChanged(parameter string) string {
	return `told AS (
  INSERT INTO mails (kind, user_id) SELECT 'password_changed', user_id FROM s WHERE ` + parameter + `::bool
)`
}
