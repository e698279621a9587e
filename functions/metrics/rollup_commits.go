package metrics

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// committedDay is a day with commits.
type committedDay struct {
	dated
	commits int
}

const committedDaysSQL = `
	SELECT s.time_zone, s.today, r.day, coalesce(r.commits, 0)
	FROM my_services s
	LEFT JOIN LATERAL (
		SELECT r.day, r.commits FROM rollup_commits r WHERE r.repository_id = s.repository_id AND r.day BETWEEN @from AND @to OFFSET 0) r ON true
	WHERE s.id = @service
	ORDER BY r.day`

// committedDays returns the days of s with commits, in order.
func (v view) committedDays(ctx context.Context, service uuid.UUID, s span) (place, []committedDay, error) {
	var days []committedDay
	var one committedDay
	args := pgx.NamedArgs{"service": service, "from": s.from, "to": s.to}
	where, err := v.days(ctx, "service", committedDaysSQL, args, []any{&one.commits}, func(day time.Time) error {
		one.day = day
		days = append(days, one)
		return nil
	})
	return where, days, err
}
