// Package identity makes and checks the tokens by which a caller is known: the
// access token that a page sends as Bearer, signed with Ed25519 so that a
// function which checks one cannot make one, and the refresh token in the
// session cookie, signed with another key. Who may see what is left to the
// functions, and so are the rows behind a session.
package identity

import (
	"time"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
)

// AccessLifetime is how long an access token is good, unless its session ends
// before.
const AccessLifetime = 15 * time.Minute

// A session ends when it is not refreshed for SessionLifetime, and in any case
// AbsoluteLifetime after it began.
const (
	SessionLifetime  = 7 * 24 * time.Hour
	AbsoluteLifetime = 30 * 24 * time.Hour
)

// leeway is how far the clocks of two instances may differ.
const leeway = 30 * time.Second

// The settings that hold keys.
const (
	publicKeys  = "ACCESS_PUBLIC_KEYS"
	signingKeys = "ACCESS_SIGNING_KEYS"
	refreshKeys = "REFRESH_KEYS"
)

// VerifyNeed declares that a function checks access tokens. It brings public
// keys only. They may be a reference, as secrets may, so that a key is published
// without a restart.
var VerifyNeed = function.Need{Name: "identity", Check: checkPublic, Settings: []function.Setting{
	{Name: "ISSUER", Default: "devops-dashboard", Doc: "the name of this installation in its tokens; tokens of another are refused"},
	{Name: publicKeys, Secret: true, Doc: "the JWK set of public Ed25519 keys whose access tokens are accepted"},
}}

// SignNeed declares that a function also makes tokens. A function that has it
// has VerifyNeed too, so that no token is signed which nobody would accept.
var SignNeed = function.Need{Name: "signing", Check: checkSecret, Settings: []function.Setting{
	{Name: signingKeys, Secret: true, Doc: "the JWK set of private Ed25519 keys for access tokens; the first signs"},
	{Name: refreshKeys, Secret: true, Doc: "the JWK set of secret keys (oct, 32 to 64 bytes) for refresh tokens; the first signs, all are accepted"},
}}

// ErrSessionEnded refuses an access token whose session has ended before it.
// Whoever can see the session's row gives this answer.
var ErrSessionEnded = fault.New(fault.Unauthenticated, "session_revoked", "The session of this access token was ended. Sign in.")

// unusable is the fault for keys that cannot be used. The caller can do nothing
// but wait until somebody has read the log.
func unusable(cause error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "keys_unusable",
		Detail:     "The keys of this service cannot be used at the moment; its log says why. Try again later.",
		RetryAfter: 30 * time.Second,
		Cause:      cause,
	}
}
