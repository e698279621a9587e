-- +goose Up
-- Whose jobs report without a secret, written by auth. Numbers and not names: a name
-- that was given up is soon somebody else's.
CREATE TABLE trusted_repositories (
  id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  team_id             uuid NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
  repository_id       bigint NOT NULL CHECK (repository_id > 0),
  repository_owner_id bigint NOT NULL CHECK (repository_owner_id > 0),
  name                text NOT NULL,                   -- for people
  environment         text NOT NULL DEFAULT '',        -- that a job has to name; '' is any and none
  created_by          uuid REFERENCES users(id) ON DELETE SET NULL,
  created_at          timestamptz NOT NULL DEFAULT now()
);
-- GitHub takes Production and production for one environment.
CREATE UNIQUE INDEX trusted_repositories_once ON trusted_repositories (team_id, repository_id, repository_owner_id, lower(environment));
CREATE INDEX trusted_repositories_by_id ON trusted_repositories (repository_id, repository_owner_id);

-- A token of a job is good once. Written with the work that it was used for, and
-- pruned when the token has expired.
CREATE TABLE used_workflow_tokens (
  token      bytea PRIMARY KEY CHECK (octet_length(token) = 32), -- SHA-256 of issuer and jti
  expires_at timestamptz NOT NULL
);
CREATE INDEX used_workflow_tokens_by_expiry ON used_workflow_tokens (expires_at);

-- +goose Down
DROP TABLE used_workflow_tokens, trusted_repositories;
