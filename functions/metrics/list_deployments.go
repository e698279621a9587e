package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

type deployments struct{ view }

// Deployments is a part of the list of deployments, newest first.
type Deployments struct {
	Deployments []Deployment `json:"deployments"`
	Next        *string      `json:"next" doc:"The cursor of the part that follows; null when there is none."`
}

// Deployment is one deployment that ended, and what it brought.
type Deployment struct {
	ID         uuid.UUID  `json:"id" format:"uuid"`
	Ref        string     `json:"ref" example:"v1.4.0"`
	SHA        string     `json:"sha" doc:"The commit, in hex."`
	Status     string     `json:"status" enum:"success,failure,running"`
	FinishedAt *time.Time `json:"finished_at" doc:"Null while it is running."`
	Day        *string    `json:"day" format:"date" doc:"The day it finished, local to the team."`
	Baseline   bool       `json:"baseline" doc:"The first of its environment: what it brought is unknowable."`
	Changes    int        `json:"changes" doc:"Commits that it brought to the environment for the first time."`
	Excluded   int        `json:"excluded" doc:"Of the changes, those that lead times leave out."`
	LeadP50    *float64   `json:"lead_p50" doc:"The median lead time of its changes, in seconds; null without any."`
}

func (d deployments) route(api *httpapi.API) {
	httpapi.Register(api, question(huma.Operation{
		OperationID: "list-deployments", Method: http.MethodGet, Path: "/api/metrics/deployments", Security: httpapi.Bearer,
		Tags: []string{"metrics"}, Summary: "The deployments of an environment, newest first",
		Description: "Those that ended, by the time they did. Without from and to, all of them.",
		Errors:      []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}), d.list)
}

type deploymentsQuestion struct {
	Service     uuid.UUID `query:"service" format:"uuid" required:"true" doc:"A service of one of your teams."`
	Environment string    `query:"environment" default:"production" minLength:"1" maxLength:"200" doc:"The name of one of its environments."`
	From        string    `query:"from" format:"date" doc:"The first day, local to the team: at most five years before to or, without to, before today."`
	To          string    `query:"to" format:"date" doc:"The last day, included."`
	Limit       int       `query:"limit" default:"50" minimum:"1" maximum:"200"`
	Cursor      string    `query:"cursor" maxLength:"200" doc:"The next of an earlier answer to the same question."`
}

type deploymentsAnswer struct{ Body Deployments }

func (d deployments) list(ctx context.Context, q *deploymentsQuestion) (*deploymentsAnswer, error) {
	asked, err := parseRange(q.From, q.To, d.now())
	if err != nil {
		return nil, err
	}
	list := []string{"deployments", q.Service.String(), q.Environment, q.From, q.To}
	after, err := parseDeploymentCursor(q.Cursor, list)
	if err != nil {
		return nil, err
	}
	found, err := d.deploymentsBefore(ctx, q, asked, after)
	if err != nil {
		return nil, err
	}
	out := &deploymentsAnswer{Deployments{Deployments: found}}
	if len(found) > q.Limit {
		out.Body.Deployments = found[:q.Limit]
		last := found[q.Limit-1]
		next := cursor{last.FinishedAt.UnixMicro(), last.ID[:]}.encode(list...)
		out.Body.Next = &next
	}
	return out, nil
}

// deploymentCursor is the deployment that a part of the list ended with.
type deploymentCursor struct {
	finishedAt time.Time
	id         uuid.UUID
}

// endOfTime is after all that PostgreSQL and JSON can both hold.
var endOfTime = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)

// parseDeploymentCursor returns the deployment to go on after; without a cursor
// it is one after all others.
func parseDeploymentCursor(text string, list []string) (deploymentCursor, error) {
	c, given, err := parseCursor(text, list...)
	if err != nil {
		return deploymentCursor{}, err
	}
	if !given {
		return deploymentCursor{endOfTime, uuid.Max}, nil
	}
	id, err := uuid.FromBytes(c.id)
	at := time.UnixMicro(c.key).UTC()
	if err != nil || at.Year() < 1 || at.After(endOfTime) {
		return deploymentCursor{}, badCursor()
	}
	return deploymentCursor{at, id}, nil
}
