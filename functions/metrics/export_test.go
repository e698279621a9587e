package metrics

import (
	"time"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// Mine is how every statement goes on after the teams of the caller.
const Mine = mine

// Over returns Function over a database that the test has opened.
func Over(db *postgres.Database, now func() time.Time) function.Function {
	fn := Function
	fn.Routes = func(api *httpapi.API, env *function.Env) {
		access.ProtectReports(api, env)
		route(api, view{db: db, now: now})
	}
	return fn
}
