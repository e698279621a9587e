-- +goose Up
-- The other ways in: a link by mail for a forgotten password, and GitHub.

-- What is to be mailed, written by auth and sent by rollup. A forgotten password is
-- put down in the same way whether or not there is such an account, so that nobody
-- learns which addresses have one from how long that takes. So user_id is no
-- reference, which would have to be checked; and in place of an address, which may be
-- anybody's, stands a pseudonym, by which requests are counted.
CREATE TABLE mails (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  kind       text NOT NULL CHECK (kind IN ('password_forgotten', 'password_changed')),
  user_id    uuid,                                   -- null: there is no such account
  address    bytea CHECK (octet_length(address) = 16),
  created_at timestamptz NOT NULL DEFAULT now(),
  attempts   int NOT NULL DEFAULT 0,
  due_at     timestamptz NOT NULL DEFAULT now(),     -- not to be tried before
  done_at    timestamptz,                            -- sent, given up, or for nobody
  CONSTRAINT mails_address CHECK ((kind = 'password_forgotten') = (address IS NOT NULL))
);
CREATE INDEX mails_due ON mails (due_at) WHERE done_at IS NULL;
CREATE INDEX mails_by_address ON mails (address, created_at);
CREATE INDEX mails_by_age ON mails (created_at);

-- Who somebody is elsewhere. The subject is the number that GitHub never gives to
-- anybody else; the login is for people to read, and changes.
CREATE TABLE user_identities (
  provider   text NOT NULL CHECK (provider IN ('github')),
  subject    text NOT NULL,
  user_id    uuid NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  login      text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (provider, subject),
  CONSTRAINT user_identities_of_user UNIQUE (user_id, provider)
);

-- Who has always signed in elsewhere has no password.
ALTER TABLE users ALTER COLUMN password_hash DROP NOT NULL;

-- +goose Down
-- A hash that no password fits.
UPDATE users SET password_hash = '$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' WHERE password_hash IS NULL;
ALTER TABLE users ALTER COLUMN password_hash SET NOT NULL;
DROP TABLE user_identities, mails;
