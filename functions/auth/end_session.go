package auth

import (
	"context"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

type endSessionInput struct {
	Session uuid.UUID `path:"session" format:"uuid"`
}

// endSession answers a repeat, and a session that ended otherwise, as the first
// time.
func (a *accounts) endSession(ctx context.Context, in *endSessionInput) (*struct{}, error) {
	living, own, err := endSession(ctx, a.db, access.CallerOf(ctx), in.Session)
	switch {
	case err != nil:
		return nil, err
	case !living:
		return nil, identity.ErrSessionEnded
	case !own:
		return nil, fault.New(fault.NotFound, "not_found", "There is no such session of yours. GET /api/auth/sessions lists them.")
	}
	return nil, nil
}
