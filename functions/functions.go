// Package functions is the one list of what is deployed. The functions
// themselves know nothing of each other; they meet in PostgreSQL and Redis.
package functions

import (
	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/functions/health"
	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/functions/refresh"
	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/functions/web"
	"github.com/devops-dashboard/dashboard/shared/function"
)

// All are the functions of the product, in the order in which the manifest and
// the API document list them.
var All = []function.Function{
	auth.Function,
	refresh.Function,
	metrics.Function,
	rollup.Function,
	health.Function,
	web.Function,
}
