package diagnosis

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/devops-dashboard/dashboard/infra/doctor/expression"
	"github.com/devops-dashboard/dashboard/infra/doctor/token"
)

const conditionField = "provider.attribute_condition"

// condition asks whether the condition is one, whether it is true for the token,
// and whether it is false for whom it should keep out.
func (e *examination) condition() {
	text := e.WIF.Provider.AttributeCondition
	refuse := func(check, id, problem, remedy string) {
		e.find(Finding{Check: check, Effect: Refuses, Fields: []string{conditionField}, Error: id, Problem: problem, Remedy: remedy})
	}
	const pin = "Compare assertion.repository_owner_id and assertion.repository_id with your numbers, in quotes."
	condition := e.program.condition
	switch {
	case strings.TrimSpace(text) == "" && !strings.HasPrefix(e.WIF.Provider.Issuer, token.Issuer):
		e.find(Finding{
			Check: "C1", Effect: Endangers, Fields: []string{conditionField},
			Problem: "The provider has no condition: it admits whatever its issuer signs.", Remedy: pin,
		})
	case strings.TrimSpace(text) == "":
		refuse("C1", "E10", "The provider has no condition: Google refuses to make it for this issuer, and everybody on GitHub could enter.", pin)
	case condition == nil && utf8.RuneCountInString(text) > expression.Most:
		refuse("C2", "", "The condition "+e.program.err.Error()+".", "Shorten it; a list after \"in\" is shorter than many \"||\".")
	case condition == nil:
		refuse("C2", "", "The condition does not compile: "+e.program.err.Error(), hint(text))
	case condition.Returns() != "bool" && condition.Returns() != "dyn":
		refuse("C2", "", fmt.Sprintf("The condition gives a %s, and has to be true or false.", condition.Returns()), "Compare something, such as assertion.repository_id == '74'.")
	case len(condition.Reads()) == 0:
		refuse("C1", "E10", "The condition reads no claim, so it is the same for everybody.", pin)
	default:
		for _, part := range condition.Conjuncts() {
			e.part(part)
		}
		e.forms()
		e.strangers()
		return
	}
	e.skip("there is no condition that could be evaluated", "C3", "C4", "C4b", "C5")
	e.forms()
}

// slip is what makes a comparison false whatever the writer meant.
type slip struct{ check, problem, remedy string }

// slips are those of a comparison, as far as they can be told without a token.
func (e *examination) slips(c expression.Comparison) []slip {
	var found []slip
	for _, literal := range c.Literals {
		text, isText := literal.(string)
		written := fmt.Sprint(literal)
		if literal == nil {
			written = "null"
		}
		switch {
		case !isText && e.isText(c.Left) && c.Operator == "in":
			found = append(found, slip{
				"C3", fmt.Sprintf("%s in [… %s …] looks for a %s among texts: no text equals that.", c.Left, written, kind(literal)), fmt.Sprintf("Quote it: '%s'.", written),
			})
		case literal == nil && e.isText(c.Left):
			found = append(found, slip{
				"C3", fmt.Sprintf("%s %s null compares text with null: %s.", c.Left, c.Operator, never(c.Operator)), fmt.Sprintf("Write has(%s), or !has(%s).", c.Left, c.Left),
			})
		case !isText && e.isText(c.Left):
			found = append(found, slip{
				"C3", fmt.Sprintf("%s %s %s compares text with a %s: %s.", c.Left, c.Operator, written, kind(literal), never(c.Operator)), fmt.Sprintf("Quote it: %s %s '%s'.", c.Left, c.Operator, written),
			})
		case strings.Contains(text, "*") && (c.Operator == "==" || c.Operator == "in"):
			found = append(found, slip{
				"C4b", fmt.Sprintf("%s %s %q: %q does not expand \"*\", so this is never true.", c.Left, c.Operator, text, c.Operator),
				"Use startsWith() up to the \"*\", or better compare the numeric ids.",
			})
		}
	}
	return found
}

