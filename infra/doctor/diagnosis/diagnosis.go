// Package diagnosis holds a set-up against a token, in the order in which GitHub
// and Google would, and says of each thing that is wrong where it stands and what
// to write instead. Reading the inputs is left to its neighbours, and showing
// what was found to package command.
package diagnosis

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/devops-dashboard/dashboard/infra/doctor/refusal"
	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/wif"
	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

// Setup is what is known. Only WIF must be there.
type Setup struct {
	WIF       wif.Config
	Workflows []workflow.File
	Variables map[string]string // such as vars.WIF_PROVIDER
	Ignores   map[string]string // by name, the ignore files that there are; nil where nobody looked
	Token     *token.Token      // or else
	Scenario  token.Scenario
	Origin    token.Origin // of the scenario, as far as it is known
	Form      Form         // of the scenario's sub
	Function  string       // whose deployment it is about; empty for all, or what the token says
	JWKS      []byte
	Now       time.Time
}

// Form is how sub names the repository.
type Form string

// Since 15 July 2026 GitHub writes ids after the names.
const (
	BothForms Form = ""
	Names     Form = "names"
	IDs       Form = "ids"
)

// Effect is what a finding does to a deployment.
type Effect string

// From what stops a token to what is only worth knowing.
const (
	Refuses   Effect = "refuses"   // the token gets nowhere
	Breaks    Effect = "breaks"    // the token is admitted, and the deployment fails
	Endangers Effect = "endangers" // this works, and so does what should not
	Doubts    Effect = "doubts"    // this may be wrong, and cannot be told from here
	Notes     Effect = "notes"
)

// Finding is one thing that is wrong.
type Finding struct {
	Check     string   `json:"check"`
	Effect    Effect   `json:"effect"`
	Functions []string `json:"functions,omitempty"` // those it concerns; empty for all
	Fields    []string `json:"fields"`              // where it stands; the first is the likeliest to change
	Problem   string   `json:"problem"`
	Remedy    string   `json:"remedy"`
	Error     string   `json:"error,omitempty"` // of package refusal
	Next      bool     `json:"next,omitempty"`  // hidden behind an earlier one until that is mended
	Elsewhere bool     `json:"elsewhere,omitempty"`
}

// Verdict is the outcome.
type Verdict string

// What becomes of the token.
const (
	Admitted Verdict = "admitted"
	Refused  Verdict = "refused"
	Unsure   Verdict = "unsure" // admitted, with something that should not stay as it is
)

// Report is what Examine found.
type Report struct {
	Verdict   Verdict   `json:"verdict"`
	About     string    `json:"about"`     // which token, for which functions
	Functions []string  `json:"functions"` // those
	Findings  []Finding `json:"findings"`
	Isolation Isolation `json:"isolation"`
	Passed    []string  `json:"passed"`  // the checks that found nothing
	Skipped   []string  `json:"skipped"` // those that lacked their input
	// Assumed is what a scenario takes for granted.
	Assumed []string `json:"assumed,omitempty"`
}

// Isolation tells which environment's pipeline may impersonate which function's
// deployer. Only a function's own should.
type Isolation struct {
	Functions []string `json:"functions"`
	May       [][]bool `json:"may"` // by environment of a function, by deployer of a function
}

// Stage is a station on a token's way.
type Stage struct {
	Letter, Name, Of string
}

// Stages in the order in which a token passes them.
var Stages = []Stage{
	{"W", "the workflow", "GitHub, before it gives the job a token"},
	{"P", "the pool and the provider", "Google's token service"},
	{"M", "the attribute mapping", "Google's token service"},
	{"C", "the attribute condition", "Google's token service"},
	{"B", "the binding", "Google's IAM, when the account is impersonated"},
	{"R", "the deployment", "Cloud Run"},
}

// Check is a question that the doctor asks.
type Check struct{ ID, Asks string }

