// Package health asks the dependencies whether they answer. What to do when one
// does not is left to whoever watches: no function waits for a check.
package health

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/redis"
)

// Function is the health function.
var Function = function.Function{
	Name:        "health",
	Doc:         "asks the dependencies whether they answer.",
	Needs:       []function.Need{postgres.Need, redis.Need},
	Tables:      []function.Grant{{Table: "goose_db_version", Select: "version_id, is_applied"}},
	Timeout:     5 * time.Second,
	Concurrency: 20,
	MemoryMiB:   256,
	Routes: func(api *httpapi.API, env *function.Env) {
		c := &checker{release: env.Release(), now: env.Now, probes: probes(postgres.For(env), redis.For(env))}

		httpapi.Register(api, huma.Operation{
			OperationID: "health", Method: http.MethodGet, Path: "/api/health", Security: httpapi.Public,
			Tags: []string{"health"}, Summary: "Ask the dependencies",
			Description: "Asks PostgreSQL, its schema and Redis at once, each for a second at most. Answers 200 when all are well and 503 otherwise.",
			Responses:   map[string]*huma.Response{"503": unhealthy(api)},
		}, c.check)

		httpapi.Register(api, huma.Operation{
			OperationID: "health-live", Method: http.MethodGet, Path: "/api/health/live", Security: httpapi.Public,
			Tags: []string{"health"}, Summary: "Ask nothing but the process",
			Description: "Answers 200 as long as the process serves, whatever the dependencies do.",
		}, c.live)

		httpapi.Register(api, huma.Operation{
			OperationID: "version", Method: http.MethodGet, Path: "/api/version", Security: httpapi.Public,
			Tags: []string{"health"}, Summary: "Tell the deployed commit",
		}, c.version)
	},
}
