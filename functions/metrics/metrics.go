// Package metrics answers every question about deliveries: how often, how fast,
// when and what. Figures are read from rollups, whose cost does not depend on how
// long a history is; computing those is left to rollup. Every answer is bound to
// the teams of the caller in one place, view.
package metrics

import (
	"time"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// Function is the metrics function.
var Function = function.Function{
	Name:        "metrics",
	Doc:         "answers every question about deliveries: figures from rollups, lists from facts.",
	Needs:       []function.Need{postgres.Need, identity.VerifyNeed},
	Timeout:     30 * time.Second,
	Concurrency: 40,
	MemoryMiB:   256,
	Routes: func(api *httpapi.API, env *function.Env) {
		identity.Protect(api, env)
		route(api, view{db: postgres.For(env), now: env.Now})
	},
}

// route registers what v answers.
func route(api *httpapi.API, v view) {
	services{v}.route(api)
	deploymentFrequency{v}.route(api)
	changeLeadTime{v}.route(api)
	commits{v}.route(api)
	deployments{v}.route(api)
	deploymentChanges{v}.route(api)
}
