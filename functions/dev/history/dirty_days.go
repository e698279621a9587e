package history

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// manyPerDay is from how many instants to a day on the whole stretch is marked:
// to ask for the day of each costs a large import a tenth of its time, and a day
// on which nothing happened costs rollup next to nothing.
const manyPerDay = 8

// markDays marks the local days of these instants for rollup; of many, all days
// from the first to the last, and one more at each end. PostgreSQL says which day
// an instant is on, here and in rollup: two programs may know different rules for
// one time zone.
func markDays(ctx context.Context, tx pgx.Tx, rollup string, scope uuid.UUID, zone string, seconds []int64) error {
	if len(seconds) == 0 {
		return nil
	}
	days := `SELECT DISTINCT (at AT TIME ZONE $3)::date FROM unnest($4::timestamptz[]) AS instants (at)`
	first, last := slices.Min(seconds), slices.Max(seconds)
	if (last-first)/(24*60*60)+3 <= int64(len(seconds)/manyPerDay) {
		seconds = []int64{first, last}
		// One more, as a clock that is put back at midnight repeats a day's end.
		days = `SELECT first + generate_series(-1, last - first + 1) FROM (
			SELECT min(at AT TIME ZONE $3)::date, max(at AT TIME ZONE $3)::date FROM unnest($4::timestamptz[]) AS instants (at)
		) AS stretch (first, last)`
	}
	instants := make([]time.Time, len(seconds))
	for i, s := range seconds {
		instants[i] = time.Unix(s, 0)
	}
	_, err := tx.Exec(ctx, `INSERT INTO dirty_days (rollup, scope, day) SELECT $1, $2::uuid, day FROM (`+days+`) AS touched (day)`,
		rollup, scope, zone, instants)
	return err
}