// Checks are all of them, in order.
var Checks = []Check{
	{"W1", "May the job ask GitHub for a token (`id-token: write`), and so may each job that calls its workflow?"},
	{"W2", "Does `actions/checkout` come before signing in, which it would undo?"},
	{"W3", "Does an event that the condition admits start the job, and none that strangers can cause?"},
	{"W4", "Does the job name the environment that mapping and bindings go by?"},
	{"W5", "Do the ignore files keep `gha-creds-*.json` out of commits and uploads?"},
	{"W6", "Does the job run on a machine that the condition admits (`runner_environment`)?"},
	{"P1", "Is the provider's name whole, with the project's number, and the same everywhere?"},
	{"P2", "Does the workflow name the provider that Terraform made?"},
	{"P3", "Are pool and provider enabled?"},
	{"P4", "Does the provider take the token's audience?"},
	{"P5", "Is the provider's issuer the token's, byte for byte?"},
	{"P6", "Is the token valid now?"},
	{"P7", "Is the token signed by one of the issuer's keys? (`-jwks`)"},
	{"M1", "Is each mapping's key one that Google takes?"},
	{"M2", "Does each mapping compile, and give text?"},
	{"M3", "Does the token have each claim that a mapping reads?"},
	{"M4", "Are the mapped values within Google's limits?"},
	{"M5", "Does each attribute hold the claim that it is named after?"},
	{"C1", "Is there a condition, and does it read a claim?"},
	{"C2", "Does the condition compile, and give true or false?"},
	{"C3", "Does it compare text with text?"},
	{"C4", "Is it true for this token, part by part?"},
	{"C4b", "Does it expect `==` to expand `*`?"},
	{"C5", "Does it refuse strangers, other branches, events, workflow files and runners?"},
	{"C6", "Does it hold for both forms of `sub`?"},
	{"B1", "Does each member name this pool, by the project's number?"},
	{"B2", "Does each member name one attribute only?"},
	{"B3", "Is that attribute mapped?"},
	{"B4", "Does each function's environment, and no other, match its deployer's member?"},
	{"B5", "Is the member's role `roles/iam.workloadIdentityUser`?"},
	{"B6", "Is no member the whole pool, or everybody?"},
	{"R1", "Does each deployer act as its own function's account and the build account alone, without broad roles?"},
	{"R2", "Are the accounts and functions that are named those that Terraform made?"},
}

// examination is one in progress.
type examination struct {
	Setup
	runs     []workflow.Run
	signings []signing      // the steps that sign in here
	refs     []string       // that something may happen on
	claims   []token.Claims // of the token; of a scenario, for each function and form of sub
	asks     []ask          // the same, with whom they are for
	targets  []string       // the functions that it is about
	names    names          // what most of the set-up agrees on
	program  program        // the mapping and the condition, compiled
	findings []Finding
	skipped  []string
	assumed  []string
}

// Examine runs every check.
func Examine(s Setup) Report {
	e := &examination{Setup: s, runs: workflow.Runs(s.Workflows, s.Variables)}
	e.compile()
	e.signsIn()
	e.findRefs()
	e.aim()
	e.workflow()
	e.provider()
	e.mapping()
	e.condition()
	isolation := e.binding()
	e.deployment()
	return e.report(isolation)
}

// severity orders effects. What refuses and what breaks are one rank, told apart by
// where they stand.
var severity = map[Effect]int{Refuses: 0, Breaks: 0, Endangers: 1, Doubts: 2, Notes: 3}

// find adds a finding, or to the functions of one that is the same.
func (e *examination) find(f Finding) {
	same := func(other Finding) bool {
		return other.Check == f.Check && other.Problem == f.Problem && slices.Equal(other.Fields, f.Fields)
	}
	if i := slices.IndexFunc(e.findings, same); i >= 0 {
		if severity[f.Effect] < severity[e.findings[i].Effect] {
			e.findings[i].Effect = f.Effect
		}
		for _, name := range f.Functions {
			if !slices.Contains(e.findings[i].Functions, name) {
				e.findings[i].Functions = append(e.findings[i].Functions, name)
			}
		}
		return
	}
	e.findings = append(e.findings, f)
}

// found tells whether one of these checks has found something about a field that
// begins so.
func (e *examination) found(field string, checks ...string) bool {
	return slices.ContainsFunc(e.findings, func(f Finding) bool { return f.about(field, checks) })
}

// stopped tells whether what was found there refuses.
func (e *examination) stopped(field string, checks ...string) bool {
	return slices.ContainsFunc(e.findings, func(f Finding) bool { return f.Effect == Refuses && f.about(field, checks) })
}

func (f Finding) about(field string, checks []string) bool {
	return slices.Contains(checks, f.Check) && slices.ContainsFunc(f.Fields, func(name string) bool { return strings.HasPrefix(name, field) })
}

func (e *examination) skip(why string, checks ...string) {
	e.skipped = append(e.skipped, strings.Join(checks, " ")+": "+why)
}

