package health

import (
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// status is the draft's word for how something is.
type status string

const (
	pass status = "pass"
	fail status = "fail"
)

// Health is the answer of a health check, in the shape of
// https://datatracker.ietf.org/doc/html/draft-inadarei-api-health-check-06.
type Health struct {
	Status    status                   `json:"status" enum:"pass,fail" doc:"fail when any check failed."`
	Version   string                   `json:"version" example:"1" doc:"The version of the API."`
	ReleaseID string                   `json:"releaseId" doc:"The deployed commit."`
	ServiceID string                   `json:"serviceId" example:"devops-dashboard"`
	Checks    map[string][]HealthCheck `json:"checks,omitempty" doc:"By dependency and measurement, such as postgres:responseTime."`
}

// HealthCheck is one measurement.
type HealthCheck struct {
	ComponentType string    `json:"componentType" example:"datastore"`
	Status        status    `json:"status" enum:"pass,fail"`
	ObservedValue float64   `json:"observedValue" doc:"How long the answer took."`
	ObservedUnit  string    `json:"observedUnit,omitempty" example:"ms"`
	Time          time.Time `json:"time" doc:"When it was measured."`
	Output        string    `json:"output,omitempty" doc:"Why it failed, in a word or two."`
}

// ContentType is the draft's media type.
func (Health) ContentType(string) string { return "application/health+json" }

// newHealth returns the answer of a release that measured outcomes.
func newHealth(release string, outcomes ...outcome) Health {
	h := Health{Status: pass, Version: "1", ReleaseID: release, ServiceID: "devops-dashboard"}
	for _, o := range outcomes {
		if h.Checks == nil {
			h.Checks = map[string][]HealthCheck{}
		}
		c := HealthCheck{
			ComponentType: "datastore", Status: pass, Time: o.asked,
			ObservedValue: float64(o.took.Microseconds()) / 1000, ObservedUnit: "ms",
		}
		if o.err != nil {
			h.Status, c.Status, c.Output = fail, fail, reason(o.err)
		}
		h.Checks[o.name+":responseTime"] = []HealthCheck{c}
	}
	return h
}

func (h Health) httpStatus() int {
	if h.Status == pass {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// unhealthy documents the answer 503, which has the shape of the answer 200.
func unhealthy(api huma.API) *huma.Response {
	schema := huma.SchemaFromType(api.OpenAPI().Components.Schemas, reflect.TypeFor[Health]())
	return &huma.Response{
		Description: "A dependency does not answer, or has another schema than this release expects.",
		Content:     map[string]*huma.MediaType{Health{}.ContentType(""): {Schema: schema}},
	}
}
