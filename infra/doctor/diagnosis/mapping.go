package diagnosis

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/devops-dashboard/dashboard/infra/doctor/expression"
	"github.com/devops-dashboard/dashboard/infra/doctor/token"
)

// program is the provider's mapping and condition, as far as they compile.
type program struct {
	mapping   map[string]expression.Expression
	condition *expression.Expression
	err       error // why the condition does not compile
}

func (e *examination) compile() {
	e.program.mapping = map[string]expression.Expression{}
	for key, text := range e.WIF.Provider.AttributeMapping {
		if compiled, err := expression.Mapping(text); err == nil {
			e.program.mapping[key] = compiled
		}
	}
	e.names.number, _ = agreement(e.identities().numbers)
	e.names.pool, _ = agreement(e.identities().pools)
	if condition, err := expression.Condition(e.WIF.Provider.AttributeCondition); err == nil {
		e.program.condition = &condition
	} else {
		e.program.err = err
	}
}

// mapped is what the mapping makes of a token, and why it fails.
func (p program) mapped(c token.Claims) (in expression.Input, failed map[string]error) {
	in = expression.Input{Assertion: c.Map(), Google: map[string]any{}, Attribute: map[string]any{}}
	failed = map[string]error{}
	for key, compiled := range p.mapping {
		value, err := compiled.Eval(expression.Input{Assertion: in.Assertion})
		switch name, custom := strings.CutPrefix(key, "attribute."); {
		case err != nil:
			failed[key] = err
		case custom:
			in.Attribute[name] = value
		default:
			in.Google[strings.TrimPrefix(key, "google.")] = value
		}
	}
	return in, failed
}

// admits evaluates the condition. A claim that is missing refuses, and so does a
// condition that is none.
func (p program) admits(c token.Claims) bool {
	if p.condition == nil {
		return false
	}
	in, _ := p.mapped(c)
	value, err := p.condition.Eval(in)
	return err == nil && value == true
}

// equals is what the condition wants claims to be, as far as it says so plainly.
func (p program) equals() map[string]string {
	wanted := map[string]string{}
	if p.condition == nil {
		return wanted
	}
	for _, c := range p.condition.Comparisons() {
		claim, isClaim := strings.CutPrefix(c.Left, "assertion.")
		if isClaim && c.Literals[0] != nil && (c.Operator == "==" || c.Operator == "in") && wanted[claim] == "" {
			wanted[claim] = fmt.Sprint(c.Literals[0]) // a number too: C3 says that it wants quotes
		}
	}
	return wanted
}

var workflowFile = regexp.MustCompile(`/\.github/workflows/([^@/*$]+)@`)

// file is the workflow file that the condition wants.
func (p program) file() string {
	if p.condition != nil {
		for _, text := range p.condition.Literals() {
			if found := workflowFile.FindStringSubmatch(text); found != nil {
				return found[1]
			}
		}
	}
	return ""
}

// readers are the fields whose expressions read a claim.
func (p program) readers(claim string) []string {
	var fields []string
	for _, key := range sorted(p.mapping) {
		if slices.Contains(p.mapping[key].Reads(), "assertion."+claim) {
			fields = append(fields, mappingField(key))
		}
	}
	if p.condition != nil && slices.Contains(p.condition.Reads(), "assertion."+claim) {
		fields = append(fields, conditionField)
	}
	return fields
}

// sources are the fields that a value comes from: a claim, or for what is mapped
// the mapping and the claims that it reads.
func (p program) sources(read string) []string {
	root, name, _ := strings.Cut(read, ".")
	if root == "assertion" {
		return []string{"claims." + name}
	}
	compiled, ok := p.mapping[read]
	fields := []string{mappingField(read)}
	if ok {
		for _, read := range compiled.Reads() {
			fields = append(fields, p.sources(read)...)
		}
	}
	return fields
}

func mappingField(key string) string { return fmt.Sprintf("provider.attribute_mapping[%q]", key) }

const (
	subjectMost    = 127  // bytes of google.subject
	subjectMuch    = 100  // of which little is left
	mappedMost     = 8192 // bytes of all values
	attributesMost = 50
	expressionMost = 2048 // characters
)

var attributeKey = regexp.MustCompile(`^attribute\.[a-z0-9_]{1,100}$`)

