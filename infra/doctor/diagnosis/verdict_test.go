package diagnosis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/infra/doctor/diagnosis"
	"github.com/devops-dashboard/dashboard/infra/doctor/expression"
	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/wif"
	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

const (
	poolName = "projects/123456789012/locations/global/workloadIdentityPools/github"
	inPool   = "principalSet://iam.googleapis.com/" + poolName
	userRole = "roles/iam.workloadIdentityUser"
)

// comparisons are right and wrong ones, and those that look wrong.
var comparisons = []string{
	"assertion.repository_id == '74'", "assertion.repository_id == 74", "assertion.repository_id != 99", "assertion.repository_id in ['74', 75]", "assertion.repository_id in [74, 75]",
	"assertion.repository_id == '75'", "assertion.ref == 'refs/heads/*'", "assertion.ref in ['refs/heads/*', 'refs/heads/main']", "assertion.ref == 'refs/heads/main'", "assertion.ref_protected == true",
	"assertion.sub == 'repo:octo-org/octo-repo:environment:prod-auth'", "assertion.sub == 'repo:octo-org@65/octo-repo@74:environment:prod-auth'", "assertion.sub.startsWith('repo:octo-org/octo-repo:')",
	"assertion.enterprise != null", "has(assertion.environment)", "!(assertion.event_name == 'push')", "assertion.exp > 1.0", "assertion.nowhere == 'x'", "attribute.deployer == '74:prod-auth'", "google.subject == 'gh:75:none'",
	"assertion.workflow_ref.endsWith('/.github/workflows/deploy.yml@refs/heads/main')", "assertion.aud.matches('dashboard$')", "(assertion.ref_type == 'tag' ? assertion.run_number == 1 : assertion.actor == 'octocat')",
}

// members are those that let the valid token impersonate, by whether they do.
var members = map[bool][]wif.Member{
	true: {
		{Role: userRole, Member: inPool + "/attribute.deployer/74:prod-auth"}, {Role: userRole, Member: inPool + "/*"},
		{Role: userRole, Member: strings.Replace(inPool, "principalSet", "principal", 1) + "/subject/gh:74:prod-auth"},
		{Role: "roles/iam.serviceAccountTokenCreator", Member: inPool + "/attribute.repository_id/74"},
	},
	false: {
		{Role: userRole, Member: inPool + "2/attribute.deployer/74:prod-auth"}, {Role: userRole, Member: strings.Replace(inPool, "123456789012", "acme-dash-prod", 1) + "/attribute.deployer/74:prod-auth"},
		{Role: userRole, Member: inPool + "/attribute.repository/octo-org/octo-repo"}, {Role: userRole, Member: inPool + "/attribute.repository_id/74/attribute.deployer/74:prod-auth"},
		{Role: userRole, Member: inPool + "/attribute.deployer/74:Prod-auth"}, {Role: userRole, Member: inPool + "/attribute.deployer/*"}, {Role: userRole, Member: inPool + "/subject/gh:74:prod-auth"},
		{Role: userRole, Member: "serviceAccount:ci@acme-dash-prod.iam.gserviceaccount.com"}, {Role: userRole, Member: "user:octocat@example.com"}, {Role: "roles/iam.serviceAccountUser", Member: inPool + "/*"},
		{Role: userRole, Member: strings.Replace(inPool, "principalSet", "principal", 1) + "/subject/repo:octo-org/octo-repo:environment:prod-auth"}, {},
	},
}

