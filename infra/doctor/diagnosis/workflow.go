package diagnosis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

// signing is a step that signs in to Google, in a run of its job.
type signing struct {
	run workflow.Run
	at  int
}

func (s signing) step() workflow.Step { return s.run.Job.Steps[s.at] }

func (s signing) field(input string) string {
	return s.run.Field(fmt.Sprintf("steps[%d].with.%s", s.at, input))
}

// signsIn finds the steps that sign in. Those that do so elsewhere are told, and left
// alone: a folder holds workflows of other projects, pools and accounts as well.
func (e *examination) signsIn() {
	var all []signing
	ours := map[string]bool{} // one run of a job is enough: the others have a mistake in the matrix
	for _, run := range e.runs {
		for i, step := range run.Job.Steps {
			if step.Is("google-github-actions/auth") {
				s := signing{run, i}
				all = append(all, s)
				ours[run.Field("")] = ours[run.Field("")] || !e.elsewhere(s)
			}
		}
	}
	for _, s := range all {
		if ours[s.run.Field("")] {
			e.signings = append(e.signings, s)
			continue
		}
		account := s.step().Input("service_account")
		fields := append([]string{s.field("workload_identity_provider")}, s.run.Sources("environment", string(s.run.Job.Environment))...)
		e.find(Finding{
			Check: "P2", Effect: Notes, Fields: append(fields, s.field("service_account")),
			Problem: fmt.Sprintf("%s: job %q signs in elsewhere, as %s; nothing here is about that.", s.run.File.Name, s.run.ID, workflow.Shown(cmp.Or(s.run.Expand(account), "the token itself"))),
			Remedy:  "If it should deploy one of these functions, name that one's environment and its deployer.",
		})
	}
}

// elsewhere tells whether a step signs in to something else than the set-up: neither
// its environment nor its account is a deployer's, and its provider is another, or
// both are named.
func (e *examination) elsewhere(s signing) bool {
	email, environment := s.run.Expand(s.step().Input("service_account")), s.run.Expand(string(s.run.Job.Environment))
	provider := s.run.Expand(s.step().Input("workload_identity_provider"))
	fits := func(name string) bool { return email != "" && workflow.Fits(email, e.WIF.Deployers[name].Email) }
	fitting := slices.ContainsFunc(sorted(e.WIF.Deployers), fits)
	if len(e.functionsOf(s.run)) > 0 || fitting && workflow.Known(email) {
		return false
	}
	other := workflow.Known(provider) && providerName.MatchString(provider) && provider != e.WIF.Provider.Name
	return other || environment != "" && email != "" && !fitting
}

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
		e.skip("no workflow files; -workflows names their folder", "W1", "W2", "W3", "W4", "W6", "P2")
		return
	}
	e.ways()
	if len(e.signings) == 0 {
		e.signsNowhere()
		return
	}
	e.started()
	e.covered()
}