// mapping asks what the token service asks of the attribute mapping.
func (e *examination) mapping() {
	mapping := e.WIF.Provider.AttributeMapping
	if _, ok := mapping["google.subject"]; !ok {
		e.find(Finding{
			Check: "M1", Effect: Refuses, Fields: []string{"provider.attribute_mapping"}, Error: "E11",
			Problem: "Nothing is mapped to google.subject, which Google wants.",
			Remedy:  `Add "google.subject" = "assertion.sub", or better a value that is bounded.`,
		})
	}
	custom := 0
	for _, key := range sorted(mapping) {
		if strings.HasPrefix(key, "attribute.") {
			custom++
		}
		e.mappingKey(key)
		e.mappingValue(key, mapping[key])
	}
	if custom > attributesMost {
		e.find(Finding{
			Check: "M1", Effect: Refuses, Fields: []string{"provider.attribute_mapping"}, Error: "E11",
			Problem: fmt.Sprintf("%d attributes are mapped, and Google takes %d.", custom, attributesMost), Remedy: "Map only what conditions and members use.",
		})
	}
	for _, c := range e.claims {
		e.mappedValues(c)
	}
}

func (e *examination) mappingKey(key string) {
	if key == "google.subject" || key == "google.groups" || attributeKey.MatchString(key) {
		return
	}
	f := Finding{
		Check: "M1", Effect: Refuses, Fields: []string{mappingField(key)}, Error: "E11",
		Problem: fmt.Sprintf("The mapping's key %q is neither google.subject, google.groups nor attribute.NAME with a NAME of up to 100 of a-z, 0-9 and _.", key),
		Remedy:  "Rename it.",
	}
	if name, ok := strings.CutPrefix(key, "assertion."); ok {
		f.Problem = fmt.Sprintf("The mapping's key %q is on the wrong side.", key)
		f.Remedy = fmt.Sprintf(`Write "attribute.%s" = %q.`, name, key)
	}
	e.find(f)
}

func (e *examination) mappingValue(key, text string) {
	field := mappingField(key)
	refuse := func(check, id, problem, remedy string) {
		e.find(Finding{Check: check, Effect: Refuses, Fields: []string{field}, Error: id, Problem: problem, Remedy: remedy})
	}
	if n := utf8.RuneCountInString(text); n > expressionMost {
		refuse("M1", "E11", fmt.Sprintf("%s has %d characters, and Google takes %d.", key, n, expressionMost), "Shorten it.")
	}
	compiled, ok := e.program.mapping[key]
	if !ok {
		_, err := expression.Mapping(text)
		refuse("M2", "", fmt.Sprintf("%s does not compile: %s", key, err), hint(text))
		return
	}
	want := "string"
	if key == "google.groups" {
		want = "list"
	}
	if returns := compiled.Returns(); returns != "dyn" && !strings.HasPrefix(returns, want) {
		remedy := fmt.Sprintf("Write what gives a %s, such as assertion.sub.", want)
		problem := fmt.Sprintf("%s maps to a %s, and has to be a %s.", key, returns, want)
		if returns == "bool" {
			problem += " A condition was pasted into the mapping."
			remedy = "Map a claim, such as assertion.sub, and move the comparison to attribute_condition."
		}
		refuse("M2", "E8", problem, remedy)
	}
	name, custom := strings.CutPrefix(key, "attribute.")
	claim := meant(name)
	if reads := compiled.Reads(); custom && claim != "" && len(reads) == 1 && reads[0] != "assertion."+claim {
		e.find(Finding{
			Check: "M5", Effect: Endangers, Fields: []string{field},
			Problem: fmt.Sprintf("%s reads %s, and not %s: a member that goes by it matches what its name does not say.", key, strings.TrimPrefix(reads[0], "assertion."), claim),
			Remedy:  fmt.Sprintf(`Write %q = "assertion.%s".`, key, claim),
		})
	}
}

// meant is the claim that an attribute of this name is taken to hold.
func meant(name string) string {
	short := map[string]string{"owner": "repository_owner", "owner_id": "repository_owner_id", "repo": "repository", "repo_id": "repository_id", "event": "event_name"}
	if claim, ok := short[name]; ok {
		return claim
	}
	if slices.Contains(token.Documented(), name) {
		return name
	}
	return ""
}

// hint says what usually is wrong with an expression that does not compile.
func hint(text string) string {
	switch {
	case strings.TrimSpace(text) == "":
		return "Write an expression, such as assertion.sub."
	case regexp.MustCompile(`[^=!<>]=[^=]`).MatchString(text):
		return `Equality is "==".`
	case regexp.MustCompile(`(?i)\b(and|or|not)\b`).MatchString(text):
		return `CEL writes &&, || and !.`
	}
	return "Correct it at the place that ^ marks; claims are assertion.NAME, texts stand in quotes."
}

