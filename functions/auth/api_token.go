package auth

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

// apiTokens are what a team's scripts send in place of a session.
type apiTokens struct{ teams }

func (k apiTokens) route(api *httpapi.API) {
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "make-token", Method: http.MethodPost, Path: "/api/auth/teams/{team}/tokens", Security: httpapi.Bearer, DefaultStatus: http.StatusCreated,
		Tags: []string{"tokens"}, Summary: "Make an API token",
		Description: "The token is shown here and never again. It is the team's and outlives its maker's membership. A team has at most 50 good ones.",
		Errors:      onChange,
	}, &teamUser), access.Owner), k.create)
	httpapi.Register(api, access.For(huma.Operation{
		OperationID: "list-tokens", Method: http.MethodGet, Path: "/api/auth/teams/{team}/tokens", Security: httpapi.Bearer,
		Tags: []string{"tokens"}, Summary: "List the API tokens that are good", Errors: onTeam,
	}, access.Owner), k.list)
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "revoke-token", Method: http.MethodDelete, Path: "/api/auth/teams/{team}/tokens/{token}", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"tokens"}, Summary: "Revoke an API token",
		Description: "Holds for every request that comes once this is answered. One that was revoked or has expired is answered the same.", Errors: onTeam,
	}, &teamUser), access.Owner), k.revoke)
}

// APIToken is a token as owners see it.
type APIToken struct {
	ID         string     `json:"id" format:"uuid"`
	Name       string     `json:"name"`
	Scope      string     `json:"scope" enum:"read,report"`
	By         string     `json:"by" doc:"Who made it; empty if they have no account any more."`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  time.Time  `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at" doc:"By the minute; null before the first time."`
}

// NewAPIToken is a token and its secret, which is shown this once.
type NewAPIToken struct {
	APIToken
	Token string `json:"token" example:"dd_pat_…" doc:"Send it as Authorization: Bearer."`
}

type makeTokenInput struct {
	TeamInput
	Body struct {
		Name  string `json:"name" minLength:"1" maxLength:"100" example:"nightly report"`
		Scope string `json:"scope" enum:"read,report" doc:"read answers questions; report tells of deployments and incidents. Neither includes the other."`
		Days  int    `json:"days,omitempty" minimum:"1" maximum:"366" default:"90" doc:"How long it is good."`
	}
}

type makeTokenOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         NewAPIToken
}

func (k apiTokens) create(ctx context.Context, in *makeTokenInput) (*makeTokenOutput, error) {
	var wrong faults
	token := APIToken{Name: wrong.name("body.name", in.Body.Name), Scope: in.Body.Scope}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	secret := access.NewSecret(access.TokenPrefix)
	made, room, err := k.makeToken(ctx, in.Team, token, time.Duration(in.Body.Days)*24*time.Hour, access.DigestOf(secret))
	if err == nil && !room {
		err = tooMany("API tokens of a team", tokensMost, "Revoke one first.")
	}
	if err != nil {
		return nil, err
	}
	return &makeTokenOutput{"no-store", NewAPIToken{made, secret}}, nil
}

// APITokens are those of a team.
type APITokens struct {
	Tokens []APIToken `json:"tokens" nullable:"false" doc:"The newest first."`
}

type apiTokensOutput struct{ Body APITokens }

func (k apiTokens) list(ctx context.Context, in *TeamInput) (*apiTokensOutput, error) {
	found, err := k.tokens(ctx, in.Team)
	if err != nil {
		return nil, err
	}
	return &apiTokensOutput{APITokens{found}}, nil
}

type tokenInput struct {
	TeamInput
	Token uuid.UUID `path:"token" format:"uuid"`
}

func (k apiTokens) revoke(ctx context.Context, in *tokenInput) (*struct{}, error) {
	known, err := k.revokeToken(ctx, in.Team, in.Token)
	if err == nil && !known {
		err = fault.New(fault.NotFound, "not_found", "The team has no such token. GET its tokens to list the good ones.")
	}
	return nil, err
}
