package metrics_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions/metrics"
	"github.com/devops-dashboard/dashboard/shared/workflow/workflowtest"
)

// trust has a team trust the jobs of a repository.
func (w *world) trust(team uuid.UUID, repository, owner int64, environment string) {
	w.t.Helper()
	w.exec("INSERT INTO trusted_repositories (team_id, repository_id, repository_owner_id, name, environment) VALUES ($1, $2, $3, 'acme/shop', $4)", team, repository, owner, environment)
}

func TestAJobReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	w.trust(w.team, 74, 65, "")
	for i, sub := range []string{"repo:acme/shop:ref:refs/heads/main", "repo:acme@65/shop@74:environment:production"} {
		tell(t, w.handler, w.github.Token(74, 65, map[string]any{"sub": sub}), map[string]any{"external_id": fmt.Sprint(i)}).want(t, sub, http.StatusOK)
	}
	if n, m := w.count("deployments"), w.count("used_workflow_tokens WHERE expires_at = '2026-03-04T18:05:00Z'"); n != 2 || m != 2 {
		t.Errorf("%d deployments, %d tokens", n, m)
	}
}

// A token is good once: also for the very same report, and of many at once for one.
func TestATokenOfAJobIsGoodOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	w.trust(w.team, 74, 65, "")
	token := w.github.Token(74, 65, nil)
	tell(t, w.handler, token, nil).want(t, "the first", http.StatusOK)
	got := tell(t, w.handler, token, nil)
	got.want(t, "the second", http.StatusUnauthorized, "token_used")
	if !strings.Contains(got.Detail, "Ask for a new one") {
		t.Error(got.text)
	}
	tell(t, w.handler, w.github.Token(74, 65, nil), nil).want(t, "another token", http.StatusOK)
	for round := range 5 {
		token := w.github.Token(74, 65, nil)
		codes := make(chan int, 8)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				got := tell(t, w.handler, token, map[string]any{"external_id": fmt.Sprintf("%d of round %d", i, round)})
				if got.code != http.StatusOK {
					got.want(t, "a replay", http.StatusUnauthorized, "token_used")
				}
				codes <- got.code
			})
		}
		all.Wait()
		close(codes)
		good := 0
		for code := range codes {
			if code == http.StatusOK {
				good++
			}
		}
		if n := w.count(fmt.Sprintf("deployments WHERE external_id LIKE '%%of round %d'", round)); good != 1 || n != 1 {
			t.Errorf("%d of 8 were good, %d deployments", good, n)
		}
	}
}

// A report that is refused uses no token up: what it lacks can be given.
func TestARefusalUsesNoTokenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	token := w.github.Token(74, 65, nil)
	tell(t, w.handler, token, nil).want(t, "untrusted", http.StatusForbidden, "untrusted_repository")
	w.trust(w.team, 74, 65, "")
	tell(t, w.handler, token, map[string]any{"service": "loom"}).want(t, "no such service", http.StatusNotFound)
	tell(t, w.handler, token, map[string]any{"sha": "abc"}).want(t, "no commit", http.StatusUnprocessableEntity)
	w.deploy("v1", now, "success")
	w.exec("UPDATE deployments SET external_id = 'report:run-1'")
	tell(t, w.handler, token, nil).want(t, "another commit", http.StatusConflict, "other_commit")
	w.exec("INSERT INTO services (repository_id, name, deployed_by) SELECT id, 'shop', 'tag' FROM repositories UNION ALL SELECT id, 'till', 'tag' FROM repositories ON CONFLICT DO NOTHING")
	w.exec("WITH r AS (INSERT INTO repositories (team_id, source, external_id, name) VALUES ($1, 'git', '2', 'till') RETURNING id) INSERT INTO services (repository_id, name, deployed_by) SELECT id, 'till', 'tag' FROM r", w.team)
	got := tell(t, w.handler, token, map[string]any{"service": "till"})
	got.want(t, "two services", http.StatusUnprocessableEntity)
	if got.Errors[0].Location != "body.service" {
		t.Error(got.text)
	}
	if n := w.count("used_workflow_tokens"); n != 0 {
		t.Errorf("%d tokens are used up", n)
	}
	tell(t, w.handler, token, map[string]any{"external_id": "run-2"}).want(t, "at last", http.StatusOK)
}