// absent is the claim that an evaluation has missed.
var absent = regexp.MustCompile(`no such key: (\S+)`)

func (e *examination) mappedValues(c token.Claims) {
	in, failed := e.program.mapped(c)
	for _, key := range sorted(failed) {
		field, err := mappingField(key), failed[key]
		missing := absent.FindStringSubmatch(err.Error())
		if missing == nil {
			e.find(Finding{
				Check: "M2", Effect: Refuses, Fields: []string{field},
				Problem: fmt.Sprintf("%s fails for this token: %s.", key, err), Remedy: "Correct the expression.",
			})
			continue
		}
		others := ""
		if missing[1] == "environment" {
			others = ", so every job without an environment is refused, whatever the condition"
		}
		e.find(Finding{
			Check: "M3", Effect: Refuses, Fields: []string{field, "claims." + missing[1]},
			Problem: fmt.Sprintf("%s reads assertion.%s, and this token has no %q claim%s.", key, missing[1], missing[1], others),
			Remedy:  fmt.Sprintf("Write has(assertion.%[1]s) ? assertion.%[1]s : 'none'.", missing[1]),
		})
	}
	e.mappedTypes(in)
	e.sizes(c, in)
}

// mappedTypes asks for text where only the token could tell.
func (e *examination) mappedTypes(in expression.Input) {
	values := map[string]any{}
	for name, value := range in.Attribute {
		values["attribute."+name] = value
	}
	for name, value := range in.Google {
		values["google."+name] = value
	}
	for _, key := range sorted(values) {
		_, text := values[key].(string)
		_, list := values[key].([]any)
		if compiled := e.program.mapping[key]; compiled.Returns() == "dyn" && (key == "google.groups" && !list || key != "google.groups" && !text) {
			e.find(Finding{
				Check: "M2", Effect: Refuses, Fields: e.program.sources(key), Error: "E8",
				Problem: fmt.Sprintf("%s comes to %v, and has to be text.", key, values[key]), Remedy: "Map a claim that is text.",
			})
		}
	}
}

func (e *examination) sizes(c token.Claims, in expression.Input) {
	total := 0
	for _, values := range []map[string]any{in.Google, in.Attribute} {
		for value := range maps.Values(values) {
			total += len(fmt.Sprint(value))
		}
	}
	if total > mappedMost {
		e.find(Finding{
			Check: "M4", Effect: Refuses, Fields: []string{"provider.attribute_mapping"},
			Problem: fmt.Sprintf("The mapped values have %d bytes together, and Google takes %d.", total, mappedMost), Remedy: "Map only what conditions and members use.",
		})
	}
	subject, ok := in.Google["subject"].(string)
	if !ok {
		return // M1, M2 or M3 has said why
	}
	sources := e.program.sources("google.subject")
	switch bounded := "Map a value that is bounded: 'gh:' + assertion.repository_id + ':' + (has(assertion.environment) ? assertion.environment : 'none')."; {
	case len(subject) > subjectMost:
		shortEnough := func(c token.Claims) bool {
			in, _ := e.program.mapped(c)
			subject, ok := in.Google["subject"].(string)
			return ok && len(subject) <= subjectMost
		}
		e.find(Finding{
			Check: "M4", Effect: e.refusal(c, shortEnough), Fields: sources, Error: "E9",
			Problem: fmt.Sprintf("google.subject is %d bytes long (the limit is %d): %q.", len(subject), subjectMost, subject), Remedy: bounded,
		})
	case len(subject) > subjectMuch:
		e.find(Finding{
			Check: "M4", Effect: Notes, Fields: sources,
			Problem: fmt.Sprintf("google.subject is %d bytes long already (the limit is %d).", len(subject), subjectMost), Remedy: bounded,
		})
	case slices.Contains(sources, "claims.sub"), slices.Contains(sources, "claims.ref"):
		short := c.In("")
		short.Ref = "refs/heads/"
		_, short.Subject = short.Subjects()
		if in, _ := e.program.mapped(short); in.Google["subject"] != nil {
			left := subjectMost - len(fmt.Sprint(in.Google["subject"]))
			e.find(Finding{
				Check: "M4", Effect: Notes, Fields: []string{mappingField("google.subject")},
				Problem: fmt.Sprintf("google.subject holds the branch of a job without an environment, and %d bytes are left for its name.", left), Remedy: bounded,
			})
		}
	}
}
