-- +goose Up
-- Facts: what happened, each once, under a natural key. Written by metrics and by
-- the import of a local history; read by rollup. Every write that changes a fact
-- marks the days it touches in dirty_days in the same transaction.

CREATE TABLE repositories (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  team_id     uuid NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
  source      text NOT NULL,                         -- 'git': a local history; 'demo': a generated one
  external_id text NOT NULL,                         -- what the source calls it: survives a rename
  name        text NOT NULL,
  imported    text NOT NULL DEFAULT '',              -- the refs as last imported; '' before the first whole import
  created_at  timestamptz NOT NULL DEFAULT now(),
  UNIQUE (team_id, source, external_id)
);

CREATE TABLE services (
  id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  repository_id uuid NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
  name          text NOT NULL,
  deployed_by   text NOT NULL,                       -- what counts as a deployment: 'tag' or 'commit' on the main line
  UNIQUE (repository_id, name)
);

CREATE TABLE environments (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  service_id uuid NOT NULL REFERENCES services(id) ON DELETE CASCADE,
  name       text NOT NULL,
  kind       text NOT NULL CHECK (kind IN ('production', 'staging', 'other')),
  UNIQUE (service_id, name)
);

CREATE TABLE authors (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  repository_id uuid NOT NULL REFERENCES repositories(id) ON DELETE CASCADE,
  name          text NOT NULL,
  email         text NOT NULL,
  UNIQUE (repository_id, name, email)
);

-- No foreign keys here, on deployments and on deployment_changes: checked for each
-- row, they would take as long as all else that an import does. Rows go with what they
-- belong to by the triggers below; a missing author only leaves a name empty.
CREATE TABLE commits (
  repository_id uuid NOT NULL,
  sha           bytea NOT NULL CHECK (octet_length(sha) IN (20, 32)),
  author_id     bigint NOT NULL,
  authored_at   timestamptz NOT NULL,
  committed_at  timestamptz NOT NULL,
  parents       smallint NOT NULL,                   -- 2 and more is a merge
  subject       text NOT NULL,
  PRIMARY KEY (repository_id, sha)
);
CREATE INDEX commits_by_day ON commits (repository_id, authored_at);

CREATE TABLE deployments (
  id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  environment_id uuid NOT NULL,
  external_id    text NOT NULL,                      -- tag name, commit, or the source's own id
  ref            text NOT NULL,                      -- what people call it
  sha            bytea NOT NULL CHECK (octet_length(sha) IN (20, 32)),
  status         text NOT NULL CHECK (status IN ('success', 'failure', 'running')),
  finished_at    timestamptz,                        -- of the first success, else of the failure
  baseline       boolean NOT NULL DEFAULT false,     -- first of its environment: its changes are unknowable, so it has none
  CONSTRAINT deployments_finished CHECK (finished_at IS NOT NULL OR status = 'running'),
  UNIQUE (environment_id, external_id)
);
CREATE INDEX deployments_by_day ON deployments (environment_id, finished_at, id);

-- A change is a commit that a deployment brought to an environment for the first
-- time; a later deployment of the same commit brings no change.
CREATE TABLE deployment_changes (
  deployment_id  uuid NOT NULL,
  environment_id uuid NOT NULL,
  sha            bytea NOT NULL,
  lead_seconds   bigint NOT NULL,                    -- deployment's finish less the commit's author time; negative is kept and left out of figures
  PRIMARY KEY (environment_id, sha)
);
CREATE INDEX changes_of_deployment ON deployment_changes (deployment_id);

-- +goose StatementBegin
CREATE FUNCTION delete_commits_of_repositories() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM commits WHERE repository_id IN (SELECT id FROM gone);
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER commits_of_repositories AFTER DELETE ON repositories
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION delete_commits_of_repositories();

-- +goose StatementBegin
CREATE FUNCTION delete_deployments_of_environments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM deployments WHERE environment_id IN (SELECT id FROM gone);
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER deployments_of_environments AFTER DELETE ON environments
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION delete_deployments_of_environments();

-- +goose StatementBegin
CREATE FUNCTION delete_changes_of_deployments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM deployment_changes WHERE deployment_id IN (SELECT id FROM gone);
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER changes_of_deployments AFTER DELETE ON deployments
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION delete_changes_of_deployments();

-- What rollup has to compute again: (rollup, scope) is ('deployments',
-- environment) or ('commits', repository); day is local to the team, that is
-- (instant AT TIME ZONE teams.time_zone)::date, both of the old and the new fact.
--
-- A day may be marked many times, and nothing is unique here on purpose: a mark
-- is seen by rollup together with the facts it was written with, or not at all.
-- With one row per day, a writer who found the day marked already would leave a
-- mark that rollup may use up before the writer's facts are committed; and
-- writers would wait for each other.
CREATE TABLE dirty_days (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  rollup text NOT NULL CHECK (rollup IN ('deployments', 'commits')),
  scope  uuid NOT NULL,
  day    date NOT NULL
);
CREATE INDEX dirty_days_of_scope ON dirty_days (rollup, scope, day);

-- +goose Down
DROP TABLE dirty_days, deployment_changes, deployments, commits, authors, environments, services, repositories;
DROP FUNCTION delete_commits_of_repositories, delete_deployments_of_environments, delete_changes_of_deployments;
