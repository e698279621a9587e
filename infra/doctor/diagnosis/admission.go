package diagnosis

import (
	"regexp"
	"slices"
	"strings"

	"github.com/devops-dashboard/dashboard/infra/doctor/token"
)

// What looks wrong may be right: a part of a condition that another part makes up for,
// a member beside the one that counts. So a finding says that a token is refused only
// where the mapping, the condition and the members, evaluated, refuse it.

// enters tells whether the token service admits a token.
func (p program) enters(c token.Claims) bool {
	_, failed := p.mapped(c)
	return len(failed) == 0 && p.admits(c)
}

// gets tells whether a token comes as far as a function's deployer.
func (e *examination) gets(function string, c token.Claims) bool {
	in, _ := e.program.mapped(c)
	return e.program.enters(c) && e.may(function, in)
}

// twin is the same job's token with the other form of sub, where nobody has said which
// one the repository sends.
func (e *examination) twin(c token.Claims) (token.Claims, bool) {
	byName, byID := c.Subjects()
	if c.Subject == byID {
		c.Subject = byName
	} else {
		c.Subject = byID
	}
	return c, e.Token == nil && e.Form == BothForms
}

// refusal is what a refused token makes of a finding: a doubt where the other form of
// sub would do.
func (e *examination) refusal(c token.Claims, wellOff func(token.Claims) bool) Effect {
	if twin, ok := e.twin(c); ok && wellOff(twin) {
		return Doubts
	}
	return Refuses
}

// unplayed are claims that a scenario makes up, and a real token has otherwise.
var unplayed = []string{
	"actor", "actor_id", "check_run_id", "enterprise", "enterprise_id", "job_workflow_sha", "repository_visibility",
	"run_attempt", "run_id", "run_number", "sha", "workflow", "workflow_sha",
}

// madeUp tells whether a scenario cannot tell how a part of the condition comes out.
func (e *examination) madeUp(fields []string, texts ...string) bool {
	return e.customised(fields, texts...) || e.Token == nil && slices.ContainsFunc(fields, func(field string) bool {
		claim, isClaim := strings.CutPrefix(field, "claims.")
		return isClaim && (slices.Contains(unplayed, claim) || strings.HasPrefix(claim, "repo_property_") || claim == "job_workflow_ref" && len(e.signings) == 0)
	})
}

// customised tells whether what is compared with sub is of a form that a repository has
// made its own: a scenario plays only the two that GitHub has by itself.
func (e *examination) customised(fields []string, texts ...string) bool {
	return e.Token == nil && slices.Contains(fields, "claims.sub") && slices.ContainsFunc(texts, ownSubject.MatchString)
}

// ownSubject fits a sub that is made of other claims than those of repo:…:environment:…
// and the like.
var ownSubject = func() *regexp.Regexp {
	others := slices.DeleteFunc(slices.Clone(token.Documented()), func(name string) bool { return name == "environment" || name == "ref" })
	return regexp.MustCompile(`^(environment|ref):|(^|:)(` + strings.Join(others, "|") + `):`)
}()

// bound tells what a wrong member does to a function: nothing, where its pipeline may
// impersonate the deployer all the same.
func (e *examination) bound(function string) (bound, sometimes bool) {
	bound = true
	asked := false
	for _, a := range e.asks {
		if a.function == function {
			asked = true
			may := e.mayBe(function, a.claims)
			bound, sometimes = bound && may, sometimes || may
		}
	}
	if !asked {
		bound = e.mayBe(function, e.base().In(e.WIF.Deployers[function].Environment))
	}
	return bound, sometimes || bound
}

// mayBe tells whether the mapped token may impersonate, whatever the condition says.
func (e *examination) mayBe(function string, c token.Claims) bool {
	in, failed := e.program.mapped(c)
	return len(failed) == 0 && e.may(function, in)
}
