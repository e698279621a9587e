package auth

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

type meOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         Profile
}

// errSessionEnded refuses an access token whose session has ended before it.
var errSessionEnded = fault.New(fault.Unauthenticated, "session_revoked", "The session of this access token was ended. Sign in.")

func (a *accounts) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	profile, err := profileOf(ctx, a.db, identity.CallerOf(ctx))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errSessionEnded
	}
	if err != nil {
		return nil, err
	}
	return &meOutput{CacheControl: "no-store", Body: profile}, nil
}
