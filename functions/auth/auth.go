// Package auth keeps accounts and signs people in and out. Renewing a session is
// left to refresh, and who may see what to those who keep it.
package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/functions/auth/github"
	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis"
)

// Function is the auth function.
var Function = function.Function{
	Name:    "auth",
	Doc:     "keeps accounts and signs people in and out.",
	Needs:   []function.Need{postgres.Need, redis.Need, ratelimit.Need, identity.VerifyNeed, identity.SignNeed, registrationNeed, mailNeed, github.Need},
	Cookies: []string{httpapi.RefreshCookie, identity.DeviceCookie, githubCookie},
	Tables: []function.Grant{
		{Table: "users", Owner: true,
			Select: "id, email, email_key, name, password_hash, session_epoch, disabled_at, created_at",
			Insert: "email, email_key, name, password_hash", Update: "name, password_hash, session_epoch", Delete: true},
		{Table: "user_identities", Owner: true, Select: "provider, subject, user_id, login, created_at", Insert: "provider, subject, user_id, login", Update: "login", Delete: true},
		{Table: "teams", Owner: true, Select: "id, name, time_zone", Insert: "name, time_zone", Update: "name", Delete: true},
		{Table: "memberships", Owner: true, Select: "user_id, team_id, role, created_at", Insert: "user_id, team_id, role", Update: "role", Delete: true},
		{Table: "sessions", Owner: true,
			Select: "id, user_id, gen, jti, issued_at, expires_at, absolute_expires_at, epoch, revoked_at, user_agent, created_at",
			Insert: "user_id, issued_at, expires_at, absolute_expires_at, epoch, user_agent", Update: "revoked_at, revoke_reason"},
		{Table: "links", Owner: true,
			Select: "id, kind, secret_hash, team_id, role, user_id, note, created_by, created_at, expires_at, used_at, used_by, revoked_at",
			Insert: "kind, secret_hash, team_id, role, user_id, note, created_by, expires_at", Update: "used_at, used_by, revoked_at"},
		{Table: "api_tokens", Owner: true,
			Select: "id, team_id, name, scope, created_by, created_at, expires_at, last_used_at, revoked_at",
			Insert: "team_id, name, scope, secret_hash, created_by, expires_at", Update: "revoked_at"},
		{Table: "mails", Owner: true, Select: "kind, user_id, address, created_at", Insert: "kind, user_id, address"},
		{Table: "trusted_repositories", Owner: true,
			Select: "id, team_id, repository_id, repository_owner_id, name, environment, created_by, created_at",
			Insert: "team_id, repository_id, repository_owner_id, name, environment, created_by", Update: "name", Delete: true},
		{Table: "auth_events", Owner: true, Select: "id, at, kind, user_id, session_id, team_id, detail", Insert: "kind, user_id, session_id, team_id, detail"},
	},
	Timeout:     10 * time.Second,
	Concurrency: 20,
	MemoryMiB:   512, // a password takes 19 MiB to check, see hasher
	Routes: func(api *httpapi.API, env *function.Env) {
		access.Protect(api, env)
		ratelimit.Enforce(api, ratelimit.For(env))
		a := &accounts{
			now:      env.Now,
			db:       postgres.For(env),
			signer:   identity.SignerFor(env),
			verifier: identity.VerifierFor(env),
			hasher:   newHasher(),

			registration: env.Setting("REGISTRATION"),
			github:       github.PeerFor(env),
			mails:        env.Setting("MAIL_FROM") != "",
		}
		httpapi.Register(api, ratelimit.On(huma.Operation{
			OperationID: "register", Method: http.MethodPost, Path: "/api/auth/register", Security: httpapi.Public, DefaultStatus: http.StatusCreated,
			Tags: []string{"auth"}, Summary: "Open an account",
			Description: "Makes an account and its first team, and signs in: the answer holds an access token and sets the session cookie. A link decides who may where REGISTRATION does not let everybody.",
			Errors:      append([]int{http.StatusForbidden, http.StatusConflict}, onLink...),
		}, &registerAddress, &registerDay, &registerNetwork, &registerAccount), a.register)
		httpapi.Register(api, ratelimit.On(huma.Operation{
			OperationID: "login", Method: http.MethodPost, Path: "/api/auth/login", Security: httpapi.Public,
			Tags: []string{"auth"}, Summary: "Sign in",
			Description: "Answers with an access token and sets the session cookie. A session whose cookie is sent along ends.",
			Errors:      []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
		}, &loginAddress, &loginNetwork, &loginAccount, &loginDevice), a.login)
		httpapi.Register(api, ratelimit.On(huma.Operation{
			OperationID: "logout", Method: http.MethodPost, Path: "/api/auth/logout", Security: httpapi.Session, DefaultStatus: http.StatusNoContent,
			Tags: []string{"auth"}, Summary: "Sign out",
			Description: "Ends the session of the cookie, however old the cookie is, and removes it. Without a session it does nothing and answers the same.",
			Errors:      []int{http.StatusServiceUnavailable},
		}, &logoutAddress), a.logout)
		httpapi.Register(api, huma.Operation{
			OperationID: "me", Method: http.MethodGet, Path: "/api/auth/me", Security: httpapi.Bearer,
			Tags: []string{"auth"}, Summary: "Show who is signed in",
			Errors: []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
		}, a.me)
		httpapi.Register(api, ratelimit.On(huma.Operation{
			OperationID: "change-password", Method: http.MethodPut, Path: "/api/auth/password", Security: httpapi.Bearer,
			Tags: []string{"auth"}, Summary: "Change the password",
			Description: "Ends all sessions of the account and opens a new one for the caller: the answer is that of signing in.",
			Errors:      []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable},
		}, &passwordUser), a.changePassword)
		httpapi.Register(api, huma.Operation{
			OperationID: "sessions", Method: http.MethodGet, Path: "/api/auth/sessions", Security: httpapi.Bearer,
			Tags: []string{"auth"}, Summary: "List where the account is signed in",
			Errors: []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
		}, a.listSessions)
		httpapi.Register(api, ratelimit.On(huma.Operation{
			OperationID: "end-session", Method: http.MethodDelete, Path: "/api/auth/sessions/{session}", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
			Tags: []string{"auth"}, Summary: "Sign out elsewhere",
			Description: "Ends one session of the account. A session that has ended before is answered the same.",
			Errors:      []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusServiceUnavailable},
		}, &accountUser), a.endSession)
		httpapi.Register(api, ratelimit.On(huma.Operation{
			OperationID: "logout-everywhere", Method: http.MethodPost, Path: "/api/auth/logout-everywhere", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
			Tags: []string{"auth"}, Summary: "Sign out everywhere",
			Description: "Ends all sessions of the account, this one too, and removes the session cookie.",
			Errors:      []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
		}, &accountUser), a.logoutEverywhere)
		httpapi.Register(api, huma.Operation{
			OperationID: "public-keys", Method: http.MethodGet, Path: "/.well-known/jwks.json", Security: httpapi.Public,
			Tags: []string{"auth"}, Summary: "List the keys that check access tokens",
			Errors: []int{http.StatusServiceUnavailable},
		}, a.publicKeys)
		a.routeRegistration(api)
		of := teams{a.db}
		of.route(api)
		invitations{of}.route(api)
		apiTokens{of}.route(api)
		trustedRepositories{of}.route(api)
		passwordLinks{of, a}.route(api)
		auditLog{of}.route(api)
		a.routeAccount(api)
		gitHub{a}.route(api)
	},
}

