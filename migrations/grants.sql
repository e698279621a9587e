-- Printed from functions.All by: go test ./functions -update. Do not edit.
--
-- What the login of each function may do. It is granted to a group role, which
-- migrate makes before it runs this; the login is a member. A function that is not
-- named here has no access, and nobody has any by being anybody.

REVOKE ALL ON api_tokens,
  auth_events,
  authors,
  commits,
  deployment_changes,
  deployments,
  dirty_days,
  environments,
  goose_db_version,
  links,
  mails,
  memberships,
  repositories,
  rollup_commits,
  rollup_deployments,
  rollup_samples,
  services,
  sessions,
  teams,
  trusted_repositories,
  used_workflow_tokens,
  user_identities,
  users
  FROM PUBLIC, dashboard_auth, dashboard_refresh, dashboard_metrics, dashboard_rollup, dashboard_health;
DO $$
BEGIN
  -- Up to PostgreSQL 14 anybody may make tables and functions beside ours.
  EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO dashboard_auth, dashboard_refresh, dashboard_metrics, dashboard_rollup, dashboard_health', current_schema());
END $$;

-- auth keeps accounts and signs people in and out.
GRANT SELECT (id, email, email_key, name, password_hash, session_epoch, disabled_at, created_at),
  INSERT (email, email_key, name, password_hash),
  UPDATE (name, password_hash, session_epoch),
  DELETE ON users TO dashboard_auth;
GRANT SELECT (provider, subject, user_id, login, created_at),
  INSERT (provider, subject, user_id, login),
  UPDATE (login),
  DELETE ON user_identities TO dashboard_auth;
GRANT SELECT (id, name, time_zone),
  INSERT (name, time_zone),
  UPDATE (name),
  DELETE ON teams TO dashboard_auth;
GRANT SELECT (user_id, team_id, role, created_at),
  INSERT (user_id, team_id, role),
  UPDATE (role),
  DELETE ON memberships TO dashboard_auth;
GRANT SELECT (id, user_id, gen, jti, issued_at, expires_at, absolute_expires_at, epoch, revoked_at, user_agent, created_at),
  INSERT (user_id, issued_at, expires_at, absolute_expires_at, epoch, user_agent),
  UPDATE (revoked_at, revoke_reason) ON sessions TO dashboard_auth;
GRANT SELECT (id, kind, secret_hash, team_id, role, user_id, note, created_by, created_at, expires_at, used_at, used_by, revoked_at),
  INSERT (kind, secret_hash, team_id, role, user_id, note, created_by, expires_at),
  UPDATE (used_at, used_by, revoked_at) ON links TO dashboard_auth;
GRANT SELECT (id, team_id, name, scope, created_by, created_at, expires_at, last_used_at, revoked_at),
  INSERT (team_id, name, scope, secret_hash, created_by, expires_at),
  UPDATE (revoked_at) ON api_tokens TO dashboard_auth;
GRANT SELECT (kind, user_id, address, created_at),
  INSERT (kind, user_id, address) ON mails TO dashboard_auth;
GRANT SELECT (id, team_id, repository_id, repository_owner_id, name, environment, created_by, created_at),
  INSERT (team_id, repository_id, repository_owner_id, name, environment, created_by),
  UPDATE (name),
  DELETE ON trusted_repositories TO dashboard_auth;
GRANT SELECT (id, at, kind, user_id, session_id, team_id, detail),
  INSERT (kind, user_id, session_id, team_id, detail) ON auth_events TO dashboard_auth;

-- refresh exchanges a refresh token for its successor, and nothing else.
GRANT SELECT (id, user_id, gen, jti, issued_at, expires_at, absolute_expires_at, superseded, epoch, revoked_at, revoke_reason),
  UPDATE (gen, jti, issued_at, expires_at, superseded, revoked_at, revoke_reason) ON sessions TO dashboard_refresh;
GRANT SELECT (id, session_epoch, disabled_at) ON users TO dashboard_refresh;
GRANT INSERT (at, kind, user_id, session_id, detail) ON auth_events TO dashboard_refresh;

-- metrics takes in reports of deployments and answers every question about deliveries: figures from rollups, lists from facts.
GRANT SELECT (id, session_epoch, disabled_at) ON users TO dashboard_metrics;
GRANT SELECT (id, user_id, epoch, revoked_at) ON sessions TO dashboard_metrics;
GRANT SELECT (user_id, team_id, role) ON memberships TO dashboard_metrics;
GRANT SELECT (id, team_id, secret_hash, scope, expires_at, revoked_at, last_used_at),
  UPDATE (last_used_at) ON api_tokens TO dashboard_metrics;
