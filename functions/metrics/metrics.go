// Package metrics takes in what pipelines report of deliveries and answers every
// question about them: how often, how fast, when and what. Figures are read from rollups, whose cost does not depend on how
// long a history is; computing those is left to rollup. Every answer is bound to
// the teams of the caller in one place, view.
package metrics

import (
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis"
	"github.com/devops-dashboard/dashboard/shared/workflow"
)

// Function is the metrics function.
var Function = function.Function{
	Name:  "metrics",
	Doc:   "takes in reports of deployments and answers every question about deliveries: figures from rollups, lists from facts.",
	Needs: []function.Need{postgres.Need, redis.Need, ratelimit.Need, identity.VerifyNeed, workflow.Need},
	Tables: []function.Grant{
		{Table: "users", Select: "id, session_epoch, disabled_at"},
		{Table: "sessions", Select: "id, user_id, epoch, revoked_at"},
		{Table: "memberships", Select: "user_id, team_id, role"},
		{Table: "api_tokens", Select: "id, team_id, secret_hash, scope, expires_at, revoked_at, last_used_at", Update: "last_used_at"},
		{Table: "trusted_repositories", Select: "team_id, repository_id, repository_owner_id, environment"},
		{Table: "used_workflow_tokens", Owner: true, Select: "token", Insert: "token, expires_at"},
		{Table: "teams", Select: "id, name, time_zone"},
		{Table: "repositories", Owner: true, Select: "id, team_id, name"},
		{Table: "services", Owner: true, Select: "id, repository_id, name, deployed_by"},
		{Table: "environments", Owner: true, Select: "id, service_id, name, kind", Insert: "service_id, name, kind", Update: "kind"},
		{Table: "authors", Owner: true, Select: "id, name"},
		{Table: "commits", Owner: true, Select: "repository_id, sha, author_id, authored_at, subject"},
		{Table: "deployments", Owner: true,
			Select: "id, environment_id, external_id, ref, sha, status, finished_at, baseline",
			Insert: "environment_id, external_id, ref, sha, status, finished_at", Update: "status, finished_at"},
		{Table: "deployment_changes", Owner: true, Select: "deployment_id, sha, lead_seconds"},
		{Table: "dirty_days", Select: "rollup, scope, day", Insert: "rollup, scope, day"},
		{Table: "rollup_deployments", Select: "environment_id, day, deployed, failed"},
		{Table: "rollup_samples", Select: "environment_id, metric, day, n, excluded, samples, sketch"},
		{Table: "rollup_commits", Select: "repository_id, day, commits"},
	},
	Timeout:     30 * time.Second,
	Concurrency: 40,
	MemoryMiB:   256,
	Routes: func(api *httpapi.API, env *function.Env) {
		access.ProtectReports(api, env)
		ratelimit.Enforce(api, ratelimit.For(env))
		route(api, view{db: postgres.For(env), now: env.Now})
	},
}

// perUser is more than a dashboard that is kept open asks for.
var perUser = ratelimit.Policy{Name: "metrics-user", By: ratelimit.User, Burst: 300, Window: time.Minute}

// question is a route that answers members of a team, and its read tokens.
func question(op huma.Operation) huma.Operation {
	return access.ForTokens(ratelimit.On(op, &perUser), access.Viewer, access.Read)
}

// route registers what v answers.
func route(api *httpapi.API, v view) {
	services{v}.route(api)
	deploymentFrequency{v}.route(api)
	changeLeadTime{v}.route(api)
	commits{v}.route(api)
	deployments{v}.route(api)
	deploymentChanges{v}.route(api)
	reports{v}.route(api)
}
