package auth

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

type registerInput struct {
	identity.CookieInput
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      Registration
}

// Registration is what opens an account.
type Registration struct {
	Email    string  `json:"email" maxLength:"254" example:"ada@example.com"`
	Password string  `json:"password" minLength:"8" maxLength:"256" doc:"8 characters to 256 bytes, taken as they are."`
	Name     string  `json:"name" minLength:"1" maxLength:"100"`
	Team     string  `json:"team,omitempty" maxLength:"100" doc:"The name of the account's first team; not with an invitation, which leads into one."`
	TimeZone *string `json:"time_zone,omitempty" example:"Europe/Berlin" doc:"The team's time zone, an IANA name; UTC if absent."`
	Link     string  `json:"link,omitempty" maxLength:"200" example:"dd_lnk_…" doc:"An invitation, or a link that an operator made: what stands behind its =."`
}

// account returns the account that the registration asks for, without its password.
func (r Registration) account(wrong *faults) newAccount {
	account := newAccount{
		email:    wrong.newEmail(r.Email),
		name:     wrong.name("body.name", r.Name),
		timeZone: "UTC",
	}
	if r.Team != "" || r.Link == "" {
		account.team = wrong.name("body.team", r.Team)
	}
	if r.TimeZone != nil {
		account.timeZone = wrong.timeZone(*r.TimeZone)
	}
	return account
}

func (a *accounts) register(ctx context.Context, in *registerInput) (*signedInOutput, error) {
	var wrong faults
	account := in.Body.account(&wrong)
	wrong.password("body.password", in.Body.Password, in.Body.Email)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	return a.open(ctx, account, in.Body.Link, in.Body.Password, in.CookieInput, in.UserAgent)
}

// open opens an account, with a link where one is needed, and with a password unless
// that is empty.
func (a *accounts) open(ctx context.Context, account newAccount, link, password string, cookies identity.CookieInput, userAgent string) (*signedInOutput, error) {
	if err := a.mayRegister(link); err != nil {
		return nil, err
	}
	if link != "" {
		secret, err := linkDigest("body.link", link)
		if err != nil {
			return nil, err
		}
		// Before a password is hashed, which is much work for a bad link.
		if err := checkLink(ctx, a.db, secret, account.team, registrationLinks(a.registration)); err != nil {
			return nil, err
		}
		account.link = secret.Bytes()
	}
	if _, _, err := a.admit(ctx, account.email, cookies); err != nil {
		return nil, err
	}
	opening, err := a.opening(ctx, cookies, userAgent)
	if err != nil {
		return nil, err
	}
	if password != "" {
		if account.hash, err = a.hasher.hash(ctx, password); err != nil {
			return nil, err
		}
	}
	account.kinds = registrationLinks(a.registration)
	session, profile, err := openAccount(ctx, a.db, account, opening)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // the link was used meanwhile, or the team is full
		if err := checkLink(ctx, a.db, access.Digest(account.link), account.team, account.kinds); err != nil {
			return nil, err
		}
		return nil, tooMany("members of a team", membersMost, "An owner can remove somebody.")
	case postgres.Violates(err, "users_email_key"):
		return nil, fault.New(fault.Conflict, "email_taken", "There is an account with this e-mail address. Sign in, or use another address.")
	case postgres.Violates(err, identityTaken):
		return nil, fault.New(fault.Conflict, "github_taken", "This GitHub account has an account here already. Sign in with GitHub.")
	case unknownTimeZone(err):
		return nil, fault.InvalidField("body.time_zone", timeZoneRule)
	case err != nil:
		return nil, err
	}
	return a.grant(ctx, session, profile)
}

// opening gathers what a new session is opened with. It fails if there would be no
// tokens for it.
func (a *accounts) opening(ctx context.Context, cookie identity.CookieInput, userAgent string) (opening, error) {
	if err := a.signer.Ready(ctx); err != nil {
		return opening{}, err
	}
	replaced, err := cookie.Sessions(ctx, a.signer)
	return opening{replaces: replaced, userAgent: clip(userAgent)}, err
}

// checkLink refuses a link with which nobody may register, and one that wants a team
// and has none.
func checkLink(ctx context.Context, db postgres.DB, secret access.Digest, team string, kinds []string) error {
	l, _, err := showLink(ctx, db, secret)
	if err != nil {
		return err
	}
	if l.good && l.kind == "invitation" && !slices.Contains(kinds, l.kind) {
		return fault.New(fault.Forbidden, "registration_closed", "No accounts are opened here. Who has an account can accept the invitation once signed in.")
	}
	if err := l.judge(kinds...); err != nil {
		return err
	}
	if l.kind == "owner" && team == "" {
		return fault.InvalidField("body.team", "must be the name of the team that the account begins with")
	}
	return nil
}