// isText tells whether what is compared is text, as all claims of GitHub are but its
// times.
func (e *examination) isText(left string) bool {
	for _, c := range e.claims {
		in, _ := e.program.mapped(c)
		if value, ok := lookUp(in, left); ok {
			_, text := value.(string)
			return text
		}
	}
	return !slices.Contains([]string{"assertion.exp", "assertion.iat", "assertion.nbf"}, left)
}

func kind(literal any) string {
	switch literal.(type) {
	case bool:
		return "truth value"
	case nil:
		return "null"
	}
	return "number"
}

func never(operator string) string {
	if operator == "!=" {
		return "always true"
	}
	return "always false"
}

// part holds a part of the condition, all of which must be true, against each token. A
// slip in a part that is true all the same, or false for another reason, is a doubt.
func (e *examination) part(part expression.Expression) {
	causes := map[string]Effect{}
	for _, c := range e.claims {
		in, failed := e.program.mapped(c)
		if len(failed) > 0 {
			continue // M3 has said so, and what would fail here is its consequence
		}
		value, err := part.Eval(in)
		if value == true {
			continue
		}
		effect := e.refusal(c, e.program.enters)
		checks := e.explained(part, in, c.Subject)
		for _, check := range checks {
			if before, ok := causes[check]; !ok || severity[effect] < severity[before] {
				causes[check] = effect
			}
		}
		if len(checks) == 0 {
			e.isFalse(part, in, c, value, err, effect)
		}
	}
	for _, comparison := range part.Comparisons() {
		for _, s := range e.slips(comparison) {
			f := Finding{Check: s.check, Effect: Doubts, Fields: []string{conditionField}, Problem: s.problem, Remedy: s.remedy}
			if effect, ok := causes[s.check]; ok {
				f.Effect, f.Error = effect, "E7"
			}
			e.find(f)
		}
	}
	if effect, ok := causes["C6"]; ok {
		e.otherForms(conditionField, "E7", effect, nil, part.Literals()...)
	}
}

// isFalse names a part that is not true for the token.
func (e *examination) isFalse(part expression.Expression, in expression.Input, c token.Claims, value any, err error, effect Effect) {
	fields := []string{conditionField}
	var has []string
	for _, read := range part.Reads() {
		fields = append(fields, e.program.sources(read)...)
		has = append(has, describe(in, read))
	}
	f := Finding{
		Check: "C4", Effect: effect, Fields: fields, Error: "E7",
		Problem: fmt.Sprintf("%s is false: the token has %s.", part, strings.Join(has, ", ")),
		Remedy:  e.remedy(part, in, c),
	}
	if err != nil && absent.FindString(err.Error()) == "" {
		f.Problem = fmt.Sprintf("%s cannot be evaluated: %s.", part, err)
	} else if err == nil && value != false {
		f.Problem = fmt.Sprintf("%s gives %v, which is neither true nor false.", part, value)
	}
	if e.madeUp(fields, part.Literals()...) {
		f.Effect, f.Remedy = Doubts, "Give the token itself, by -token or -claims: a scenario makes that claim up."
	}
	e.find(f)
}

// explained are the checks that say why a part is false: each of its alternatives has
// to be a comparison that one of them is about, or the reason is another.
func (e *examination) explained(part expression.Expression, in expression.Input, subject string) []string {
	var checks []string
	for _, alternative := range part.Disjuncts() {
		comparison, ok := alternative.Comparison()
		check := ""
		if ok {
			check = e.slipped(comparison, in, subject)
		}
		if check == "" {
			return nil
		}
		checks = append(checks, check)
	}
	return checks
}

