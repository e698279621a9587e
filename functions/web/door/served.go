package door

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/devops-dashboard/dashboard/infra"
)

// service is what the manifest says of another function.
type service struct {
	Name           string
	Cookies        []string
	TimeoutSeconds int `json:"timeout_seconds"`
	Routes         []route
}

type route struct {
	Method, Path, Access string
	BodyBytes            int64 `json:"body_bytes"`
}

// served reads the manifest, once. The function that the door belongs to is not
// among what it leads to.
var served = sync.OnceValue(func() []service {
	var manifest struct{ Functions []service }
	if err := json.Unmarshal(infra.Manifest, &manifest); err != nil {
		panic("infra/functions.json: " + err.Error()) // a test prints it
	}
	return slices.DeleteFunc(manifest.Functions, func(s service) bool { return s.Name == "web" })
})

// passedOn tells whether anybody may come to a route through the door.
func (r route) passedOn() bool { return r.Access != "scheduler" }

// open tells whether any route of the service is passed on.
func (s service) open() bool { return slices.ContainsFunc(s.Routes, route.passedOn) }

// timeout is how long an answer of the service may take.
func (s service) timeout() time.Duration {
	return min(time.Duration(s.TimeoutSeconds)*time.Second+grace, longest)
}
