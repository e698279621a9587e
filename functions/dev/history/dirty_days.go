package history

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// markDays marks the local days of these instants for rollup. PostgreSQL says
// which day an instant is on, here and in rollup: two programs may know different
// rules for one time zone.
func markDays(ctx context.Context, tx pgx.Tx, rollup string, scope uuid.UUID, zone string, seconds []int64) error {
	if len(seconds) == 0 {
		return nil
	}
	instants := make([]time.Time, len(seconds))
	for i, s := range seconds {
		instants[i] = time.Unix(s, 0)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO dirty_days (rollup, scope, day)
		SELECT $1, $2::uuid, day FROM (SELECT DISTINCT (at AT TIME ZONE $3)::date AS day FROM unnest($4::timestamptz[]) AS instants (at)) days`,
		rollup, scope, zone, instants)
	return err
}
