package diagnosis

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

var (
	poolName      = regexp.MustCompile(`^projects/(\d+)/locations/global/workloadIdentityPools/([a-z0-9-]{4,32})$`)
	providerName  = regexp.MustCompile(`^projects/(\d+)/locations/global/workloadIdentityPools/([a-z0-9-]{4,32})/providers/([a-z0-9-]{4,32})$`)
	resourceName  = regexp.MustCompile(`projects/([^/]+)/locations/global/workloadIdentityPools/([^/]+)(?:/providers/([^/]+))?`)
	projectID     = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	projectNumber = regexp.MustCompile(`^\d+$`)
)

// names is what most of a set-up agrees on, so that one field that differs is
// named, and not all that it differs from.
type names struct{ number, pool string }

// provider asks what the token service asks before it looks into a token, and of
// the token what needs no expression.
func (e *examination) provider() {
	e.identity()
	if e.WIF.Pool.Disabled {
		e.find(Finding{
			Check: "P3", Effect: Refuses, Fields: []string{"pool.disabled"}, Error: "E4",
			Problem: fmt.Sprintf("The pool %q is disabled.", e.WIF.Pool.ID), Remedy: "Set disabled = false on it and apply.",
		})
	}
	if e.WIF.Provider.Disabled {
		e.find(Finding{
			Check: "P3", Effect: Refuses, Fields: []string{"provider.disabled"}, Error: "E4",
			Problem: fmt.Sprintf("The provider %q is disabled.", e.WIF.Provider.ID), Remedy: "Set disabled = false on it and apply.",
		})
	}
	for _, c := range e.claims {
		e.audience(c)
		e.issuer(c)
		e.times(c)
	}
	e.signature()
}

// identities are the fields that name the project's number and the ids, as far as they
// are of the right form.
type identities struct{ numbers, pools, providers []said }

func (e *examination) identities() identities {
	found := identities{
		[]said{{"project_number", e.WIF.ProjectNumber}}, []said{{"pool.id", e.WIF.Pool.ID}}, []said{{"provider.id", e.WIF.Provider.ID}},
	}
	add := func(to *[]said, field, value string) { *to = append(*to, said{field, value}) }
	if parts := poolName.FindStringSubmatch(e.WIF.Pool.Name); parts != nil {
		add(&found.numbers, "pool.name", parts[1])
		add(&found.pools, "pool.name", parts[2])
	}
	if parts := providerName.FindStringSubmatch(e.WIF.Provider.Name); parts != nil {
		add(&found.numbers, "provider.name", parts[1])
		add(&found.pools, "provider.name", parts[2])
		add(&found.providers, "provider.name", parts[3])
	}
	return found
}

// identity asks whether names and numbers agree.
func (e *examination) identity() {
	refuse := func(field, name, kind, whole string) {
		e.find(Finding{
			Check: "P1", Effect: Refuses, Fields: []string{field}, Error: "E3",
			Problem: fmt.Sprintf("%s: %s", field, misnamed(name, kind, e.WIF.ProjectID)), Remedy: "Write projects/NUMBER/locations/global/workloadIdentityPools/POOL" + whole,
		})
	}
	if !poolName.MatchString(e.WIF.Pool.Name) {
		refuse("pool.name", e.WIF.Pool.Name, "pool", "")
	}
	if !providerName.MatchString(e.WIF.Provider.Name) {
		refuse("provider.name", e.WIF.Provider.Name, "provider", "/providers/PROVIDER.")
	}
	found := e.identities()
	e.agree("the project's number", found.numbers)
	e.agree("the pool's id", found.pools)
	e.agree("the provider's id", found.providers)
	if number := e.WIF.ProjectNumber; number == e.names.number && !projectNumber.MatchString(number) {
		e.find(Finding{
			Check: "P1", Effect: Refuses, Fields: []string{"project_number"}, Error: "E3",
			Problem: fmt.Sprintf("project_number is %q, and a project's number has digits alone.", number),
			Remedy:  "Take it from: gcloud projects describe PROJECT --format='value(projectNumber)'",
		})
	}
}

func (e *examination) agree(what string, all []said) {
	value, others := agreement(all)
	if len(others) > 0 {
		e.find(Finding{
			Check: "P1", Effect: Refuses, Fields: fieldsOf(others), Error: "E4",
			Problem: fmt.Sprintf("%s is %q elsewhere, but %s.", what, value, list(others)),
			Remedy:  "Write the same everywhere; Terraform should take each from the resource itself.",
		})
	}
}

