package rollup

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// scope is what has rollups of its own: the environment of deployments, the
// repository of commits.
type scope struct {
	rollup string
	id     uuid.UUID
}

// dirtyScopes lists what has dirty days.
func dirtyScopes(ctx context.Context, db postgres.DB) ([]scope, error) {
	rows, err := db.Query(ctx, "SELECT DISTINCT rollup, scope FROM dirty_days ORDER BY rollup, scope")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (s scope, err error) {
		err = row.Scan(&s.rollup, &s.id)
		return s, err
	})
}

// countDirtyDays counts days once, however often they are marked.
func countDirtyDays(ctx context.Context, db postgres.DB) (days int, err error) {
	err = db.QueryRow(ctx, "SELECT count(*) FROM (SELECT DISTINCT rollup, scope, day FROM dirty_days) d").Scan(&days)
	return days, err
}

// lock has the transaction be the only one that computes the scope. Without it,
// one that read the facts early could overwrite what another has computed from
// later ones.
func lock(ctx context.Context, tx pgx.Tx, s scope) (mine bool, err error) {
	err = tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock(hashtextextended(concat_ws(' ', 'rollup', $1::text, $2::uuid), 0))", s.rollup, s.id).Scan(&mine)
	return mine, err
}

// takeDirtyDays deletes all marks of the scope's earliest dirty days and returns
// the days.
func takeDirtyDays(ctx context.Context, tx pgx.Tx, s scope, most int) ([]time.Time, error) {
	rows, err := tx.Query(ctx, `
		WITH taken AS (
			DELETE FROM dirty_days
			WHERE rollup = $1 AND scope = $2 AND day <= (SELECT max(day) FROM (
				SELECT DISTINCT day FROM dirty_days WHERE rollup = $1 AND scope = $2 ORDER BY day LIMIT $3) earliest)
			RETURNING day)
		SELECT DISTINCT day FROM taken`, s.rollup, s.id, most)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[time.Time])
}
