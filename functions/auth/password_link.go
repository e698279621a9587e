package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/identity"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

// passwordLinks give a forgotten password's owner another.
type passwordLinks struct {
	teams
	accounts *accounts
}

func (p passwordLinks) route(api *httpapi.API) {
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "make-password-link", Method: http.MethodPost, Path: "/api/auth/teams/{team}/members/{user}/password-link", Security: httpapi.Bearer, DefaultStatus: http.StatusCreated,
		Tags: []string{"teams"}, Summary: "Make a link for a forgotten password",
		Description: "Whoever has the link sets the member's password, once, within an hour, and while the caller could make it. It is made for members who belong to no team but those that the caller owns: it opens all that the member may see.",
		Errors:      onChange,
	}, &teamUser), access.Owner), p.create)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "reset-password", Method: http.MethodPost, Path: "/api/auth/password/reset", Security: httpapi.Public,
		Tags: []string{"auth"}, Summary: "Set a password by a link",
		Description: "Ends all sessions of the account and opens one for the caller: the answer is that of signing in.", Errors: onLink,
	}, &linkAddress), p.reset)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "forgot-password", Method: http.MethodPost, Path: "/api/auth/password/forgot", Security: httpapi.Public, DefaultStatus: http.StatusAccepted,
		Tags: []string{"auth"}, Summary: "Ask for a link to set a password",
		Description: "Mails the link to the address, within minutes, if there is an account of it; three an hour at most. Whether there is one the answer does not tell.",
		Errors:      []int{http.StatusServiceUnavailable},
	}, &forgotAddress, &forgotNetwork), p.forgot)
}

// PasswordLink is a link that sets a password, shown this once.
type PasswordLink struct {
	Link      string    `json:"link" example:"/#password=dd_lnk_…"`
	ExpiresAt time.Time `json:"expires_at"`
}

type passwordLinkOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         PasswordLink
}

func (p passwordLinks) create(ctx context.Context, in *MemberInput) (*passwordLinkOutput, error) {
	if in.User == access.CallerOf(ctx).User {
		// An access token that was left open must not be enough to take the account over.
		return nil, fault.InvalidField("path.user", "must be somebody else: PUT /api/auth/password changes your own, and an operator can make a link")
	}
	secret := access.NewSecret(access.LinkPrefix)
	o, expires, err := p.linkForMember(ctx, in.Team, in.User, access.DigestOf(secret))
	switch {
	case err != nil:
		return nil, err
	case !o.act || o.before == nil:
		return nil, o.judge(true)
	case expires == nil:
		return nil, fault.New(fault.Forbidden, "belongs_elsewhere", "This member also belongs to a team that you do not own, and the link would open it. Whoever operates this installation can make one.")
	}
	return &passwordLinkOutput{"no-store", PasswordLink{linkPath("password", secret), expires.UTC()}}, nil
}

// linkForMember makes a link that sets a member's password, and ends the ones before
// it. There is none if the member belongs to a team that the caller does not own.
func (t teams) linkForMember(ctx context.Context, team, member uuid.UUID, secret access.Digest) (o outcome, expires *time.Time, err error) {
	err = t.inTeam(ctx, team, owners+`,
	l AS (
		INSERT INTO links (kind, secret_hash, user_id, created_by, expires_at)
		SELECT 'password', @secret, target.user_id, @caller, now() + @lifetime::interval FROM target, may
		WHERE may.act AND `+ownsAllOf("@caller", "target.user_id")+`
		RETURNING id, expires_at, jsonb_build_object('user', user_id, 'link', id) AS detail),
	older AS (
		UPDATE links SET revoked_at = clock_timestamp() FROM l
		WHERE links.kind = 'password' AND links.user_id = @user AND links.used_at IS NULL AND links.revoked_at IS NULL),
	audit AS (`+note+`l)
	SELECT may.act, may.spare, target.role, l.expires_at FROM team CROSS JOIN may LEFT JOIN target ON true LEFT JOIN l ON true`,
		pgx.NamedArgs{"kind": "password_link_made", "user": member, "secret": secret.Bytes(), "lifetime": passwordLifetime},
		&o.act, &o.spare, &o.before, &expires)
	return o, expires, err
}

// NewPasswordLink makes a link that sets the password of the account with an e-mail
// address, for the operator's command. It fails if there is none.
func NewPasswordLink(ctx context.Context, db postgres.DB, email string, secret []byte) error {
	address, err := parseAddress(email)
	if err != nil {
		return errors.New("the e-mail address " + err.Error())
	}
	var found bool
	err = db.QueryRow(ctx, `
WITH u AS (SELECT id FROM users WHERE email_key = $1), older AS (
  UPDATE links SET revoked_at = clock_timestamp() FROM u WHERE links.kind = 'password' AND links.user_id = u.id AND links.used_at IS NULL AND links.revoked_at IS NULL
), l AS (
  INSERT INTO links (kind, secret_hash, user_id, expires_at) SELECT 'password', $2, u.id, now() + $3::interval FROM u RETURNING id, user_id
), audit AS (
  INSERT INTO auth_events (kind, user_id, detail) SELECT 'password_link_made', user_id, jsonb_build_object('link', id, 'by', 'operator') FROM l
)
SELECT EXISTS (SELECT FROM l)`, address.key, secret, passwordLifetime).Scan(&found)
	if err == nil && !found {
		err = errors.New("there is no account with this e-mail address")
	}
	return err
}

