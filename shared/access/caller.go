package access

import (
	"context"
	"crypto/sha256"

	"github.com/google/uuid"
)

// Caller is who sent a request to a route whose access is Bearer: a person in a
// session, or an API token.
type Caller struct {
	User    uuid.UUID // of a person
	Session uuid.UUID // of a person
	Token   Digest    // of an API token; zero for a person

	asks need
}

// Digest is the SHA-256 of a secret: what is kept of it.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a secret that was made by chance, and needs no
// slow hash therefore.
func DigestOf(secret string) Digest { return sha256.Sum256([]byte(secret)) }

// Bytes returns the digest as PostgreSQL takes it.
func (d Digest) Bytes() []byte { return d[:] }

// Subject is what limits count the caller by: the account, or the token.
func (c Caller) Subject() uuid.UUID {
	if c.Token != (Digest{}) {
		return uuid.UUID(c.Token[:len(uuid.UUID{})])
	}
	return c.User
}

type callerKey struct{}

// WithCaller returns a context that carries the caller.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller of a route whose access is Bearer. It panics on any
// other route, where nobody has been proved.
func CallerOf(ctx context.Context) Caller { return ctx.Value(callerKey{}).(Caller) }
