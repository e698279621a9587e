package diagnosis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

// foreign are the events that strangers cause, or that run on a stranger's code.
var foreign = []string{"pull_request_target", "pull_request", "issue_comment", "issues", "discussion", "discussion_comment", "fork", "watch", "workflow_run", "pull_request_review", "pull_request_review_comment"}

// occasions are tokens that a run would get when a trigger starts it, each of another
// ref where that may be.
func (e *examination) occasions(run workflow.Run, t workflow.Trigger) []token.Claims {
	base := e.sample(run).Started(t.Event)
	var all []token.Claims
	for _, ref := range e.refs {
		tag := strings.HasPrefix(ref, "refs/tags/")
		switch {
		case !t.Starts(ref):
		case t.Event == "push", t.Event == "workflow_dispatch", t.Event == "release" && tag:
			all = append(all, base.On(ref))
		case !tag && len(all) == 0 && t.Event != "release": // on the branch that all else runs on
			all = append(all, base)
		}
	}
	return all
}

// admitted tells whether the condition admits a token, on whichever runner.
func (e *examination) admitted(c token.Claims) bool {
	return e.admittedOn(c, workflow.GitHubHosted) || e.admittedOn(c, workflow.SelfHosted)
}

func (e *examination) admittedOn(c token.Claims, runner workflow.Hosting) bool {
	c.RunnerEnvironment = string(runner)
	return e.program.admits(c)
}

func (e *examination) triggers(run workflow.Run) {
	field := run.Root.Name + ": on"
	for _, t := range run.Root.On {
		if twice := t.Twice(); twice != "" {
			e.find(Finding{
				Check: "W3", Effect: Refuses, Functions: e.functionsOf(run), Fields: []string{field},
				Problem: fmt.Sprintf("%s: %s has %s beside %s-ignore, so GitHub refuses the file and starts nothing.", run.Root.Name, t.Event, twice, twice),
				Remedy:  fmt.Sprintf("Keep %s alone; patterns that begin with ! leave out.", twice),
			})
			return
		}
	}
	if e.file(run) || !e.admitsSomething(run) {
		return // where no event is admitted, it is not the event that is refused
	}
	admits := false
	var refused []Finding
	for _, t := range run.Root.On {
		let, kept := []token.Claims{}, []token.Claims{}
		for _, c := range e.occasions(run, t) {
			if e.admitted(c) {
				let = append(let, c)
			} else {
				kept = append(kept, c)
			}
		}
		admits = admits || len(let) > 0 || t.Event == "workflow_call"
		f := Finding{Check: "W3", Effect: Doubts, Fields: []string{field}}
		switch {
		case strings.Contains(run.Job.If, "github."), t.Event == "workflow_call":
			continue
		case len(let) > 0 && slices.Contains(foreign, t.Event):
			e.find(Finding{
				Check: "W3", Effect: Endangers, Fields: []string{field, "provider.attribute_condition"},
				Problem: fmt.Sprintf("%s: %s starts job %q, strangers cause that event, and the condition admits it.", run.Root.Name, t.Event, run.ID),
				Remedy:  fmt.Sprintf("Remove %s from \"on\", and add to the condition: assertion.event_name in ['push', 'workflow_dispatch'].", t.Event),
			})
			continue
		case len(let) > 0 && len(kept) > 0 && t.Event == "push":
			f.Effect = Notes
			f.Problem = fmt.Sprintf("%s: a push of %s starts job %q too, and the condition refuses it: such a run fails at signing in.", run.Root.Name, kept[0].Ref, run.ID)
			f.Remedy = fmt.Sprintf("Narrow it: push: {branches: [%s]}.", strings.TrimPrefix(let[0].Ref, "refs/heads/"))
			if let[0].RefType == "tag" {
				f.Remedy = "Narrow it: push: {tags: ['v*']}, or as the tags that deploy are named."
			}
		case len(let) == 0 && len(kept) == 0:
			f.Problem = fmt.Sprintf("%s: the filters of %s let nothing through that is known here, so it may never start job %q.", run.Root.Name, t, run.ID)
			f.Remedy = "Begin with a pattern that lets in, before those with ! that leave out."
		case len(let) == 0:
			f.Problem = fmt.Sprintf("%s: %s starts job %q too, and the condition refuses that event, so each such run fails at signing in.", run.Root.Name, t, run.ID)
			f.Remedy = fmt.Sprintf("Remove %s from \"on\", or give the job an \"if\" on github.event_name.", t.Event)
		default:
			continue
		}
		refused = append(refused, f)
	}
	if !admits {
		e.find(Finding{
			Check: "W3", Effect: Refuses, Functions: e.functionsOf(run), Fields: []string{field}, Error: "E7",
			Problem: fmt.Sprintf("%s is started by %s, and the condition admits none of that.", run.Root.Name, orElse(run.Root.On.String(), "nothing")),
			Remedy:  "Start it by what the condition admits, such as a push to main or workflow_dispatch.",
		})
		return
	}
	for _, f := range refused {
		e.find(f)
	}
}

