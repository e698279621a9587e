package rollup

import (
	"context"

	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// What has expired stays for a while, so that whoever comes with it is told that it
// has, and an owner sees what there was. Each of these removes some of what has had
// that time too, leaves to the next call what somebody holds, and returns how many.

func deleteLinks(ctx context.Context, db postgres.DB, most int) (int, error) {
	tag, err := db.Exec(ctx, `
		DELETE FROM links WHERE id IN (
			SELECT id FROM links WHERE expires_at < now() - interval '30 days' LIMIT $1 FOR UPDATE SKIP LOCKED)`, most)
	return int(tag.RowsAffected()), err
}

// A token that was revoked goes when it would have expired: there are few.
func deleteAPITokens(ctx context.Context, db postgres.DB, most int) (int, error) {
	tag, err := db.Exec(ctx, `
		DELETE FROM api_tokens WHERE id IN (
			SELECT id FROM api_tokens WHERE expires_at < now() - interval '1 year' LIMIT $1 FOR UPDATE SKIP LOCKED)`, most)
	return int(tag.RowsAffected()), err
}

// A token that has expired is refused for that. The hour is for clocks that differ.
func deleteWorkflowTokens(ctx context.Context, db postgres.DB, most int) (int, error) {
	tag, err := db.Exec(ctx, `
		DELETE FROM used_workflow_tokens WHERE token IN (
			SELECT token FROM used_workflow_tokens WHERE expires_at < now() - interval '1 hour' LIMIT $1 FOR UPDATE SKIP LOCKED)`, most)
	return int(tag.RowsAffected()), err
}