// The verdict is that of the evaluation: whatever looks wrong, a token is said to be
// refused exactly where the condition is false for it or no member means it.
func TestTheVerdictIsThatOfTheEvaluation(t *testing.T) {
	t.Parallel()
	whole := valid(t)
	rapid.Check(t, func(t *rapid.T) {
		setup := diagnosis.Setup{WIF: whole.WIF, Token: whole.Token, Now: now}
		var parts []string
		for _, alternatives := range rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(comparisons), 1, 3), 1, 3).Draw(t, "condition") {
			parts = append(parts, "("+strings.Join(alternatives, " || ")+")")
		}
		condition := strings.Join(parts, " && ")
		setup.WIF.Provider.AttributeCondition = condition
		compiled, err := expression.Condition(condition)
		if err != nil {
			t.Fatal(err)
		}
		value, err := compiled.Eval(expression.Input{
			Assertion: setup.Token.Claims.Map(),
			Google:    map[string]any{"subject": "gh:74:prod-auth"},
			Attribute: map[string]any{"repository_id": "74", "owner_id": "65", "deployer": "74:prod-auth"},
		})
		bound := false
		setup.WIF.Deployers = map[string]wif.Deployer{}
		for name, d := range whole.WIF.Deployers {
			setup.WIF.Deployers[name] = d
		}
		auth := setup.WIF.Deployers["auth"]
		auth.Members = nil
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			does := rapid.Bool().Draw(t, "does")
			auth.Members = append(auth.Members, rapid.SampledFrom(members[does]).Draw(t, "member"))
			bound = bound || does
		}
		setup.WIF.Deployers["auth"] = auth
		admitted := err == nil && value == true && bound
		if report := diagnosis.Examine(setup); (report.Verdict != diagnosis.Refused) != admitted {
			t.Errorf("%s with %v: %s, want it admitted: %v; %+v", condition, auth.Members, report.Verdict, admitted, report.Findings)
		}
	})
}

// way is a set-up of somebody's, as far as it differs from the valid one.
type way struct {
	on, job                         string // of the workflow
	condition, mapping, environment string
	members                         []string // of auth
	scenario                        string
	form                            diagnosis.Form
	issuer, audience, with, steps   string
	all                             bool              // functions, not auth alone
	more                            map[string]string // other workflow files
	says                            string
}

const owner = "assertion.repository_owner_id == '65' && assertion.repository_id == '74'"

