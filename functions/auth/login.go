package auth

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// loginTries is how often an account is read anew because it changed between the
// check of its password and the opening of its session.
const loginTries = 3

type loginInput struct {
	identity.CookieInput
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      Login
}

// Login is what signs in.
type Login struct {
	Email    string `json:"email" maxLength:"254" example:"ada@example.com"`
	Password string `json:"password"`
}

func (a *accounts) login(ctx context.Context, in *loginInput) (*signedInOutput, error) {
	var wrong faults
	email := wrong.email(in.Body.Email)
	wrong.passwordLength("body.password", in.Body.Password)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	return a.enter(ctx, email, in.Body.Password, in.CookieInput, in.UserAgent, signIn)
}

// open opens a session for an account whose password was proved. There is no row if
// the account has changed since it was read.
type open func(ctx context.Context, db postgres.DB, a account, o opening) (identity.Session, Profile, error)

// enter has whoever knows the password of an account in, within the limits of
// attempts at it.
func (a *accounts) enter(ctx context.Context, email address, password string, cookies identity.CookieInput, userAgent string, open open) (*signedInOutput, error) {
	attempt, device, err := a.admit(ctx, email, cookies)
	if err != nil {
		return nil, err
	}
	opening, err := a.opening(ctx, cookies, userAgent)
	if err != nil {
		return nil, err
	}
	for range loginTries {
		account, err := findAccount(ctx, a.db, email)
		if err != nil {
			return nil, err
		}
		if device.Epoch != account.epoch && device.ID != uuid.Nil {
			// Who knew an older password has no attempts at the new one.
			device = identity.Device{}
			if attempt, _, err = a.admit(ctx, email, identity.CookieInput{}); err != nil {
				return nil, err
			}
		}
		account, err = a.proved(ctx, account, password)
		if errors.Is(err, errWrongCredentials) {
			attempt.Failed(ctx)
		}
		if err != nil {
			return nil, err
		}
		session, profile, err := open(ctx, a.db, account, opening)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		attempt.Succeeded(ctx)
		return a.grant(ctx, session, profile)
	}
	return nil, errAccountChanging
}

var errAccountChanging = &fault.Error{
	Kind: fault.Unavailable, Code: "account_changing", RetryAfter: time.Second,
	Detail: "The account is being changed from elsewhere. Try again.",
}

var errWrongCredentials = fault.New(fault.Unauthenticated, "wrong_credentials", "The e-mail address or the password is wrong.")

// proved returns the account if it is its password. For an account that is unknown,
// disabled or without a password it does the same work and gives the same answer as
// for a wrong password, so that nobody learns which addresses have accounts.
func (a *accounts) proved(ctx context.Context, found account, password string) (account, error) {
	stored := found.hash
	if !found.exists() || found.hash == "" {
		stored = dummyHash()
	}
	fits, err := a.hasher.check(ctx, password, stored)
	if err != nil {
		return account{}, err
	}
	if !fits || !found.exists() || found.disabled {
		if err := recordFailure(ctx, a.db, "login_failed", found, found.whyRefused(fits)); err != nil {
			return account{}, err
		}
		return account{}, errWrongCredentials
	}
	if isCurrent(stored) {
		return found, nil
	}
	return a.upgrade(ctx, found, password)
}

// upgrade keeps the password under a hash of today's cost. If the account has
// changed in the meantime, signing in finds that out.
func (a *accounts) upgrade(ctx context.Context, found account, password string) (account, error) {
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return account{}, err
	}
	if err := replaceHash(ctx, a.db, found, hash); err != nil {
		return account{}, err
	}
	found.hash = hash
	return found, nil
}
