package metrics

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

type deploymentChanges struct{ view }

// DeploymentChanges is a deployment and a part of what it brought, newest
// authored first.
type DeploymentChanges struct {
	Deployment Deployment `json:"deployment"`
	Changes    []Change   `json:"changes"`
	Next       *string    `json:"next" doc:"The cursor of the part that follows; null when there is none."`
}

// Change is a commit that a deployment brought to its environment.
type Change struct {
	SHA         string    `json:"sha" doc:"The commit, in hex."`
	Subject     string    `json:"subject" doc:"The first line of its message."`
	Author      string    `json:"author"`
	AuthoredAt  time.Time `json:"authored_at"`
	LeadSeconds int64     `json:"lead_seconds" doc:"From being authored to being deployed."`
	Excluded    bool      `json:"excluded" doc:"Whether lead times leave it out: authored after it was deployed, or longer ago than a clock can be right about."`

	sha []byte
}

func (d deploymentChanges) route(api *httpapi.API) {
	httpapi.Register(api, question(huma.Operation{
		OperationID: "list-deployment-changes", Method: http.MethodGet, Path: "/api/metrics/deployments/{deployment}/changes", Security: httpapi.Bearer,
		Tags: []string{"metrics"}, Summary: "What a deployment brought, newest authored first",
		Errors: []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}), d.list)
}

type changesQuestion struct {
	Deployment uuid.UUID `path:"deployment" format:"uuid"`
	Limit      int       `query:"limit" default:"100" minimum:"1" maximum:"500"`
	Cursor     string    `query:"cursor" maxLength:"200" doc:"The next of an earlier answer to the same question."`
}

type changesAnswer struct{ Body DeploymentChanges }

func (d deploymentChanges) list(ctx context.Context, q *changesQuestion) (*changesAnswer, error) {
	list := []string{"changes", q.Deployment.String()}
	// The shortest lead is that of the change authored last.
	after, given, err := parseCursor(q.Cursor, list...)
	if err != nil {
		return nil, err
	}
	if !given {
		after = cursor{math.MinInt64, []byte{}}
	}
	of, found, err := d.changesAfter(ctx, q, after)
	if err != nil {
		return nil, err
	}
	out := &changesAnswer{DeploymentChanges{Deployment: of, Changes: found}}
	if len(found) > q.Limit {
		out.Body.Changes = found[:q.Limit]
		last := found[q.Limit-1]
		next := cursor{last.LeadSeconds, last.sha}.encode(list...)
		out.Body.Next = &next
	}
	return out, nil
}
