package identity

import (
	"context"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/secrets"
)

// Signer makes both kinds of token, and reads refresh tokens.
type Signer struct {
	issuer   string
	verifier *Verifier
	access   source
	refresh  source
	judge    *jwt.Validator // of refresh tokens
	device   *jwt.Validator // of device tokens
}

// SignerFor returns the process's signer. It reads its keys at the first token.
func SignerFor(env *function.Env) *Signer {
	verifier := VerifierFor(env)
	return function.Shared(env, SignNeed, func() *Signer {
		issuer := env.Setting("ISSUER")
		return &Signer{
			issuer:   issuer,
			verifier: verifier,
			access:   source{secrets.For(env, signingKeys), parsed{parse: parsePrivate}},
			refresh:  source{secrets.For(env, refreshKeys), parsed{parse: parseSecret}},
			judge:    refreshForm.validator(issuer),
			device:   deviceForm.validator(issuer, jwt.WithTimeFunc(env.Now), jwt.WithLeeway(leeway), jwt.WithExpirationRequired()),
		}
	})
}

// Session is the row of a session as of Now: what both its tokens are made from.
type Session struct {
	ID                uuid.UUID
	User              uuid.UUID
	Generation        int64
	Token             uuid.UUID // jti of the current refresh token
	IssuedAt          time.Time
	ExpiresAt         time.Time
	AbsoluteExpiresAt time.Time
	Now               time.Time // by the database's clock
	Epoch             int64     // of the account; only where a session is opened
}

// Grant is what the caller of a session is given.
type Grant struct {
	AccessToken string
	ExpiresIn   int // seconds
	Generation  int64
	Cookie      string // value of Set-Cookie
}

// Grant returns tokens for the session. The access token ends with the session if
// that comes first.
func (s *Signer) Grant(ctx context.Context, session Session) (Grant, error) {
	until := session.Now.Add(AccessLifetime)
	if session.AbsoluteExpiresAt.Before(until) {
		until = session.AbsoluteExpiresAt
	}
	access, err := s.Access(ctx, Access{ID: uuid.New(), User: session.User, Session: session.ID, IssuedAt: session.Now, ExpiresAt: until})
	if err != nil {
		return Grant{}, err
	}
	refresh, err := s.Refresh(ctx, Refresh{
		ID: session.Token, User: session.User, Session: session.ID, Generation: session.Generation,
		IssuedAt: session.IssuedAt, ExpiresAt: session.ExpiresAt,
	})
	if err != nil {
		return Grant{}, err
	}
	return Grant{
		AccessToken: access,
		ExpiresIn:   int(until.Unix() - session.Now.Unix()),
		Generation:  session.Generation,
		Cookie:      setCookie(refresh, session.ExpiresAt.Sub(session.Now)),
	}, nil
}

// Ready fails as Grant would. What changes a session asks it first: a session that
// is ahead of the tokens that its owner was given ends as stolen.
func (s *Signer) Ready(ctx context.Context) error {
	if _, err := s.accessKey(ctx); err != nil {
		return err
	}
	_, err := s.refresh.get(ctx)
	return err
}

// accessKey is the key that signs access tokens; everybody who checks them has it.
func (s *Signer) accessKey(ctx context.Context) (key, error) {
	keys, err := s.access.get(ctx)
	if err != nil {
		return key{}, err
	}
	if _, published, err := s.verifier.keys.named(ctx, keys.first.id); err != nil {
		return key{}, err
	} else if !published {
		return key{}, unusable(unpublished(keys.first))
	}
	return keys.first, nil
}

// Access returns a signed access token.
func (s *Signer) Access(ctx context.Context, a Access) (string, error) {
	signing, err := s.accessKey(ctx)
	if err != nil {
		return "", err
	}
	return accessForm.sign(signing, &claims{
		Issuer: s.issuer, Audience: accessForm.audience, User: a.User.String(), Session: a.Session.String(),
		ID: a.ID.String(), IssuedAt: a.IssuedAt.Unix(), Expires: a.ExpiresAt.Unix(),
	})
}

// Refresh returns a signed refresh token.
func (s *Signer) Refresh(ctx context.Context, r Refresh) (string, error) {
	keys, err := s.refresh.get(ctx)
	if err != nil {
		return "", err
	}
	return refreshForm.sign(keys.first, &refreshClaims{
		claims: claims{
			Issuer: s.issuer, Audience: refreshForm.audience, User: r.User.String(), Session: r.Session.String(),
			ID: r.ID.String(), IssuedAt: r.IssuedAt.Unix(), Expires: r.ExpiresAt.Unix(),
		},
		Generation: r.Generation,
	})
}

// ReadRefresh returns what a refresh token says, once its signature and its kind
// are proved; whether it is still good is for the session's row to say. Its
// faults are "invalid_session", and an Unavailable one if the keys cannot be used.
func (s *Signer) ReadRefresh(ctx context.Context, text string) (Refresh, error) {
	c := &refreshClaims{}
	if err := refreshForm.read(ctx, text, s.judge, &s.refresh, c); err != nil {
		if unproved := (*fault.Error)(nil); errors.As(err, &unproved) {
			return Refresh{}, unproved
		}
		return Refresh{}, fault.New(fault.Unauthenticated, "invalid_session", "The refresh token in the session cookie "+reason(err)+". Sign in.")
	}
	return c.refresh, nil
}
