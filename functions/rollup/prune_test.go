package rollup_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

func prune(handler http.Handler) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/api/rollup/prune", nil))
	return answer
}

// session writes a session that was last refreshed, and ended, so long ago.
const session = `INSERT INTO sessions (user_id, epoch, user_agent, issued_at, expires_at, absolute_expires_at, revoked_at)
	SELECT id, 0, $1, now() - $2::interval, now() - $2::interval + interval '7 days', now() - $2::interval + interval '30 days', now() - $3::interval FROM users`

func TestPruneRemovesSessionsThatHaveHadTheirTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("INSERT INTO users (email, email_key, name, password_hash) VALUES ('a', 'a', 'A', '')")
	for name, ago := range map[string][2]any{
		"fresh":                           {"1 minute", nil},
		"expired, for less than a day":    {"7 days 23 hours 59 minutes", nil},
		"gone: expired, for over a day":   {"8 days 1 minute", nil},
		"ended today":                     {"1 hour", "1 minute"},
		"ended a week ago":                {"7 days 23 hours", "7 days 23 hours"},
		"gone: ended over eight days ago": {"10 days", "8 days 1 minute"},
	} {
		w.exec(session, name, ago[0], ago[1])
	}
	if answer := prune(w.handler); answer.Code != http.StatusOK || answer.Body.String() != `{"sessions":2}`+"\n" {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if got, want := w.text("SELECT string_agg(user_agent, '; ' ORDER BY user_agent) FROM sessions"), "ended a week ago; ended today; expired, for less than a day; fresh"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
}

func TestPruneGoesOnUntilNothingIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("INSERT INTO users (email, email_key, name, password_hash) VALUES ('a', 'a', 'A', '')")
	w.exec(session+", generate_series(1, 1200)", "old", "9 days", nil)
	// Each look at the clock takes 40 s: the call has time for two statements.
	clock := time.Now()
	slow := serve(t, w.url, func() time.Time {
		clock = clock.Add(40 * time.Second)
		return clock
	})
	for _, want := range []string{`{"sessions":1000}`, `{"sessions":200}`, `{"sessions":0}`} {
		if got := prune(slow).Body.String(); got != want+"\n" {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// A session that is being refreshed at this moment is left to the next call.
func TestPruneWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("INSERT INTO users (email, email_key, name, password_hash) VALUES ('a', 'a', 'A', '')")
	w.exec(session, "held", "9 days", nil)
	w.exec(session, "free", "9 days", nil)
	tx, err := w.pool.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM sessions WHERE user_agent = 'held' FOR UPDATE")
	must(t, err)
	if got := prune(w.handler).Body.String(); got != `{"sessions":1}`+"\n" {
		t.Errorf("got %s", got)
	}
	must(t, tx.Rollback(t.Context()))
	if got := prune(w.handler).Body.String(); got != `{"sessions":1}`+"\n" {
		t.Errorf("afterwards %s", got)
	}
}

func TestPruneIsUnavailableWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n, proxy := range pgtest.Breaks(t, w.url) {
		answer := prune(serve(t, proxy.URL, time.Now))
		if broken := proxy.Broken(); broken != (answer.Code == http.StatusServiceUnavailable) || broken != (answer.Header().Get("Retry-After") != "") {
			t.Errorf("step %d: %d %s", n, answer.Code, answer.Body)
		}
	}
}
