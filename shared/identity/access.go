package identity

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/secrets"
)

// Access is what an access token says.
type Access struct {
	ID        uuid.UUID
	User      uuid.UUID
	Session   uuid.UUID
	IssuedAt  time.Time // whole seconds
	ExpiresAt time.Time // whole seconds; at most AccessLifetime later
}

// Verifier checks access tokens with public keys.
type Verifier struct {
	keys  source
	judge *jwt.Validator
}

// VerifierFor returns the process's verifier. It reads its keys at the first
// token.
func VerifierFor(env *function.Env) *Verifier {
	return function.Shared(env, VerifyNeed, func() *Verifier {
		return &Verifier{
			keys:  source{secrets.For(env, publicKeys), parsed{parse: parsePublic}},
			judge: accessForm.validator(env.Setting("ISSUER"), jwt.WithTimeFunc(env.Now), jwt.WithLeeway(leeway), jwt.WithIssuedAt(), jwt.WithExpirationRequired()),
		}
	})
}

// Access returns what the token says, once its signature, its kind and its time
// are proved. Its faults are "invalid_token", "token_expired", and an Unavailable
// one if the keys cannot be used.
func (v *Verifier) Access(ctx context.Context, text string) (Access, error) {
	c := &accessClaims{}
	if err := accessForm.read(ctx, text, v.judge, &v.keys, c); err != nil {
		return Access{}, refusal(err, c)
	}
	return c.access, nil
}

// PublicKeys returns the keys with which anybody can check access tokens.
func (v *Verifier) PublicKeys(ctx context.Context) ([]PublicKey, error) {
	keys, err := v.keys.get(ctx)
	if err != nil {
		return nil, err
	}
	var public []PublicKey
	for _, k := range keys.order {
		public = append(public, k.public())
	}
	return public, nil
}

// worse are the flaws beside which a token's age does not matter.
var worse = []error{jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenUsedBeforeIssued}

func refusal(err error, c *accessClaims) error {
	if unproved := (*fault.Error)(nil); errors.As(err, &unproved) {
		return unproved
	}
	is := func(target error) bool { return errors.Is(err, target) }
	const remedy = " Get a new one from POST /api/auth/refresh, or sign in again."
	if is(jwt.ErrTokenExpired) && !slices.ContainsFunc(worse, is) {
		return fault.New(fault.Unauthenticated, "token_expired", "The access token expired at "+c.access.ExpiresAt.Format(time.RFC3339)+"."+remedy)
	}
	return fault.New(fault.Unauthenticated, "invalid_token", "The access token "+reason(err)+"."+remedy)
}

// reasons say in our words what golang-jwt finds.
var reasons = []struct {
	is  error
	say string
}{
	{jwt.ErrTokenInvalidIssuer, "was issued by another installation"},
	{jwt.ErrTokenInvalidAudience, "is meant for another audience"},
	{jwt.ErrTokenUsedBeforeIssued, "was issued in the future"},
	{jwt.ErrTokenRequiredClaimMissing, "names no issuer or no audience"},
}

func reason(err error) string {
	var ours flaw
	if errors.As(err, &ours) {
		return ours.Error()
	}
	for _, r := range reasons {
		if errors.Is(err, r.is) {
			return r.say
		}
	}
	return "cannot be read"
}

// accessClaims are an access token's claims, as golang-jwt wants them.
type accessClaims struct {
	claims
	access Access
}

// UnmarshalJSON reads the claims strictly.
func (c *accessClaims) UnmarshalJSON(text []byte) (err error) {
	if err := c.members().readWhole(text); err != nil {
		return flaw("has a claims set that " + err.Error())
	}
	if err := c.times(AccessLifetime); err != nil {
		return err
	}
	c.access.IssuedAt, c.access.ExpiresAt = time.Unix(c.IssuedAt, 0).UTC(), time.Unix(c.Expires, 0).UTC()
	c.access.User, c.access.Session, c.access.ID, err = c.ids()
	return err
}
