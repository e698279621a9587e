// Package rollup condenses facts into what the dashboard reads: it computes the
// days that were marked dirty anew, from facts alone, so that late, repeated,
// edited and deleted facts are one path. It also removes what has had its time, and
// sends the mail that others have put down. What the figures are used for is left to
// metrics; who marks days is whoever writes the facts.
package rollup

import (
	"time"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/mail"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/scheduler"
)

// Function is the rollup function.
var Function = function.Function{
	Name:  "rollup",
	Doc:   "condenses facts into rollups, prunes and sends mail; called by Cloud Scheduler.",
	Needs: []function.Need{postgres.Need, scheduler.Need, mail.Need},
	Tables: []function.Grant{
		{Table: "dirty_days", Owner: true, Select: "rollup, scope, day", Delete: true}, // marks are made by whoever writes facts
		{Table: "rollup_deployments", Owner: true,
			Select: "environment_id, day, deployed, failed, changes", Insert: "environment_id, day, deployed, failed, changes",
			Update: "deployed, failed, changes", Delete: true},
		{Table: "rollup_samples", Owner: true,
			Select: "environment_id, metric, day, n, excluded, samples", Insert: "environment_id, metric, day, n, excluded, samples",
			Update: "n, excluded, samples, sketch", Delete: true},
		{Table: "rollup_commits", Owner: true, Select: "repository_id, day, commits", Insert: "repository_id, day, commits", Update: "commits", Delete: true},
		{Table: "teams", Select: "id, time_zone"},
		{Table: "repositories", Select: "id, team_id"},
		{Table: "services", Select: "id, repository_id"},
		{Table: "environments", Select: "id, service_id"},
		{Table: "commits", Select: "repository_id, authored_at, parents"},
		{Table: "deployments", Select: "id, environment_id, status, finished_at"},
		{Table: "deployment_changes", Select: "deployment_id, lead_seconds"},
		// FOR UPDATE asks for a column that may be changed: these decide nothing.
		{Table: "sessions", Select: "id, expires_at, revoked_at", Update: "user_agent", Delete: true},
		{Table: "mails", Select: "id, kind, user_id, created_at, attempts, due_at, done_at", Update: "attempts, due_at, done_at", Delete: true},
		{Table: "users", Select: "id, email, disabled_at"},
		{Table: "auth_events", Insert: "kind, user_id, detail"},
		{Table: "links", Select: "id, expires_at", Insert: "kind, secret_hash, user_id, expires_at", Update: "note", Delete: true},
		{Table: "api_tokens", Select: "id, expires_at", Update: "last_used_at", Delete: true},
		{Table: "used_workflow_tokens", Select: "token, expires_at", Update: "expires_at", Delete: true},
	},
	Timeout:     300 * time.Second,
	Concurrency: 1,
	MemoryMiB:   256,
	Schedules: []function.Schedule{
		{Name: "condense", Cron: "*/2 * * * *", Path: "/api/rollup/condense"},
		{Name: "prune", Cron: "17 * * * *", Path: "/api/rollup/prune"},
		{Name: "mail", Cron: "* * * * *", Path: "/api/rollup/mail"},
	},
	Routes: func(api *httpapi.API, env *function.Env) {
		scheduler.Protect(api, env)
		condenser{db: postgres.For(env), now: env.Now}.route(api)
		pruner{db: postgres.For(env), now: env.Now}.route(api)
		mailer{db: postgres.For(env), now: env.Now, sender: mail.SenderFor(env), origin: env.Setting("PUBLIC_ORIGIN")}.route(api)
	},
}