// ways are written as people write them; where a row says less, the rest is as in the
// valid set-up.
var ways = map[diagnosis.Verdict]map[string]way{
	diagnosis.Admitted: {
		"tags deploy":                     {on: "{push: {tags: ['v*']}}", condition: owner + " && assertion.ref.startsWith('refs/tags/v') && assertion.event_name == 'push' && assertion.runner_environment == 'github-hosted' && assertion.workflow_ref.contains('/.github/workflows/deploy.yml@refs/tags/v')"},
		"releases deploy":                 {on: "{release: {types: [published]}}", condition: owner + " && assertion.ref_type == 'tag' && assertion.event_name == 'release'"},
		"branches of releases":            {on: "{push: {branches: ['release/**', '!release/**-rc']}}", condition: owner + " && assertion.ref.matches('^refs/heads/release/[0-9.]+$') && assertion.event_name == 'push'"},
		"by hand alone":                   {on: "workflow_dispatch"},
		"by the clock":                    {on: "{schedule: [{cron: '0 4 * * *'}]}", condition: owner + " && assertion.ref == 'refs/heads/main' && assertion.event_name == 'schedule'"},
		"by a call from outside":          {on: "{repository_dispatch: {types: [deploy]}}", condition: owner + " && assertion.ref == 'refs/heads/main' && assertion.event_name == 'repository_dispatch'"},
		"another branch than main":        {on: "{push: {branches: [master]}}", condition: owner + " && assertion.ref_type == 'branch' && assertion.event_name == 'push'"},
		"what is pushed touches a folder": {on: "{push: {branches: [main], paths: ['functions/**', '!**.md']}}"},
		"all branches but some":           {on: "{push: {branches-ignore: ['dependabot/**', 'wip']}}"},
		"both forms of sub":               {on: "{push: {branches: [main]}}", condition: owner + " && assertion.event_name == 'push' && assertion.ref == 'refs/heads/main' && (assertion.sub == 'repo:octo-org/octo-repo:environment:prod-auth' || assertion.sub == 'repo:octo-org@65/octo-repo@74:environment:prod-auth')"},
		"a member of another pool too":    {members: []string{inPool + "2/attribute.deployer/74:prod-auth", "serviceAccount:ci@acme-dash-prod.iam.gserviceaccount.com", inPool + "/attribute.deployer/74:prod-auth"}},
		"another workflow signs in elsewhere": {more: map[string]string{
			"infra.yml": "on: workflow_dispatch\njobs: {apply: {environment: infra, runs-on: ubuntu-24.04, permissions: {id-token: write}, steps: [{uses: google-github-actions/auth@v3, with: {service_account: terraform@acme-dash-prod.iam.gserviceaccount.com, workload_identity_provider: projects/123456789012/locations/global/workloadIdentityPools/infra/providers/terraform}}]}}\n",
		}},
		"self-hosted, and meant":                {on: "{push: {branches: [main]}}", job: "runs-on: [self-hosted, linux]", condition: owner + " && assertion.ref == 'refs/heads/main' && assertion.event_name == 'push' && assertion.runner_environment == 'self-hosted' && assertion.workflow_ref.endsWith('/.github/workflows/deploy.yml@refs/heads/main')"},
		"names in the path of the workflow":     {condition: owner + " && assertion.workflow_ref == 'acme/dash/.github/workflows/deploy.yml@refs/heads/main'"},
		"names in a member":                     {mapping: "assertion.repository", members: []string{"principal" + strings.TrimPrefix(inPool, "principalSet") + "/subject/acme/dash"}},
		"names in sub, with ids":                {condition: "assertion.sub.startsWith('repo:acme@650/dash@740:') && assertion.repository_owner == 'acme' && assertion.repository_id == '740' && assertion.ref == 'refs/heads/main'", form: diagnosis.IDs, members: []string{inPool + "/attribute.deployer/740:prod-auth"}},
		"the environment by name and address":   {environment: "{name: prod-auth, url: 'https://example.com'}"},
		"a job that keeps other events out":     {on: "{push: {branches: [main]}, pull_request: }", job: "runs-on: ubuntu-24.04\n    if: github.event_name == 'push'"},
		"no environment, and none is asked for": {environment: "{}", members: []string{inPool + "/attribute.repository_id/74"}},
		"self-hosted, as far as is known":       {on: "-", condition: owner + " && assertion.ref == 'refs/heads/main' && assertion.runner_environment == 'self-hosted'"},
		"another workflow, and its account is a variable": {more: map[string]string{
			"infra.yml": "on: push\njobs: {apply: {runs-on: ubuntu-24.04, permissions: {id-token: write}, steps: [{uses: google-github-actions/auth@v3, with: {service_account: '${{ vars.ACCOUNT }}', workload_identity_provider: projects/210987654321/locations/global/workloadIdentityPools/infra/providers/terraform}}]}}\n",
		}},
		"a second checkout, in its own folder": {steps: "{uses: actions/checkout@v7, with: {path: other}}"},
		"a second checkout that keeps files":   {steps: "{uses: actions/checkout@v7, with: {clean: false}}"},
		"called, with the caller's permissions": {on: "workflow_call", job: "runs-on: ubuntu-24.04", more: map[string]string{
			"release.yml": "on: {push: {branches: [main]}}\njobs: {ship: {permissions: {id-token: write, contents: read}, uses: ./.github/workflows/deploy.yml}}\n",
		}, condition: owner + " && assertion.ref == 'refs/heads/main' && assertion.event_name == 'push' && assertion.runner_environment == 'github-hosted' && assertion.workflow_ref.endsWith('/.github/workflows/release.yml@refs/heads/main')"},
	},
	diagnosis.Unsure: {
		"a number that excludes nobody":           {condition: owner + " && assertion.actor_id != 99 && assertion.ref == 'refs/heads/main'", says: "C3"},
		"a number beside the right text":          {condition: "assertion.repository_id in ['74', 75] && assertion.ref == 'refs/heads/main'", says: "C3"},
		"a star that another makes up for":        {condition: owner + " && (assertion.ref == 'refs/heads/*' || assertion.ref == 'refs/heads/main')", says: "C4b"},
		"one form of sub, and which is not said":  {condition: owner + " && assertion.sub.startsWith('repo:octo-org/octo-repo:')", says: "C6"},
		"one condition for all, no environment":   {members: []string{inPool + "/attribute.repository_id/74"}, all: true, says: "B4"},
		"a runner of some group":                  {job: "runs-on: {group: deployers}", says: "W6"},
		"one form of sub beside a stale member":   {on: "{push: {branches: [main]}}", mapping: "assertion.sub", members: []string{inPool + "2/*", strings.Replace(inPool, "principalSet", "principal", 1) + "/subject/repo:octo-org/octo-repo:environment:prod-auth"}, says: "C6"},
		"by hand, from any branch":                {on: "workflow_dispatch", condition: owner + " && assertion.event_name == 'workflow_dispatch'", says: "C5"},
		"a customised sub":                        {on: "{push: {branches: [main]}}", condition: owner + " && assertion.sub == 'repository_owner:octo-org:environment:prod-auth' && assertion.ref == 'refs/heads/main'", says: "C4"},
		"a customised subject":                    {mapping: "assertion.sub", members: []string{strings.Replace(inPool, "principalSet", "principal", 1) + "/subject/repo:octo-org/octo-repo:environment:prod-auth:job_workflow_ref:x"}, says: "B4"},
		"the issuer of a server":                  {issuer: "https://github.example.com/_services/token", says: "P5"},
		"an audience of its own":                  {on: "{push: {branches: [main]}}", audience: "https://dash.example.com", with: "audience: '${{ vars.AUDIENCE }}'", says: "P4"},
		"no workflow, an audience":                {on: "-", audience: "https://dash.example.com", says: "P4"},
		"an environment of another pool, perhaps": {environment: "${{ matrix.environment }}", with: "service_account: '${{ vars.ACCOUNT }}', workload_identity_provider: '${{ vars.PROVIDER }}'", says: "W4"},
		"called by a workflow that is not here":   {on: "workflow_call", says: "W1"},
		"a server without a condition":            {issuer: "https://github.example.com/_services/token", condition: " ", says: "C1"},
		"a subject that ids make too long":        {mapping: "assertion.sub + '" + strings.Repeat("x", 127-len("repo:octo-org/octo-repo:environment:prod-auth")) + "'", says: "M4"},
		"another file cannot sign in": {more: map[string]string{
			"adhoc.yml": "on: push\njobs: {deploy: {environment: prod-auth, runs-on: ubuntu-24.04, permissions: {id-token: write}, steps: [{uses: google-github-actions/auth@v3, with: {service_account: deploy-auth@acme-dash-prod.iam.gserviceaccount.com, workload_identity_provider: " + poolName + "/providers/dashboard}}]}}\n",
		}, says: "W3"},
	},
	diagnosis.Refused: {
		"tags start it, and main is wanted":      {on: "{push: {tags: ['v*']}}", says: "W3"},
		"another branch starts it":               {on: "{push: {branches: [develop]}}", says: "W3"},
		"main is left out":                       {on: "{push: {branches-ignore: [main]}}", says: "W3"},
		"main is taken away again":               {on: "{push: {branches: ['**', '!main']}}", says: "W3"},
		"nothing but what is left out":           {on: "{push: {paths: ['!docs/**']}}", says: "W3"},
		"both filters":                           {on: "{push: {branches: [main], branches-ignore: [wip]}}", says: "W3"},
		"asked for a tag, branches start it":     {scenario: "tag", says: "W3"},
		"self-hosted":                            {job: "runs-on: [self-hosted, linux]", says: "W6"},
		"self-hosted by a matrix":                {job: "runs-on: ${{ matrix.runner }}", says: "W6"},
		"a pool's machine, where own are wanted": {condition: owner + " && assertion.ref == 'refs/heads/main' && assertion.runner_environment == 'self-hosted'", says: "W6"},
		"numbers without quotes":                 {condition: "assertion.repository_owner_id == 65 && assertion.repository_id == 74", says: "C3"},
		"stars alone":                            {condition: owner + " && (assertion.ref == 'refs/heads/*' || assertion.ref == 'refs/tags/*')", says: "C4b"},
		"the other form of sub":                  {condition: owner + " && assertion.sub == 'repo:octo-org/octo-repo:environment:prod-auth'", form: diagnosis.IDs, says: "C6"},
		"wrong members, each for its reason":     {members: []string{inPool + "2/attribute.deployer/74:prod-auth", inPool + "/attribute.deployer/*"}, says: "B1"},
		"a workflow of another repository, while this one has the job": {condition: owner + " && assertion.ref == 'refs/heads/main' && assertion.job_workflow_ref.startsWith('acme/shared/.github/workflows/deploy.yml@')", says: "C4"},
		"a second checkout":                     {steps: "{uses: actions/checkout@v7}", says: "W2"},
		"a star after an attribute":             {members: []string{inPool + "/attribute.deployer/*"}, says: "B4"},
		"a role beside a member that fits none": {members: []string{"roles/viewer " + inPool + "/*", inPool + "/attribute.deployer/74:prod-web"}, says: "B4"},
		"nothing of that name":                  {condition: owner + " && assertion.ref == 'refs/heads/main' && assertion.repository.split('/')[3] == 'x'", says: "C4"},
		"neither true nor false":                {condition: owner + " && (assertion.ref == 'refs/heads/main' ? assertion.ref : assertion.sub)", says: "C4"},
		"no environment":                        {environment: "{}", says: "W4"},
		"an environment in other case":          {environment: "Prod-auth", says: "W4"},
		"a caller that grants nothing": {on: "workflow_call", more: map[string]string{
			"release.yml": "on: {push: {branches: [main]}}\njobs: {ship: {permissions: {contents: read}, uses: ./.github/workflows/deploy.yml}}\n",
		}, condition: owner + " && assertion.ref == 'refs/heads/main'", says: "W1"},
	},
}

