package rollup

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// dirty begins a statement with the days to compute and, for each, a stretch of
// time that holds it, so that the indexes on time find its facts. The exact test
// is (instant AT TIME ZONE time_zone)::date = day, as writers mark days: where a
// night's clocks go back over midnight, PostgreSQL takes the later of the two
// midnights for the beginning of the day, so the stretch begins a day earlier.
// Facts are joined LATERAL, a day at a time, since a plain join on the stretches
// may be planned as every day against every fact.
const dirty = `
	WITH dirty AS MATERIALIZED (
		SELECT day, t.time_zone,
			(day - 1)::timestamp AT TIME ZONE t.time_zone AS after,
			(day + 1)::timestamp AT TIME ZONE t.time_zone AS before
		FROM unnest(@days::date[]) AS day, repositories r JOIN teams t ON t.id = r.team_id
		WHERE r.id = `

const recomputeCommitsSQL = dirty + `@scope),
	counted AS MATERIALIZED (
		SELECT d.day, c.commits
		FROM dirty d CROSS JOIN LATERAL (
			SELECT count(*) AS commits
			FROM commits c
			WHERE c.repository_id = @scope AND c.authored_at >= d.after AND c.authored_at < d.before
				AND (c.authored_at AT TIME ZONE d.time_zone)::date = d.day
				AND c.parents < 2) c
		WHERE c.commits > 0),
	vanished AS (
		DELETE FROM rollup_commits
		WHERE repository_id = @scope AND day = ANY (@days) AND day NOT IN (SELECT day FROM counted))
	INSERT INTO rollup_commits (repository_id, day, commits)
	SELECT @scope, day, commits FROM counted
	ON CONFLICT (repository_id, day) DO UPDATE SET commits = EXCLUDED.commits`

// recomputeCommits writes the commits of each of the days.
func recomputeCommits(ctx context.Context, tx pgx.Tx, repository uuid.UUID, days []time.Time) error {
	_, err := tx.Exec(ctx, recomputeCommitsSQL, pgx.NamedArgs{"scope": repository, "days": days})
	return err
}
