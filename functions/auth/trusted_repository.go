package auth

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

// trustedRepositories are those whose jobs report for a team, without a secret.
type trustedRepositories struct{ teams }

func (r trustedRepositories) route(api *httpapi.API) {
	const path = "/api/auth/teams/{team}/trusted-repositories"
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "trust-repository", Method: http.MethodPost, Path: path, Security: httpapi.Bearer, DefaultStatus: http.StatusCreated,
		Tags: []string{"tokens"}, Summary: "Trust a repository's jobs",
		Description: "Jobs of GitHub Actions in it then report for the team, with tokens of GitHub's. gh api repos/OWNER/NAME --jq '.id, .owner.id' prints both numbers. " +
			"A repeat is answered the same, and takes on another name. A team trusts at most 200.",
		Errors: onChange,
	}, &teamUser), access.Owner), r.trust)
	httpapi.Register(api, access.For(huma.Operation{
		OperationID: "list-trusted-repositories", Method: http.MethodGet, Path: path, Security: httpapi.Bearer,
		Tags: []string{"tokens"}, Summary: "List the repositories that the team trusts", Errors: onTeam,
	}, access.Owner), r.list)
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "distrust-repository", Method: http.MethodDelete, Path: path + "/{repository}", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"tokens"}, Summary: "Trust a repository no more",
		Description: "Holds for every report that comes once this is answered. One that is not trusted is answered the same.", Errors: onTeam,
	}, &teamUser), access.Owner), r.distrust)
}

// TrustedRepository is one as owners see it.
type TrustedRepository struct {
	ID           string    `json:"id" format:"uuid"`
	RepositoryID string    `json:"repository_id" example:"74" doc:"The number of the repository at GitHub."`
	OwnerID      string    `json:"repository_owner_id" example:"65" doc:"The number of its owner."`
	Name         string    `json:"name" example:"acme/shop" doc:"For people: what counts are the numbers."`
	Environment  string    `json:"environment" doc:"That a job has to name; empty where that does not matter."`
	By           string    `json:"by" doc:"Who said so; empty if they have no account any more."`
	CreatedAt    time.Time `json:"created_at"`
}

type trustInput struct {
	TeamInput
	Body struct {
		RepositoryID string `json:"repository_id" pattern:"^[1-9][0-9]{0,18}$" patternDescription:"the number of a repository" example:"74"`
		OwnerID      string `json:"repository_owner_id" pattern:"^[1-9][0-9]{0,18}$" patternDescription:"the number of its owner" example:"65"`
		Name         string `json:"name" minLength:"1" maxLength:"200" example:"acme/shop"`
		Environment  string `json:"environment,omitempty" maxLength:"255" example:"production" doc:"Trust only jobs that name this environment, whose rules GitHub keeps. By default any job that is not for a pull request."`
	}
}

type trustOutput struct{ Body TrustedRepository }

func (r trustedRepositories) trust(ctx context.Context, in *trustInput) (*trustOutput, error) {
	var wrong faults
	told := trusted{
		repository: wrong.number("body.repository_id", in.Body.RepositoryID), owner: wrong.number("body.repository_owner_id", in.Body.OwnerID),
		name: wrong.name("body.name", in.Body.Name),
	}
	if in.Body.Environment != "" {
		told.environment = wrong.name("body.environment", in.Body.Environment)
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	saved, err := r.saveTrusted(ctx, in.Team, told)
	if err == nil && saved == nil {
		err = tooMany("repositories that a team trusts", trustedMost, "Take one away first.")
	}
	if err != nil {
		return nil, err
	}
	return &trustOutput{*saved}, nil
}

// number takes the number of something at GitHub, which is written as text: not all
// of them have room in a JavaScript number.
func (f *faults) number(location, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f.add(location, "must be a number that GitHub gives, and those are smaller")
	}
	return n
}

// TrustedRepositories are those of a team.
type TrustedRepositories struct {
	Repositories []TrustedRepository `json:"repositories" nullable:"false" doc:"By name."`
}

type trustedOutput struct{ Body TrustedRepositories }

func (r trustedRepositories) list(ctx context.Context, in *TeamInput) (*trustedOutput, error) {
	found, err := r.trusted(ctx, in.Team)
	if err != nil {
		return nil, err
	}
	return &trustedOutput{TrustedRepositories{found}}, nil
}

type distrustInput struct {
	TeamInput
	Repository uuid.UUID `path:"repository" format:"uuid" doc:"Its id here, from the list."`
}

func (r trustedRepositories) distrust(ctx context.Context, in *distrustInput) (*struct{}, error) {
	return nil, r.deleteTrusted(ctx, in.Team, in.Repository)
}
