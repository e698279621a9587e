package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Claims are those that GitHub documents, each under its own name. Empty ones are
// left out of the token, as GitHub leaves out environment for a job that names
// none; those that GitHub sends empty are marked.
type Claims struct {
	Issuer    string   `json:"iss,omitempty"`
	Audience  Audience `json:"aud,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	ExpiresAt float64  `json:"exp,omitempty"`
	IssuedAt  float64  `json:"iat,omitempty"`
	NotBefore float64  `json:"nbf,omitempty"`
	ID        string   `json:"jti,omitempty"`

	Actor                string `json:"actor,omitempty"`
	ActorID              string `json:"actor_id,omitempty"`
	BaseRef              string `json:"base_ref"` // empty outside pull requests
	CheckRunID           string `json:"check_run_id,omitempty"`
	Enterprise           string `json:"enterprise,omitempty"`
	EnterpriseID         string `json:"enterprise_id,omitempty"`
	Environment          string `json:"environment,omitempty"`
	EventName            string `json:"event_name,omitempty"`
	HeadRef              string `json:"head_ref"` // empty outside pull requests
	JobWorkflowRef       string `json:"job_workflow_ref,omitempty"`
	JobWorkflowSHA       string `json:"job_workflow_sha,omitempty"`
	Ref                  string `json:"ref,omitempty"`
	RefProtected         string `json:"ref_protected,omitempty"`
	RefType              string `json:"ref_type,omitempty"`
	Repository           string `json:"repository,omitempty"`
	RepositoryID         string `json:"repository_id,omitempty"`
	RepositoryOwner      string `json:"repository_owner,omitempty"`
	RepositoryOwnerID    string `json:"repository_owner_id,omitempty"`
	RepositoryVisibility string `json:"repository_visibility,omitempty"`
	RunAttempt           string `json:"run_attempt,omitempty"`
	RunID                string `json:"run_id,omitempty"`
	RunNumber            string `json:"run_number,omitempty"`
	RunnerEnvironment    string `json:"runner_environment,omitempty"`
	SHA                  string `json:"sha,omitempty"`
	Workflow             string `json:"workflow,omitempty"`
	WorkflowRef          string `json:"workflow_ref,omitempty"`
	WorkflowSHA          string `json:"workflow_sha,omitempty"`

	// Other holds what else a token has, such as repo_property_ claims.
	Other map[string]any `json:"-"`
}

// Audience is aud, which JSON web tokens may write as one text or several.
type Audience []string

// UnmarshalJSON reads both.
func (a *Audience) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte(`"`)) {
		*a = Audience{""}
		return json.Unmarshal(text, &(*a)[0])
	}
	return json.Unmarshal(text, (*[]string)(a))
}

// MarshalJSON writes one text where there is but one.
func (a Audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

func (a Audience) String() string { return strings.Join(a, ", ") }

func parseClaims(text []byte) (Claims, error) {
	var c Claims
	if err := json.Unmarshal(text, &c); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return Claims{}, fmt.Errorf("the claim %s is a %s, and GitHub sends a %s: ids too are text in quotes", kind.Field, kind.Value, kind.Type)
		}
		return Claims{}, errors.New("the claims are not JSON")
	}
	if err := json.Unmarshal(text, &c.Other); err != nil {
		return Claims{}, errors.New("the claims are not a JSON object")
	}
	for _, name := range documented {
		delete(c.Other, name)
	}
	return c, nil
}

// documented are the names of the claims that have a field.
var documented = func() []string {
	var names []string
	for field := range reflect.TypeFor[Claims]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name != "-" {
			names = append(names, name)
		}
	}
	return names
}()

// Map is what expressions see: claims by name, and none that the token lacks.
func (c Claims) Map() map[string]any {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // text and finite numbers only, since they were read from JSON
	}
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		panic(err) // written a line before
	}
	for name, value := range c.Other {
		all[name] = value
	}
	return all
}

// Documented lists the claims that GitHub documents.
func Documented() []string { return documented }
