package metrics

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

type deploymentFrequency struct{ view }

// DeploymentFrequency says how often was deployed.
type DeploymentFrequency struct {
	Series
	Total   FrequencyTotal    `json:"total"`
	Buckets []FrequencyBucket `json:"buckets" doc:"All of the range in order, also those without deployments."`
}

// FrequencyTotal is the frequency over the whole range.
type FrequencyTotal struct {
	Deployments         int      `json:"deployments" doc:"Those that succeeded."`
	Failed              int      `json:"failed"`
	Days                int      `json:"days" doc:"Days in the range."`
	PerDay              float64  `json:"per_day" doc:"Deployments per day of the range."`
	DaysWithDeployments int      `json:"days_with_deployments"`
	MedianDaysPerWeek   *float64 `json:"median_days_per_week" doc:"Of the complete weeks in the range: the median of the days with deployments; null when there is no complete week."`
}

// FrequencyBucket is the frequency in one bucket.
type FrequencyBucket struct {
	Period
	Deployments int `json:"deployments"`
	Failed      int `json:"failed"`
}

func (f deploymentFrequency) route(api *httpapi.API) {
	httpapi.Register(api, question(huma.Operation{
		OperationID: "deployment-frequency", Method: http.MethodGet, Path: "/api/metrics/deployment-frequency", Security: httpapi.Bearer,
		Tags: []string{"metrics"}, Summary: "How often a service is deployed",
		Errors: []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}), f.get)
}

type frequencyAnswer struct{ Body DeploymentFrequency }

func (f deploymentFrequency) get(ctx context.Context, q *Question) (*frequencyAnswer, error) {
	asked, err := parseRange(q.From, q.To, f.now())
	if err != nil {
		return nil, err
	}
	where, days, err := f.deployedDays(ctx, q, asked.around(f.now()))
	if err != nil {
		return nil, err
	}
	s, err := asked.on(where.today)
	if err != nil {
		return nil, err
	}
	out := &frequencyAnswer{}
	out.Body.Series = q.series(where, s)
	for _, p := range s.by(q.Bucket, where.today) {
		counted := count(days, p.span)
		out.Body.Buckets = append(out.Body.Buckets, FrequencyBucket{p.answer(), counted.deployed, counted.failed})
	}
	all := count(days, s)
	out.Body.Total = FrequencyTotal{
		Deployments: all.deployed, Failed: all.failed, Days: s.days(), PerDay: float64(all.deployed) / float64(s.days()),
		DaysWithDeployments: all.daysWith, MedianDaysPerWeek: medianDaysPerWeek(days, s.by("week", where.today)),
	}
	return out, nil
}

// counts are what was deployed in a span.
type counts struct{ deployed, failed, daysWith int }

// count sums up the days that are in s.
func count(days []deployedDay, s span) (c counts) {
	for _, d := range within(days, s) {
		c.deployed += d.deployed
		c.failed += d.failed
		if d.deployed > 0 {
			c.daysWith++
		}
	}
	return c
}

// medianDaysPerWeek is over the complete weeks; nil when there is none.
func medianDaysPerWeek(days []deployedDay, weeks []period) *float64 {
	var perWeek []int
	for _, week := range weeks {
		if week.complete {
			perWeek = append(perWeek, count(days, week.span).daysWith)
		}
	}
	if len(perWeek) == 0 {
		return nil
	}
	slices.Sort(perWeek)
	n := len(perWeek)
	median := float64(perWeek[(n-1)/2]+perWeek[n/2]) / 2
	return &median
}