// slipped is the check that says why a comparison is false, if one does.
func (e *examination) slipped(c expression.Comparison, in expression.Input, subject string) string {
	var texts, others []string
	for _, literal := range c.Literals {
		if text, ok := literal.(string); ok {
			texts = append(texts, text)
		} else {
			others = append(others, fmt.Sprint(literal))
		}
	}
	value, _ := lookUp(in, c.Left)
	equality := c.Operator == "==" || c.Operator == "in"
	star := func(text string) bool { return strings.Contains(text, "*") }
	otherwise := func(text string) bool { return otherForm(text, subject) }
	fits := func(text string) bool { return ownForm(text, subject) }
	switch {
	case equality && len(others) > 0 && e.isText(c.Left) && (len(texts) == 0 || slices.Contains(others, fmt.Sprint(value))):
		return "C3"
	case equality && len(texts) > 0 && !slices.ContainsFunc(texts, func(text string) bool { return !star(text) }):
		return "C4b"
	case c.Operator != "!=" && slices.ContainsFunc(texts, otherwise) && !slices.ContainsFunc(texts, fits):
		return "C6"
	}
	return ""
}

func lookUp(in expression.Input, read string) (any, bool) {
	root, name, _ := strings.Cut(read, ".")
	value, ok := map[string]map[string]any{"assertion": in.Assertion, "google": in.Google, "attribute": in.Attribute}[root][name]
	return value, ok
}

func describe(in expression.Input, read string) string {
	root, name, _ := strings.Cut(read, ".")
	value, ok := lookUp(in, read)
	switch {
	case !ok && root == "assertion":
		return fmt.Sprintf("no %q claim", name)
	case !ok:
		return read + " not mapped"
	}
	return fmt.Sprintf("%s %s", name, shorten(fmt.Sprintf("%q", fmt.Sprint(value))))
}

// shorten keeps a report readable, whatever a token holds.
func shorten(text string) string {
	if runes := []rune(text); len(runes) > 200 {
		return string(runes[:200]) + "…"
	}
	return text
}

