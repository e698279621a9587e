package metrics_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/access"
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
	if routes := function.Routes(metrics.Function); len(routes) != len(paths)+1 { // and reports
		t.Errorf("%d paths for %d routes", len(paths), len(routes))
	}
	token, editor, reports := w.newToken(w.team, "read"), w.as("editor"), 0
	w.trust(w.team, 74, 65, "production")
	pgtest.ForEveryGrant(t, w.pool.Config().ConnString(), metrics.Function, func() bool {
		for _, path := range paths {
			if code, _ := ask(t, w, w.handler, w.member, path); code != http.StatusOK {
				return false
			}
		}
		w.exec("UPDATE api_tokens SET last_used_at = NULL")
		if code, _, _ := askWith(t, w.handler, token, "/api/metrics/services"); code != http.StatusOK {
			return false
		}
		reports++
		job := w.github.Token(74, 65, map[string]any{"environment": "production"})
		for _, token := range []string{job, editor} {
			if tell(t, w.handler, token, map[string]any{"external_id": fmt.Sprint(reports), "status": "running", "finished_at": nil}).code != http.StatusOK ||
				tell(t, w.handler, w.github.Token(74, 65, map[string]any{"environment": "production"}), map[string]any{"external_id": fmt.Sprint(reports)}).code != http.StatusOK {
				return false
			}
		}
		if tell(t, w.handler, job, nil).code != http.StatusUnauthorized {
			return false
		}
		// A member of nothing is asked for their session, and so is a token that fails.
		code, _, _ := askWith(t, w.handler, access.NewSecret(access.TokenPrefix), "/api/metrics/services")
		return code == http.StatusUnauthorized
	})
}
