package auth

import (
	"context"
	"time"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

// Sessions are the places where an account is signed in.
type Sessions struct {
	Sessions []Session `json:"sessions" nullable:"false" doc:"Those that can still be refreshed, the last used first; 200 at most."`
}

// Session is one of them, as its owner sees it.
type Session struct {
	ID         string    `json:"id" format:"uuid"`
	Current    bool      `json:"current" doc:"Whether the access token of this request is of this session."`
	Device     string    `json:"device" example:"Firefox on Windows" doc:"What signed in, as far as it told."`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at" doc:"The start of the quarter of an hour in which the session was last refreshed."`
}

type sessionsOutput struct{ Body Sessions }

func (a *accounts) listSessions(ctx context.Context, _ *struct{}) (*sessionsOutput, error) {
	sessions, err := sessionsOf(ctx, a.db, access.CallerOf(ctx))
	if err != nil {
		return nil, err
	}
	if len(sessions) == 0 { // not even the caller's own
		return nil, identity.ErrSessionEnded
	}
	return &sessionsOutput{Body: Sessions{Sessions: sessions}}, nil
}
