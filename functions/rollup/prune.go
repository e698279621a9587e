package rollup

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// pruneRows is the most rows of one statement, so that none holds locks for long.
const pruneRows = 500

type pruner struct {
	db  *postgres.Database
	now func() time.Time
}

// Pruning is what one call removed.
type Pruning struct {
	Sessions       int `json:"sessions" doc:"Sessions that nobody can come back to."`
	Links          int `json:"links" doc:"Links that expired a month ago."`
	APITokens      int `json:"api_tokens" doc:"API tokens that expired a year ago."`
	WorkflowTokens int `json:"workflow_tokens" doc:"Uses of tokens of workflows that have expired."`
}

func (p pruner) route(api *httpapi.API) {
	httpapi.Register(api, huma.Operation{
		OperationID: "prune", Method: http.MethodPost, Path: "/api/rollup/prune", Security: httpapi.Scheduler,
		Tags: []string{"rollup"}, Summary: "Remove what has had its time",
		Description: "Removes sessions a day after they expired and eight days after they were ended, by when no token of theirs is good any more; links 30 days and API tokens a year after they expired; " +
			"and what tokens of workflows were used, an hour after they expired. Any number of calls may run at once.",
		Errors: []int{http.StatusServiceUnavailable},
	}, p.prune)
}

type pruned struct{ Body Pruning }

func (p pruner) prune(ctx context.Context, _ *struct{}) (*pruned, error) {
	until := p.now().Add(workTime)
	out := &pruned{}
	for _, kind := range []struct {
		remove  func(context.Context, postgres.DB, int) (int, error)
		removed *int
	}{
		{deleteSessions, &out.Body.Sessions}, {deleteLinks, &out.Body.Links},
		{deleteAPITokens, &out.Body.APITokens}, {deleteWorkflowTokens, &out.Body.WorkflowTokens},
	} {
		for p.now().Before(until) {
			n, err := kind.remove(ctx, p.db, pruneRows)
			if err != nil {
				return nil, err
			}
			*kind.removed += n
			if n < pruneRows {
				break
			}
		}
	}
	return out, nil
}
