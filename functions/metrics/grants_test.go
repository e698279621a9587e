package metrics_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestEachGrantIsNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	deployed := w.deploy("v1", now, "success", change{1, 60})
	paths := []string{
		"/api/metrics/services",
		fmt.Sprintf("/api/metrics/deployment-frequency?service=%s", w.service),
		fmt.Sprintf("/api/metrics/change-lead-time?service=%s", w.service),
		fmt.Sprintf("/api/metrics/commits?service=%s", w.service),
		fmt.Sprintf("/api/metrics/deployments?service=%s", w.service),
		fmt.Sprintf("/api/metrics/deployments/%s/changes", deployed),
	}
	if routes := function.Routes(metrics.Function); len(routes) != len(paths) {
		t.Errorf("%d paths for %d routes", len(paths), len(routes))
	}
	pgtest.ForEveryGrant(t, w.pool.Config().ConnString(), metrics.Function, func() bool {
		for _, path := range paths {
			if code, _ := ask(t, w, w.handler, w.member, path); code != http.StatusOK {
				return false
			}
		}
		return true
	})
}
