package metrics

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/sample"
)

type changeLeadTime struct{ view }

// ChangeLeadTime says how long changes took from being authored to being
// deployed.
type ChangeLeadTime struct {
	Series
	Unit    string           `json:"unit" enum:"seconds"`
	Total   LeadTime         `json:"total" doc:"Of all changes in the range: not a figure of the buckets' figures."`
	Buckets []LeadTimeBucket `json:"buckets" doc:"All of the range in order, also those without changes."`
}

// LeadTime describes a number of changes by percentiles of their lead times, in
// seconds, interpolated linearly between neighbours.
type LeadTime struct {
	N        int      `json:"n" doc:"Changes that the figures are of."`
	Exact    bool     `json:"exact" doc:"False where so many changes were deployed in a day that a sketch of them is kept: percentiles are then within 1 %."`
	Excluded int      `json:"excluded" doc:"Changes left out: authored after they were deployed, or longer ago than a clock can be right about."`
	P50      *float64 `json:"p50" doc:"The median; null when n is 0, as are the others."`
	P75      *float64 `json:"p75"`
	P90      *float64 `json:"p90"`
	P95      *float64 `json:"p95"`
}

// LeadTimeBucket is the lead time in one bucket, by the day of deployment.
type LeadTimeBucket struct {
	Period
	LeadTime
}

func (c changeLeadTime) route(api *httpapi.API) {
	httpapi.Register(api, question(huma.Operation{
		OperationID: "change-lead-time", Method: http.MethodGet, Path: "/api/metrics/change-lead-time", Security: httpapi.Bearer,
		Tags: []string{"metrics"}, Summary: "How long changes take to be deployed",
		Errors: []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}), c.get)
}

type leadTimeAnswer struct{ Body ChangeLeadTime }

func (c changeLeadTime) get(ctx context.Context, q *Question) (*leadTimeAnswer, error) {
	asked, err := parseRange(q.From, q.To, c.now())
	if err != nil {
		return nil, err
	}
	where, days, err := c.leadDays(ctx, q, asked.around(c.now()))
	if err != nil {
		return nil, err
	}
	s, err := asked.on(where.today)
	if err != nil {
		return nil, err
	}
	out := &leadTimeAnswer{}
	out.Body.Series, out.Body.Unit = q.series(where, s), "seconds"
	out.Body.Total = leadTime(days, s)
	for _, p := range s.by(q.Bucket, where.today) {
		out.Body.Buckets = append(out.Body.Buckets, LeadTimeBucket{p.answer(), leadTime(days, p.span)})
	}
	return out, nil
}

// leadTime describes the changes of the days that are in s.
func leadTime(days []sampledDay, s span) LeadTime {
	var all sample.Distribution
	var lead LeadTime
	for _, day := range within(days, s) {
		lead.Excluded += day.excluded
		all.Merge(&day.samples)
	}
	lead.N, lead.Exact = all.N(), all.Exact()
	if p := all.Percentiles(.5, .75, .9, .95); p != nil {
		lead.P50, lead.P75, lead.P90, lead.P95 = &p[0], &p[1], &p[2], &p[3]
	}
	return lead
}
