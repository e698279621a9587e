package metrics

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

type commits struct{ view }

// CommitActivity says when was worked.
type CommitActivity struct {
	Service  uuid.UUID   `json:"service" format:"uuid"`
	TimeZone string      `json:"time_zone"`
	From     string      `json:"from" format:"date"`
	To       string      `json:"to" format:"date"`
	Total    int         `json:"total"`
	Days     []CommitDay `json:"days" doc:"Days with commits, in order."`
}

// CommitDay is a day with commits.
type CommitDay struct {
	Day     string `json:"day" format:"date"`
	Commits int    `json:"commits" doc:"Authored that day; merges are left out."`
}

func (c commits) route(api *httpapi.API) {
	httpapi.Register(api, question(huma.Operation{
		OperationID: "commit-activity", Method: http.MethodGet, Path: "/api/metrics/commits", Security: httpapi.Bearer,
		Tags: []string{"metrics"}, Summary: "How many commits were authored, by day",
		Errors: []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}), c.get)
}

type commitsQuestion struct {
	Service uuid.UUID `query:"service" format:"uuid" required:"true" doc:"A service of one of your teams."`
	From    string    `query:"from" format:"date" doc:"The first day, local to the team. By default the Monday 11 weeks before the week of to."`
	To      string    `query:"to" format:"date" doc:"The last day, included. By default today. At most five years after from."`
}

type commitsAnswer struct{ Body CommitActivity }

func (c commits) get(ctx context.Context, q *commitsQuestion) (*commitsAnswer, error) {
	asked, err := parseRange(q.From, q.To, c.now())
	if err != nil {
		return nil, err
	}
	where, days, err := c.committedDays(ctx, q.Service, asked.around(c.now()))
	if err != nil {
		return nil, err
	}
	s, err := asked.on(where.today)
	if err != nil {
		return nil, err
	}
	out := &commitsAnswer{CommitActivity{
		Service: q.Service, TimeZone: where.timeZone, From: formatDay(s.from), To: formatDay(s.to), Days: []CommitDay{},
	}}
	for _, d := range within(days, s) {
		out.Body.Total += d.commits
		out.Body.Days = append(out.Body.Days, CommitDay{formatDay(d.day), d.commits})
	}
	return out, nil
}
