// Package workflowtest gives tests a GitHub of their own that signs the tokens of
// workflows, hands them to jobs and publishes its keys.
package workflowtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/jwks/jwkstest"
)

// Audience is what the tokens of these tests are for.
const Audience = "https://dash.example.com"

// GitHub signs tokens, each good for five minutes.
type GitHub struct {
	*jwkstest.Issuer
	URL string // the issuer

	// Runner is what a job asks for tokens with, and RunnerURL where: the
	// ACTIONS_ID_TOKEN_REQUEST_TOKEN and _URL of a job that may.
	Runner, RunnerURL string

	now func() time.Time
}

// New returns a GitHub that is served on this machine until the test ends. The jobs
// that ask it for tokens are those of repository 74 of owner 65.
func New(t testing.TB, now func() time.Time) *GitHub {
	t.Helper()
	g := &GitHub{Issuer: jwkstest.New(t), Runner: uuid.NewString(), now: now}
	mux := http.NewServeMux()
	mux.Handle("GET /.well-known/jwks", g.Issuer)
	mux.HandleFunc("GET /_apis/pipelines/token", g.hand)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	g.URL, g.RunnerURL = server.URL, server.URL+"/_apis/pipelines/token?api-version=2.0"
	return g
}

// hand answers a job that asks for a token.
func (g *GitHub) hand(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "bearer "+g.Runner && r.Header.Get("Authorization") != "Bearer "+g.Runner {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	changes := map[string]any{}
	if audience := r.URL.Query().Get("audience"); audience != "" {
		changes["aud"] = audience
	} else {
		changes["aud"] = "https://github.com/acme"
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"value": g.Token(74, 65, changes)})
}

// Token returns a token of a job in a repository of an owner, with some claims
// changed; nil takes a claim away.
func (g *GitHub) Token(repository, owner int64, changes map[string]any) string {
	now := g.now().Unix()
	return g.Sign(jwt.MapClaims{
		"iss": g.URL, "aud": Audience, "sub": fmt.Sprintf("repo:acme@%d/shop@%d:ref:refs/heads/main", owner, repository), "jti": uuid.NewString(),
		"nbf": now - 300, "iat": now, "exp": now + 300,
		"repository": "acme/shop", "repository_id": strconv.FormatInt(repository, 10), "repository_owner": "acme", "repository_owner_id": strconv.FormatInt(owner, 10),
		"repository_visibility": "private", "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "head_ref": "", "base_ref": "",
		"sha": "4a3ec2f1d5f1f8b6a4a1c3f3b6a0c1d2e3f40516", "event_name": "push", "actor": "octocat", "actor_id": "12",
		"run_id": "1", "run_number": "10", "run_attempt": "1", "runner_environment": "github-hosted", "check_run_id": "9",
		"workflow": "deploy", "workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main", "workflow_sha": "4a3ec2f1d5f1f8b6a4a1c3f3b6a0c1d2e3f40516",
		"job_workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main", "job_workflow_sha": "4a3ec2f1d5f1f8b6a4a1c3f3b6a0c1d2e3f40516",
	}, changes)
}
