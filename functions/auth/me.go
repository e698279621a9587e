package auth

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

type meOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         Profile
}

func (a *accounts) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	profile, err := profileOf(ctx, a.db, access.CallerOf(ctx))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, identity.ErrSessionEnded
	}
	if err != nil {
		return nil, err
	}
	return &meOutput{CacheControl: "no-store", Body: profile}, nil
}
