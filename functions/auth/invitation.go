package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
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

// invitations are links into a team.
type invitations struct{ teams }

func (i invitations) route(api *httpapi.API) {
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "invite", Method: http.MethodPost, Path: "/api/auth/teams/{team}/invitations", Security: httpapi.Bearer, DefaultStatus: http.StatusCreated,
		Tags: []string{"teams"}, Summary: "Invite somebody",
		Description: "Makes a link that lets one person into the team, once, within 7 days and while the caller is an owner. It is shown here and never again. A team has at most 100 open ones.",
		Errors:      onChange,
	}, &teamUser), access.Owner), i.create)
	httpapi.Register(api, access.For(huma.Operation{
		OperationID: "list-invitations", Method: http.MethodGet, Path: "/api/auth/teams/{team}/invitations", Security: httpapi.Bearer,
		Tags: []string{"teams"}, Summary: "List the open invitations", Errors: onTeam,
	}, access.Owner), i.list)
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "revoke-invitation", Method: http.MethodDelete, Path: "/api/auth/teams/{team}/invitations/{invitation}", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"teams"}, Summary: "Take an invitation back",
		Description: "One that was used, taken back or has expired is answered the same.", Errors: onTeam,
	}, &teamUser), access.Owner), i.revoke)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "show-link", Method: http.MethodPost, Path: "/api/auth/links/show", Security: httpapi.Public,
		Tags: []string{"auth"}, Summary: "Show what a link is good for",
		Description: "Uses nothing up.", Errors: onLink,
	}, &linkAddress), i.show)
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "accept-invitation", Method: http.MethodPost, Path: "/api/auth/invitations/accept", Security: httpapi.Bearer,
		Tags: []string{"teams"}, Summary: "Accept an invitation",
		Description: "Makes the caller a member. Who is one already is told so, and the link stays good. Without an account, register with the link.",
		Errors:      slices.Concat(onLink, []int{http.StatusUnauthorized, http.StatusConflict}),
	}, &teamUser), i.accept)
}

var onLink = []int{http.StatusNotFound, http.StatusGone, http.StatusServiceUnavailable}

// Invitation is an open invitation as owners see it.
type Invitation struct {
	ID        string    `json:"id" format:"uuid"`
	Role      string    `json:"role" enum:"owner,editor,viewer"`
	For       string    `json:"for" doc:"Whom it is for, in the inviter's words."`
	By        string    `json:"by" doc:"Who made it; empty if they have no account any more."`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// NewInvitation is an invitation and its link, which is shown this once.
type NewInvitation struct {
	Invitation
	Link string `json:"link" example:"/#invitation=dd_lnk_…" doc:"To be opened at this very address: whoever has it may use it. What is behind the # never reaches a server's log."`
}

type inviteInput struct {
	TeamInput
	Body struct {
		Role string `json:"role" enum:"owner,editor,viewer"`
		For  string `json:"for,omitempty" maxLength:"100" doc:"Whom it is for, for you to remember."`
	}
}

type inviteOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         NewInvitation
}

