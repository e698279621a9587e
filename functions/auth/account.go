package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

func (a *accounts) routeAccount(api *httpapi.API) {
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "change-name", Method: http.MethodPatch, Path: "/api/auth/me", Security: httpapi.Bearer,
		Tags: []string{"auth"}, Summary: "Change the name of the account",
		Errors: []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
	}, &accountUser), a.changeName)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "export-account", Method: http.MethodPost, Path: "/api/auth/me/export", Security: httpapi.Bearer,
		Tags: []string{"auth"}, Summary: "Export all that is kept about the account",
		Errors: []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
	}, &exportUser), a.export)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "delete-account", Method: http.MethodPost, Path: "/api/auth/me/delete", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"auth"}, Summary: "Delete the account",
		Description: "At once and for good, with its sessions, and with the teams that have no other member and all that is kept for them. Who has no password signs in with GitHub once more, at most ten minutes before. The last owner of a team that has others hands it over first. What the account did stays in the teams' audit logs, without its name.",
		Errors:      []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict, http.StatusServiceUnavailable},
	}, &passwordUser), a.deleteAccount)
}

type changeNameInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100"`
	}
}

func (a *accounts) changeName(ctx context.Context, in *changeNameInput) (*meOutput, error) {
	var wrong faults
	name := wrong.name("body.name", in.Body.Name)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	profile, err := rename(ctx, a.db, access.CallerOf(ctx), name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, identity.ErrSessionEnded
	}
	if err != nil {
		return nil, err
	}
	return &meOutput{CacheControl: "no-store", Body: profile}, nil
}

func rename(ctx context.Context, db postgres.DB, caller access.Caller, name string) (Profile, error) {
	var p Profile
	err := db.QueryRow(ctx, `
WITH `+living+`, u AS (
  UPDATE users SET name = $3 FROM me WHERE users.id = me.id RETURNING users.id, users.email, users.name
), audit AS (
  INSERT INTO auth_events (kind, user_id, session_id) SELECT 'name_changed', u.id, $2 FROM u
)
SELECT `+profileColumn+` FROM u`, caller.User, caller.Session, name).Scan(&p)
	return p, err
}

// Export is all that is kept about an account, but for its password's hash.
type Export struct {
	Account     json.RawMessage `json:"account"`
	Identities  json.RawMessage `json:"identities" doc:"How the account signs in without its password."`
	Memberships json.RawMessage `json:"memberships"`
	Sessions    json.RawMessage `json:"sessions"`
	Invitations json.RawMessage `json:"invitations" doc:"Those that the account made or used, and links that set its password."`
	Tokens      json.RawMessage `json:"tokens" doc:"Those that the account made."`
	Events      json.RawMessage `json:"events" doc:"What the account did; the last 10,000."`
}

type exportOutput struct {
	CacheControl string `header:"Cache-Control"`
	Disposition  string `header:"Content-Disposition"`
	Body         Export
}

