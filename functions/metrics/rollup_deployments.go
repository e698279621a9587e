package metrics

import (
	"context"
	"time"
)

// deployedDay is a day with deployments that ended.
type deployedDay struct {
	dated
	deployed, failed int
}

const deployedDaysSQL = `
	SELECT e.time_zone, e.today, r.day, coalesce(r.deployed, 0), coalesce(r.failed, 0)
	FROM my_environments e
	LEFT JOIN LATERAL (
		SELECT r.day, r.deployed, r.failed FROM rollup_deployments r WHERE r.environment_id = e.id AND r.day BETWEEN @from AND @to OFFSET 0) r ON true
	WHERE e.service_id = @service AND e.name = @environment
	ORDER BY r.day`

// deployedDays returns the days of s with deployments, in order.
func (v view) deployedDays(ctx context.Context, q *Question, s span) (place, []deployedDay, error) {
	var days []deployedDay
	var one deployedDay
	where, err := v.days(ctx, "environment", deployedDaysSQL, q.args(s), []any{&one.deployed, &one.failed}, func(day time.Time) error {
		one.day = day
		days = append(days, one)
		return nil
	})
	return where, days, err
}
