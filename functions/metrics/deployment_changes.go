package metrics

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/sample"
)

const changesSQL = `
	SELECT ` + deploymentColumns + `,
		c.sha, coalesce(k.subject, ''), coalesce(a.name, ''),
		coalesce(k.authored_at, d.finished_at - c.lead_seconds * interval '1 second'), c.lead_seconds
	FROM my_environments e
	JOIN deployments d ON d.environment_id = e.id` + brought + `
	LEFT JOIN LATERAL (
		SELECT c.sha, c.lead_seconds
		FROM deployment_changes c
		WHERE c.deployment_id = d.id AND (c.lead_seconds, c.sha) > (@lead, @sha)
		ORDER BY c.lead_seconds, c.sha
		LIMIT @limit) c ON true
	LEFT JOIN commits k ON k.repository_id = e.repository_id AND k.sha = c.sha
	LEFT JOIN authors a ON a.id = k.author_id
	WHERE d.id = @deployment
	ORDER BY c.lead_seconds, c.sha`

// changesAfter returns a deployment and its changes after the cursor's, newest
// authored first: one more than asked for when there are more.
func (v view) changesAfter(ctx context.Context, q *changesQuestion, c cursor) (Deployment, []Change, error) {
	args := pgx.NamedArgs{"deployment": q.Deployment, "lead": c.key, "sha": c.id, "limit": q.Limit + 1, "longest": sample.Longest}
	var of scannedDeployment
	var sha []byte
	var one Change
	var authoredAt *time.Time
	var lead *int64
	all := []Change{}
	err := v.query(ctx, changesSQL, args, append(of.into(), &sha, &one.Subject, &one.Author, &authoredAt, &lead), func() error {
		if sha == nil {
			return nil
		}
		one.sha, one.SHA = sha, hex.EncodeToString(sha)
		one.AuthoredAt, one.LeadSeconds = authoredAt.UTC(), *lead
		one.Excluded = one.LeadSeconds < 0 || one.LeadSeconds > sample.Longest
		all = append(all, one)
		return nil
	})
	if err != nil {
		return Deployment{}, nil, err
	}
	if of.id == nil {
		return Deployment{}, nil, notFound("deployment")
	}
	return of.deployment(), all, nil
}
