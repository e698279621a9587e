package diagnosis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

func signsIn(s workflow.Step) bool { return s.Is("google-github-actions/auth") }

// workflow asks what GitHub does before Google hears of it.
func (e *examination) workflow() {
	if e.Scenario.Tokenless && e.Token == nil {
		e.find(Finding{
			Check: "W1", Effect: Refuses, Fields: []string{"scenario"}, Error: "E1",
			Problem: "GitHub gives no token to a pull request from a fork, whatever the permissions.",
			Remedy:  "Deploy from a push to main, after the merge.",
		})
	}
	e.ignores()
	if len(e.Workflows) == 0 {
		e.skip("no workflow files; -workflows names their folder", "W1", "W2", "W3", "W4", "P2")
		return
	}
	any := false
	for _, run := range e.runs {
		for i, step := range run.Job.Steps {
			if !signsIn(step) {
				continue
			}
			any = true
			e.permissions(run)
			e.order(run, i)
			e.triggers(run)
			e.environment(run)
			e.signIn(run, i)
		}
	}
	if !any {
		e.signsNowhere()
		return
	}
	e.covered()
}

// signsNowhere tells where a step that signs in could be missing: where a job may
// ask for a token.
func (e *examination) signsNowhere() {
	fields := []string{}
	for _, run := range e.runs {
		if run.Asking[len(run.Asking)-1].Granted {
			fields = append(fields, run.Field("steps"))
		}
	}
	for _, f := range e.Workflows {
		fields = append(fields, f.Name+": jobs")
	}
	slices.Sort(fields)
	e.find(Finding{
		Check: "W1", Effect: Doubts, Fields: append(slices.Compact(fields), "workflows"),
		Problem: "No step uses google-github-actions/auth, so nothing here asks Google for anything.",
		Remedy:  "Add that step to the job that deploys, or name another folder with -workflows.",
	})
}

func (e *examination) permissions(run workflow.Run) {
	for i, grant := range run.Asking {
		if grant.Granted {
			continue
		}
		whose := fmt.Sprintf("%s: job %q cannot ask GitHub for a token", grant.File, grant.Job)
		if i < len(run.Asking)-1 {
			whose = fmt.Sprintf("%s: job %q calls %s, whose job %q may ask for no more than its caller", grant.File, grant.Job, run.File.Name, run.ID)
		}
		e.find(Finding{
			Check: "W1", Effect: Refuses, Functions: e.functionsOf(run), Fields: grant.Fields, Error: "E1",
			Problem: whose + ".",
			Remedy:  fmt.Sprintf("Write in %s, for job %q: permissions: {contents: read, id-token: write}.", grant.File, grant.Job),
		})
	}
}

func (e *examination) order(run workflow.Run, signIn int) {
	if run.Job.Steps[signIn].Input("create_credentials_file") == "false" {
		return
	}
	for i, step := range run.Job.Steps[signIn+1:] {
		if !step.Is("actions/checkout") {
			continue
		}
		at := signIn + 1 + i
		e.find(Finding{
			Check: "W2", Effect: Breaks, Functions: e.functionsOf(run), Error: "E14",
			Fields:  []string{run.Field(fmt.Sprintf("steps[%d]", at)), run.Field(fmt.Sprintf("steps[%d]", signIn))},
			Problem: fmt.Sprintf("%s: job %q signs in (step %d, line %d) before actions/checkout (step %d), which deletes the credentials file; later gcloud steps run unauthenticated.", run.File.Name, run.ID, signIn+1, run.Job.Steps[signIn].Line, at+1),
			Remedy:  "Move actions/checkout before google-github-actions/auth.",
		})
		return
	}
}

// foreign are the events that strangers cause, or that run on a stranger's code.
var foreign = []string{"pull_request_target", "pull_request", "issue_comment", "issues", "discussion", "discussion_comment", "fork", "watch", "workflow_run", "pull_request_review", "pull_request_review_comment"}

