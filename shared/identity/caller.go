package identity

import (
	"context"

	"github.com/google/uuid"
)

// Caller is who an access token was given to.
type Caller struct {
	User    uuid.UUID
	Session uuid.UUID
}

type callerKey struct{}

// WithCaller returns a context that carries the caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller of a route whose access is Bearer. It panics on any
// other route, where nobody has been proved.
func CallerOf(ctx context.Context) Caller { return ctx.Value(callerKey{}).(Caller) }
