package auth

import (
	"context"

	"github.com/devops-dashboard/dashboard/shared/identity"
)

type logoutInput struct {
	identity.CookieInput
}

type logoutOutput struct {
	SetCookie    string `header:"Set-Cookie"`
	CacheControl string `header:"Cache-Control"`
}

// logout leaves the cookie where it is when the session could not be ended:
// somebody who thinks to be signed out must be.
func (a *accounts) logout(ctx context.Context, in *logoutInput) (*logoutOutput, error) {
	sessions, err := in.Sessions(ctx, a.signer)
	if err != nil {
		return nil, err
	}
	if len(sessions) > 0 {
		if err := endSessions(ctx, a.db, sessions); err != nil {
			return nil, err
		}
	}
	return &logoutOutput{SetCookie: identity.ClearCookie(), CacheControl: "no-store"}, nil
}