// misnamed says what a name is that is not the full name of a pool or provider.
func misnamed(name, kind, project string) string {
	parts := resourceName.FindStringSubmatch(name)
	whole := fmt.Sprintf("%q is not the full name of a %s.", name, kind)
	switch {
	case name == "":
		return fmt.Sprintf("the %s's name is empty.", kind)
	case strings.Contains(name, "principal"), strings.Contains(name, "/attribute."), strings.Contains(name, "/subject/"):
		return fmt.Sprintf("%q is an IAM member, not a %s.", name, kind)
	case strings.TrimSpace(name) != name:
		return fmt.Sprintf("%q has spaces around it.", name)
	case strings.HasPrefix(name, "//"), strings.HasPrefix(name, "https:"):
		return fmt.Sprintf("%q begins before \"projects/\": that is an audience, not a name.", name)
	case parts == nil:
		return whole
	case !projectNumber.MatchString(parts[1]):
		hint := ""
		if parts[1] == project {
			hint = ", which is the project's id"
		}
		return fmt.Sprintf("%q holds %q%s: federation wants the project's number.", name, parts[1], hint)
	case kind == "provider" && parts[3] == "":
		return fmt.Sprintf("%q is the pool, not the provider: it lacks /providers/PROVIDER.", name)
	}
	return whole + " Ids have 4 to 32 of a-z, 0-9 and -."
}

// audience compares as the token service does: by default it takes the
// provider's full name, with https: before it or without.
func (e *examination) audience(c token.Claims) {
	accepted := e.WIF.Provider.AllowedAudiences
	fields := []string{"claims.aud", "provider.allowed_audiences"}
	if len(accepted) == 0 {
		accepted = []string{"https://iam.googleapis.com/" + e.WIF.Provider.Name, "//iam.googleapis.com/" + e.WIF.Provider.Name}
		fields = []string{"claims.aud", "provider.name"}
	}
	if slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(accepted, a) }) {
		return
	}
	remedy := "Ask for a token with that audience: the action's default, if its input workload_identity_provider is the provider's name and \"audience\" is not set."
	if len(e.WIF.Provider.AllowedAudiences) > 0 {
		remedy = "Remove allowed_audiences from the provider, or set the action's input \"audience\" to one of them."
	}
	effect := Refuses
	if e.Token == nil && !e.knowsAudience() {
		effect = Doubts
		remedy += " What the workflow asks for cannot be seen from here."
	}
	e.find(Finding{
		Check: "P4", Effect: effect, Fields: fields, Error: "E5",
		Problem: fmt.Sprintf("The token is for audience %q, and the provider takes %q.", c.Audience, accepted[0]),
		Remedy:  remedy,
	})
}

// knowsAudience tells whether the workflows say which audience they ask for.
func (e *examination) knowsAudience() bool {
	return len(e.signings) > 0 && !slices.ContainsFunc(e.signings, func(s signing) bool { return !workflow.Known(s.run.Expand(s.step().Input("audience"))) })
}

// otherGitHub are the issuers of an enterprise and of a GitHub Enterprise Server.
var otherGitHub = regexp.MustCompile(`^(` + regexp.QuoteMeta(token.Issuer) + `/[A-Za-z0-9_-]+|https://[a-z0-9.-]+/_services/token)$`)

func (e *examination) issuer(c token.Claims) {
	want, has := e.WIF.Provider.Issuer, c.Issuer
	if want == has {
		return
	}
	how := ""
	switch {
	case strings.TrimRight(want, "/") == strings.TrimRight(has, "/"):
		how = " They differ by a slash at the end."
	case strings.TrimSpace(want) == has:
		how = " They differ by spaces."
	case strings.EqualFold(want, has):
		how = " They differ in case."
	case strings.HasPrefix(has, token.Issuer+"/"):
		how = fmt.Sprintf(" The enterprise %q has an issuer of its own.", strings.TrimPrefix(has, token.Issuer+"/"))
	case strings.HasPrefix(want, token.Issuer+"/"):
		how = " The provider expects an enterprise's own issuer."
	case strings.HasSuffix(has, "/_services/token"):
		how = " The token is of a GitHub Enterprise Server."
	}
	effect := Refuses
	if e.Token == nil && otherGitHub.MatchString(want) { // which a scenario does not play
		effect = Doubts
	}
	e.find(Finding{
		Check: "P5", Effect: effect, Fields: []string{"provider.issuer", "claims.iss"}, Error: "E6",
		Problem: fmt.Sprintf("The provider's issuer is %q, and the token's is %q.%s", want, has, how),
		Remedy:  fmt.Sprintf("Set the provider's issuer_uri to %q, byte for byte.", cmp.Or(has, token.Issuer)),
	})
}

const (
	skew    = time.Minute
	longest = 24 * time.Hour // that Google takes
)