func (e *examination) report(isolation Isolation) Report {
	r := Report{Verdict: Admitted, About: e.about(), Functions: e.targets, Isolation: isolation, Skipped: e.skipped, Assumed: e.assumed, Findings: []Finding{}}
	order := func(f Finding) int {
		i := slices.IndexFunc(Checks, func(c Check) bool { return c.ID == f.Check })
		rank := severity[f.Effect]
		if f.Elsewhere {
			rank = max(rank, 1)
		}
		return rank*100 + i
	}
	for _, f := range e.findings {
		if e.Token != nil && f.Effect == Refuses && f.Check[0] == 'W' {
			f.Effect, f.Error = Doubts, "" // this token is there already, whatever becomes of the next
		}
		f.Elsewhere = len(f.Functions) > 0 && !slices.ContainsFunc(f.Functions, func(name string) bool { return slices.Contains(e.targets, name) })
		r.Findings = append(r.Findings, f)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(order(a), order(b)) })
	stopped := ""
	for i, f := range r.Findings {
		switch {
		case f.Effect == Notes:
		case f.Elsewhere, f.Effect == Endangers, f.Effect == Doubts:
			if r.Verdict == Admitted {
				r.Verdict = Unsure
			}
		default:
			r.Verdict = Refused
			r.Findings[i].Next = stopped != "" && stopped != f.Check[:1]
			if stopped == "" {
				stopped = f.Check[:1]
			}
		}
	}
	for _, c := range Checks {
		failed := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Check == c.ID })
		skipped := slices.ContainsFunc(e.skipped, func(s string) bool {
			checks, _, _ := strings.Cut(s, ":")
			return slices.Contains(strings.Fields(checks), c.ID)
		})
		if !failed && !skipped {
			r.Passed = append(r.Passed, c.ID)
		}
	}
	return r
}

// Says is what the user will read in the log of the job.
func (f Finding) Says() string {
	e, _ := refusal.Find(f.Error)
	return e.Text
}

// ask is a token and the function whose deployer it wants to be.
type ask struct {
	function string
	claims   token.Claims
}

// Open tells whether the finding may refuse the token, by an error that Google has.
func (f Finding) Open() bool { return f.Effect == Doubts && f.Error != "" && !f.Elsewhere }

// aim settles which token it is about.
func (e *examination) aim() {
	all := sorted(e.WIF.Deployers)
	switch {
	case e.Function != "":
		e.targets = []string{e.Function}
	case e.Token != nil:
		e.targets = e.targetsOf(e.Token.Claims)
	default:
		e.targets = all
	}
	if e.Token != nil {
		e.claims = []token.Claims{e.Token.Claims}
		for _, name := range e.targets {
			e.asks = append(e.asks, ask{name, e.Token.Claims})
		}
		e.Origin = e.origin("")
		return
	}
	e.play()
	o := e.origin("")
	e.assumed = append(e.assumed, fmt.Sprintf("it is repository %s of owner %s, and main is %s; compare: gh api repos/OWNER/NAME --jq '.id, .owner.id'", o.RepositoryID, o.OwnerID, cmp.Or(o.Ref, "refs/heads/main")))
	for _, name := range e.targets {
		e.pretend(name)
	}
	if len(e.targets) == 0 {
		e.pretend("")
		e.asks = nil
	}
	e.Origin = o
}

// targetsOf are the functions that a token is for: those of its environment, or else
// those whose deployers it may impersonate.
func (e *examination) targetsOf(c token.Claims) []string {
	var named, open []string
	in, _ := e.program.mapped(c)
	for _, name := range sorted(e.WIF.Deployers) {
		if c.Environment != "" && e.WIF.Deployers[name].Environment == c.Environment {
			named = append(named, name)
		}
		if e.may(name, in) {
			open = append(open, name)
		}
	}
	if len(named) == 0 {
		return open
	}
	return named
}

// pretend makes the scenario's tokens for a function.
func (e *examination) pretend(function string) {
	byName, byID := e.Scenario.Claims(e.origin(function), e.Now)
	if e.Form != IDs {
		e.claims, e.asks = append(e.claims, byName), append(e.asks, ask{function, byName})
	}
	if e.Form != Names {
		e.claims, e.asks = append(e.claims, byID), append(e.asks, ask{function, byID})
	}
}