// ways asks of each step that signs in. Where one file's cannot, and another file's
// deploys the same functions, that is no refusal.
func (e *examination) ways() {
	findings := make([][]Finding, len(e.signings))
	refuses := func(f Finding) bool { return f.Effect == Refuses }
	works := map[string][]string{} // the files that deploy a function
	for i, s := range e.signings {
		own := *e
		own.findings = nil
		own.permissions(s.run)
		own.order(s.run, s.at)
		own.triggers(s.run)
		own.runner(s.run)
		own.environment(s)
		own.signIn(s)
		findings[i] = own.findings
		for _, name := range e.functionsOf(s.run) {
			if !slices.ContainsFunc(own.findings, refuses) {
				works[name] = append(works[name], s.run.Root.Name)
			}
		}
	}
	for i, s := range e.signings {
		functions := e.functionsOf(s.run)
		spared := len(functions) > 0 && !slices.ContainsFunc(functions, func(name string) bool { return len(works[name]) == 0 || slices.Contains(works[name], s.run.Root.Name) })
		for _, f := range findings[i] {
			if spared && refuses(f) {
				f.Effect, f.Error = Doubts, ""
			}
			e.find(f)
		}
	}
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
	problem := "No step uses google-github-actions/auth, so nothing here asks Google for anything."
	if e.found("", "P2") {
		problem = "Each step that signs in does so elsewhere, so nothing here asks for these deployers."
	}
	e.find(Finding{
		Check: "W1", Effect: Doubts, Fields: append(slices.Compact(fields), "workflows"),
		Problem: problem,
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
		effect := Refuses
		if run.Root.On.CalledOnly() { // by a workflow that is not here, and may grant it
			effect = Doubts
		}
		e.find(Finding{
			Check: "W1", Effect: effect, Functions: e.functionsOf(run), Fields: grant.Fields, Error: "E1",
			Problem: whose + ".",
			Remedy:  fmt.Sprintf("Write in %s, for job %q: permissions: {contents: read, id-token: write}.", grant.File, grant.Job),
		})
	}
}

func (e *examination) order(run workflow.Run, signIn int) {
	if run.Job.Steps[signIn].Input("create_credentials_file") == "false" {
		return
	}
	before := slices.ContainsFunc(run.Job.Steps[:signIn], func(s workflow.Step) bool { return s.Is("actions/checkout") })
	for i, step := range run.Job.Steps[signIn+1:] {
		if !step.Is("actions/checkout") || step.Input("path") != "" || before && step.Input("clean") == "false" {
			continue // or it leaves the workspace's own files alone
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

// file asks whether the condition wants another workflow file, and tells so.
func (e *examination) file(run workflow.Run) bool {
	want := e.program.file()
	if want == "" || want == run.Root.Name || want == run.File.Name {
		return false
	}
	claims := e.sample(run)
	if e.program.condition == nil || e.program.admits(claims) {
		return false
	}
	claims.WorkflowRef = strings.Replace(claims.WorkflowRef, "/"+run.Root.Name+"@", "/"+want+"@", 1)
	claims.JobWorkflowRef = strings.Replace(claims.JobWorkflowRef, "/"+run.File.Name+"@", "/"+want+"@", 1)
	if !e.program.admits(claims) {
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

func (e *examination) environment(s signing) {
	run, reads := s.run, e.program.readers("environment")
	field, environment := run.Field("environment"), run.Expand(string(run.Job.Environment))
	if len(reads) == 0 || slices.ContainsFunc(sorted(e.WIF.Deployers), func(name string) bool { return e.reaches(s, name) }) {
		return
	}
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
		remedy := "Name one of those."
		if like := sameButCase(environment, names); like != "" {
			remedy = fmt.Sprintf("They differ in case, which GitHub ignores and Google compares: write %q.", like)
		}
		effect := Refuses
		if !workflow.Known(run.Expand(s.step().Input("service_account"))) && !workflow.Known(run.Expand(s.step().Input("workload_identity_provider"))) {
			effect = Doubts // it may sign in elsewhere
		}
		e.find(Finding{
			Check: "W4", Effect: effect, Fields: fields, Error: "E12",
			Problem: fmt.Sprintf("%s: job %q runs in environment %q, and the deployers' are %s.", run.File.Name, run.ID, workflow.Shown(environment), strings.Join(names, ", ")),
			Remedy:  remedy,
		})
	}
}

// reaches tells whether the job, in its environment, gets to a function's deployer and
// may ask for it.
func (e *examination) reaches(s signing, function string) bool {
	email, environment := s.run.Expand(s.step().Input("service_account")), s.run.Expand(string(s.run.Job.Environment))
	if !workflow.Known(environment) || email != "" && !workflow.Fits(email, e.WIF.Deployers[function].Email) {
		return false
	}
	for _, t := range s.run.Root.On {
		if slices.ContainsFunc(e.occasions(s.run, t), func(c token.Claims) bool { return e.gets(function, c.In(environment)) }) {
			return true
		}
	}
	return false
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
	for _, s := range e.signings {
		from = append(from, s.run.Sources("environment", string(s.run.Job.Environment))...)
	}
	slices.Sort(from)
	from = slices.Compact(from)
	for _, name := range sorted(e.WIF.Deployers) {
		d := e.WIF.Deployers[name]
		if slices.ContainsFunc(e.signings, func(s signing) bool {
			return workflow.Fits(s.run.Expand(string(s.run.Job.Environment)), d.Environment) || e.reaches(s, name)
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