func (e *examination) times(c token.Claims) {
	at := func(seconds float64) time.Time { return time.Unix(int64(seconds), 0) }
	late := func(field, problem, remedy string) {
		e.find(Finding{Check: "P6", Effect: Refuses, Fields: []string{field}, Problem: problem, Remedy: remedy})
	}
	switch {
	case c.ExpiresAt == 0:
		late("claims.exp", "The token has no time of expiry (exp).", "Give all of the token's claims.")
	case c.ExpiresAt > 1<<40 || at(c.ExpiresAt).Sub(at(c.IssuedAt)) > longest && c.IssuedAt != 0:
		late("claims.exp", "The token lives longer than 24 hours, which Google does not take.", "Ask GitHub for a fresh token; its own live for minutes.")
	case e.Now.After(at(c.ExpiresAt).Add(skew)):
		late("claims.exp", fmt.Sprintf("The token expired %s ago.", e.Now.Sub(at(c.ExpiresAt)).Round(time.Second)), "Ask GitHub for a fresh one: its tokens live 5 to 15 minutes. To look into an old token, pass -now with its time.")
	}
	switch {
	case c.IssuedAt == 0:
		late("claims.iat", "The token does not say when it was issued (iat).", "Give all of the token's claims.")
	case at(c.IssuedAt).After(e.Now.Add(skew)):
		late("claims.iat", fmt.Sprintf("The token was issued %s from now.", at(c.IssuedAt).Sub(e.Now).Round(time.Second)), "Set the clock of this machine, or of the runner.")
	}
	if at(c.NotBefore).After(e.Now.Add(skew)) {
		late("claims.nbf", fmt.Sprintf("The token is not valid for another %s.", at(c.NotBefore).Sub(e.Now).Round(time.Second)), "Set the clock of this machine, or of the runner.")
	}
}

func (e *examination) signature() {
	if e.JWKS == nil || e.Token == nil {
		e.skip("no keys to check a signature with; -jwks names their file", "P7")
		return
	}
	if err := e.Token.Verify(e.JWKS); err != nil {
		e.find(Finding{
			Check: "P7", Effect: Refuses, Fields: []string{"token.signature"},
			Problem: "The signature does not hold: " + err.Error() + ".",
			Remedy:  fmt.Sprintf("Fetch the keys afresh from %s/.well-known/jwks, and copy the whole token.", token.Issuer),
		})
	}
}

// signIn asks of the step that signs in what it names.
func (e *examination) signIn(s signing) {
	run, step, field := s.run, s.step(), s.field("workload_identity_provider")
	name := run.Expand(step.Input("workload_identity_provider"))
	where := fmt.Sprintf("%s: job %q, step %d", run.File.Name, run.ID, s.at+1)
	switch {
	case step.Input("credentials_json") != "":
		e.find(Finding{
			Check: "P2", Effect: Endangers, Fields: []string{s.field("credentials_json")},
			Problem: where + " signs in with a key, which does not expire and can be copied; nothing here applies to it.",
			Remedy:  fmt.Sprintf("Replace credentials_json by workload_identity_provider: %s.", e.WIF.Provider.Name),
		})
		return
	case name == "":
		e.find(Finding{
			Check: "P2", Effect: Refuses, Functions: e.functionsOf(run), Fields: []string{field}, Error: "E2",
			Problem: where + " names no provider.",
			Remedy:  fmt.Sprintf("Write workload_identity_provider: %s.", e.WIF.Provider.Name),
		})
	case !workflow.Known(name):
		e.find(Finding{
			Check: "P2", Effect: Notes, Fields: []string{field},
			Problem: fmt.Sprintf("%s takes its provider from %s, which cannot be seen from here.", where, step.Input("workload_identity_provider")),
			Remedy:  "Pass its value, such as -var vars.WIF_PROVIDER=projects/…",
		})
	case !providerName.MatchString(name):
		e.find(Finding{
			Check: "P1", Effect: Refuses, Functions: e.functionsOf(run), Fields: []string{field}, Error: "E3",
			Problem: where + ": " + misnamed(name, "provider", e.WIF.ProjectID),
			Remedy:  fmt.Sprintf("Write workload_identity_provider: %s.", e.WIF.Provider.Name),
		})
	case name != e.WIF.Provider.Name:
		e.find(Finding{
			Check: "P2", Effect: Refuses, Functions: e.functionsOf(run), Fields: []string{field, "provider.name"}, Error: "E4",
			Problem: fmt.Sprintf("%s names the provider %s, and Terraform made %s.", where, name, e.WIF.Provider.Name),
			Remedy:  "Write the name that Terraform prints.",
		})
	}
	e.account(s)
}
