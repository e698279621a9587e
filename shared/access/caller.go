package access

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/workflow"
)

// Caller is who sent a request to a route whose access is Bearer: a person in a
// session, an API token, or a job of a workflow.
type Caller struct {
	User     uuid.UUID       // of a person
	Session  uuid.UUID       // of a person
	Token    Digest          // of an API token; zero for others
	Workflow *workflow.Token // of a job; nil for others

	asks need
}

// Digest is the SHA-256 of a secret: what is kept of it.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a secret that was made by chance, and needs no
// slow hash therefore.
func DigestOf(secret string) Digest { return sha256.Sum256([]byte(secret)) }

// Bytes returns the digest as PostgreSQL takes it.
func (d Digest) Bytes() []byte { return d[:] }

// Subject is what limits count the caller by: the account, the token, or the
// repository of the job.
func (c Caller) Subject() uuid.UUID {
	subject := c.Token
	switch {
	case c.Workflow != nil:
		subject = DigestOf(fmt.Sprint("repository ", c.Workflow.Repository))
	case c.Token == Digest{}:
		return c.User
	}
	return uuid.UUID(subject[:len(uuid.UUID{})])
}

type callerKey struct{}

// WithCaller returns a context that carries the caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller of a route whose access is Bearer. It panics on any
// other route, where nobody has been proved.
func CallerOf(ctx context.Context) Caller { return ctx.Value(callerKey{}).(Caller) }
