package auth

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
)

type changePasswordInput struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      PasswordChange
}

// PasswordChange is what gives an account another password.
type PasswordChange struct {
	Current string `json:"current_password" doc:"The password that the account has."`
	New     string `json:"new_password" minLength:"8" maxLength:"256" doc:"8 characters to 256 bytes, taken as they are."`
}

func (p PasswordChange) validate(email string) error {
	var wrong faults
	wrong.passwordLength("body.current_password", p.Current)
	wrong.password("body.new_password", p.New, email)
	if p.New == p.Current {
		wrong.add("body.new_password", "must differ from the current password")
	}
	return wrong.err()
}

// changePassword ends every session of the account, also those that are being
// opened with the old password at this moment, and opens a new one for the
// caller.
func (a *accounts) changePassword(ctx context.Context, in *changePasswordInput) (*signedInOutput, error) {
	// Before the database is asked for the address, which the rules also need.
	if err := in.Body.validate(""); err != nil {
		return nil, err
	}
	opening, err := a.opening(ctx, identity.CookieInput{}, in.UserAgent)
	if err != nil {
		return nil, err
	}
	caller := access.CallerOf(ctx)
	for range loginTries {
		found, email, err := findCaller(ctx, a.db, caller)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, identity.ErrSessionEnded
		}
		if err != nil {
			return nil, err
		}
		if err := in.Body.validate(email); err != nil {
			return nil, err
		}
		if err := a.reprove(ctx, found, in.Body.Current); err != nil {
			return nil, err
		}
		hash, err := a.hasher.hash(ctx, in.Body.New)
		if err != nil {
			return nil, err
		}
		session, profile, err := replacePassword(ctx, a.db, caller, found, hash, a.mails, opening)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return a.grant(ctx, session, profile)
	}
	return nil, errAccountChanging
}

// reprove asks somebody who is signed in for their password once more: an access
// token that was left open must not be enough to take the account over.
func (a *accounts) reprove(ctx context.Context, found account, password string) error {
	if found.hash == "" {
		return fault.New(fault.Forbidden, "no_password", "This account has no password. Whoever has forgotten theirs is given a link that sets one, and so are you.")
	}
	fits, err := a.hasher.check(ctx, password, found.hash)
	if err != nil || fits {
		return err
	}
	if err := recordFailure(ctx, a.db, "password_change_failed", found, "wrong_password"); err != nil {
		return err
	}
	return fault.New(fault.Forbidden, "wrong_password", "The current password is wrong. Nothing was changed.")
}
