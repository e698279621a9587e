package auth

import (
	"context"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

func (a *accounts) logoutEverywhere(ctx context.Context, _ *struct{}) (*logoutOutput, error) {
	living, err := endAllSessions(ctx, a.db, access.CallerOf(ctx))
	if err != nil {
		return nil, err
	}
	if !living {
		return nil, identity.ErrSessionEnded
	}
	return &logoutOutput{SetCookie: identity.ClearCookie(), CacheControl: "no-store"}, nil
}
