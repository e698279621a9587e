package diagnosis

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/devops-dashboard/dashboard/infra/doctor/expression"
	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/wif"
)

const workloadIdentityUser = "roles/iam.workloadIdentityUser"

// impersonating are the roles that hold iam.serviceAccounts.getAccessToken; that of
// token creators signs as the account as well.
var impersonating = []string{workloadIdentityUser, "roles/iam.serviceAccountTokenCreator"}

// anybody are the members by which Google means everybody, and everybody who has an account.
var anybody = []string{"allUsers", "allAuthenticatedUsers"}

func impersonates(m wif.Member) bool { return slices.Contains(impersonating, m.Role) }

// ownRole tells whether a role is one of a project's or an organisation's own, whose
// permissions cannot be seen from here.
func ownRole(m wif.Member) bool {
	return strings.HasPrefix(m.Role, "projects/") || strings.HasPrefix(m.Role, "organizations/")
}

func memberField(function string, i int) string {
	return fmt.Sprintf("deployers.%s.members[%d]", function, i)
}

// principal is a member taken apart.
type principal struct {
	project, pool string
	attribute     string // google.subject, google.groups or attribute.NAME; empty for the whole pool
	value         string
}

// parsePrincipal says what is wrong with a member that is none.
func parsePrincipal(member string) (p principal, problem string) {
	scheme, rest, _ := strings.Cut(member, "://")
	parts := strings.SplitN(rest, "/", 8)
	switch {
	case scheme != "principal" && scheme != "principalSet":
		return p, "it begins neither with principal:// nor with principalSet://"
	case len(parts) < 8 || parts[0] != "iam.googleapis.com" || parts[1] != "projects" || parts[3] != "locations" || parts[4] != "global" || parts[5] != "workloadIdentityPools":
		return p, "after principalSet:// come iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/ and what is matched"
	}
	p.project, p.pool = parts[2], parts[6]
	kind, value, _ := strings.Cut(parts[7], "/")
	if decoded, err := url.PathUnescape(value); err == nil {
		value = decoded
	}
	p.value = value
	switch {
	case parts[7] == "*" && scheme == "principalSet":
	case kind == "subject" && scheme == "principal":
		p.attribute = "google.subject"
	case kind == "group" && scheme == "principalSet":
		p.attribute = "google.groups"
	case strings.HasPrefix(kind, "attribute.") && scheme == "principalSet":
		p.attribute = kind
	default:
		return p, fmt.Sprintf("%s:// does not go with %q: principal:// takes subject/VALUE, principalSet:// takes attribute.NAME/VALUE, group/VALUE or *", scheme, parts[7])
	}
	return p, ""
}

// matches tells whether the mapped token is one that the member means.
func (p principal) matches(in expression.Input) bool {
	switch name, custom := strings.CutPrefix(p.attribute, "attribute."); {
	case p.attribute == "":
		return true
	case custom:
		return in.Attribute[name] == p.value
	case p.attribute == "google.groups":
		groups, _ := in.Google["groups"].([]any)
		return slices.Contains(groups, any(p.value))
	}
	return in.Google["subject"] == p.value
}

// binding asks whether each function's pipeline may impersonate its deployer, and
// no other.
func (e *examination) binding() Isolation {
	for _, name := range sorted(e.WIF.Deployers) {
		d := e.WIF.Deployers[name]
		for i, m := range d.Members {
			e.member(name, i, m)
		}
		if !slices.ContainsFunc(d.Members, impersonates) && !e.found("deployers."+name+".members", "B5") {
			e.find(Finding{
				Check: "B5", Effect: Refuses, Functions: []string{name}, Fields: []string{"deployers." + name + ".members"}, Error: "E12",
				Problem: fmt.Sprintf("Nobody has %s on %s.", workloadIdentityUser, d.Email),
				Remedy:  fmt.Sprintf("Grant it to principalSet://iam.googleapis.com/%s/attribute.NAME/VALUE, with what the mapping gives in environment %q.", e.WIF.Pool.Name, d.Environment),
			})
		}
	}
	if e.Function != "" && !slices.Contains(sorted(e.WIF.Deployers), e.Function) {
		e.find(Finding{
			Check: "B4", Effect: Refuses, Fields: []string{"function"},
			Problem: fmt.Sprintf("There is no deployer for %q; there is one for %s.", e.Function, orNothing(sorted(e.WIF.Deployers))), Remedy: "Pass one of those with -function.",
		})
	}
	if len(e.WIF.Deployers) == 0 {
		e.find(Finding{
			Check: "B4", Effect: Doubts, Fields: []string{"deployers"}, Error: "E12",
			Problem: "The set-up names no deployer, so whom the token may impersonate cannot be told.", Remedy: "Add the accounts and their members: terraform output -json wif has them.",
		})
	}
	if e.Token != nil && len(e.targets) == 0 {
		fields := []string{"claims.environment"}
		for _, name := range sorted(e.WIF.Deployers) {
			fields = append(fields, "deployers."+name+".environment")
		}
		environment := "names no environment"
		if e.Token.Claims.Environment != "" {
			environment = fmt.Sprintf("is of environment %q", e.Token.Claims.Environment)
		}
		remedy := "Name the environment in the job; or pass -function to say which deployer it asks for."
		if like := sameButCase(e.Token.Claims.Environment, e.environments()); like != "" {
			remedy = fmt.Sprintf("They differ in case, which Google compares: write \"environment: %s\" in the job.", like)
		}
		e.find(Finding{
			Check: "B4", Effect: Refuses, Fields: fields, Error: "E12",
			Problem: fmt.Sprintf("The token %s, and no deployer's environment is that: they are %s.", environment, orNothing(e.environments())),
			Remedy:  remedy,
		})
	}
	for _, a := range e.asks {
		e.impersonation(a.function, a.claims)
	}
	return e.isolation()
}

