// Package refresh exchanges a refresh token for its successor, and nothing else.
// It is what every open page calls every quarter of an hour, so it asks the
// database once. Signing in and out is left to auth.
package refresh

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

// poolSize is how many commits may wait for the disk at once: PostgreSQL writes
// them together. With 64 callers, 4 reach a sixth of the rate of the statement
// alone, 16 two fifths and 32 half (BenchmarkRefresh). A server that has fewer
// connections to give wants DATABASE_POOL set.
const poolSize = 32

// Function is the refresh function.
var Function = function.Function{
	Name:    "refresh",
	Doc:     "exchanges a refresh token for its successor, and nothing else.",
	Needs:   []function.Need{postgres.NeedOf(poolSize), ratelimit.Need, identity.VerifyNeed, identity.SignNeed},
	Cookies: []string{httpapi.RefreshCookie},
	Tables: []function.Grant{
		{Table: "sessions",
			Select: "id, user_id, gen, jti, issued_at, expires_at, absolute_expires_at, superseded, epoch, revoked_at, revoke_reason",
			Update: "gen, jti, issued_at, expires_at, superseded, revoked_at, revoke_reason"},
		{Table: "users", Select: "id, session_epoch, disabled_at"},
		{Table: "auth_events", Insert: "at, kind, user_id, session_id, detail"},
	},
	Timeout:     5 * time.Second,
	Concurrency: 80,
	MemoryMiB:   256,
	Routes: func(api *httpapi.API, env *function.Env) {
		ratelimit.Enforce(api, ratelimit.Local(env))
		r := &rotation{db: postgres.For(env), signer: identity.SignerFor(env)}
		httpapi.Register(api, ratelimit.On(huma.Operation{
			OperationID: "refresh", Method: http.MethodPost, Path: "/api/auth/refresh", Security: httpapi.Session,
			Tags: []string{"auth"}, Summary: "Get a new access token",
			Description: "Exchanges the session cookie for an access token and the cookie's successor. " +
				"Calls that send the same cookie within 30 seconds, from several tabs or after an answer was lost, all get the same successor. " +
				"After that a replaced cookie is taken for a stolen one: the session ends. " +
				"If `gen` is lower than one seen before, refresh again at once: an older answer arrived last.",
			Errors: []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
		}, &refreshAddress, &refreshSession), r.refresh)
	},
}

// The limits guard an instance from a client that refreshes in a loop. They are
// kept by each instance, so that a refresh asks nobody but the database.
var (
	refreshAddress = ratelimit.Policy{Name: "refresh-address", By: ratelimit.Address, Burst: 120, Window: time.Minute}
	refreshSession = ratelimit.Policy{Name: "refresh-session", By: ratelimit.Session, Burst: 30, Window: time.Minute}
)

// rotation is what the route works with.
type rotation struct {
	db     *postgres.Database
	signer *identity.Signer
}
