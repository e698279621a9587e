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
	Sessions int `json:"sessions" doc:"Sessions that nobody can come back to."`
}

func (p pruner) route(api *httpapi.API) {
	huma.Register(api, huma.Operation{
		OperationID: "prune", Method: http.MethodPost, Path: "/api/rollup/prune", Security: httpapi.Scheduler,
		Tags: []string{"rollup"}, Summary: "Remove what has had its time",
		Description: "Removes sessions a day after they expired and eight days after they were ended: by then no token of theirs is good any more. Any number of calls may run at once.",
		Errors:      []int{http.StatusServiceUnavailable},
	}, p.prune)
}

type pruned struct{ Body Pruning }

func (p pruner) prune(ctx context.Context, _ *struct{}) (*pruned, error) {
	until := p.now().Add(workTime)
	out := &pruned{}
	for p.now().Before(until) {
		sessions, err := deleteSessions(ctx, p.db, pruneRows)
		if err != nil {
			return nil, err
		}
		out.Body.Sessions += sessions
		if sessions < pruneRows {
			break
		}
	}
	return out, nil
}
