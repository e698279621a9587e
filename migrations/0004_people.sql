-- +goose Up
-- Who belongs and how they prove it, written by auth.

-- A link that does one thing once: makes the first owner ('owner'), lets somebody
-- into a team ('invitation'), or sets a password ('password').
CREATE TABLE links (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  kind        text NOT NULL CHECK (kind IN ('owner', 'invitation', 'password')),
  secret_hash bytea NOT NULL CONSTRAINT links_secret UNIQUE CHECK (octet_length(secret_hash) = 32),
  team_id     uuid REFERENCES teams(id) ON DELETE CASCADE, -- of an invitation
  role        text CHECK (role IN ('owner', 'editor', 'viewer')),
  user_id     uuid REFERENCES users(id) ON DELETE CASCADE, -- whose password
  note        text NOT NULL DEFAULT '',              -- whom an invitation is for, in the inviter's words
  created_by  uuid REFERENCES users(id) ON DELETE SET NULL, -- null: an operator, or the account itself
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL,
  used_at     timestamptz,
  used_by     uuid REFERENCES users(id) ON DELETE SET NULL,
  revoked_at  timestamptz,
  CONSTRAINT links_of_team CHECK ((kind = 'invitation') = (team_id IS NOT NULL AND role IS NOT NULL)),
  CONSTRAINT links_of_user CHECK ((kind = 'password') = (user_id IS NOT NULL))
);
CREATE INDEX links_by_team ON links (team_id, created_at) WHERE team_id IS NOT NULL;
CREATE INDEX links_by_user ON links (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX links_by_expiry ON links (expires_at);

-- What a script sends in place of a session. The secret is not kept: it was made by
-- chance, so its SHA-256 is as hard to guess as itself.
CREATE TABLE api_tokens (
  id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  team_id      uuid NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
  name         text NOT NULL,
  scope        text NOT NULL CHECK (scope IN ('read', 'report')),
  secret_hash  bytea NOT NULL CONSTRAINT api_tokens_secret UNIQUE CHECK (octet_length(secret_hash) = 32),
  created_by   uuid REFERENCES users(id) ON DELETE SET NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz NOT NULL,
  last_used_at timestamptz,                          -- by the minute
  revoked_at   timestamptz
) WITH (fillfactor = 70);
CREATE INDEX api_tokens_of_team ON api_tokens (team_id, created_at);

-- The audit log also tells what happened in a team.
ALTER TABLE auth_events ADD COLUMN team_id uuid;
CREATE INDEX auth_events_of_team ON auth_events (team_id, id) WHERE team_id IS NOT NULL;

-- Who deletes a team, with the account of its only member, has no business with its
-- facts: what removes those along with it acts with the owner's rights, as cascades
-- do.
ALTER FUNCTION delete_commits_of_repositories() SECURITY DEFINER SET search_path FROM CURRENT;
ALTER FUNCTION delete_deployments_of_environments() SECURITY DEFINER SET search_path FROM CURRENT;
ALTER FUNCTION delete_changes_of_deployments() SECURITY DEFINER SET search_path FROM CURRENT;

-- +goose Down
ALTER FUNCTION delete_commits_of_repositories() SECURITY INVOKER RESET search_path;
ALTER FUNCTION delete_deployments_of_environments() SECURITY INVOKER RESET search_path;
ALTER FUNCTION delete_changes_of_deployments() SECURITY INVOKER RESET search_path;
ALTER TABLE auth_events DROP COLUMN team_id;
DROP TABLE api_tokens, links;
