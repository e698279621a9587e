package refresh_test

import (
	"net/http"
	"testing"

	"github.com/devops-dashboard/dashboard/functions/refresh"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestEachGrantIsNeeded(t *testing.T) {
	t.Parallel()
	f := open(t)
	handler := f.handler(t)
	pgtest.ForEveryGrant(t, f.db.Config().ConnString(), refresh.Function, func() bool {
		return post(t, handler, f.cookie(t, f.session(t))).Status == http.StatusOK
	})
}