func TestWaysToSetItUp(t *testing.T) {
	t.Parallel()
	for verdict, named := range ways {
		for name, w := range named {
			t.Run(string(verdict)+"/"+name, func(t *testing.T) {
				t.Parallel()
				report := diagnosis.Examine(w.setup(t))
				var serious, checks []string
				for _, f := range report.Findings {
					checks = append(checks, f.Check)
					if f.Effect != diagnosis.Notes && f.Check != "C5" { // how loose it is, is another question
						serious = append(serious, fmt.Sprintf("%s %s: %s", f.Check, f.Effect, f.Problem))
					}
				}
				switch {
				case verdict == diagnosis.Admitted && (report.Verdict == diagnosis.Refused || len(serious) > 0),
					verdict != diagnosis.Admitted && report.Verdict != verdict:
					t.Errorf("%s: %s", report.Verdict, strings.Join(serious, "\n"))
				case verdict == diagnosis.Refused && checks[0] != w.says, !strings.Contains(strings.Join(checks, " "), w.says):
					t.Errorf("%s says it, not %s:\n%s", checks, w.says, strings.Join(serious, "\n"))
				}
			})
		}
	}
}

// Without deployers nobody can say whom a token may be.
func TestWithoutDeployers(t *testing.T) {
	t.Parallel()
	setup := valid(t)
	setup.Token, setup.WIF.Deployers, setup.WIF.Functions, setup.Workflows = nil, nil, nil, nil
	if report := diagnosis.Examine(setup); report.Verdict != diagnosis.Unsure || report.Findings[0].Check != "B4" {
		t.Errorf("%s: %+v", report.Verdict, report.Findings)
	}
	setup.WIF.Provider.AttributeCondition = "assertion.repository_id == 74"
	if report := diagnosis.Examine(setup); report.Verdict != diagnosis.Refused || report.Findings[0].Check != "C3" {
		t.Errorf("%s: %+v", report.Verdict, report.Findings)
	}
}