// sameButCase is the one among names that differs from another in case alone.
func sameButCase(name string, among []string) string {
	i := slices.IndexFunc(among, func(other string) bool { return other != name && strings.EqualFold(other, name) })
	if i < 0 {
		return ""
	}
	return among[i]
}

// member asks what can be told of a member without a token. Beside one that counts, a
// wrong one harms nothing.
func (e *examination) member(function string, i int, m wif.Member) {
	field := memberField(function, i)
	find := func(check string, effect Effect, what, problem, remedy string, more ...string) {
		e.find(Finding{Check: check, Effect: effect, Functions: []string{function}, Fields: append([]string{field + "." + what}, more...), Error: "E12", Problem: problem, Remedy: remedy})
	}
	email := e.WIF.Deployers[function].Email
	bound, sometimes := e.bound(function)
	wasted, foreign := Refuses, Refuses
	switch {
	case bound:
		wasted, foreign = Doubts, Notes
	case sometimes:
		wasted, foreign = Doubts, Doubts
	}
	if m.Role != workloadIdentityUser {
		effect, problem := Endangers, fmt.Sprintf("%s has the role %q on %s, which no pipeline needs.", m.Member, m.Role, email)
		remedy := fmt.Sprintf("Remove it; %s is enough.", workloadIdentityUser)
		if !slices.ContainsFunc(e.WIF.Deployers[function].Members, impersonates) {
			effect, problem = Refuses, fmt.Sprintf("The role %q on %s does not let a token impersonate it.", m.Role, email)
			remedy = fmt.Sprintf("Grant %s in its place.", workloadIdentityUser)
			if ownRole(m) {
				effect, problem = Doubts, fmt.Sprintf("Whether the role %q lets a token impersonate %s cannot be seen from here.", m.Role, email)
				remedy = fmt.Sprintf("Grant %s in its place, or see that it holds iam.serviceAccounts.getAccessToken.", workloadIdentityUser)
			}
		}
		find("B5", effect, "role", problem, remedy)
	}
	p, wrong := parsePrincipal(m.Member)
	switch {
	case slices.Contains(anybody, m.Member):
		find("B6", Endangers, "member", fmt.Sprintf("%s may impersonate %s, without any token of the pool.", m.Member, email), "Remove it: each deployer is for the jobs of one environment.")
	case wrong != "":
		find("B1", foreign, "member", fmt.Sprintf("%q is no member of a pool: %s.", m.Member, wrong), "Take it from Terraform: principalSet://iam.googleapis.com/${pool.name}/attribute.NAME/VALUE.")
	case p.project != e.names.number:
		what := "is of project " + p.project
		if !projectNumber.MatchString(p.project) {
			what = fmt.Sprintf("holds the project's id %q, where its number belongs", p.project)
		}
		find("B1", foreign, "member", fmt.Sprintf("%q %s; the pool's project has number %s.", m.Member, what, e.names.number), "Take the member from Terraform, by ${pool.name}.")
	case p.pool != e.names.pool:
		find("B1", foreign, "member", fmt.Sprintf("%q is of pool %q, and the provider is in %q.", m.Member, p.pool, e.names.pool), "Take the member from Terraform, by ${pool.name}.")
	case p.attribute == "":
		find("B6", Endangers, "member", fmt.Sprintf("Every token that the pool admits may impersonate %s: the condition alone stands between functions.", email), "Name one attribute's value instead of *.")
	case strings.Contains(p.value, "/attribute."):
		find("B2", wasted, "member", fmt.Sprintf("%q is read as one attribute, %s, of the value %q.", m.Member, p.attribute, p.value), "A member names one attribute. Map one that joins both, such as assertion.repository_id + ':' + assertion.environment.")
	default:
		if _, mapped := e.WIF.Provider.AttributeMapping[p.attribute]; !mapped {
			find("B3", wasted, "member", fmt.Sprintf("%s is not mapped, so %q matches no token.", p.attribute, m.Member), fmt.Sprintf("Add %q to the provider's attribute_mapping, or name an attribute that is there.", p.attribute), mappingField(p.attribute))
		}
	}
}

