package metrics_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// newToken makes an API token of a team.
func (w *world) newToken(team uuid.UUID, scope string) string {
	w.t.Helper()
	secret := access.NewSecret(access.TokenPrefix)
	w.exec("INSERT INTO api_tokens (team_id, name, scope, secret_hash, expires_at) VALUES ($1, 'x', $2, $3, now() + interval '1 day')", team, scope, access.DigestOf(secret).Bytes())
	return secret
}

func askWith(t testing.TB, handler http.Handler, token, path string) (int, problem, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, r)
	var p problem
	if err := json.Unmarshal(answer.Body.Bytes(), &p); err != nil {
		t.Errorf("%s: %d %s", path, answer.Code, answer.Body)
	}
	return answer.Code, p, answer.Body.String()
}

func TestATokenSeesItsTeam(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	_, other := w.newMember("UTC")
	mine, foreign, reporting := w.newToken(w.team, "read"), w.newToken(other, "read"), w.newToken(w.team, "report")
	for _, path := range w.routes() {
		if code, _, text := askWith(t, w.handler, mine, path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, text)
		}
		code, p, _ := askWith(t, w.handler, foreign, path)
		if path == "/api/metrics/services" {
			same(t, http.StatusOK, code)
		} else {
			same(t, http.StatusNotFound, code)
		}
		code, p, _ = askWith(t, w.handler, reporting, path)
		if code != http.StatusForbidden || p.Code != "wrong_scope" || !strings.Contains(p.Detail, "has the scope report, and this route wants read") {
			t.Errorf("%s: %d %+v", path, code, p)
		}
	}
	if n := len(get[metrics.Services](t, w, "/api/metrics/services").Services); n != 1 {
		t.Errorf("a member sees %d services", n)
	}
}

func TestATokenEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{
		"revoked": "UPDATE api_tokens SET revoked_at = now()",
		"expired": "UPDATE api_tokens SET expires_at = now()",
		"deleted": "DELETE FROM api_tokens",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "UTC")
			routes, token := w.routes(), w.newToken(w.team, "read")
			if code, _, text := askWith(t, w.handler, token, routes[0]); code != http.StatusOK {
				t.Fatalf("%d %s", code, text)
			}
			w.exec(end)
			for _, path := range routes {
				if code, p, _ := askWith(t, w.handler, token, path); code != http.StatusUnauthorized || p.Code != "invalid_token" {
					t.Errorf("%s: %d %+v", path, code, p)
				}
			}
		})
	}
}

func TestATokenThatIsNotWholeAsksNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	proxy := pgtest.NewProxy(t, w.url)
	proxy.BreakAt(1)
	handler := w.serve(metrics.Function, proxy.URL)
	token := w.newToken(w.team, "read")
	for _, bad := range []string{token[:len(token)-1], token + "0", access.TokenPrefix, token[:len(token)-1] + "-"} {
		if code, p, _ := askWith(t, handler, bad, "/api/metrics/services"); code != http.StatusUnauthorized || p.Code != "invalid_token" || !strings.Contains(p.Detail, "checksum") {
			t.Errorf("%s: %d %+v", bad, code, p)
		}
	}
	if proxy.Broken() {
		t.Error("the database was asked")
	}
}

// When a token was used is known by the minute, also where many use it at once.
func TestATokenTellsWhenItWasUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	token := w.newToken(w.team, "read")
	used := func() (at *time.Time) {
		if err := w.pool.QueryRow(t.Context(), "SELECT last_used_at FROM api_tokens").Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	if at := used(); at != nil {
		t.Errorf("used at %v", at)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if code, _, text := askWith(t, w.handler, token, "/api/metrics/services"); code != http.StatusOK {
				t.Errorf("%d %s", code, text)
			}
		})
	}
	all.Wait()
	first := used()
	if first == nil || time.Since(*first) > time.Hour {
		t.Fatalf("used at %v", first)
	}
	askWith(t, w.handler, token, "/api/metrics/services")
	if again := used(); !again.Equal(*first) {
		t.Errorf("written at %v and %v", first, again)
	}
	w.exec("UPDATE api_tokens SET last_used_at = last_used_at - interval '61 seconds'")
	askWith(t, w.handler, token, "/api/metrics/services")
	if again := used(); again.Before(*first) {
		t.Errorf("used at %v, and known is %v", first, again)
	}
}

// Once a revocation is answered nothing more is done for the token.
func TestATokenIsRevokedWhileItIsUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	token := w.newToken(w.team, "read")
	var revoked sync.WaitGroup
	var all sync.WaitGroup
	done := make(chan struct{})
	revoked.Go(func() {
		w.exec("UPDATE api_tokens SET revoked_at = clock_timestamp()")
		close(done)
	})
	for range 4 {
		all.Go(func() {
			for range 20 {
				over := false
				select {
				case <-done:
					over = true
				default:
				}
				code, _, text := askWith(t, w.handler, token, "/api/metrics/services")
				if code != http.StatusUnauthorized && (over || code != http.StatusOK) {
					t.Errorf("%d %s, revoked before: %v", code, text, over)
				}
			}
		})
	}
	all.Wait()
	revoked.Wait()
}
