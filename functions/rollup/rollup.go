// Package rollup condenses facts into what the dashboard reads: it computes the
// days that were marked dirty anew, from facts alone, so that late, repeated,
// edited and deleted facts are one path. It also removes what has had its time.
// What the figures are used for is left to
// metrics; who marks days is whoever writes the facts.
package rollup

import (
	"time"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// Function is the rollup function.
var Function = function.Function{
	Name:        "rollup",
	Doc:         "condenses facts into rollups and prunes; called by Cloud Scheduler.",
	Needs:       []function.Need{postgres.Need},
	Timeout:     300 * time.Second,
	Concurrency: 1,
	MemoryMiB:   256,
	Schedules: []function.Schedule{
		{Name: "condense", Cron: "*/2 * * * *", Path: "/api/rollup/condense"},
		{Name: "prune", Cron: "17 * * * *", Path: "/api/rollup/prune"},
	},
	Routes: func(api *httpapi.API, env *function.Env) {
		condenser{db: postgres.For(env), now: env.Now}.route(api)
		pruner{db: postgres.For(env), now: env.Now}.route(api)
	},
}