type resetInput struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	identity.CookieInput
	Body struct {
		Link string `json:"link" maxLength:"200" example:"dd_lnk_…" doc:"What stands behind the = of the link."`
		New  string `json:"new_password" minLength:"8" maxLength:"256" doc:"8 characters to 256 bytes, taken as they are."`
	}
}

func (p passwordLinks) reset(ctx context.Context, in *resetInput) (*signedInOutput, error) {
	secret, err := linkDigest("body.link", in.Body.Link)
	if err != nil {
		return nil, err
	}
	opening, err := p.accounts.opening(ctx, in.CookieInput, in.UserAgent)
	if err != nil {
		return nil, err
	}
	// Before a password is hashed, which is much work for a bad link.
	l, email, err := passwordOf(ctx, p.db, secret)
	if err == nil {
		err = l.judge("password")
	}
	if err != nil {
		return nil, err
	}
	var wrong faults
	wrong.password("body.new_password", in.Body.New, email)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	hash, err := p.accounts.hasher.hash(ctx, in.Body.New)
	if err != nil {
		return nil, err
	}
	session, profile, err := resetPassword(ctx, p.db, secret, hash, p.accounts.mails, opening)
	if errors.Is(err, pgx.ErrNoRows) { // it was used meanwhile
		if l, _, err = passwordOf(ctx, p.db, secret); err == nil {
			err = l.judge("password")
		}
		if err == nil { // an account that may not sign in is told what an unknown link is
			err = link{}.judge()
		}
	}
	if err != nil {
		return nil, err
	}
	return p.accounts.grant(ctx, session, profile)
}

type forgotInput struct {
	Body struct {
		Email string `json:"email" maxLength:"254" example:"ada@example.com"`
	}
}

type forgotOutput struct {
	CacheControl string `header:"Cache-Control"`
}

// forgot does the same for every address: it puts down that a link was asked for.
// Nothing is mailed while the caller waits, who could else tell by how long.
func (p passwordLinks) forgot(ctx context.Context, in *forgotInput) (*forgotOutput, error) {
	if !p.accounts.mails {
		return nil, fault.New(fault.Forbidden, "no_mail", "This installation sends no mail. An owner of your team can make a link that sets a password, and so can whoever operates it.")
	}
	var wrong faults
	email := wrong.email(in.Body.Email)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	pseudonyms, err := p.accounts.pseudonyms(ctx, email)
	if err != nil {
		return nil, err
	}
	return &forgotOutput{"no-store"}, putDownForgotten(ctx, p.db, email, pseudonyms[0])
}

// passwordOf returns a link and the address of the account whose password it sets.
func passwordOf(ctx context.Context, db postgres.DB, secret access.Digest) (l link, email string, err error) {
	err = db.QueryRow(ctx, `
WITH link AS (
  SELECT l.kind, l.team_id, l.role, l.user_id, l.created_by, l.expires_at, l.used_at, l.revoked_at, `+good+` AS good FROM links l WHERE l.secret_hash = $1
)
SELECT `+linkColumns+`, COALESCE(u.email, '') FROM (SELECT 1) one LEFT JOIN link ON true LEFT JOIN users u ON u.id = link.user_id`,
		secret.Bytes()).Scan(append(scanLink(&l), &email)...)
	return l, email, err
}

// resetPassword gives the link's account another password, ends all its sessions and
// its other links, and opens a session. There is no row if the link is good for nothing by now.
func resetPassword(ctx context.Context, db postgres.DB, secret access.Digest, hash string, mails bool, o opening) (identity.Session, Profile, error) {
	var session identity.Session
	var profile Profile
	err := db.QueryRow(ctx, `
WITH `+linkOf("$5")+`, u AS (
  UPDATE users SET password_hash = $6, session_epoch = session_epoch + 1 FROM link
   WHERE users.id = link.user_id AND link.good AND link.kind = 'password' AND users.disabled_at IS NULL
  RETURNING users.id, users.email, users.name, users.session_epoch
), used AS (
  UPDATE links SET used_at = clock_timestamp(), used_by = u.id FROM u, link WHERE links.id = link.id
), `+openSession+`, ended AS (
  UPDATE sessions SET revoked_at = s.issued_at, revoke_reason = 'password'
    FROM s WHERE sessions.user_id = s.user_id AND sessions.revoked_at IS NULL
), `+endLinks("$5")+`, `+tellChanged("$7")+`, audit AS (
  INSERT INTO auth_events (kind, user_id, session_id, detail) SELECT 'password_reset', s.user_id, s.id, jsonb_build_object('link', link.id) FROM s, link
)
SELECT `+sessionColumns+`, `+profileColumn+` FROM s, u`,
		append(o.args(), secret.Bytes(), hash, mails)...,
	).Scan(append(scanSession(&session), &profile)...)
	return session, profile, err
}