// A job is known by both numbers, and by the environment where the team wants one.
func TestWhichJobsAreTrusted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	_, other := w.newMember("UTC")
	w.trust(w.team, 74, 65, "")
	w.trust(w.team, 80, 65, "Production")
	w.trust(other, 90, 65, "")
	for i, c := range []struct {
		repository, owner int64
		changes           map[string]any
		status            int
		code, says        string
	}{
		{74, 65, nil, http.StatusOK, "", ""},
		{74, 65, map[string]any{"repository": "acme/renamed", "environment": "any"}, http.StatusOK, "", ""},
		{75, 65, nil, http.StatusForbidden, "untrusted_repository", "without an environment of acme/shop (repository_id 75, repository_owner_id 65)"},
		{74, 66, map[string]any{"environment": "prod"}, http.StatusForbidden, "untrusted_repository", "in the environment prod of acme/shop (repository_id 74, repository_owner_id 66)"},
		{65, 74, nil, http.StatusForbidden, "untrusted_repository", "65"},
		{80, 65, map[string]any{"environment": "production"}, http.StatusOK, "", ""},
		{80, 65, map[string]any{"environment": "staging"}, http.StatusForbidden, "untrusted_repository", "in the environment staging"},
		{80, 65, nil, http.StatusForbidden, "untrusted_repository", "without an environment"},
		{90, 65, nil, http.StatusNotFound, "not_found", "no such service"},
		{74, 65, map[string]any{"event_name": "pull_request"}, http.StatusForbidden, "pull_request", "fork"},
		{74, 65, map[string]any{"event_name": "pull_request_target"}, http.StatusForbidden, "pull_request", "fork"},
		{74, 65, map[string]any{"aud": "https://github.com/acme"}, http.StatusUnauthorized, "wrong_audience", "&audience=" + workflowtest.Audience},
		{74, 65, map[string]any{"exp": now.Unix() - 600}, http.StatusUnauthorized, "token_expired", "right before"},
		{74, 65, map[string]any{"iss": "https://evil.example"}, http.StatusUnauthorized, "invalid_token", "another issuer"},
	} {
		got := tell(t, w.handler, w.github.Token(c.repository, c.owner, c.changes), map[string]any{"external_id": fmt.Sprint(i)})
		got.want(t, fmt.Sprint(i), c.status, c.code)
		if !strings.Contains(got.Detail, c.says) {
			t.Errorf("%d: %s does not say %q", i, got.text, c.says)
		}
	}
	if n := w.count("deployments"); n != 3 {
		t.Errorf("%d deployments", n)
	}
	// Trust ends with the next report.
	w.exec("DELETE FROM trusted_repositories")
	tell(t, w.handler, w.github.Token(74, 65, nil), nil).want(t, "not any more", http.StatusForbidden, "untrusted_repository")
}

// Where several teams trust a repository, and have a service of one name, the report
// names the team.
func TestSeveralTeamsTrustOneRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	_, other := w.newMember("UTC")
	theirs := w.id("WITH r AS (INSERT INTO repositories (team_id, source, external_id, name) VALUES ($1, 'git', '1', 'shop') RETURNING id) INSERT INTO services (repository_id, name, deployed_by) SELECT id, 'shop', 'tag' FROM r RETURNING id", other)
	for _, team := range []uuid.UUID{w.team, other} {
		w.trust(team, 74, 65, "")
		w.trust(team, 74, 65, "production")
	}
	report := func(changes map[string]any) told {
		return tell(t, w.handler, w.github.Token(74, 65, map[string]any{"environment": "production"}), changes)
	}
	got := report(nil)
	got.want(t, "whose", http.StatusUnprocessableEntity)
	if !strings.Contains(got.Detail, "its team") {
		t.Error(got.text)
	}
	for what, c := range map[string]struct {
		changes map[string]any
		want    uuid.UUID
	}{
		"the team": {map[string]any{"team": other}, theirs}, "the other team": {map[string]any{"team": w.team}, w.service}, "the service": {map[string]any{"service": theirs}, theirs},
	} {
		got := report(c.changes)
		got.want(t, what, http.StatusOK)
		same(t, c.want, got.known.Service)
	}
}

// Jobs report, and read nothing.
func TestAJobReadsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	w.trust(w.team, 74, 65, "")
	for _, path := range w.routes() {
		if code, p, text := askWith(t, w.handler, w.github.Token(74, 65, nil), path); code != http.StatusForbidden || p.Code != "no_workflows" {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if w.github.Asked() != 0 {
		t.Error("GitHub was asked for keys that nobody needs")
	}
}

// That GitHub is away is 503 and not 401, and costs no token.
func TestAJobReportsWhenGitHubIsBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "UTC")
	w.trust(w.team, 74, 65, "")
	token := w.github.Token(74, 65, nil)
	w.github.Answer(func(answer http.ResponseWriter) { answer.WriteHeader(http.StatusBadGateway) })
	tell(t, w.handler, token, nil).want(t, "away", http.StatusServiceUnavailable, "unavailable")
	w.github.Answer(nil)
	// Another instance has not just asked.
	tell(t, w.serve(metrics.Function, w.url), token, nil).want(t, "back", http.StatusOK)
}