func (e *examination) triggers(run workflow.Run) {
	if e.file(run) {
		return
	}
	// Where no event is admitted, it is not the event that is refused.
	if !slices.ContainsFunc(append([]string{"push", "workflow_dispatch", "schedule", "release"}, run.Root.On...), func(event string) bool {
		admits, _ := e.program.admits(e.sample(run).Started(event))
		return admits
	}) {
		return
	}
	var admitted, refused []string
	for _, event := range run.Root.On {
		claims := e.sample(run).Started(event)
		admits, known := e.program.admits(claims)
		if admits || !known || event == "workflow_call" {
			admitted = append(admitted, event)
		}
		field := run.Root.Name + ": on"
		switch {
		case strings.Contains(run.Job.If, "github."):
		case admits && slices.Contains(foreign, event):
			e.find(Finding{
				Check: "W3", Effect: Endangers, Fields: []string{field, "provider.attribute_condition"},
				Problem: fmt.Sprintf("%s: %s starts job %q, strangers cause that event, and the condition admits it.", run.Root.Name, event, run.ID),
				Remedy:  fmt.Sprintf("Remove %s from \"on\", and add to the condition: assertion.event_name in ['push', 'workflow_dispatch'].", event),
			})
		case known && !admits && event != "workflow_call":
			refused = append(refused, event)
		}
	}
	if len(admitted) == 0 {
		e.find(Finding{
			Check: "W3", Effect: Refuses, Functions: e.functionsOf(run), Fields: []string{run.Root.Name + ": on"}, Error: "E7",
			Problem: fmt.Sprintf("%s is started by %s, and the condition admits none of that.", run.Root.Name, orNothing(run.Root.On)),
			Remedy:  "Start it by an event that the condition admits, such as push or workflow_dispatch.",
		})
		return
	}
	for _, event := range refused {
		e.find(Finding{
			Check: "W3", Effect: Doubts, Fields: []string{run.Root.Name + ": on"},
			Problem: fmt.Sprintf("%s: %s starts job %q too, and the condition refuses that event, so each such run fails at signing in.", run.Root.Name, event, run.ID),
			Remedy:  fmt.Sprintf("Remove %s from \"on\", or give the job an \"if\" on github.event_name.", event),
		})
	}
}