// What a scenario cannot know, a token says.
func TestATokenLeavesNoDoubt(t *testing.T) {
	t.Parallel()
	for check, change := range map[string]func(*diagnosis.Setup){
		"P4": func(s *diagnosis.Setup) { s.WIF.Provider.AllowedAudiences = []string{"https://dash.example.com"} },
		"P5": func(s *diagnosis.Setup) { s.WIF.Provider.Issuer = "https://github.example.com/_services/token" },
		"C4": func(s *diagnosis.Setup) {
			s.WIF.Provider.AttributeCondition = owner + " && assertion.sub == 'repository_owner:octo-org:environment:prod-auth'"
		},
		"B4": func(s *diagnosis.Setup) {
			s.WIF.Provider.AttributeMapping["google.subject"] = "assertion.sub"
			s.WIF.Deployers["auth"].Members[0].Member = strings.Replace(inPool, "principalSet", "principal", 1) + "/subject/repository_owner:octo-org"
		},
	} {
		setup := valid(t)
		setup.Workflows = nil
		change(&setup)
		if report := diagnosis.Examine(setup); report.Verdict != diagnosis.Refused || report.Findings[0].Check != check {
			t.Errorf("%s: %s: %+v", check, report.Verdict, report.Findings)
		}
	}
}

// A slip is not what a part fails by, where the part has another alternative.
func TestASlipBesideTheReason(t *testing.T) {
	t.Parallel()
	setup := valid(t)
	setup.Workflows, setup.WIF.Provider.AttributeCondition = nil, owner+" && (assertion.ref_type == 'tag*' || assertion.ref_type == 'tag')"
	report := diagnosis.Examine(setup)
	effects := map[string]diagnosis.Effect{}
	for _, f := range report.Findings {
		effects[f.Check] = f.Effect
	}
	if report.Verdict != diagnosis.Refused || effects["C4"] != diagnosis.Refuses || effects["C4b"] != diagnosis.Doubts {
		t.Errorf("%s: %v", report.Verdict, effects)
	}
}