func (a *accounts) export(ctx context.Context, _ *struct{}) (*exportOutput, error) {
	caller := access.CallerOf(ctx)
	out := &exportOutput{CacheControl: "no-store", Disposition: `attachment; filename="account.json"`}
	e := &out.Body
	err := a.db.QueryRow(ctx, `
WITH `+living+`, audit AS (
  INSERT INTO auth_events (kind, user_id, session_id) SELECT 'account_exported', me.id, $2 FROM me
)
SELECT (SELECT to_jsonb(x) FROM (SELECT u.id, u.email, u.name, u.created_at FROM users u WHERE u.id = me.id) x),
       (SELECT COALESCE(jsonb_agg(x), '[]') FROM (SELECT provider, subject, login, created_at FROM user_identities WHERE user_id = me.id) x),
       (SELECT COALESCE(jsonb_agg(x), '[]') FROM (SELECT t.id AS team, t.name, m.role, m.created_at FROM memberships m JOIN teams t ON t.id = m.team_id WHERE m.user_id = me.id ORDER BY m.created_at) x),
       (SELECT COALESCE(jsonb_agg(x), '[]') FROM (SELECT id, user_agent, created_at, issued_at, expires_at, revoked_at FROM sessions WHERE user_id = me.id ORDER BY created_at) x),
       (SELECT COALESCE(jsonb_agg(x), '[]') FROM (SELECT id, kind, team_id, role, note, created_at, expires_at, used_at, revoked_at FROM links WHERE me.id IN (created_by, user_id, used_by) ORDER BY created_at) x),
       (SELECT COALESCE(jsonb_agg(x), '[]') FROM (SELECT id, team_id, name, scope, created_at, expires_at, last_used_at, revoked_at FROM api_tokens WHERE created_by = me.id ORDER BY created_at) x),
       (SELECT COALESCE(jsonb_agg(x), '[]') FROM (SELECT at, kind, session_id, team_id, detail FROM auth_events WHERE user_id = me.id ORDER BY id DESC LIMIT 10000) x)
  FROM me`, caller.User, caller.Session).Scan(&e.Account, &e.Identities, &e.Memberships, &e.Sessions, &e.Invitations, &e.Tokens, &e.Events)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, identity.ErrSessionEnded
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

type deleteAccountInput struct {
	githubInput
	Body struct {
		Password string `json:"current_password,omitempty" doc:"The password that the account has, if it has one."`
	}
}

type deleteAccountOutput struct {
	SetCookie string `header:"Set-Cookie"`
}

func (a *accounts) deleteAccount(ctx context.Context, in *deleteAccountInput) (*deleteAccountOutput, error) {
	var wrong faults
	wrong.passwordLength("body.current_password", in.Body.Password)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	caller := access.CallerOf(ctx)
	found, _, err := findCaller(ctx, a.db, caller)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, identity.ErrSessionEnded
	}
	if err != nil {
		return nil, err
	}
	if found.hash == "" {
		err = a.reproveByGitHub(ctx, found, in.githubInput)
	} else {
		err = a.reprove(ctx, found, in.Body.Password)
	}
	if err != nil {
		return nil, err
	}
	kept, err := deleteUser(ctx, a.db, caller)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, identity.ErrSessionEnded
	}
	if err != nil {
		return nil, err
	}
	if len(kept) > 0 {
		return nil, fault.New(fault.Conflict, "last_owner", "The account is the last owner of teams that have other members: "+strings.Join(kept, ", ")+". Make somebody else an owner first, or remove the members.")
	}
	return &deleteAccountOutput{identity.ClearCookie()}, nil
}

// deleteUser deletes the caller's account, and the teams of which they are the only
// member. Nothing is deleted if it is the last owner of teams with others, which it
// names. The account is locked, and read anew: a password that was set meanwhile has
// ended the session. Then the teams, so that nobody joins one that goes, and their
// owners, as every change of a membership locks them; what follows sees what others
// did before that. Links that the account made end: without their maker they would
// pass for an operator's.
func deleteUser(ctx context.Context, db *postgres.Database, caller access.Caller) (kept []string, err error) {
	err = db.Transaction(ctx, func(tx pgx.Tx) error {
		var id string
		if err := tx.QueryRow(ctx, `
WITH `+living+`
SELECT u.id::text FROM users u, me WHERE u.id = me.id AND u.session_epoch = me.session_epoch FOR UPDATE OF u`, caller.User, caller.Session).Scan(&id); err != nil {
			return err
		}
		for _, lock := range []string{
			`SELECT FROM teams WHERE id IN (SELECT team_id FROM memberships WHERE user_id = $1) ORDER BY id FOR UPDATE`,
			`SELECT FROM memberships WHERE role = 'owner' AND team_id IN (SELECT team_id FROM memberships WHERE user_id = $1) ORDER BY team_id, user_id FOR UPDATE`,
		} {
			if _, err := tx.Exec(ctx, lock, caller.User); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, `
SELECT t.name FROM memberships mine JOIN teams t ON t.id = mine.team_id
 WHERE mine.user_id = $1 AND mine.role = 'owner'
   AND EXISTS (SELECT FROM memberships o WHERE o.team_id = t.id AND o.user_id <> $1)
   AND NOT EXISTS (SELECT FROM memberships o WHERE o.team_id = t.id AND o.user_id <> $1 AND o.role = 'owner')
 ORDER BY t.name`, caller.User)
		if err != nil {
			return err
		}
		if kept, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(kept) > 0 {
			return err
		}
		_, err = tx.Exec(ctx, `
WITH alone AS (
  DELETE FROM teams t WHERE t.id IN (SELECT team_id FROM memberships WHERE user_id = $1)
     AND NOT EXISTS (SELECT FROM memberships o WHERE o.team_id = t.id AND o.user_id <> $1)
), audit AS (
  INSERT INTO auth_events (kind, user_id, session_id, team_id) SELECT 'account_deleted', $1, $2, m.team_id FROM (SELECT 1) one LEFT JOIN memberships m ON m.user_id = $1
), spent AS (
  UPDATE links SET revoked_at = clock_timestamp() WHERE created_by = $1 AND used_at IS NULL AND revoked_at IS NULL
)
DELETE FROM users WHERE id = $1`, caller.User, caller.Session)
		return err
	})
	return kept, err
}
