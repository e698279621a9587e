package auth

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/postgres"
)

// The ways of REGISTRATION. A link that an operator makes opens an account in each
// of them.
const (
	openToAll  = "open"
	withInvite = "invite"
	closed     = "closed"
)

// registrationNeed says who may open an account. Closed unless somebody decides
// otherwise: what stands on the internet is found within the hour.
var registrationNeed = function.Need{Name: "registration", Settings: []function.Setting{
	{Name: "REGISTRATION", Default: closed, Doc: "who may open an account: open (anybody), invite (who has an invitation), or closed (who has a link that an operator made)"},
}, Check: func(setting func(string) string) []error {
	if mode := setting("REGISTRATION"); !slices.Contains([]string{openToAll, withInvite, closed}, mode) {
		return []error{fmt.Errorf("REGISTRATION must be open, invite or closed, not %q", mode)}
	}
	return nil
}}

// registrationLinks are the kinds of link with which one may register.
func registrationLinks(mode string) []string {
	if mode == closed {
		return []string{"owner"}
	}
	return []string{"owner", "invitation"}
}

// RegistrationRule says who may open an account here.
type RegistrationRule struct {
	Mode   string `json:"mode" enum:"open,invite,closed" doc:"open: anybody; invite: who has an invitation; closed: who has a link that an operator made."`
	GitHub bool   `json:"github" doc:"Whether people sign in with GitHub: GET /api/auth/github/start."`
	Mail   bool   `json:"mail" doc:"Whether a link for a forgotten password is mailed; if not, an owner of the team makes one."`
}

type registrationOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         RegistrationRule
}

func (a *accounts) routeRegistration(api *httpapi.API) {
	httpapi.Register(api, huma.Operation{
		OperationID: "registration", Method: http.MethodGet, Path: "/api/auth/registration", Security: httpapi.Public,
		Tags: []string{"auth"}, Summary: "Show who may open an account",
	}, func(context.Context, *struct{}) (*registrationOutput, error) {
		return &registrationOutput{"no-store", RegistrationRule{Mode: a.registration, GitHub: a.github != nil, Mail: a.mails}}, nil
	})
}

// mayRegister refuses who comes without a link where one is needed.
func (a *accounts) mayRegister(link string) error {
	if link != "" || a.registration == openToAll {
		return nil
	}
	if a.registration == withInvite {
		return fault.New(fault.Forbidden, "registration_by_invitation", "Accounts are opened by invitation here. Ask an owner of your team for a link.")
	}
	return fault.New(fault.Forbidden, "registration_closed", "No accounts are opened here. Whoever operates this installation can make a link that opens one.")
}

// NewOwnerLink makes a link with which one person opens an account and a team,
// whatever REGISTRATION says: for the operator's command.
func NewOwnerLink(ctx context.Context, db postgres.DB, secret []byte) error {
	_, err := db.Exec(ctx, `
WITH l AS (
  INSERT INTO links (kind, secret_hash, expires_at) VALUES ('owner', $1, now() + $2::interval) RETURNING id
)
INSERT INTO auth_events (kind, detail) SELECT 'owner_link_made', jsonb_build_object('link', id, 'by', 'operator') FROM l`, secret, ownerLifetime)
	return err
}
