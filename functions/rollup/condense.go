package rollup

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// workTime is how long one call begins new slices: well before the timeout, and
// before the scheduler's next call.
const workTime = 100 * time.Second

// sliceDays is the most days of one transaction.
const sliceDays = 500

type condenser struct {
	db  *postgres.Database
	now func() time.Time
}

// Condensation is what one call got done.
type Condensation struct {
	Condensed int `json:"condensed" doc:"Days that were computed anew."`
	Left      int `json:"left" doc:"Days that are still to be computed: call again."`
}

func (c condenser) route(api *httpapi.API) {
	httpapi.Register(api, huma.Operation{
		OperationID: "condense", Method: http.MethodPost, Path: "/api/rollup/condense", Security: httpapi.Scheduler,
		Tags: []string{"rollup"}, Summary: "Compute dirty days anew",
		Description: "Computes the days whose facts have changed, a slice at a time, and stops well before its deadline. Any number of calls may run at once; each takes the scopes that no other is at work on.",
		Errors:      []int{http.StatusServiceUnavailable},
	}, c.condense)
}

type condensed struct{ Body Condensation }

func (c condenser) condense(ctx context.Context, _ *struct{}) (*condensed, error) {
	scopes, err := dirtyScopes(ctx, c.db)
	if err != nil {
		return nil, err
	}
	until := c.now().Add(workTime)
	out := &condensed{}
	var failed []error
	for _, s := range scopes {
		days, err := c.scope(ctx, s, until)
		out.Body.Condensed += days
		if fault.From(err).Kind == fault.Unavailable {
			return nil, err
		}
		// One scope that cannot be computed does not hold up the others.
		if err != nil {
			failed = append(failed, fmt.Errorf("%s of %s: %w", s.rollup, s.id, err))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	out.Body.Left, err = countDirtyDays(ctx, c.db)
	return out, err
}

// scope condenses slices of s until none is left, another call is at work on s,
// or the time is up. It returns the number of days that it has condensed.
func (c condenser) scope(ctx context.Context, s scope, until time.Time) (int, error) {
	total := 0
	for c.now().Before(until) {
		days, err := c.slice(ctx, s)
		total += days
		if err != nil || days < sliceDays {
			return total, err
		}
	}
	return total, nil
}

// slice condenses the earliest dirty days of s in one transaction: if it fails,
// their marks are still there.
func (c condenser) slice(ctx context.Context, s scope) (int, error) {
	condensed := 0
	err := c.db.Transaction(ctx, func(tx pgx.Tx) error {
		mine, err := lock(ctx, tx, s)
		if err != nil || !mine {
			return err
		}
		// Marks first: facts are read by a later statement, and so include
		// those of every mark that is taken here.
		days, err := takeDirtyDays(ctx, tx, s, sliceDays)
		if err != nil || len(days) == 0 {
			return err
		}
		condensed = len(days)
		return recomputes[s.rollup](ctx, tx, s.id, days)
	})
	if err != nil {
		return 0, err
	}
	return condensed, nil
}

// recomputes computes days of a scope from facts, by kind of rollup.
var recomputes = map[string]func(ctx context.Context, tx pgx.Tx, scope uuid.UUID, days []time.Time) error{
	"deployments": recomputeDeployments,
	"commits":     recomputeCommits,
}
