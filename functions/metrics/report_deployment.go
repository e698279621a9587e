package metrics

import (
	"context"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
)

// perReporter is more than a pipeline that deploys everything at once reports.
var perReporter = ratelimit.Policy{Name: "metrics-reporter", By: ratelimit.User, Burst: 120, Window: time.Minute}

// reports are what pipelines and people tell of deployments.
type reports struct{ view }

func (r reports) route(api *httpapi.API) {
	httpapi.Register(api, access.ForTokens(ratelimit.On(huma.Operation{
		OperationID: "report-deployment", Method: http.MethodPost, Path: "/api/metrics/deployments", Security: httpapi.Bearer,
		Tags: []string{"metrics"}, Summary: "Report a deployment",
		Description: "By an editor, an API token that may report, or a job of GitHub Actions in a repository that a team trusts, whose token is good once. " +
			"A repeat changes nothing; reports may come late and in any order: success stands over failure and failure over running, and of several ends the first counts. " +
			"The service has to be there, the environment is made.",
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable},
	}, &perReporter), access.Editor, access.Report), r.report)
}

// Report is what is told of one deployment.
type Report struct {
	Team        *uuid.UUID `json:"team,omitempty" format:"uuid" doc:"Whose service it is: where several teams of yours, or that trust your repository, have one of this name."`
	Service     string     `json:"service" minLength:"1" maxLength:"200" example:"shop" doc:"The id of a service, or its name."`
	Environment string     `json:"environment,omitempty" default:"production" minLength:"1" maxLength:"200" doc:"One that is new is made: production and prod are production, staging and stage staging."`
	ExternalID  string     `json:"external_id" minLength:"1" maxLength:"200" example:"github-1234567890" doc:"What you call this deployment: a report with the same is about the same one."`
	SHA         string     `json:"sha" pattern:"^([0-9a-f]{40}|[0-9a-f]{64})$" patternDescription:"a whole commit in small hex digits" doc:"The commit that was deployed."`
	Ref         string     `json:"ref,omitempty" maxLength:"200" example:"v1.4.0" doc:"What people call it; by default the beginning of the commit. Told with the first report."`
	Status      string     `json:"status" enum:"success,failure,running"`
	FinishedAt  *time.Time `json:"finished_at,omitempty" doc:"When it ended; by default now. Not while it is running."`
}

// Reported is what is known of a deployment after a report.
type Reported struct {
	ID         uuid.UUID  `json:"id" format:"uuid"`
	Service    uuid.UUID  `json:"service" format:"uuid"`
	Status     string     `json:"status" enum:"success,failure,running"`
	FinishedAt *time.Time `json:"finished_at" doc:"Null while it is running."`
	Changed    bool       `json:"changed" doc:"Whether the report was news."`
}

type reportInput struct{ Body Report }

type reportOutput struct{ Body Reported }

func (r reports) report(ctx context.Context, in *reportInput) (*reportOutput, error) {
	told, err := in.Body.read(r.now())
	if err != nil {
		return nil, err
	}
	known, err := r.save(ctx, told)
	if err != nil {
		return nil, err
	}
	return &reportOutput{known}, nil
}

// ahead is how far the clock of a pipeline may be before ours.
const ahead = 5 * time.Minute

// firstReported is the day after the first that can be asked for, wherever the team is.
var firstReported = time.Date(1970, time.January, 2, 0, 0, 0, 0, time.UTC)

// toldDeployment is a report that has been read.
type toldDeployment struct {
	team                    *uuid.UUID
	service                 *uuid.UUID // nil where it is named
	name                    string
	environment, kind       string
	externalID, ref, status string
	sha                     []byte
	finishedAt              *time.Time
}

// reportedID is how the external ids of reports begin in the table. An import of a
// history, which knows its deployments by tags and commits, cannot take them for its
// own: no name of a tag has a colon.
const reportedID = "report:"

// read checks what the schema of a report cannot.
func (r Report) read(now time.Time) (toldDeployment, error) {
	told := toldDeployment{
		team: r.Team, name: r.Service, environment: r.Environment, kind: kindOf(r.Environment),
		externalID: reportedID + r.ExternalID, ref: r.Ref, status: r.Status, finishedAt: r.FinishedAt,
	}
	if id, err := uuid.Parse(r.Service); err == nil {
		told.service = &id
	}
	told.sha, _ = hex.DecodeString(r.SHA) // the schema has looked at it
	if r.Ref == "" {
		told.ref = r.SHA[:10]
	}
	for location, text := range map[string]string{"body.environment": r.Environment, "body.external_id": r.ExternalID, "body.ref": told.ref} {
		if strings.TrimSpace(text) != text || strings.ContainsFunc(text, unicode.IsControl) {
			return told, fault.InvalidField(location, "must have no space around it, and no line break or other control character")
		}
	}
	switch {
	case r.Status == "running" && r.FinishedAt != nil:
		return told, fault.InvalidField("body.finished_at", "must be absent while the deployment is running")
	case r.Status == "running":
	case r.FinishedAt == nil:
		told.finishedAt = &now
	case r.FinishedAt.After(now.Add(ahead)):
		return told, fault.InvalidField("body.finished_at", "must not be in the future; it is "+now.UTC().Format(time.RFC3339)+" here")
	case r.FinishedAt.Before(firstReported):
		return told, fault.InvalidField("body.finished_at", "must be after "+firstReported.Format(time.RFC3339))
	}
	return told, nil
}

// kindOf is what kind an environment is by its name.
func kindOf(environment string) string {
	switch strings.ToLower(environment) {
	case "production", "prod":
		return "production"
	case "staging", "stage":
		return "staging"
	}
	return "other"
}