// admitsSomething tells whether the condition admits the run's job on some occasion,
// be it one that does not start it.
func (e *examination) admitsSomething(run workflow.Run) bool {
	for _, event := range append([]string{"push", "workflow_dispatch", "schedule", "release"}, run.Root.On.Events()...) {
		if slices.ContainsFunc(e.occasions(run, workflow.Trigger{Event: event}), e.admitted) {
			return true
		}
	}
	return false
}

// runner asks whether the condition admits the machine that the job runs on.
func (e *examination) runner(run workflow.Run) {
	hosted, own := false, false
	for _, t := range run.Root.On {
		for _, c := range e.occasions(run, t) {
			hosted, own = hosted || e.admittedOn(c, workflow.GitHubHosted), own || e.admittedOn(c, workflow.SelfHosted)
		}
	}
	hosting := run.Hosting()
	if hosted == own || hosting == workflow.GitHubHosted && hosted || hosting == workflow.SelfHosted && own {
		return
	}
	want := workflow.GitHubHosted
	if own {
		want = workflow.SelfHosted
	}
	f := Finding{
		Check: "W6", Effect: Refuses, Functions: e.functionsOf(run), Fields: []string{run.Field("runs-on"), conditionField, "claims.runner_environment"}, Error: "E7",
		Problem: fmt.Sprintf("%s: job %q runs on a machine that is %s, and the condition admits %s ones alone.", run.File.Name, run.ID, hosting, want),
		Remedy:  "Let the job run where the condition wants it, or change assertion.runner_environment in the condition.",
	}
	if hosting == workflow.Unclear {
		f.Effect = Doubts
		f.Problem = fmt.Sprintf("%s: whose machine job %q runs on cannot be told from its runs-on, and the condition admits %s ones alone.", run.File.Name, run.ID, want)
	}
	e.find(f)
}

// starts tells whether what a token tells of starts a workflow.
func starts(f workflow.File, c token.Claims) bool {
	return slices.ContainsFunc(f.On, func(t workflow.Trigger) bool {
		if t.Pull() {
			return t.Event == c.EventName && t.Starts("refs/heads/"+c.BaseRef)
		}
		return t.Event == "workflow_call" || t.Event == c.EventName && t.Starts(c.Ref)
	})
}

// started asks whether what the scenario or the token tells of starts a workflow that
// deploys the function.
func (e *examination) started() {
	if e.Token == nil && (e.Scenario.Foreign || e.Scenario.Tokenless) {
		return
	}
	for _, a := range e.asks {
		var files []workflow.File
		started := false
		for _, s := range e.signings {
			functions := e.functionsOf(s.run)
			if len(functions) > 0 && !slices.Contains(functions, a.function) || !strings.Contains(a.claims.WorkflowRef, "/"+s.run.Root.Name+"@") {
				continue
			}
			files, started = append(files, s.run.Root), started || starts(s.run.Root, a.claims)
		}
		if started || len(files) == 0 {
			continue
		}
		fields, what := []string{files[0].Name + ": on", "scenario"}, e.happening()
		if e.Token != nil {
			fields, what = []string{files[0].Name + ": on", "claims.event_name", "claims.ref"}, fmt.Sprintf("%s on %s", a.claims.EventName, a.claims.Ref)
		}
		e.find(Finding{
			Check: "W3", Effect: Refuses, Functions: []string{a.function}, Fields: fields,
			Problem: fmt.Sprintf("%s does not start %s, which is started by %s: so there is no token.", what, files[0].Name, orElse(files[0].On.String(), "nothing")),
			Remedy:  "Add that to \"on\" if it should deploy; if it should not, all is well.",
		})
	}
}

// sample is the token that a run would get from a push to main.
func (e *examination) sample(run workflow.Run) token.Claims {
	push, _ := token.Find("push-main")
	o := e.Origin
	o.Workflow = run.Root.Name
	o.Called = ""
	if run.File.Name != run.Root.Name {
		o.Called = run.File.Name
	}
	o.Environment = ""
	if functions := e.functionsOf(run); len(functions) > 0 {
		o.Environment = e.WIF.Deployers[functions[0]].Environment
	}
	_, byID := push.Claims(o, e.Now)
	return byID
}
