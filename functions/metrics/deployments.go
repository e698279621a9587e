package metrics

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/sample"
)

// deploymentColumns are of a deployment d in an environment e.
const deploymentColumns = `d.id, d.ref, encode(d.sha, 'hex'), d.status, d.finished_at, (d.finished_at AT TIME ZONE e.time_zone)::date, d.baseline,
		coalesce(brought.changes, 0), coalesce(brought.changes - brought.sampled, 0), brought.lead_p50`

// brought sums up the changes of a deployment d.
const brought = `
	LEFT JOIN LATERAL (
		SELECT count(*) AS changes,
			count(*) FILTER (WHERE c.lead_seconds BETWEEN 0 AND @longest) AS sampled,
			percentile_cont(0.5) WITHIN GROUP (ORDER BY c.lead_seconds) FILTER (WHERE c.lead_seconds BETWEEN 0 AND @longest) AS lead_p50
		FROM deployment_changes c
		WHERE c.deployment_id = d.id) brought ON true`

// The range is asked for twice: in time, a day wider, which the index can find,
// and in local days, which is what is meant.
const deploymentsSQL = `
	SELECT ` + deploymentColumns + `, e.today
	FROM my_environments e
	LEFT JOIN LATERAL (
		SELECT d.id, d.ref, d.sha, d.status, d.finished_at, d.baseline
		FROM deployments d
		WHERE d.environment_id = e.id AND (d.finished_at, d.id) < (@finished_at, @id)
			AND d.finished_at >= (@from::date - 1)::timestamp AT TIME ZONE e.time_zone
			AND d.finished_at < (@to::date + 1)::timestamp AT TIME ZONE e.time_zone
			AND (d.finished_at AT TIME ZONE e.time_zone)::date BETWEEN @from AND @to
		ORDER BY d.finished_at DESC, d.id DESC
		LIMIT @limit) d ON true` + brought + `
	WHERE e.service_id = @service AND e.name = @environment
	ORDER BY d.finished_at DESC, d.id DESC`

// deploymentsBefore returns the deployments that finished before the cursor's,
// newest first: one more than asked for when there are more. It fails also when
// the range is none today where the team is.
func (v view) deploymentsBefore(ctx context.Context, q *deploymentsQuestion, a asked, c deploymentCursor) ([]Deployment, error) {
	to := a.to
	if to.IsZero() {
		to = endOfTime.AddDate(0, 0, -2)
	}
	args := pgx.NamedArgs{
		"service": q.Service, "environment": q.Environment, "from": a.from, "to": to, "longest": sample.Longest,
		"finished_at": c.finishedAt, "id": c.id, "limit": q.Limit + 1,
	}
	all := []Deployment{}
	var one scannedDeployment
	var today time.Time
	found := false
	err := v.query(ctx, deploymentsSQL, args, append(one.into(), &today), func() error {
		found = true
		if one.id != nil {
			all = append(all, one.deployment())
		}
		return nil
	})
	if err == nil && !found {
		err = notFound("environment")
	}
	if err == nil {
		_, err = a.on(today)
	}
	return all, err
}

// scannedDeployment takes deploymentColumns; a row without a deployment has
// nothing but nulls in them.
type scannedDeployment struct {
	id                *uuid.UUID
	ref, sha, status  *string
	finishedAt, day   *time.Time
	baseline          *bool
	changes, excluded int
	leadP50           *float64
}

func (s *scannedDeployment) into() []any {
	return []any{&s.id, &s.ref, &s.sha, &s.status, &s.finishedAt, &s.day, &s.baseline, &s.changes, &s.excluded, &s.leadP50}
}

func (s *scannedDeployment) deployment() Deployment {
	d := Deployment{
		ID: *s.id, Ref: *s.ref, SHA: *s.sha, Status: *s.status, Day: formatDayOrNull(s.day), Baseline: *s.baseline,
		Changes: s.changes, Excluded: s.excluded, LeadP50: s.leadP50,
	}
	if s.finishedAt != nil {
		at := s.finishedAt.UTC()
		d.FinishedAt = &at
	}
	return d
}
