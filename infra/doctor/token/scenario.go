package token

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Origin is where a scenario's token comes from.
type Origin struct {
	Owner, OwnerID           string
	Repository, RepositoryID string // without the owner
	Environment              string
	Workflow                 string // the file that was started, such as deploy.yml
	Called                   string // the file that holds the job, where that is another
	Audience, Issuer         string
	Runner                   string // runner_environment, github-hosted if empty
	Ref                      string // where "main" is, refs/heads/main if empty
	Tag                      string // that is pushed or released, refs/tags/v1.0.0 if empty
}

// Version is the tag of scenarios where nothing asks for another.
const Version = "refs/tags/v1.0.0"

// Scenario is a way in which a workflow comes to ask for a token.
type Scenario struct {
	Name, Doc string
	// Tokenless scenarios end before there is a token.
	Tokenless bool
	// Foreign scenarios are of another repository or workflow file than the one at
	// hand, whose triggers say nothing of them.
	Foreign bool
	alter   func(*Claims, Origin)
}

// Scenarios are those that can be asked for by name.
var Scenarios = []Scenario{
	{Name: "push-main", Doc: "a push to main", alter: func(*Claims, Origin) {}},
	{Name: "dispatch", Doc: "a hand starts the workflow on main", alter: func(c *Claims, _ Origin) { c.EventName = "workflow_dispatch" }},
	{Name: "schedule", Doc: "the clock starts the workflow", alter: func(c *Claims, _ Origin) { c.EventName = "schedule" }},
	{Name: "other-branch", Doc: "a push to another branch", alter: func(c *Claims, _ Origin) { onRef(c, "refs/heads/feature") }},
	{Name: "tag", Doc: "a push of the tag v1.0.0", alter: func(c *Claims, o Origin) { onRef(c, cmp.Or(o.Tag, Version)) }},
	{Name: "release", Doc: "a release of the tag v1.0.0", alter: func(c *Claims, o Origin) {
		onRef(c, cmp.Or(o.Tag, Version))
		c.EventName = "release"
	}},
	{Name: "pull-request", Doc: "a pull request of the repository's own branch", alter: pullRequest},
	{Name: "fork", Doc: "a pull request from a fork", Tokenless: true, alter: pullRequest},
	{Name: "pull-request-target", Doc: "a pull request starts the workflow as main has it", alter: func(c *Claims, _ Origin) {
		c.EventName, c.BaseRef, c.HeadRef = "pull_request_target", "main", "feature"
	}},
	{Name: "no-environment", Doc: "a push to main, by a job without an environment", alter: func(c *Claims, _ Origin) { c.Environment = "" }},
	{Name: "self-hosted", Doc: "a push to main, on a runner of your own", alter: func(c *Claims, _ Origin) { c.RunnerEnvironment = "self-hosted" }},
	{Name: "other-workflow", Doc: "a push to main, by another workflow file", Foreign: true, alter: func(c *Claims, _ Origin) {
		c.WorkflowRef = c.Repository + "/.github/workflows/other.yml@" + c.Ref
		c.JobWorkflowRef, c.Workflow = c.WorkflowRef, "other"
	}},
	{Name: "other-repository", Doc: "another repository of the same owner", Foreign: true, alter: func(c *Claims, _ Origin) {
		c.RepositoryID += "0"
		c.Repository += "-other"
		c.WorkflowRef = strings.Replace(c.WorkflowRef, "/.github", "-other/.github", 1)
		c.JobWorkflowRef = c.WorkflowRef
	}},
	{Name: "taken-name", Doc: "a stranger who took the repository's name after it was renamed", Foreign: true, alter: func(c *Claims, _ Origin) {
		c.RepositoryOwnerID += "0"
		c.RepositoryID += "0"
	}},
}

// Find returns the scenario of that name.
func Find(name string) (Scenario, bool) {
	i := slices.IndexFunc(Scenarios, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, false
	}
	return Scenarios[i], true
}

// Event is the scenario of an event that none of the others plays.
func Event(name string) Scenario {
	return Scenario{Name: name, Doc: "the event " + name + " on main", alter: func(c *Claims, _ Origin) { c.EventName = name }}
}

func onRef(c *Claims, ref string) {
	c.WorkflowRef = strings.Replace(c.WorkflowRef, "@"+c.Ref, "@"+ref, 1)
	c.JobWorkflowRef = strings.Replace(c.JobWorkflowRef, "@"+c.Ref, "@"+ref, 1)
	c.Ref, c.RefType, c.RefProtected = ref, "branch", "false"
	if strings.HasPrefix(ref, "refs/tags/") {
		c.RefType = "tag"
	}
}