// file asks whether the condition wants another workflow file, and tells so.
func (e *examination) file(run workflow.Run) bool {
	want := e.program.file()
	if want == "" || want == run.Root.Name || want == run.File.Name {
		return false
	}
	claims := e.sample(run)
	if admits, known := e.program.admits(claims); admits || !known {
		return false
	}
	claims.WorkflowRef = strings.Replace(claims.WorkflowRef, "/"+run.Root.Name+"@", "/"+want+"@", 1)
	claims.JobWorkflowRef = strings.Replace(claims.JobWorkflowRef, "/"+run.File.Name+"@", "/"+want+"@", 1)
	if admits, _ := e.program.admits(claims); !admits {
		return false
	}
	e.find(Finding{
		Check: "W3", Effect: Refuses, Functions: e.functionsOf(run), Fields: []string{run.Root.Name, conditionField}, Error: "E7",
		Problem: fmt.Sprintf("%s: job %q signs in, and the condition admits %s alone.", run.Root.Name, run.ID, want),
		Remedy:  fmt.Sprintf("Rename the file to %s, or the one in the condition.", want),
	})
	return true
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func (e *examination) environment(run workflow.Run) {
	reads := e.program.readers("environment")
	if len(reads) == 0 {
		return
	}
	field, environment := run.Field("environment"), run.Expand(string(run.Job.Environment))
	fields := run.Sources("environment", string(run.Job.Environment))
	names := e.environments()
	if environment == "" {
		e.find(Finding{
			Check: "W4", Effect: Refuses, Functions: e.functionsOf(run), Fields: []string{field}, Error: "E12",
			Problem: fmt.Sprintf("%s: job %q names no environment, so its token has no claim \"environment\", which %s goes by.", run.File.Name, run.ID, reads[0]),
			Remedy:  fmt.Sprintf("Give the job \"environment: %s\".", example(names)),
		})
		return
	}
	if !slices.ContainsFunc(names, func(name string) bool { return workflow.Fits(environment, name) }) {
		for _, name := range sorted(e.WIF.Deployers) {
			fields = append(fields, "deployers."+name+".environment")
		}
		e.find(Finding{
			Check: "W4", Effect: Refuses, Fields: fields, Error: "E12",
			Problem: fmt.Sprintf("%s: job %q runs in environment %q, and the deployers' are %s.", run.File.Name, run.ID, workflow.Shown(environment), strings.Join(names, ", ")),
			Remedy:  "Name one of those; case counts.",
		})
	}
}

func example(names []string) string {
	if len(names) == 0 {
		return "NAME"
	}
	return names[0]
}

func (e *examination) environments() []string {
	var names []string
	for _, name := range sorted(e.WIF.Deployers) {
		names = append(names, e.WIF.Deployers[name].Environment)
	}
	return names
}

// covered asks whether some job deploys each function.
func (e *examination) covered() {
	if len(e.program.readers("environment")) == 0 || e.found("", "W4") {
		return
	}
	var from []string
	for _, run := range e.runs {
		if slices.ContainsFunc(run.Job.Steps, signsIn) {
			from = append(from, run.Sources("environment", string(run.Job.Environment))...)
		}
	}
	slices.Sort(from)
	from = slices.Compact(from)
	for _, name := range sorted(e.WIF.Deployers) {
		d := e.WIF.Deployers[name]
		if slices.ContainsFunc(e.runs, func(run workflow.Run) bool {
			return slices.ContainsFunc(run.Job.Steps, signsIn) && workflow.Fits(run.Expand(string(run.Job.Environment)), d.Environment)
		}) {
			continue
		}
		e.find(Finding{
			Check: "W4", Effect: Doubts, Functions: []string{name}, Fields: append([]string{"deployers." + name + ".environment"}, from...),
			Problem: fmt.Sprintf("No job signs in from environment %q, so nothing deploys %s.", d.Environment, name),
			Remedy:  "Add that environment to the workflow's job or its matrix, or correct its name.",
		})
	}
}

// functionsOf lists the functions that a run may deploy, by its environment.
func (e *examination) functionsOf(run workflow.Run) []string {
	var names []string
	environment := run.Expand(string(run.Job.Environment))
	for _, name := range sorted(e.WIF.Deployers) {
		if environment != "" && workflow.Fits(environment, e.WIF.Deployers[name].Environment) {
			names = append(names, name)
		}
	}
	return names
}

// ignores looks at the files that keep credentials out of commits and uploads.
func (e *examination) ignores() {
	if e.Ignores == nil {
		e.skip("no repository to look for ignore files in; -root names it", "W5")
		return
	}
	for _, name := range []string{".gitignore", ".gcloudignore", ".dockerignore"} {
		content, present := e.Ignores[name]
		if !present && name != ".gitignore" {
			continue // gcloud goes by .gitignore then, and Docker is perhaps not used
		}
		if ignoresCredentials(content) || name == ".gcloudignore" && strings.Contains(content, "#!include:.gitignore") && ignoresCredentials(e.Ignores[".gitignore"]) {
			continue
		}
		what := "the credentials file could be committed"
		if name != ".gitignore" {
			what = "the credentials file would be uploaded with the source"
		}
		e.find(Finding{
			Check: "W5", Effect: Endangers, Fields: []string{name},
			Problem: fmt.Sprintf("%s does not exclude gha-creds-*.json: %s.", name, what),
			Remedy:  fmt.Sprintf("Add the line gha-creds-*.json to %s.", name),
		})
	}
}

func ignoresCredentials(content string) bool {
	ignored := false
	for line := range strings.Lines(content) {
		switch strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "**/"), "/") {
		case "gha-creds-*.json", "gha-creds-*", "*.json", "gha-creds*.json":
			ignored = true
		case "!gha-creds-*.json", "!*.json":
			ignored = false
		}
	}
	return ignored
}
