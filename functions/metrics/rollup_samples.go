package metrics

import (
	"context"
	"time"

	"github.com/devops-dashboard/dashboard/shared/sample"
)

// sampledDay is a day with samples of a metric.
type sampledDay struct {
	dated
	excluded int
	samples  sample.Distribution
}

const leadDaysSQL = `
	SELECT e.time_zone, e.today, r.day, coalesce(r.n, 0), coalesce(r.excluded, 0), r.samples, r.sketch
	FROM my_environments e
	LEFT JOIN LATERAL (
		SELECT r.day, r.n, r.excluded, r.samples, r.sketch FROM rollup_samples r
		WHERE r.environment_id = e.id AND r.metric = 'change_lead_time' AND r.day BETWEEN @from AND @to OFFSET 0) r ON true
	WHERE e.service_id = @service AND e.name = @environment
	ORDER BY r.day`

// leadDays returns the days of s with changes that were deployed, in order.
func (v view) leadDays(ctx context.Context, q *Question, s span) (place, []sampledDay, error) {
	var days []sampledDay
	var n, excluded int
	var samples []int32
	var sketch []byte
	where, err := v.days(ctx, "environment", leadDaysSQL, q.args(s), []any{&n, &excluded, &samples, &sketch}, func(day time.Time) error {
		one := sampledDay{dated: dated{day}, excluded: excluded}
		one.samples.Add(samples)
		days = append(days, one)
		if sketch == nil {
			return nil
		}
		return days[len(days)-1].samples.AddSketch(sketch, n)
	})
	return where, days, err
}
