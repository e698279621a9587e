package rollup

import (
	"context"

	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// deleteSessions removes some of the sessions that have had their time, and
// returns how many. A session that was ended is kept for longer than the seven
// days that its last token may be good: until then a replay is told that the
// session was ended, and not that it is unknown. There is no index for this: one
// on expires_at would have to be written at every refresh.
func deleteSessions(ctx context.Context, db postgres.DB, most int) (int, error) {
	tag, err := db.Exec(ctx, `
		DELETE FROM sessions WHERE id IN (
			SELECT id FROM sessions
			WHERE expires_at < now() - interval '1 day' OR revoked_at < now() - interval '8 days'
			LIMIT $1 FOR UPDATE SKIP LOCKED)`, most)
	return int(tag.RowsAffected()), err
}
