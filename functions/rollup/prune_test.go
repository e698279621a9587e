package rollup_test

import (
	"fmt"
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

// removed is the answer of a call that removed sessions, and nothing else.
func removed(sessions int) string {
	return fmt.Sprintf(`{"sessions":%d,"links":0,"api_tokens":0,"workflow_tokens":0}`, sessions)
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
	if answer := prune(w.handler); answer.Code != http.StatusOK || answer.Body.String() != removed(2)+"\n" {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if got, want := w.text("SELECT string_agg(user_agent, '; ' ORDER BY user_agent) FROM sessions"), "ended a week ago; ended today; expired, for less than a day; fresh"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
}

// What has expired stays for as long as somebody may ask for it.
func TestPruneRemovesWhatHasExpired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("INSERT INTO teams (name) VALUES ('Team')")
	for table, c := range map[string]struct{ insert, kept, gone string }{
		"links":                {"INSERT INTO links (kind, note, secret_hash, expires_at) SELECT 'owner', $1::text, sha256($1::text::bytea), now() - $2::interval", "29 days 23 hours", "30 days 1 minute"},
		"api_tokens":           {"INSERT INTO api_tokens (team_id, name, scope, secret_hash, expires_at) SELECT id, $1::text, 'read', sha256($1::text::bytea), now() - $2::interval FROM teams", "364 days", "366 days 1 hour"},
		"used_workflow_tokens": {"INSERT INTO used_workflow_tokens (token, expires_at) SELECT sha256($1::text::bytea), now() - $2::interval", "59 minutes", "61 minutes"},
	} {
		w.exec(c.insert, table+" good", "-1 day")
		w.exec(c.insert, table+" kept", c.kept)
		w.exec(c.insert, table+" gone", c.gone)
	}
	w.exec("UPDATE api_tokens SET revoked_at = now() - interval '3 years' WHERE name = 'api_tokens kept'")
	if answer := prune(w.handler); answer.Body.String() != `{"sessions":0,"links":1,"api_tokens":1,"workflow_tokens":1}`+"\n" {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	left := w.text(`SELECT concat_ws(' ',
		(SELECT string_agg(note, ',' ORDER BY note) FROM links), (SELECT string_agg(name, ',' ORDER BY name) FROM api_tokens),
		(SELECT count(*) FROM used_workflow_tokens WHERE token IN (sha256('used_workflow_tokens good'), sha256('used_workflow_tokens kept'))))`)
	if left != "links good,links kept api_tokens good,api_tokens kept 2" {
		t.Errorf("left are %s", left)
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
	for _, want := range []string{removed(1000), removed(200), removed(0)} {
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
	if got := prune(w.handler).Body.String(); got != removed(1)+"\n" {
		t.Errorf("got %s", got)
	}
	must(t, tx.Rollback(t.Context()))
	if got := prune(w.handler).Body.String(); got != removed(1)+"\n" {
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