GRANT SELECT (team_id, repository_id, repository_owner_id, environment) ON trusted_repositories TO dashboard_metrics;
GRANT SELECT (token),
  INSERT (token, expires_at) ON used_workflow_tokens TO dashboard_metrics;
GRANT SELECT (id, name, time_zone) ON teams TO dashboard_metrics;
GRANT SELECT (id, team_id, name) ON repositories TO dashboard_metrics;
GRANT SELECT (id, repository_id, name, deployed_by) ON services TO dashboard_metrics;
GRANT SELECT (id, service_id, name, kind),
  INSERT (service_id, name, kind),
  UPDATE (kind) ON environments TO dashboard_metrics;
GRANT SELECT (id, name) ON authors TO dashboard_metrics;
GRANT SELECT (repository_id, sha, author_id, authored_at, subject) ON commits TO dashboard_metrics;
GRANT SELECT (id, environment_id, external_id, ref, sha, status, finished_at, baseline),
  INSERT (environment_id, external_id, ref, sha, status, finished_at),
  UPDATE (status, finished_at) ON deployments TO dashboard_metrics;
GRANT SELECT (deployment_id, sha, lead_seconds) ON deployment_changes TO dashboard_metrics;
GRANT SELECT (rollup, scope, day),
  INSERT (rollup, scope, day) ON dirty_days TO dashboard_metrics;
GRANT SELECT (environment_id, day, deployed, failed) ON rollup_deployments TO dashboard_metrics;
GRANT SELECT (environment_id, metric, day, n, excluded, samples, sketch) ON rollup_samples TO dashboard_metrics;
GRANT SELECT (repository_id, day, commits) ON rollup_commits TO dashboard_metrics;

-- rollup condenses facts into rollups, prunes and sends mail; called by Cloud Scheduler.
GRANT SELECT (rollup, scope, day),
  DELETE ON dirty_days TO dashboard_rollup;
GRANT SELECT (environment_id, day, deployed, failed, changes),
  INSERT (environment_id, day, deployed, failed, changes),
  UPDATE (deployed, failed, changes),
  DELETE ON rollup_deployments TO dashboard_rollup;
GRANT SELECT (environment_id, metric, day, n, excluded, samples),
  INSERT (environment_id, metric, day, n, excluded, samples),
  UPDATE (n, excluded, samples, sketch),
  DELETE ON rollup_samples TO dashboard_rollup;
GRANT SELECT (repository_id, day, commits),
  INSERT (repository_id, day, commits),
  UPDATE (commits),
  DELETE ON rollup_commits TO dashboard_rollup;
GRANT SELECT (id, time_zone) ON teams TO dashboard_rollup;
GRANT SELECT (id, team_id) ON repositories TO dashboard_rollup;
GRANT SELECT (id, repository_id) ON services TO dashboard_rollup;
GRANT SELECT (id, service_id) ON environments TO dashboard_rollup;
GRANT SELECT (repository_id, authored_at, parents) ON commits TO dashboard_rollup;
GRANT SELECT (id, environment_id, status, finished_at) ON deployments TO dashboard_rollup;
GRANT SELECT (deployment_id, lead_seconds) ON deployment_changes TO dashboard_rollup;
GRANT SELECT (id, expires_at, revoked_at),
  UPDATE (user_agent),
  DELETE ON sessions TO dashboard_rollup;
GRANT SELECT (id, kind, user_id, created_at, attempts, due_at, done_at),
  UPDATE (attempts, due_at, done_at),
  DELETE ON mails TO dashboard_rollup;
GRANT SELECT (id, email, disabled_at) ON users TO dashboard_rollup;
GRANT INSERT (kind, user_id, detail) ON auth_events TO dashboard_rollup;
GRANT SELECT (id, expires_at),
  INSERT (kind, secret_hash, user_id, expires_at),
  UPDATE (note),
  DELETE ON links TO dashboard_rollup;
GRANT SELECT (id, expires_at),
  UPDATE (last_used_at),
  DELETE ON api_tokens TO dashboard_rollup;
GRANT SELECT (token, expires_at),
  UPDATE (expires_at),
  DELETE ON used_workflow_tokens TO dashboard_rollup;

-- health asks the dependencies whether they answer.
GRANT SELECT (version_id, is_applied) ON goose_db_version TO dashboard_health;