func pullRequest(c *Claims, _ Origin) {
	onRef(c, "refs/pull/7/merge")
	c.EventName, c.BaseRef, c.HeadRef = "pull_request", "main", "feature"
}

// Claims are those of the scenario's token at that time, in both forms of sub:
// with names alone, as repositories from before 15 July 2026 send it, and with
// ids, as those send it that were made, renamed or transferred since.
func (s Scenario) Claims(o Origin, now time.Time) (byName, byID Claims) {
	const sha = "9f2c1d7be0a84f35c6d1e2f30415a6b7c8d9e0f1"
	main, repository := cmp.Or(o.Ref, "refs/heads/main"), o.Owner+"/"+o.Repository
	c := Claims{
		Issuer: o.Issuer, Audience: Audience{o.Audience}, ID: "scenario",
		IssuedAt: float64(now.Unix()), NotBefore: float64(now.Add(-5 * time.Minute).Unix()), ExpiresAt: float64(now.Add(5 * time.Minute).Unix()),
		Actor: "octocat", ActorID: "583231", CheckRunID: "9", Environment: o.Environment, EventName: "push",
		Ref: main, RefProtected: "true", RefType: "branch",
		Repository: repository, RepositoryID: o.RepositoryID, RepositoryOwner: o.Owner, RepositoryOwnerID: o.OwnerID, RepositoryVisibility: "private",
		RunAttempt: "1", RunID: "1", RunNumber: "10", RunnerEnvironment: cmp.Or(o.Runner, "github-hosted"), SHA: sha, WorkflowSHA: sha, JobWorkflowSHA: sha,
		Workflow:       strings.TrimSuffix(strings.TrimSuffix(o.Workflow, ".yml"), ".yaml"),
		WorkflowRef:    repository + "/.github/workflows/" + o.Workflow + "@" + main,
		JobWorkflowRef: repository + "/.github/workflows/" + o.Workflow + "@" + main,
	}
	if o.Called != "" {
		c.JobWorkflowRef = repository + "/.github/workflows/" + o.Called + "@" + main
	}
	s.alter(&c, o)
	byName, byID = c, c
	byName.Subject, byID.Subject = c.Subjects()
	return byName, byID
}

// Subjects are both forms of sub that GitHub makes of these claims where nobody
// has customised it.
func (c Claims) Subjects() (byName, byID string) {
	context := "ref:" + c.Ref
	switch {
	case c.Environment != "":
		context = "environment:" + strings.ReplaceAll(c.Environment, ":", "%3A")
	case c.EventName == "pull_request":
		context = "pull_request"
	}
	_, repository, _ := strings.Cut(c.Repository, "/")
	return fmt.Sprintf("repo:%s:%s", c.Repository, context),
		fmt.Sprintf("repo:%s@%s/%s@%s:%s", c.RepositoryOwner, c.RepositoryOwnerID, repository, c.RepositoryID, context)
}

// In is the same job's claims if it named another environment.
func (c Claims) In(environment string) Claims {
	return c.changed(func(c *Claims) { c.Environment = environment })
}

// Started is the same job's claims if that event had started it.
func (c Claims) Started(event string) Claims {
	return c.changed(func(c *Claims) {
		c.EventName = event
		if event == "pull_request" {
			pullRequest(c, Origin{})
		}
	})
}

// On is the same job's claims if it had run on that ref.
func (c Claims) On(ref string) Claims {
	if ref == c.Ref {
		return c
	}
	return c.changed(func(c *Claims) { onRef(c, ref) })
}

// changed keeps the form of sub; one that is customised stays as it is.
func (c Claims) changed(change func(*Claims)) Claims {
	byName, byID := c.Subjects()
	form := c.Subject
	change(&c)
	switch form {
	case byName:
		c.Subject, _ = c.Subjects()
	case byID:
		_, c.Subject = c.Subjects()
	}
	return c
}

// ByID tells whether sub holds ids beside the names.
func ByID(subject string) bool {
	repo, _, _ := strings.Cut(strings.TrimPrefix(subject, "repo:"), ":")
	owner, name, _ := strings.Cut(repo, "/")
	return numbered(owner) && numbered(name)
}

func numbered(text string) bool {
	_, id, found := strings.Cut(text, "@")
	_, err := strconv.ParseUint(id, 10, 64)
	return found && err == nil
}