// A project's default account runs functions too, and a role on the project lets act as
// every account: loose, and no failure.
func TestLooseDeploymentsWork(t *testing.T) {
	t.Parallel()
	setup := valid(t)
	web, deployer := setup.WIF.Functions["web"], setup.WIF.Deployers["web"]
	web.RuntimeAccount = "123456789012-compute@developer.gserviceaccount.com"
	deployer.ActsAs, deployer.ProjectRoles = nil, []string{"roles/run.developer", "roles/iam.serviceAccountUser", "roles/serviceusage.serviceUsageConsumer"}
	setup.WIF.Functions["web"], setup.WIF.Deployers["web"] = web, deployer
	for _, f := range diagnosis.Examine(setup).Findings {
		if f.Effect == diagnosis.Breaks || f.Effect == diagnosis.Refuses {
			t.Errorf("%+v", f)
		}
	}
	deployer.ActsAs, deployer.ProjectRoles = []string{web.RuntimeAccount, "build@acme-dash-prod.iam.gserviceaccount.com"}, []string{"roles/run.developer", "roles/serviceusage.serviceUsageConsumer"}
	setup.WIF.Deployers["web"] = deployer
	if report := diagnosis.Examine(setup); slices.ContainsFunc(report.Findings, func(f diagnosis.Finding) bool { return f.Effect == diagnosis.Breaks }) {
		t.Errorf("%s: %+v", report.Verdict, report.Findings)
	}
	deployer.ActsAs, deployer.ProjectRoles = nil, deployer.ProjectRoles[:1]
	setup.WIF.Deployers["web"] = deployer
	if report := diagnosis.Examine(setup); !slices.ContainsFunc(report.Findings, func(f diagnosis.Finding) bool { return f.Check == "R1" && f.Effect == diagnosis.Breaks }) {
		t.Errorf("%+v", report.Findings)
	}
}

// A token whose environment is no deployer's is for whom it may impersonate.
func TestATokenIsForWhomItMayBe(t *testing.T) {
	t.Parallel()
	setup := valid(t)
	setup.Workflows = nil
	setup.Token.Claims = setup.Token.Claims.In("staging")
	web := setup.WIF.Deployers["web"]
	web.Members[0].Member = inPool + "/attribute.repository_id/74"
	report := diagnosis.Examine(setup)
	if report.Verdict == diagnosis.Refused || strings.Join(report.Functions, " ") != "web" {
		t.Errorf("%s for %s: %+v", report.Verdict, report.Functions, report.Findings)
	}
}