// binds is a member that lets tokens of this pool impersonate.
func (e *examination) binds(m wif.Member) (principal, bool) {
	p, wrong := parsePrincipal(m.Member)
	return p, impersonates(m) && wrong == "" && p.project == e.names.number && p.pool == e.names.pool
}

// may tells whether a token may impersonate a function's deployer.
func (e *examination) may(function string, in expression.Input) bool {
	return slices.ContainsFunc(e.WIF.Deployers[function].Members, func(m wif.Member) bool {
		p, ok := e.binds(m)
		return ok && p.matches(in)
	})
}

// impersonation asks for one token and the deployer that it wants.
func (e *examination) impersonation(function string, c token.Claims) {
	in, failed := e.program.mapped(c)
	if e.may(function, in) || len(failed) > 0 || e.stopped("deployers."+function+".members", "B1", "B2", "B3", "B5") {
		return
	}
	for i, m := range e.WIF.Deployers[function].Members {
		p, ok := e.binds(m)
		if !ok {
			continue
		}
		gives := describe(in, p.attribute)
		how := ""
		if name, ok := strings.CutPrefix(p.attribute, "attribute."); ok {
			if value, ok := in.Attribute[name].(string); ok && strings.EqualFold(value, p.value) {
				how = " They differ in case."
			}
		}
		if p.value == "*" {
			how = " Google expands * after the pool's name alone."
		}
		fields := append([]string{memberField(function, i) + ".member"}, e.program.sources(p.attribute)...)
		effect := e.refusal(c, func(c token.Claims) bool { return e.gets(function, c) })
		if e.customised(fields, p.value) {
			effect = Doubts
		}
		e.find(Finding{
			Check: "B4", Effect: effect, Functions: []string{function}, Error: "E12",
			Fields:  append(fields, "deployers."+function+".environment"),
			Problem: fmt.Sprintf("The member of %s wants %s %q, and the token maps to %s: it may not impersonate that account.%s", e.WIF.Deployers[function].Email, p.attribute, p.value, gives, how),
			Remedy:  e.reconcile(function, c),
		})
	}
}

// reconcile tells which of job and member to change.
func (e *examination) reconcile(function string, c token.Claims) string {
	want := e.WIF.Deployers[function].Environment
	switch c.Environment {
	case want:
		return "The environment is right, and the rest of the value is not: correct the member, unless the token is not yours (see C4)."
	case "":
		return fmt.Sprintf("Give the job that deploys %s \"environment: %s\".", function, want)
	}
	if strings.EqualFold(c.Environment, want) {
		return fmt.Sprintf("They differ in case, which GitHub ignores and Google compares: write \"environment: %s\" in the job that deploys %s.", want, function)
	}
	return fmt.Sprintf("A job that deploys %s has to name \"environment: %s\"; this one names %q.", function, want, c.Environment)
}

// isolation holds each environment's token against each deployer.
func (e *examination) isolation() Isolation {
	proof := Isolation{Functions: sorted(e.WIF.Deployers)}
	base := e.base()
	for _, from := range proof.Functions {
		environment := e.WIF.Deployers[from].Environment
		in, failed := e.program.mapped(base.In(environment))
		if len(failed) > 0 {
			return Isolation{} // nobody gets as far
		}
		var row []bool
		for _, to := range proof.Functions {
			may := e.may(to, in)
			row = append(row, may)
			switch {
			case from != to && may:
				e.trespass(from, to, in)
			case from == to && !may && !slices.Contains(e.targets, to):
				e.impersonation(to, base.In(environment))
			}
		}
		proof.May = append(proof.May, row)
	}
	return proof
}

// base is a token whose environment may be exchanged.
func (e *examination) base() token.Claims {
	if e.Token != nil {
		return e.Token.Claims
	}
	push, _ := token.Find("push-main")
	_, byID := push.Claims(e.Origin, e.Now)
	return byID
}

func (e *examination) trespass(from, to string, in expression.Input) {
	fields := []string{}
	for i, m := range e.WIF.Deployers[to].Members {
		if p, ok := e.binds(m); ok && p.matches(in) {
			if e.found(memberField(to, i)+".member", "B6") {
				return
			}
			fields = append(append(fields, memberField(to, i)+".member"), e.program.sources(p.attribute)...)
		}
	}
	fields = append(fields, "deployers."+from+".environment", "deployers."+to+".environment")
	e.find(Finding{
		Check: "B4", Effect: Endangers, Functions: []string{from, to}, Fields: fields,
		Problem: fmt.Sprintf("A token of environment %q may impersonate %s, the deployer of %s: who breaks into %s's pipeline deploys %s.", e.WIF.Deployers[from].Environment, e.WIF.Deployers[to].Email, to, from, to),
		Remedy:  "Give each deployer a member that only its own environment's tokens match.",
	})
}
