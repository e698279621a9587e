package rollup

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/sample"
)

// The samples of a day are at first kept as they are, however many; the days
// that have more than a row should hold are answered, to be sketched.
const recomputeDeploymentsSQL = dirty + `(
			SELECT s.repository_id FROM environments e JOIN services s ON s.id = e.service_id WHERE e.id = @scope)),
	counted AS MATERIALIZED (
		SELECT d.day, f.*
		FROM dirty d CROSS JOIN LATERAL (
			SELECT count(*) FILTER (WHERE status = 'success') AS deployed,
				count(*) FILTER (WHERE status = 'failure') AS failed,
				array_agg(id) FILTER (WHERE status = 'success') AS successes
			FROM deployments f
			WHERE f.environment_id = @scope AND f.finished_at >= d.after AND f.finished_at < d.before
				AND (f.finished_at AT TIME ZONE d.time_zone)::date = d.day) f
		WHERE f.deployed + f.failed > 0),
	sampled AS MATERIALIZED (
		SELECT d.day, c.*
		FROM counted d CROSS JOIN LATERAL (
			SELECT count(*) AS changes,
				coalesce(array_agg(lead_seconds::int ORDER BY lead_seconds) FILTER (WHERE lead_seconds BETWEEN 0 AND @longest), '{}') AS samples
			FROM deployment_changes c
			WHERE c.deployment_id = ANY (d.successes)) c
		WHERE c.changes > 0),
	vanished AS (
		DELETE FROM rollup_deployments
		WHERE environment_id = @scope AND day = ANY (@days) AND day NOT IN (SELECT day FROM counted)),
	unsampled AS (
		DELETE FROM rollup_samples
		WHERE environment_id = @scope AND metric = 'change_lead_time' AND day = ANY (@days) AND day NOT IN (SELECT day FROM sampled)),
	written AS (
		INSERT INTO rollup_deployments (environment_id, day, deployed, failed, changes)
		SELECT @scope, day, deployed, failed, coalesce(changes, 0) FROM counted LEFT JOIN sampled USING (day)
		ON CONFLICT (environment_id, day) DO UPDATE SET deployed = EXCLUDED.deployed, failed = EXCLUDED.failed, changes = EXCLUDED.changes),
	stored AS (
		INSERT INTO rollup_samples (environment_id, metric, day, n, excluded, samples)
		SELECT @scope, 'change_lead_time', day, cardinality(samples), changes - cardinality(samples), samples FROM sampled
		ON CONFLICT (environment_id, metric, day) DO UPDATE SET n = EXCLUDED.n, excluded = EXCLUDED.excluded, samples = EXCLUDED.samples, sketch = NULL)
	SELECT day, samples FROM sampled WHERE cardinality(samples) > @exact`

// recomputeDeployments writes the deployments of each of the days and the lead
// times of the changes that they brought.
func recomputeDeployments(ctx context.Context, tx pgx.Tx, environment uuid.UUID, days []time.Time) error {
	rows, err := tx.Query(ctx, recomputeDeploymentsSQL, pgx.NamedArgs{"scope": environment, "days": days, "longest": sample.Longest, "exact": sample.Exact})
	if err != nil {
		return err
	}
	var day time.Time
	var samples []int32
	sketches := map[time.Time][]byte{}
	_, err = pgx.ForEachRow(rows, []any{&day, &samples}, func() error {
		sketches[day] = sample.Sketch(samples)
		return nil
	})
	if err != nil {
		return err
	}
	for day, sketch := range sketches {
		_, err := tx.Exec(ctx, "UPDATE rollup_samples SET samples = NULL, sketch = $3 WHERE environment_id = $1 AND metric = 'change_lead_time' AND day = $2", environment, day, sketch)
		if err != nil {
			return err
		}
	}
	return nil
}
