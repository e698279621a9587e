package diagnosis

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

var (
	account = regexp.MustCompile(`^([a-z][a-z0-9-]{4,28}[a-z0-9])@([a-z][a-z0-9-]{4,28}[a-z0-9])\.iam\.gserviceaccount\.com$`)
	// given is an account that Google makes with a project.
	given   = regexp.MustCompile(`^(\d+-compute@developer|[a-z][a-z0-9-]{4,28}[a-z0-9]@appspot)\.gserviceaccount\.com$`)
	service = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$`)
	region  = regexp.MustCompile(`^[a-z]+-[a-z]+\d+$`)
)

// deployment asks what Cloud Run asks once the account is impersonated, and
// whether a pipeline could do more than deploy its own function.
func (e *examination) deployment() {
	e.accounts()
	e.functions()
	e.actsAs()
	for _, name := range sorted(e.WIF.Deployers) {
		e.roles(name)
	}
}

// doubtful is a finding of R2 about what is formed unlike the rest.
func (e *examination) doubtful(function, problem, remedy string, fields ...string) {
	e.find(Finding{Check: "R2", Effect: Doubts, Functions: []string{function}, Fields: fields, Problem: problem, Remedy: remedy})
}

// accounts asks whether e-mails are those of accounts of this project.
func (e *examination) accounts() {
	projects := []said{{"project_id", e.WIF.ProjectID}}
	check := func(function, field, email string) {
		if given.MatchString(email) {
			return
		}
		parts := account.FindStringSubmatch(email)
		if parts == nil {
			e.find(Finding{
				Check: "R2", Effect: Breaks, Functions: []string{function}, Fields: []string{field}, Error: "E12",
				Problem: fmt.Sprintf("%s is %q, which is no service account's e-mail.", field, email),
				Remedy:  "Write NAME@PROJECT.iam.gserviceaccount.com, in lower case.",
			})
			return
		}
		projects = append(projects, said{field, parts[2]})
	}
	owners := map[string][]string{}
	emails, environments := map[string]string{}, map[string]string{}
	for _, name := range sorted(e.WIF.Deployers) {
		d := e.WIF.Deployers[name]
		check(name, "deployers."+name+".email", d.Email)
		owners[d.Email] = append(owners[d.Email], "deployers."+name+".email")
		emails[name], environments[name] = d.Email, d.Environment
	}
	for _, name := range sorted(e.WIF.Functions) {
		f := e.WIF.Functions[name]
		check(name, "functions."+name+".runtime_account", f.RuntimeAccount)
		owners[f.RuntimeAccount] = append(owners[f.RuntimeAccount], "functions."+name+".runtime_account")
	}
	for _, email := range sorted(owners) {
		if len(owners[email]) > 1 && email != "" {
			e.find(Finding{
				Check: "R1", Effect: Endangers, Fields: owners[email],
				Problem: fmt.Sprintf("%q is %s: what may deploy or be one may be the other.", email, strings.Join(owners[email], " and ")),
				Remedy:  "Give each function an account to run as and one to be deployed by.",
			})
		}
	}
	if !projectID.MatchString(e.WIF.ProjectID) {
		e.find(Finding{
			Check: "R2", Effect: Breaks, Fields: []string{"project_id"},
			Problem: fmt.Sprintf("project_id is %q, which is no project's id.", e.WIF.ProjectID), Remedy: "Ids have 6 to 30 of a-z, 0-9 and -; the number goes to project_number.",
		})
	} else if id, others := agreement(projects); len(others) > 0 {
		e.find(Finding{
			Check: "R2", Effect: Breaks, Fields: fieldsOf(others), Error: "E12",
			Problem: fmt.Sprintf("The project is %q elsewhere, but %s.", id, list(others)), Remedy: "Let Terraform take e-mails from the accounts themselves.",
		})
	}
	e.conventions("deployers.%s.email", emails)
	e.conventions("deployers.%s.environment", environments)
}

func (e *examination) conventions(field string, values map[string]string) {
	like, others := convention(values)
	for _, name := range others {
		field := fmt.Sprintf(field, name)
		if !e.found(field, "R1", "R2", "B4") {
			e.doubtful(name, fmt.Sprintf("%s is %q, where the other functions' are like %q.", field, values[name], like), "Correct it, unless it is meant.", field)
		}
	}
}

// functions asks whether functions and deployers belong together.
func (e *examination) functions() {
	services, regions := map[string]string{}, map[string]string{}
	var all []said
	for _, name := range sorted(e.WIF.Functions) {
		f := e.WIF.Functions[name]
		services[name], regions[name] = f.Service, f.Region
		all = append(all, said{"functions." + name + ".region", f.Region})
		if _, ok := e.WIF.Deployers[name]; !ok {
			e.doubtful(name, fmt.Sprintf("Nothing deploys the function %s.", name), "Add a deployer for it.", "deployers."+name, "functions."+name)
		}
		if !service.MatchString(f.Service) {
			e.find(Finding{
				Check: "R2", Effect: Breaks, Functions: []string{name}, Fields: []string{"functions." + name + ".service"}, Error: "E16",
				Problem: fmt.Sprintf("%q is no Cloud Run service's name.", f.Service), Remedy: "Names have up to 49 of a-z, 0-9 and -, and begin with a letter.",
			})
		}
		if !region.MatchString(f.Region) {
			e.find(Finding{
				Check: "R2", Effect: Breaks, Functions: []string{name}, Fields: []string{"functions." + name + ".region"}, Error: "E16",
				Problem: fmt.Sprintf("%q is no region.", f.Region), Remedy: "Write one such as europe-west1.",
			})
		}
	}
	for _, name := range sorted(e.WIF.Deployers) {
		if _, ok := e.WIF.Functions[name]; !ok {
			e.doubtful(name, fmt.Sprintf("The deployer %s has no function.", name), "Remove it, or add the function.", "deployers."+name, "functions."+name)
		}
	}
	_, others := convention(services)
	for _, name := range others {
		if field := "functions." + name + ".service"; !e.found(field, "R2") {
			e.doubtful(name, fmt.Sprintf("The service of %s is %q, unlike the others' names.", name, services[name]), "Correct it, unless it is meant.", field)
		}
	}
	most, odd := agreement(all)
	for _, s := range odd {
		if len(odd) < len(all) && !e.found(s.field, "R2") {
			name := strings.Split(s.field, ".")[1]
			e.doubtful(name, fmt.Sprintf("The region of %s is %q, and the others are in %q: the workflow would look for it there.", name, s.value, most), "Correct it, unless it is meant.", s.field)
		}
	}
}

// acting are the roles on a project that let act as every account of it.
var acting = []string{"roles/owner", "roles/editor", "roles/iam.serviceAccountUser"}

// actsAs asks whether a deployer may act as its own function's account and the
// build account, and as no other.
func (e *examination) actsAs() {
	owner := map[string]string{}
	for name, f := range e.WIF.Functions {
		owner[f.RuntimeAccount] = name
	}
	for name, d := range e.WIF.Deployers {
		owner[d.Email] = name
	}
	uses := map[string]int{} // by accounts that are no function's: the build account is everybody's
	for _, d := range e.WIF.Deployers {
		for _, email := range d.ActsAs {
			if owner[email] == "" {
				uses[email]++
			}
		}
	}
	var shared []string
	for _, email := range sorted(uses) {
		if 2*uses[email] > len(e.WIF.Deployers) {
			shared = append(shared, email)
		}
	}
	for _, name := range sorted(e.WIF.Deployers) {
		d, own := e.WIF.Deployers[name], e.WIF.Functions[name].RuntimeAccount
		if own == "" {
			continue // R2 says so
		}
		field := "deployers." + name + ".acts_as"
		for _, email := range append([]string{own}, shared...) {
			if !slices.Contains(d.ActsAs, email) && !slices.ContainsFunc(d.ProjectRoles, func(role string) bool { return slices.Contains(acting, role) }) {
				e.find(Finding{
					Check: "R1", Effect: Breaks, Functions: []string{name}, Fields: []string{field, "functions." + name + ".runtime_account"}, Error: "E15",
					Problem: fmt.Sprintf("%s may not act as %s, which deploying %s takes.", d.Email, email, name),
					Remedy:  "Grant it roles/iam.serviceAccountUser on that account.",
				})
			}
		}
		if len(shared) == 0 {
			e.find(Finding{
				Check: "R1", Effect: Doubts, Functions: []string{name}, Fields: []string{field},
				Problem: fmt.Sprintf("%s acts as no build account.", d.Email), Remedy: "A deployment from source builds as an account of its own: grant roles/iam.serviceAccountUser on it.",
			})
		}
		for i, email := range d.ActsAs {
			e.foreignAccount(name, fmt.Sprintf("%s[%d]", field, i), email, owner[email], slices.Contains(shared, email))
		}
	}
}

func (e *examination) foreignAccount(name, field, email, owner string, shared bool) {
	d := e.WIF.Deployers[name]
	switch {
	case owner == name && email != d.Email, shared:
	case owner != "":
		e.find(Finding{
			Check: "R1", Effect: Endangers, Functions: []string{name}, Fields: []string{field},
			Problem: fmt.Sprintf("%s may act as %s: a stolen pipeline of %s could replace %s.", d.Email, email, name, owner),
			Remedy:  "Take roles/iam.serviceAccountUser on that account from it.",
		})
	default:
		e.find(Finding{
			Check: "R1", Effect: Endangers, Functions: []string{name}, Fields: []string{field, "functions." + name + ".runtime_account"},
			Problem: fmt.Sprintf("%s may act as %q, which is neither the account of %s nor the build account.", d.Email, email, name),
			Remedy:  "Take roles/iam.serviceAccountUser on that account from it.",
		})
	}
}

// Roles on the project that a deployer may have: what it takes to deploy from
// source, what changes nothing without acting as an account, and what only looks.
var (
	deploying = []string{"roles/run.sourceDeveloper", "roles/serviceusage.serviceUsageConsumer"}
	harmless  = append([]string{"roles/run.developer", "roles/run.viewer", "roles/cloudbuild.builds.editor", "roles/logging.viewer", "roles/logging.logWriter", "roles/monitoring.viewer", "roles/artifactregistry.reader", "roles/cloudbuild.builds.viewer"}, deploying...)
	// broad are those that reach every function, or the access to them.
	broad = regexp.MustCompile(`^roles/(owner|editor|.*[aA]dmin|iam\..*|resourcemanager\..*|cloudbuild\.builds\.builder|secretmanager\..*|deploymentmanager\..*|cloudfunctions\.developer)$`)
)

func (e *examination) roles(name string) {
	d := e.WIF.Deployers[name]
	// The custom role that infra makes; what else a deployer takes is given on its own
	// function, bucket and repository, and is not told here.
	own := "projects/" + e.WIF.ProjectID + "/roles/dashboardDeployer_project"
	field := "deployers." + name + ".project_roles"
	find := func(effect Effect, field, id, problem, remedy string) {
		e.find(Finding{Check: "R1", Effect: effect, Functions: []string{name}, Fields: []string{field}, Error: id, Problem: problem, Remedy: remedy})
	}
	for i, role := range d.ProjectRoles {
		place := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case slices.Contains(harmless, role), role == own:
		case broad.MatchString(role):
			find(Endangers, place, "", fmt.Sprintf("%s has %s on the whole project: more than its own function.", d.Email, role), fmt.Sprintf("Remove it; %s are enough.", strings.Join(deploying, " and ")))
		default:
			find(Doubts, place, "", fmt.Sprintf("%s has %q on the project, a role that the doctor does not know.", d.Email, role), "See what it holds: gcloud iam roles describe ROLE")
		}
	}
	for _, role := range deploying {
		if role == deploying[0] && slices.Contains(d.ProjectRoles, own) {
			continue
		}
		if !slices.Contains(d.ProjectRoles, role) && !slices.ContainsFunc(d.ProjectRoles, broad.MatchString) {
			effect := Breaks
			if slices.Contains(d.ProjectRoles, "roles/run.developer") { // enough to deploy an image
				effect = Doubts
			}
			find(effect, field, "E16", fmt.Sprintf("%s lacks %s, which a deployment from source takes.", d.Email, role), "Grant it on the project.")
		}
	}
}

// account asks of the step that signs in which account it wants.
func (e *examination) account(s signing) {
	run, step, at := s.run, s.step(), s.at
	email := run.Expand(step.Input("service_account"))
	where := fmt.Sprintf("%s: job %q, step %d", run.File.Name, run.ID, at+1)
	functions := e.functionsOf(run)
	fields := run.Sources(fmt.Sprintf("steps[%d].with.service_account", at), step.Input("service_account"))
	var known, own []string
	for _, name := range sorted(e.WIF.Deployers) {
		known = append(known, e.WIF.Deployers[name].Email)
		if slices.Contains(functions, name) {
			own = append(own, e.WIF.Deployers[name].Email)
			fields = append(fields, "deployers."+name+".email")
		}
	}
	if len(functions) == 0 {
		own, fields = known, append(fields, "deployers")
	}
	refuse := func(id, problem, remedy string) {
		e.find(Finding{Check: "R2", Effect: Refuses, Functions: functions, Fields: fields, Error: id, Problem: problem, Remedy: remedy})
	}
	switch {
	case email == "" && step.Input("token_format") != "":
		refuse("E13", where+" asks for token_format without a service_account.", "Write the deployer's e-mail as service_account.")
	case email == "":
		e.find(Finding{
			Check: "R2", Effect: Doubts, Functions: functions, Fields: fields,
			Problem: where + " names no service_account: the token itself would have to hold the roles, and here the deployers do.",
			Remedy:  "Write the deployer's e-mail as service_account.",
		})
	case !workflow.Known(email) && !slices.ContainsFunc(known, func(k string) bool { return workflow.Fits(email, k) }),
		workflow.Known(email) && !slices.Contains(known, email):
		refuse("E12", fmt.Sprintf("%s: Terraform made no deployer %q (Google says \"denied … or it may not exist\").", where, workflow.Shown(email)),
			fmt.Sprintf("Write %s.", orNothing(own)))
	case len(functions) > 0 && !slices.ContainsFunc(functions, func(name string) bool { return workflow.Fits(email, e.WIF.Deployers[name].Email) }):
		refuse("E12", fmt.Sprintf("%s runs in environment %q and asks for %s, another function's deployer.", where, workflow.Shown(run.Expand(string(run.Job.Environment))), workflow.Shown(email)),
			"Let environment and service_account name the same function.")
	}
}
