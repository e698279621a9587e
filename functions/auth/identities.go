package auth

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/functions/auth/github"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// identityTaken is violated where somebody at GitHub has an account here already, and
// accountTaken where the account has somebody at GitHub already.
const (
	identityTaken = "user_identities_pkey"
	accountTaken  = "user_identities_of_user"
)

// knownBy tells whether somebody at GitHub has an account here, and whether it is
// disabled.
func knownBy(ctx context.Context, db postgres.DB, who github.Person) (known, disabled bool, err error) {
	err = db.QueryRow(ctx, `
SELECT u.disabled_at IS NOT NULL FROM user_identities i JOIN users u ON u.id = i.user_id
 WHERE i.provider = 'github' AND i.subject = $1`, who.ID).Scan(&disabled)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, false, nil
	}
	return err == nil, disabled, err
}

// ownerOf returns whose account somebody at GitHub has, uuid.Nil if none.
func ownerOf(ctx context.Context, db postgres.DB, who github.Person) (owner uuid.UUID, err error) {
	err = db.QueryRow(ctx, `SELECT user_id FROM user_identities WHERE provider = 'github' AND subject = $1`, who.ID).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, nil
	}
	return owner, err
}

// signInBy opens a session for who is known at GitHub. There is no row if nobody here
// is, or the account is disabled. What they call themselves there changes.
func signInBy(ctx context.Context, db postgres.DB, who github.Person, o opening) (identity.Session, Profile, error) {
	var session identity.Session
	var profile Profile
	err := db.QueryRow(ctx, `
WITH u AS (
  SELECT u.id, u.email, u.name, u.session_epoch FROM users u JOIN user_identities i ON i.user_id = u.id
   WHERE i.provider = 'github' AND i.subject = $5 AND u.disabled_at IS NULL
), renamed AS (
  UPDATE user_identities i SET login = $6 FROM u WHERE i.provider = 'github' AND i.subject = $5 AND i.login <> $6
), `+openSession+`, audit AS (
  INSERT INTO auth_events (kind, user_id, session_id, detail) SELECT 'login', user_id, id, jsonb_build_object('github', $6::text) FROM s
)
SELECT `+sessionColumns+`, `+profileColumn+` FROM s, u`,
		append(o.args(), who.ID, who.Login)...,
	).Scan(append(scanSession(&session), &profile)...)
	return session, profile, err
}

// linking opens a session for an account that signs in with GitHub from now on, as
// somebody there. Who does so already is just signed in.
func linking(who github.Person) open {
	return func(ctx context.Context, db postgres.DB, a account, o opening) (identity.Session, Profile, error) {
		session, profile, err := linkIdentity(ctx, db, who, a, o)
		if !postgres.Violates(err, identityTaken) && !postgres.Violates(err, accountTaken) {
			return session, profile, err
		}
		owner, err := ownerOf(ctx, db, who)
		switch {
		case err != nil:
			return session, profile, err
		case owner == a.id:
			return signIn(ctx, db, a, o)
		case owner == uuid.Nil:
			return session, profile, fault.New(fault.Conflict, "another_github", "This account signs in with another GitHub account. Sign in, and end that first.")
		}
		return session, profile, fault.New(fault.Conflict, "github_taken", "This GitHub account signs in to another account here. Sign in with GitHub, and end that first.")
	}
}

func linkIdentity(ctx context.Context, db postgres.DB, who github.Person, a account, o opening) (identity.Session, Profile, error) {
	var session identity.Session
	var profile Profile
	err := db.QueryRow(ctx, `
WITH u AS (
  SELECT id, email, name, session_epoch FROM users WHERE id = $5 AND password_hash = $6 AND disabled_at IS NULL
), i AS (
  INSERT INTO user_identities (provider, subject, user_id, login) SELECT 'github', $7, id, $8 FROM u
), `+openSession+`, audit AS (
  INSERT INTO auth_events (kind, user_id, session_id, detail) SELECT 'github_linked', user_id, id, jsonb_build_object('github', $8::text) FROM s
)
SELECT `+sessionColumns+`, `+profileColumn+` FROM s, u`,
		append(o.args(), a.id, a.hash, who.ID, who.Login)...,
	).Scan(append(scanSession(&session), &profile)...)
	return session, profile, err
}

// linkOfCaller tells how the caller's account signs in, or no row if the session was
// ended.
func linkOfCaller(ctx context.Context, db postgres.DB, caller access.Caller) (l GitHubLink, err error) {
	err = db.QueryRow(ctx, `
WITH `+living+`
SELECT i.login, me.password_hash IS NOT NULL FROM me LEFT JOIN user_identities i ON i.user_id = me.id AND i.provider = 'github'`,
		caller.User, caller.Session).Scan(&l.Login, &l.Password)
	return l, err
}

// unlink has the caller's account sign in with GitHub no more, if it has a password,
// which it tells.
func unlink(ctx context.Context, db postgres.DB, caller access.Caller) (password bool, err error) {
	err = db.QueryRow(ctx, `
WITH `+living+`, gone AS (
  DELETE FROM user_identities i USING me WHERE i.user_id = me.id AND i.provider = 'github' AND me.password_hash IS NOT NULL
  RETURNING i.user_id, i.login
), audit AS (
  INSERT INTO auth_events (kind, user_id, session_id, detail) SELECT 'github_unlinked', user_id, $2, jsonb_build_object('github', login) FROM gone
)
SELECT password_hash IS NOT NULL FROM me`, caller.User, caller.Session).Scan(&password)
	return password, err
}