func (i invitations) create(ctx context.Context, in *inviteInput) (*inviteOutput, error) {
	var wrong faults
	forWhom := ""
	if in.Body.For != "" {
		forWhom = wrong.name("body.for", in.Body.For)
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	secret := access.NewSecret(access.LinkPrefix)
	made, room, err := i.invite(ctx, in.Team, in.Body.Role, forWhom, access.DigestOf(secret))
	if err == nil && !room {
		err = tooMany("open invitations of a team", invitationsMost, "Take one back first.")
	}
	if err != nil {
		return nil, err
	}
	return &inviteOutput{"no-store", NewInvitation{made, linkPath("invitation", secret)}}, nil
}

// linkPath is where the page takes a link.
func linkPath(kind, secret string) string { return "/#" + kind + "=" + secret }

// Invitations are those of a team that somebody may still accept.
type Invitations struct {
	Invitations []Invitation `json:"invitations" nullable:"false" doc:"The newest first."`
}

type invitationsOutput struct{ Body Invitations }

func (i invitations) list(ctx context.Context, in *TeamInput) (*invitationsOutput, error) {
	found, err := i.openInvitations(ctx, in.Team)
	if err != nil {
		return nil, err
	}
	return &invitationsOutput{Invitations{found}}, nil
}

type invitationInput struct {
	TeamInput
	Invitation uuid.UUID `path:"invitation" format:"uuid"`
}

func (i invitations) revoke(ctx context.Context, in *invitationInput) (*struct{}, error) {
	known, err := i.revokeInvitation(ctx, in.Team, in.Invitation)
	if err == nil && !known {
		err = fault.New(fault.NotFound, "not_found", "The team has no such invitation. GET its invitations to list the open ones.")
	}
	return nil, err
}

// ShownLink says what a link is good for.
type ShownLink struct {
	Kind      string    `json:"kind" enum:"owner,invitation,password"`
	Team      string    `json:"team" doc:"Of an invitation: into which team."`
	Role      string    `json:"role" enum:",owner,editor,viewer" doc:"Of an invitation: as what."`
	By        string    `json:"by" doc:"Who made it, if it was a member."`
	ExpiresAt time.Time `json:"expires_at"`
}

type linkInput struct {
	Body struct {
		Link string `json:"link" maxLength:"200" example:"dd_lnk_…" doc:"What stands behind the = of the link."`
	}
}

type showOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         ShownLink
}

func (i invitations) show(ctx context.Context, in *linkInput) (*showOutput, error) {
	secret, err := linkDigest("body.link", in.Body.Link)
	if err != nil {
		return nil, err
	}
	l, shown, err := showLink(ctx, i.db, secret)
	if err == nil {
		err = l.judge()
	}
	if err != nil {
		return nil, err
	}
	return &showOutput{"no-store", shown}, nil
}

// linkDigest refuses what is no link of ours without asking anybody.
func linkDigest(location, secret string) (access.Digest, error) {
	if _, whole := access.IsSecret(access.LinkPrefix, secret); !whole {
		return access.Digest{}, fault.InvalidField(location, "is no whole link: it begins with "+access.LinkPrefix+" and ends with a checksum. Copy it again, to its end.")
	}
	return access.DigestOf(secret), nil
}

// judge tells why a link is good for nothing, if so.
func (l link) judge(kinds ...string) error {
	const remedy = " Ask for a new one."
	switch {
	case l.kind == "":
		return fault.New(fault.NotFound, "link_unknown", "This link is not known here. It may be of another installation, or it has been removed since it expired."+remedy)
	case l.used:
		return fault.New(fault.Gone, "link_used", "This link was used, and is good for one time."+remedy)
	case l.revoked:
		return fault.New(fault.Gone, "link_revoked", "This link was taken back."+remedy)
	case !l.good:
		return fault.New(fault.Gone, "link_expired", "This link has expired, or who made it could not make it any more."+remedy)
	}
	for _, kind := range kinds {
		if l.kind == kind {
			return nil
		}
	}
	if len(kinds) > 0 {
		return fault.New(fault.NotFound, "link_unknown", "This link is for something else. Open it where it leads.")
	}
	return nil
}

func (i invitations) accept(ctx context.Context, in *linkInput) (*teamOutput, error) {
	secret, err := linkDigest("body.link", in.Body.Link)
	if err != nil {
		return nil, err
	}
	a, err := accept(ctx, i.db, access.CallerOf(ctx), secret)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, identity.ErrSessionEnded
	case postgres.Violates(err, "memberships_user_id_fkey"): // the account was deleted at this moment
		return nil, identity.ErrSessionEnded
	case err != nil:
		return nil, err
	case a.team != nil:
		return &teamOutput{*a.team}, nil
	}
	if err := a.link.judge("invitation"); err != nil {
		return nil, err
	}
	if a.full == "account" {
		return nil, tooMany("teams that an account can be in", teamsMost, "Leave one first.")
	}
	return nil, tooMany("members of a team", membersMost, "An owner can remove somebody.")
}