// GitHub takes an environment's name in any case, and the claim is as the job has it.
func TestAnEnvironmentInOtherCase(t *testing.T) {
	t.Parallel()
	for _, function := range []string{"", "auth"} {
		setup := valid(t)
		setup.Workflows, setup.Function = nil, function
		setup.Token.Claims = setup.Token.Claims.In("Prod-Auth")
		report := diagnosis.Examine(setup)
		if f := report.Findings[0]; report.Verdict != diagnosis.Refused || f.Check != "B4" || !strings.Contains(f.Remedy, "differ in case") || !strings.Contains(f.Remedy, `"environment: prod-auth"`) {
			t.Errorf("%s: %+v", report.Verdict, f)
		}
	}
}

// setup is for auth alone, so that one job is all of the workflow.
func (w way) setup(t *testing.T) diagnosis.Setup {
	t.Helper()
	setup := valid(t)
	setup.Token, setup.Form = nil, w.form
	for name := range setup.WIF.Deployers {
		if name != "auth" && !w.all {
			delete(setup.WIF.Deployers, name)
			delete(setup.WIF.Functions, name)
		}
	}
	or := func(text, other string) string {
		if text == "" {
			return other
		}
		return text
	}
	setup.WIF.Provider.AttributeCondition = or(w.condition, setup.WIF.Provider.AttributeCondition)
	if w.members != nil {
		auth := setup.WIF.Deployers["auth"]
		auth.Members = nil
		for _, member := range w.members {
			role, granted, ok := strings.Cut(member, " ")
			if !ok {
				role, granted = userRole, member
			}
			auth.Members = append(auth.Members, wif.Member{Role: role, Member: granted})
		}
		setup.WIF.Deployers["auth"] = auth
	}
	permissions := "permissions: {id-token: write, contents: read}"
	if w.on == "workflow_call" {
		permissions = "name: inherits"
	}
	if w.mapping != "" {
		setup.WIF.Provider.AttributeMapping["google.subject"] = w.mapping
	}
	if w.audience != "" {
		setup.WIF.Provider.AllowedAudiences = []string{w.audience}
	}
	setup.WIF.Provider.Issuer = or(w.issuer, setup.WIF.Provider.Issuer)
	with := "service_account: deploy-auth@acme-dash-prod.iam.gserviceaccount.com, workload_identity_provider: " + poolName + "/providers/dashboard"
	if strings.Contains(w.with, "service_account") {
		with = w.with
	} else if w.with != "" {
		with += ", " + w.with
	}
	text := fmt.Sprintf("on: %s\njobs:\n  deploy:\n    %s\n    %s\n    environment: %s\n    strategy: {matrix: {runner: [ubuntu-24.04, self-hosted], environment: [staging, prod-auth]}}\n    steps:\n      - uses: actions/checkout@v7\n      - uses: google-github-actions/auth@v3\n        with: {%s}\n      - %s\n",
		or(w.on, "{push: {branches: [main]}, workflow_dispatch: }"), or(w.job, "runs-on: ubuntu-24.04"), permissions, or(w.environment, "prod-auth"), with, or(w.steps, "run: gcloud"))
	texts := map[string]string{"deploy.yml": text}
	if w.on == "-" {
		texts = nil
	}
	for name, text := range w.more {
		texts[name] = text
	}
	setup.Workflows = nil
	for _, name := range sortedNames(texts) {
		file, err := workflow.Parse(name, []byte(texts[name]))
		if err != nil {
			t.Fatal(err)
		}
		setup.Workflows = append(setup.Workflows, file)
	}
	if w.scenario != "" {
		setup.Scenario, _ = token.Find(w.scenario)
	}
	return setup
}

func sortedNames(texts map[string]string) []string {
	var names []string
	for _, name := range []string{"adhoc.yml", "deploy.yml", "infra.yml", "release.yml"} {
		if texts[name] != "" {
			names = append(names, name)
		}
	}
	return names
}
