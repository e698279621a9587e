package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

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

// teams is what the routes of teams work with.
type teams struct{ db *postgres.Database }

// TeamInput names a team in the path. It is exported for huma, which fills in no others where one is embedded.
type TeamInput struct {
	Team uuid.UUID `path:"team" format:"uuid"`
}

var (
	onTeam   = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable}
	onChange = slices.Clip(append(onTeam, http.StatusConflict))
)

func (t teams) route(api *httpapi.API) {
	httpapi.Register(api, ratelimit.On(huma.Operation{
		OperationID: "create-team", Method: http.MethodPost, Path: "/api/auth/teams", Security: httpapi.Bearer, DefaultStatus: http.StatusCreated,
		Tags: []string{"teams"}, Summary: "Make a team",
		Description: "The caller is its owner. An account is in at most 50 teams.",
		Errors:      []int{http.StatusUnauthorized, http.StatusConflict, http.StatusServiceUnavailable},
	}, &teamUser), t.create)
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "rename-team", Method: http.MethodPatch, Path: "/api/auth/teams/{team}", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"teams"}, Summary: "Rename a team", Errors: onTeam,
	}, &teamUser), access.Owner), t.patch)
	httpapi.Register(api, access.For(huma.Operation{
		OperationID: "list-members", Method: http.MethodGet, Path: "/api/auth/teams/{team}/members", Security: httpapi.Bearer,
		Tags: []string{"teams"}, Summary: "List who belongs to a team", Errors: onTeam,
	}, access.Viewer), t.listMembers)
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "change-role", Method: http.MethodPatch, Path: "/api/auth/teams/{team}/members/{user}", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"teams"}, Summary: "Give a member another role",
		Description: "Holds from the member's next request on. The last owner stays one.", Errors: onChange,
	}, &teamUser), access.Owner), t.changeRole)
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "remove-member", Method: http.MethodDelete, Path: "/api/auth/teams/{team}/members/{user}", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"teams"}, Summary: "Remove a member from a team",
		Description: "Holds from the member's next request on. The last owner stays. Somebody who is no member is answered the same.", Errors: onChange,
	}, &teamUser), access.Owner), t.removeMember)
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "transfer-team", Method: http.MethodPost, Path: "/api/auth/teams/{team}/transfer", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"teams"}, Summary: "Hand a team over",
		Description: "Makes a member an owner and the caller an editor, in one step.", Errors: onChange,
	}, &teamUser), access.Owner), t.handOver)
	httpapi.Register(api, access.For(ratelimit.On(huma.Operation{
		OperationID: "leave-team", Method: http.MethodPost, Path: "/api/auth/teams/{team}/leave", Security: httpapi.Bearer, DefaultStatus: http.StatusNoContent,
		Tags: []string{"teams"}, Summary: "Leave a team",
		Description: "The last owner cannot: they make somebody else an owner first.", Errors: onChange,
	}, &teamUser), access.Viewer), t.leaveTeam)
}

type createTeamInput struct {
	Body struct {
		Name     string  `json:"name" minLength:"1" maxLength:"100"`
		TimeZone *string `json:"time_zone,omitempty" example:"Europe/Berlin" doc:"An IANA name; UTC if absent."`
	}
}

type teamOutput struct{ Body Team }

func (t teams) create(ctx context.Context, in *createTeamInput) (*teamOutput, error) {
	var wrong faults
	name, zone := wrong.name("body.name", in.Body.Name), "UTC"
	if in.Body.TimeZone != nil {
		zone = wrong.timeZone(*in.Body.TimeZone)
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	team, err := newTeam(ctx, t.db, access.CallerOf(ctx), name, zone)
	switch {
	case errors.Is(err, pgx.ErrNoRows), postgres.Violates(err, "memberships_user_id_fkey"): // the account was deleted at this moment
		return nil, identity.ErrSessionEnded
	case unknownTimeZone(err):
		return nil, fault.InvalidField("body.time_zone", timeZoneRule)
	case err != nil:
		return nil, err
	case team == nil:
		return nil, tooMany("teams that an account can be in", teamsMost, "Leave one first.")
	}
	return &teamOutput{*team}, nil
}

// tooMany refuses one more of something.
func tooMany(what string, most int, remedy string) error {
	return fault.New(fault.Conflict, "too_many", fmt.Sprintf("The number of %s is at most %d. %s", what, most, remedy))
}

type patchTeamInput struct {
	TeamInput
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100"`
	}
}

func (t teams) patch(ctx context.Context, in *patchTeamInput) (*struct{}, error) {
	var wrong faults
	name := wrong.name("body.name", in.Body.Name)
	if err := wrong.err(); err != nil {
		return nil, err
	}
	return nil, t.rename(ctx, in.Team, name)
}
