package access

import (
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

// Role is what a member may do in a team: a viewer reads, an editor also changes
// what figures are computed from, an owner also who belongs.
type Role string

// The roles, from the least.
const (
	Viewer Role = "viewer"
	Editor Role = "editor"
	Owner  Role = "owner"
)

// ranked are the roles from the least.
var ranked = []Role{Viewer, Editor, Owner}

// orMore returns the roles that may do what least may, as PostgreSQL takes them.
func (least Role) orMore() []string {
	var all []string
	for i, r := range ranked {
		if r == least {
			for _, more := range ranked[i:] {
				all = append(all, string(more))
			}
		}
	}
	return all
}

// Scope is what an API token may do in its team.
type Scope string

// The scopes. None includes another: what reports runs in a pipeline and has no
// business with figures.
const (
	Read   Scope = "read"
	Report Scope = "report"
)

// need is what a route asks of its caller in the team that it is about.
type need struct {
	role  Role  // the least; empty where a route is about no team
	scope Scope // of an API token; empty where none will do
}

const metadataKey = "access"

// extension is where the document of an operation says who may call it.
const extension = "x-access"

// For has op ask for a role in the team that it is about. Only Teams sees that the
// caller has it: a handler reaches a team's rows through that alone.
func For(op huma.Operation, least Role) huma.Operation { return with(op, need{role: least}) }

// ForTokens is For, for a route that also takes API tokens of a scope and, where that
// is Report, jobs of workflows.
func ForTokens(op huma.Operation, least Role, scope Scope) huma.Operation {
	return with(op, need{least, scope})
}

func with(op huma.Operation, n need) huma.Operation {
	if op.Metadata == nil {
		op.Metadata = map[string]any{}
	}
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	op.Metadata[metadataKey] = n
	said := map[string]any{"role": string(n.role)}
	if n.scope != "" {
		said["token_scope"] = string(n.scope)
	}
	op.Extensions[extension] = said
	return op
}

func needOf(op *huma.Operation) need {
	n, _ := op.Metadata[metadataKey].(need)
	return n
}

// ErrTokenEnded refuses an API token that does not lead to a team any more, or
// never has. Whoever can see its row gives this answer.
var ErrTokenEnded = fault.New(fault.Unauthenticated, "invalid_token", "This API token is not known, has expired, or was revoked. An owner of the team makes a new one.")

// errNoWorkflows refuses the token of a job where there is nothing to report. It is not
// read: whatever it says, it is of no use there.
var errNoWorkflows = fault.New(fault.Forbidden, "no_workflows", "This route takes no tokens of workflows, which report and do nothing else. Send an access token, or an API token where the route takes those.")

func (n need) refuses(scope Scope) error {
	if scope == n.scope {
		return nil
	}
	return fault.New(fault.Forbidden, "wrong_scope", fmt.Sprintf("This API token has the scope %s, and this route wants %s.", scope, n.scope))
}