// play settles what happens: the scenario that was asked for, or the first of the
// usual ones that starts a workflow and is admitted, or at least starts one; on branches
// and tags that the workflows and the condition name.
func (e *examination) play() {
	usual := e.usual()
	if e.Scenario.Name != "" {
		usual = []token.Scenario{e.Scenario}
	}
	function := ""
	if len(e.targets) > 0 {
		function = e.targets[0]
	}
	var branches, tags []string
	for _, ref := range e.refs {
		if strings.HasPrefix(ref, "refs/tags/") {
			tags = append(tags, ref)
		} else {
			branches = append(branches, ref)
		}
	}
	for _, enters := range []func(token.Claims) bool{e.program.enters, func(token.Claims) bool { return true }} {
		for _, scenario := range usual {
			for _, branch := range branches {
				for _, tag := range tags {
					o := e.origin(function)
					o.Ref, o.Tag = cmp.Or(e.Origin.Ref, branch), cmp.Or(e.Origin.Tag, tag)
					byName, byID := scenario.Claims(o, e.Now)
					if (enters(byName) || enters(byID)) && e.begins(byID) {
						e.Scenario, e.Origin.Ref, e.Origin.Tag = scenario, o.Ref, o.Tag
						return
					}
				}
			}
		}
	}
	e.Scenario = usual[0]
}

// begins tells whether what a token tells of starts a workflow that signs in, as far as
// there are any.
func (e *examination) begins(c token.Claims) bool {
	return len(e.signings) == 0 || slices.ContainsFunc(e.signings, func(s signing) bool { return starts(s.run.Root, c) })
}

// usual are the scenarios that deploy in most repositories, and the events that do in
// this one.
func (e *examination) usual() []token.Scenario {
	var all []token.Scenario
	var played []string
	for _, name := range []string{"push-main", "dispatch", "release", "tag", "schedule"} {
		scenario, _ := token.Find(name)
		all = append(all, scenario)
		c, _ := scenario.Claims(token.Origin{}, e.Now)
		played = append(played, c.EventName)
	}
	for _, s := range e.signings {
		for _, t := range s.run.Root.On {
			if !t.Pull() && t.Event != "workflow_call" && !slices.Contains(played, t.Event) {
				all, played = append(all, token.Event(t.Event)), append(played, t.Event)
			}
		}
	}
	return all[:min(len(all), 16)]
}

// findRefs finds branches and tags that the condition and the workflows name, and adds
// others.
func (e *examination) findRefs() {
	refs := []string{}
	if ref := e.program.equals()["ref"]; wholeRef.FindString(ref) == ref && ref != "" {
		refs = append(refs, ref)
	}
	refs = append(refs, "refs/heads/main", token.Version)
	if e.program.condition != nil {
		for _, text := range e.program.condition.Literals() {
			refs = append(refs, wholeRef.FindAllString(text, -1)...)
		}
	}
	for _, s := range e.signings {
		for _, t := range s.run.Root.On {
			refs = append(refs, t.Refs()...)
		}
	}
	refs = append(refs, "refs/heads/feature")
	seen := map[string]bool{}
	refs = slices.DeleteFunc(refs, func(ref string) bool {
		again := seen[ref]
		seen[ref] = true
		return again
	})
	e.refs = refs[:min(len(refs), 16)]
}

var wholeRef = regexp.MustCompile(`\brefs/(heads|tags)/[A-Za-z0-9][A-Za-z0-9._/-]*$`)

// origin completes where a scenario's token comes from: by what was said, by the
// token, by the condition, by the members, and at last by a made-up repository.
func (e *examination) origin(function string) token.Origin {
	o := e.Origin
	wanted := merge(e.program.equals(), e.named())
	if t := e.Token; t != nil {
		wanted = merge(wanted, map[string]string{"repository": t.Claims.Repository, "repository_id": t.Claims.RepositoryID, "repository_owner": t.Claims.RepositoryOwner, "repository_owner_id": t.Claims.RepositoryOwnerID})
	}
	owner, name, _ := strings.Cut(wanted["repository"], "/")
	o.Owner = cmp.Or(o.Owner, owner, wanted["repository_owner"], "octo-org")
	o.Repository = cmp.Or(o.Repository, name, "octo-repo")
	o.OwnerID = cmp.Or(o.OwnerID, wanted["repository_owner_id"])
	o.RepositoryID = cmp.Or(o.RepositoryID, wanted["repository_id"], e.memberID())
	if ref := wanted["ref"]; strings.HasPrefix(ref, "refs/heads/") && !strings.Contains(ref, "*") {
		o.Ref = cmp.Or(o.Ref, ref)
	}
	o.OwnerID, o.RepositoryID = cmp.Or(o.OwnerID, "65"), cmp.Or(o.RepositoryID, "74")
	o.Issuer = cmp.Or(o.Issuer, token.Issuer)
	if d, ok := e.WIF.Deployers[function]; ok {
		o.Environment = cmp.Or(o.Environment, d.Environment)
	}
	audience := ""
	for _, s := range e.deploying(o) {
		run := s.run
		audience = cmp.Or(audience, run.Expand(s.step().Input("audience")))
		o.Workflow = cmp.Or(o.Workflow, run.Root.Name)
		if o.Workflow == run.Root.Name {
			o.Runner = cmp.Or(o.Runner, string(run.Hosting()))
			if run.Root.Name != run.File.Name {
				o.Called = cmp.Or(o.Called, run.File.Name)
			}
		}
	}
	o.Audience = cmp.Or(o.Audience, audience, "https://iam.googleapis.com/"+e.WIF.Provider.Name)
	o.Workflow = cmp.Or(o.Workflow, e.program.file(), "deploy.yml")
	o.Runner = cmp.Or(o.Runner, wanted["runner_environment"])
	return o
}