// accounts is what the routes work with.
type accounts struct {
	db       *postgres.Database
	signer   *identity.Signer
	verifier *identity.Verifier
	hasher   *hasher
	now      func() time.Time

	registration string
	github       *github.Peer // nil where nobody signs in with it
	mails        bool         // whether any are sent
}

// SignedIn is what signing in answers; the refresh token goes into the cookie.
type SignedIn struct {
	AccessToken string  `json:"access_token" doc:"Send it as Authorization: Bearer."`
	TokenType   string  `json:"token_type" enum:"Bearer"`
	ExpiresIn   int     `json:"expires_in" example:"900" doc:"Seconds until the access token expires."`
	Generation  int64   `json:"gen" doc:"How often the session was refreshed: 0."`
	User        Profile `json:"user"`
}

// Profile is an account as its owner sees it.
type Profile struct {
	ID    string `json:"id" format:"uuid"`
	Email string `json:"email"`
	Name  string `json:"name"`
	Teams []Team `json:"teams" nullable:"false" doc:"The teams of the account, by name."`
}

// Team is a team as a member sees it.
type Team struct {
	ID       string `json:"id" format:"uuid"`
	Name     string `json:"name"`
	Role     string `json:"role" enum:"owner,editor,viewer"`
	TimeZone string `json:"time_zone" example:"Europe/Berlin" doc:"IANA name; decides where a day begins."`
}

type signedInOutput struct {
	SetCookie    []string `header:"Set-Cookie"`
	CacheControl string   `header:"Cache-Control"`
	Body         SignedIn
}

// grant answers with tokens for a session that was opened, and has the browser
// known as one that its owner uses.
func (a *accounts) grant(ctx context.Context, session identity.Session, user Profile) (*signedInOutput, error) {
	grant, err := a.signer.Grant(ctx, session)
	if err != nil {
		return nil, err
	}
	email, err := parseAddress(user.Email)
	if err != nil {
		return nil, err
	}
	names, err := a.pseudonyms(ctx, email)
	if err != nil {
		return nil, err
	}
	device, err := a.signer.KnowDevice(ctx, names[0], session.Epoch, a.now())
	if err != nil {
		return nil, err
	}
	return &signedInOutput{
		SetCookie:    []string{grant.Cookie, device},
		CacheControl: "no-store",
		Body: SignedIn{
			AccessToken: grant.AccessToken, TokenType: "Bearer", ExpiresIn: grant.ExpiresIn,
			Generation: grant.Generation, User: user,
		},
	}, nil
}
