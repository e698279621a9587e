package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

type services struct{ view }

// Services is what the caller's teams deploy.
type Services struct {
	Services []Service `json:"services"`
}

// Service is one thing that is deployed.
type Service struct {
	ID           uuid.UUID     `json:"id" format:"uuid"`
	Name         string        `json:"name"`
	DeployedBy   string        `json:"deployed_by" enum:"tag,commit" doc:"What counts as a deployment: a tag, or a commit on the main line."`
	Repository   Repository    `json:"repository"`
	Team         ServiceTeam   `json:"team"`
	Environments []Environment `json:"environments"`
	FirstDay     *string       `json:"first_day" format:"date" doc:"The first day with a deployment or a commit."`
	LastDay      *string       `json:"last_day" format:"date"`
	DirtyDays    int           `json:"dirty_days" doc:"Days whose figures are about to be computed anew."`
}

// Repository is where a service's commits are.
type Repository struct {
	ID   uuid.UUID `json:"id" format:"uuid"`
	Name string    `json:"name"`
}

// ServiceTeam is whose service it is, and where its days begin.
type ServiceTeam struct {
	ID       uuid.UUID `json:"id" format:"uuid"`
	Name     string    `json:"name"`
	TimeZone string    `json:"time_zone" example:"Europe/Berlin"`
}

// Environment is where a service is deployed to.
type Environment struct {
	ID   uuid.UUID `json:"id" format:"uuid"`
	Name string    `json:"name" example:"production"`
	Kind string    `json:"kind" enum:"production,staging,other"`
}

func (s services) route(api *httpapi.API) {
	httpapi.Register(api, question(huma.Operation{
		OperationID: "list-services", Method: http.MethodGet, Path: "/api/metrics/services", Security: httpapi.Bearer,
		Tags: []string{"metrics"}, Summary: "What your teams deploy",
		Errors: []int{http.StatusUnauthorized, http.StatusServiceUnavailable},
	}), s.list)
}

type servicesAnswer struct{ Body Services }

// The ends of rollups are asked for by environment, so that each is one step into
// an index.
const servicesSQL = `
	SELECT s.id, s.name, s.deployed_by, s.repository_id, s.repository_name, s.team_id, s.team_name, s.time_zone,
		e.environments, least(e.first_day, c.first_day), greatest(e.last_day, c.last_day), d.days
	FROM my_services s
	CROSS JOIN LATERAL (
		SELECT coalesce(jsonb_agg(jsonb_build_object('id', e.id, 'name', e.name, 'kind', e.kind) ORDER BY e.kind <> 'production', e.name), '[]') AS environments,
			min(r.first_day) AS first_day, max(r.last_day) AS last_day, array_agg(e.id) AS ids
		FROM environments e
		CROSS JOIN LATERAL (SELECT min(day) AS first_day, max(day) AS last_day FROM rollup_deployments r WHERE r.environment_id = e.id) r
		WHERE e.service_id = s.id) e
	CROSS JOIN LATERAL (SELECT min(day) AS first_day, max(day) AS last_day FROM rollup_commits r WHERE r.repository_id = s.repository_id) c
	CROSS JOIN LATERAL (
		SELECT count(*) AS days FROM (
			SELECT DISTINCT rollup, scope, day FROM dirty_days
			WHERE rollup = 'deployments' AND scope = ANY (e.ids) OR rollup = 'commits' AND scope = s.repository_id) d) d
	ORDER BY s.team_name, s.name, s.id`

func (s services) list(ctx context.Context, _ *struct{}) (*servicesAnswer, error) {
	out := &servicesAnswer{Services{Services: []Service{}}}
	var one Service
	var first, last *time.Time
	into := []any{
		&one.ID, &one.Name, &one.DeployedBy, &one.Repository.ID, &one.Repository.Name,
		&one.Team.ID, &one.Team.Name, &one.Team.TimeZone, &one.Environments, &first, &last, &one.DirtyDays,
	}
	err := s.query(ctx, servicesSQL, nil, into, func() error {
		one.FirstDay, one.LastDay = formatDayOrNull(first), formatDayOrNull(last)
		out.Body.Services = append(out.Body.Services, one)
		return nil
	})
	return out, err
}

func formatDayOrNull(day *time.Time) *string {
	if day == nil {
		return nil
	}
	text := formatDay(*day)
	return &text
}