// deploying are the steps that sign in from an origin's environment: first those of
// the workflow file that the condition wants.
func (e *examination) deploying(o token.Origin) []signing {
	var wanted, others []signing
	for _, s := range e.signings {
		switch {
		case !workflow.Known(s.run.Expand(s.step().Input("audience"))), !workflow.Fits(s.run.Expand(string(s.run.Job.Environment)), o.Environment):
		case s.run.Root.Name == e.program.file():
			wanted = append(wanted, s)
		default:
			others = append(others, s)
		}
	}
	return append(wanted, others...)
}

var (
	namesInSub  = regexp.MustCompile(`\brepo:([^@/:*]+)(?:@(\d+))?/([^@/:*]+)(?:@(\d+))?:`)
	namesInPath = regexp.MustCompile(`^\^?([A-Za-z0-9-]+)/([A-Za-z0-9._-]+)/\.github/workflows/`)
)

// named is what members and longer texts of the condition say of the repository.
func (e *examination) named() map[string]string {
	wanted := map[string]string{}
	learn := func(text string) {
		if found := namesInSub.FindStringSubmatch(text); found != nil {
			wanted = merge(wanted, map[string]string{"repository": found[1] + "/" + found[3], "repository_owner_id": found[2], "repository_id": found[4]})
		}
	}
	if e.program.condition != nil {
		for _, c := range e.program.condition.Comparisons() {
			text, _ := c.Literals[0].(string)
			learn(text)
			if found := namesInPath.FindStringSubmatch(text); found != nil && c.Left == "assertion.workflow_ref" {
				wanted = merge(wanted, map[string]string{"repository": found[1] + "/" + found[2]})
			}
		}
	}
	for _, name := range sorted(e.WIF.Deployers) {
		for _, m := range e.WIF.Deployers[name].Members {
			p, ok := e.binds(m)
			learn(p.value)
			if mapping, mapped := e.program.mapping[p.attribute]; ok && mapped {
				if claim, whole := strings.CutPrefix(mapping.String(), "assertion."); whole {
					wanted = merge(wanted, map[string]string{claim: p.value})
				}
			}
		}
	}
	return wanted
}

var idOfMember = regexp.MustCompile(`/(\d+)(?::[^/]*)?$`)

// memberID is the repository's id as the members have it.
func (e *examination) memberID() string {
	for _, name := range sorted(e.WIF.Deployers) {
		for _, m := range e.WIF.Deployers[name].Members {
			if found := idOfMember.FindStringSubmatch(m.Member); found != nil {
				return found[1]
			}
		}
	}
	return ""
}

// happening is what the scenario tells of, with the tag that it plays.
func (e *examination) happening() string {
	return strings.ReplaceAll(e.Scenario.Doc, "v1.0.0", strings.TrimPrefix(cmp.Or(e.Origin.Tag, token.Version), "refs/tags/"))
}

func (e *examination) about() string {
	what := e.happening() + map[Form]string{BothForms: ", in both forms of sub", Names: ", with names in sub", IDs: ", with ids in sub"}[e.Form]
	if e.Token != nil {
		what = fmt.Sprintf("the token of %s, %s on %s", cmp.Or(e.Token.Claims.Repository, "no repository"), cmp.Or(e.Token.Claims.EventName, "no event"), cmp.Or(e.Token.Claims.Ref, "no ref"))
	}
	switch {
	case len(e.targets) == 0:
		return what + ", for no function"
	case len(e.targets) < len(e.WIF.Deployers) || len(e.targets) == 1:
		return what + ", for " + strings.Join(e.targets, ", ")
	}
	return what + ", for each of " + strings.Join(e.targets, ", ")
}
