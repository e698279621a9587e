-- +goose Up
-- Accounts, written by auth and refresh.

CREATE TABLE users (
  id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email         text NOT NULL,                       -- as its owner writes it
  email_key     text NOT NULL CONSTRAINT users_email_key UNIQUE, -- folded: x@ and X@ are one account
  name          text NOT NULL,
  password_hash text NOT NULL,                       -- PHC string
  session_epoch int  NOT NULL DEFAULT 0,             -- raised to end all sessions, also those being made
  disabled_at   timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE teams (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name       text NOT NULL,
  time_zone  text NOT NULL DEFAULT 'UTC',            -- IANA name; decides where a day begins
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE memberships (
  user_id    uuid NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  team_id    uuid NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
  role       text NOT NULL CHECK (role IN ('owner', 'editor', 'viewer')),
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, team_id)
);
CREATE INDEX memberships_of_team ON memberships (team_id);

-- One row is one session: a family of refresh tokens of which the newest is
-- current. The token itself is not kept, so reading this table gives nobody one.
CREATE TABLE sessions (
  id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id             uuid NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  gen                 bigint NOT NULL DEFAULT 0,
  jti                 uuid NOT NULL DEFAULT gen_random_uuid(), -- of the current token; not unique, so that updates stay HOT
  issued_at           timestamptz NOT NULL,
  expires_at          timestamptz NOT NULL,
  absolute_expires_at timestamptz NOT NULL,
  superseded          timestamptz[] NOT NULL DEFAULT '{}', -- newest first; superseded[k] is when generation gen-k stopped being current
  epoch               int NOT NULL,                  -- users.session_epoch at sign-in
  revoked_at          timestamptz,
  revoke_reason       text,                          -- 'logout', 'replaced' at sign-in, 'reuse'
  user_agent          text NOT NULL DEFAULT '',
  created_at          timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT sessions_expiry CHECK (expires_at <= absolute_expires_at),
  CONSTRAINT sessions_grace_length CHECK (cardinality(superseded) <= 16)
) WITH (fillfactor = 70);
CREATE INDEX sessions_of_user ON sessions (user_id) WHERE revoked_at IS NULL;

-- The audit log; written in the same statement as the act.
CREATE TABLE auth_events (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  kind       text NOT NULL,                          -- 'register', 'login', 'logout', 'refresh_reuse'
  user_id    uuid,
  session_id uuid,
  detail     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX auth_events_of_user ON auth_events (user_id, id);

-- +goose Down
DROP TABLE auth_events, sessions, memberships, teams, users;
