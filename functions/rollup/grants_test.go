package rollup_test

import (
	"net/http"
	"testing"

	"github.com/devops-dashboard/dashboard/functions/rollup"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func TestEachGrantIsNeeded(t *testing.T) {
	t.Parallel()
	m := newPost(t)
	w := m.world
	p := w.newPlace("UTC")
	pgtest.ForEveryGrant(t, w.pool.Config().ConnString(), rollup.Function, func() bool {
		w.exec("INSERT INTO dirty_days (rollup, scope, day) VALUES ('deployments', $1, '2026-03-01'), ('commits', $2, '2026-03-01')", p.environment, p.repository)
		w.exec("DELETE FROM mails")
		m.due("password_forgotten", "ada@example.com")
		m.due("password_forgotten", "nobody@example.com")
		return call(w.handler).Code == http.StatusOK && prune(w.handler).Code == http.StatusOK &&
			send(m.handler).Body.String() == `{"sent":1,"refused":0}`+"\n"
	})
}
