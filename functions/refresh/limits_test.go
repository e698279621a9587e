package refresh_test

import (
	"net/http"
	"testing"

	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// A client that refreshes in a loop is stopped by its instance, which asks nobody
// for that and leaves the session as it is.
func TestALoopIsStopped(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.settings["RATE_LIMIT_SCALE"] = "1"
	handler := f.handler(t)
	r := f.session(t)
	cookie := f.cookie(t, r)
	for n := range 30 {
		if got := post(t, handler, cookie); got.Status != http.StatusOK {
			t.Fatalf("call %d: status %d", n, got.Status)
		}
	}
	before := f.row(t, r.ID)
	got := post(t, handler, cookie)
	if got.Status != http.StatusTooManyRequests || got.Header.Get("Retry-After") != "2" || got.Header.Get("RateLimit") != `"refresh-session";r=0;t=2` || f.row(t, r.ID).Version != before.Version {
		t.Errorf("status %d, %v", got.Status, got.Header)
	}
	if got := post(t, handler, f.cookie(t, f.session(t))); got.Status != http.StatusOK {
		t.Errorf("another session: status %d", got.Status)
	}
	proxy := pgtest.NewProxy(t, f.url)
	proxy.BreakAt(1)
	away := f.with(t, map[string]string{"DATABASE_URL": proxy.URL})
	for range 30 {
		post(t, away, cookie)
	}
	proxy.Restore()
	if got := post(t, away, cookie); got.Status != http.StatusTooManyRequests {
		t.Errorf("after 30 calls without a database: status %d", got.Status)
	}
}