// remedy looks for the slip that makes a comparison false.
func (e *examination) remedy(part expression.Expression, in expression.Input, c token.Claims) string {
	for _, comparison := range part.Comparisons() {
		claim, isClaim := strings.CutPrefix(comparison.Left, "assertion.")
		has, _ := in.Assertion[claim].(string)
		want, _ := comparison.Literals[0].(string)
		switch {
		case !isClaim || want == "" || comparison.Operator == "!=":
		case has == "":
			return fmt.Sprintf("Only some tokens have %q. Let the job name what brings it, or drop this part.", claim)
		case strings.EqualFold(has, want):
			return fmt.Sprintf("Same letters, other case, which Google compares and GitHub does not: write '%s', or better go by the id.", has)
		case strings.TrimSpace(want) == has:
			return "There are spaces in the quotes: take them away."
		case claim == "ref" && comparison.Operator != "matches" && !strings.HasPrefix(want, "refs/"):
			return fmt.Sprintf("A ref is written whole: 'refs/heads/%s'.", want)
		case strings.HasSuffix(claim, "_id") && strings.Trim(want, "0123456789") != "":
			return fmt.Sprintf("%s is a number in quotes, here '%s', not a name.", claim, has)
		case claim == "sub" && token.ByID(has) != token.ByID(want):
			return "One has ids after the names and the other has not (see C6): compare assertion.repository_id instead."
		case strings.HasSuffix(claim, "workflow_ref"):
			if file := e.program.file(); file != "" && strings.Contains(has, "/"+file+"@") {
				return "It is the same file on another ref: see the ref."
			}
			return "Deploy by the workflow file that the condition names, or change the condition."
		case claim == "event_name" && strings.HasPrefix(has, "pull_request"):
			return "Pull requests are kept out, and should be. Deploy after the merge."
		case claim == "ref" || claim == "ref_type":
			return fmt.Sprintf("Deploy from %s; or, if %s may deploy as well, add it to the condition.", orElse(e.program.equals()["ref"], "the branch that the condition names"), c.Ref)
		case claim == "repository_id", claim == "repository_owner_id":
			return fmt.Sprintf("If this is your repository, write '%s': gh api repos/%s --jq '.id, .owner.id' prints both ids.", has, c.Repository)
		}
	}
	return "If this token should enter, change that part of the condition; if not, all is well."
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// strangers holds the condition against tokens that it should refuse, made from
// one that it admits.
func (e *examination) strangers() {
	o := e.Origin
	o.Workflow = orElse(e.program.file(), o.Workflow)
	if o.Environment == "" && len(e.environments()) > 0 {
		o.Environment = e.environments()[0]
	}
	good, ok := e.welcome(o)
	probes := []struct{ scenario, problem, remedy string }{
		{"taken-name", fmt.Sprintf("The condition trusts the name %q. Once that is renamed or deleted, whoever takes it gets your cloud.", good.Repository), fmt.Sprintf("Add: assertion.repository_id == '%s' && assertion.repository_owner_id == '%s'", o.RepositoryID, o.OwnerID)},
		{"other-repository", "The condition admits every repository of the owner.", fmt.Sprintf("Add: assertion.repository_id == '%s'", o.RepositoryID)},
		{"pull-request", "The condition admits pull requests, which run what nobody has reviewed.", "Add: assertion.event_name in ['push', 'workflow_dispatch']"},
		{"pull-request-target", "The condition admits pull_request_target, which strangers cause.", "Add: assertion.event_name in ['push', 'workflow_dispatch']"},
		{"other-branch", "The condition admits every branch: whoever may push one may deploy.", "Add: assertion.ref == 'refs/heads/main'"},
		{"tag", "The condition admits every tag: whoever may push one may deploy.", "Add: assertion.ref_type == 'branch', or compare assertion.ref"},
		{"self-hosted", "The condition admits self-hosted runners, which may keep what earlier jobs left.", "Add: assertion.runner_environment == 'github-hosted'"},
		{"other-workflow", "The condition admits every workflow file of the repository.", fmt.Sprintf("Add: assertion.workflow_ref.endsWith('/.github/workflows/%s@refs/heads/main')", o.Workflow)},
	}
	endangers := func(problem, remedy string) {
		e.find(Finding{Check: "C5", Effect: Endangers, Fields: []string{conditionField}, Problem: problem, Remedy: remedy})
	}
	if !ok {
		e.skip("no token could be made that the condition admits", "C5")
	} else {
		for _, probe := range probes {
			scenario, _ := token.Find(probe.scenario)
			byName, byID := scenario.Claims(o, e.Now)
			for _, c := range []*token.Claims{&byName, &byID} {
				if c.EventName == "push" {
					*c = c.Started(good.EventName)
				}
			}
			itself := byID.RefType == "tag" && good.RefType == "tag" || byID.RunnerEnvironment == good.RunnerEnvironment && probe.scenario == "self-hosted"
			if !itself && (e.program.admits(byName) || e.program.admits(byID)) {
				endangers(probe.problem, probe.remedy)
			}
		}
	}
	e.loose(endangers)
}

// welcome is a token that the condition admits, of those that usually deploy.
func (e *examination) welcome(o token.Origin) (token.Claims, bool) {
	for _, scenario := range e.usual() {
		byName, byID := scenario.Claims(o, e.Now)
		for _, c := range []token.Claims{byName, byID} {
			if e.program.admits(c) {
				return c, true
			}
		}
	}
	return token.Claims{Repository: o.Owner + "/" + o.Repository}, false
}

// loose looks for comparisons that more texts fit than their writer thought of.
func (e *examination) loose(endangers func(problem, remedy string)) {
	if alternatives := e.program.condition.Disjuncts(); len(alternatives) > 1 {
		endangers("The condition's parts are joined by || at the top: each alone lets a token in.", "Put the alternatives in parentheses and join them by && with the ids.")
	}
	for _, c := range e.program.condition.Comparisons() {
		text, isText := c.Literals[0].(string)
		claim, isClaim := strings.CutPrefix(c.Left, "assertion.")
		if !isText || !isClaim {
			continue
		}
		switch {
		case c.Operator == "contains":
			endangers(fmt.Sprintf("%s.contains(%q) fits whatever has that anywhere, such as a branch or a repository that a stranger names so.", c.Left, text), "Compare the whole claim by ==, or an id.")
		case c.Operator == "matches" && !(strings.HasPrefix(text, "^") && strings.HasSuffix(text, "$")):
			endangers(fmt.Sprintf("%s.matches(%q) is not anchored: it fits whatever has that anywhere.", c.Left, text), "Begin the pattern with ^ and end it with $.")
		case c.Operator == "startsWith" && slices.Contains([]string{"sub", "repository", "workflow_ref", "job_workflow_ref"}, claim) && !strings.ContainsAny(text[max(0, len(text)-1):], ":/@"):
			endangers(fmt.Sprintf("%s.startsWith(%q) fits %q too.", c.Left, text, text+"-evil"), "End the text with the delimiter that follows the name, or compare the id.")
		case c.Operator == "endsWith" && strings.HasSuffix(claim, "workflow_ref") && !strings.HasPrefix(text, "/"):
			endangers(fmt.Sprintf("%s.endsWith(%q) fits a file named %q too.", c.Left, text, "evil-"+text), "Begin the text with /.github/workflows/.")
		}
	}
}

var (
	subByName = regexp.MustCompile(`\brepo:[^@/:*]+/[^@/:*]+:`)
	subByID   = regexp.MustCompile(`\brepo:[^@/:*]+@\d+/[^@/:*]+@\d+:`)
)

// otherForm tells whether a text holds sub in one form, and the token in the other.
func otherForm(text, subject string) bool {
	if !strings.HasPrefix(subject, "repo:") {
		return false // customised
	}
	return token.ByID(subject) && subByName.MatchString(text) || !token.ByID(subject) && subByID.MatchString(text)
}

// ownForm tells whether a text holds sub in the token's form.
func ownForm(text, subject string) bool {
	return token.ByID(subject) && subByID.MatchString(text) || !token.ByID(subject) && subByName.MatchString(text)
}

// otherwise says how to leave a form of sub out.
func (e *examination) otherwise() string {
	if e.Token != nil || e.Form != BothForms {
		return ""
	}
	return " If your repository sends the other form alone, say so by -sub names or -sub ids."
}

// forms looks into mapping and members for texts that hold for one form of sub only,
// where the token in the other form does not get in.
func (e *examination) forms() {
	for _, a := range e.asks {
		if e.mayBe(a.function, a.claims) {
			continue
		}
		effect := e.refusal(a.claims, func(c token.Claims) bool { return e.gets(a.function, c) })
		for _, key := range sorted(e.program.mapping) {
			e.otherForms(mappingField(key), "E12", effect, nil, e.program.mapping[key].Literals()...)
		}
		for i, m := range e.WIF.Deployers[a.function].Members {
			e.otherForms(memberField(a.function, i)+".member", "E12", effect, []string{a.function}, m.Member)
		}
	}
}

// otherForms names the texts that hold for a form of sub that is not the token's.
func (e *examination) otherForms(field, id string, effect Effect, functions []string, texts ...string) {
	for _, text := range texts {
		i := slices.IndexFunc(e.claims, func(c token.Claims) bool { return otherForm(text, c.Subject) })
		if i < 0 {
			continue
		}
		if e.customised([]string{"claims.sub"}, text) {
			effect = Doubts
		}
		problem := "repositories made, renamed or transferred since 15 July 2026 send ids as well: repo:OWNER@65/REPOSITORY@74:…"
		if !token.ByID(e.claims[i].Subject) {
			problem = "repositories from before 15 July 2026 send no ids, unless they chose to: repo:OWNER/REPOSITORY:…"
		}
		e.find(Finding{
			Check: "C6", Effect: effect, Fields: []string{field, "claims.sub"}, Functions: functions, Error: id,
			Problem: fmt.Sprintf("%s expects %q, but %s", field, text, problem),
			Remedy:  "Go by assertion.repository_id, which neither a name nor a date changes." + e.otherwise(),
		})
	}
}
