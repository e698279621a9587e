package refresh

import (
	"context"
	"time"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

// statementTime bounds the one statement, so that a caller hears of a database
// that hangs within two seconds.
const statementTime = 1600 * time.Millisecond

type rotateInput struct {
	identity.CookieInput
}

type rotateOutput struct {
	SetCookie    string `header:"Set-Cookie"`
	CacheControl string `header:"Cache-Control"`
	Body         Refreshed
}

// Refreshed is a new access token; the refresh token goes into the cookie.
type Refreshed struct {
	AccessToken string `json:"access_token" doc:"Send it as Authorization: Bearer."`
	TokenType   string `json:"token_type" enum:"Bearer"`
	ExpiresIn   int    `json:"expires_in" example:"900" doc:"Seconds until the access token expires."`
	Generation  int64  `json:"gen" doc:"How often the session was refreshed. If it is lower than one seen before, refresh again at once."`
}

func (r *rotation) refresh(ctx context.Context, in *rotateInput) (*rotateOutput, error) {
	text, err := in.Token()
	if err != nil {
		return nil, err
	}
	token, err := r.signer.ReadRefresh(ctx, text)
	if err != nil {
		return nil, err
	}
	if _, err := ratelimit.Named(ctx, ratelimit.Subjects{Session: token.Session}); err != nil {
		return nil, err
	}
	if err := r.signer.Ready(ctx); err != nil {
		return nil, err
	}
	timed, cancel := context.WithTimeout(ctx, statementTime)
	defer cancel()
	verdict, session, err := rotate(timed, r.db, token)
	if err != nil {
		return nil, err
	}
	httpapi.Note(ctx, "verdict", string(verdict), "session", token.Session.String())
	if err := verdict.fault(); err != nil {
		return nil, err
	}
	grant, err := r.signer.Grant(ctx, session)
	if err != nil {
		return nil, err
	}
	return &rotateOutput{
		SetCookie:    grant.Cookie,
		CacheControl: "no-store",
		Body:         Refreshed{AccessToken: grant.AccessToken, TokenType: "Bearer", ExpiresIn: grant.ExpiresIn, Generation: grant.Generation},
	}, nil
}

// verdict is what the database finds about a refresh token.
type verdict string

const (
	rotated   verdict = "rotate"   // it was current and now has a successor
	converged verdict = "converge" // it was replaced a moment ago: the caller gets what the others got
	reused    verdict = "reuse"    // it was replaced long ago: a copy is about, so the session was ended
	revoked   verdict = "revoked"  // the session was ended before
	expired   verdict = "expired"
	unknown   verdict = "unknown" // no such session, or one that is not so far
)

// fault returns what the caller is told, nil if there is a token to give. None of
// these answers touches the cookie: another tab may have a good one by now.
func (v verdict) fault() error {
	refuse := func(code, detail string) error { return fault.New(fault.Unauthenticated, code, detail) }
	switch v {
	case rotated, converged:
		return nil
	case reused:
		return refuse("session_revoked", "This session was ended, because a refresh token that had been replaced was sent again: somebody may hold a copy of it. Sign in.")
	case revoked:
		return refuse("session_revoked", "This session was ended. Sign in.")
	case expired:
		return refuse("session_expired", "This session has expired. Sign in.")
	}
	return refuse("session_unknown", "This session is not known. Sign in.")
}
