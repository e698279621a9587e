package diagnosis_test

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/infra/doctor/diagnosis"
	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/wif"
	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// valid is a set-up in which nothing is wrong, made anew for each caller.
func valid(t testing.TB) diagnosis.Setup {
	t.Helper()
	text, err := os.ReadFile("../testdata/wif.json")
	if err != nil {
		t.Fatal(err)
	}
	config, err := wif.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	files, err := workflow.Read(os.DirFS("../testdata/.github/workflows"))
	if err != nil {
		t.Fatal(err)
	}
	push, _ := token.Find("push-main")
	_, claims := push.Claims(token.Origin{
		Owner: "octo-org", OwnerID: "65", Repository: "octo-repo", RepositoryID: "74", Environment: "prod-auth", Workflow: "deploy.yml",
		Audience: "https://iam.googleapis.com/" + config.Provider.Name, Issuer: token.Issuer,
	}, now)
	return diagnosis.Setup{
		WIF: config, Workflows: files, Ignores: map[string]string{".gitignore": "gha-creds-*.json\n"},
		Token: &token.Token{Claims: claims}, Now: now,
	}
}

// change is one way to change one field.
type change struct {
	field string // as findings name it
	how   string
}

func (c change) String() string { return c.field + " " + c.how }

// explore walks the fields of a value, and applies the change at its field, if
// there is one. It returns every change that is possible.
func explore(v reflect.Value, field string, apply *change) []change {
	var all []change
	offer := func(how string, do func()) {
		c := change{field, how}
		all = append(all, c)
		if apply != nil && *apply == c {
			do()
		}
	}
	join := func(name string) string {
		switch {
		case field == "", strings.HasSuffix(field, ": "):
			return field + name
		}
		return field + "." + name
	}
	switch v.Kind() {
	case reflect.String:
		old := v.String()
		offer("longer", func() { v.SetString(old + "x") })
		if old != "" {
			offer("emptied", func() { v.SetString("") })
			offer("indented", func() { v.SetString(" " + old) })
		}
		if upper := strings.ToUpper(old); upper != old {
			offer("in capitals", func() { v.SetString(upper) })
		}
	case reflect.Bool:
		offer("flipped", func() { v.SetBool(!v.Bool()) })
	case reflect.Float64:
		offer("later", func() { v.SetFloat(v.Float() + 1e6) })
	case reflect.Int:
		offer("larger", func() { v.SetInt(v.Int() + 1) })
	case reflect.Pointer:
		if v.IsNil() {
			offer("given", func() { v.Set(reflect.New(v.Type().Elem())) })
		} else {
			if v.Elem().Kind() == reflect.Map { // reading refuses a job that is nothing
				offer("absent", func() { v.SetZero() })
			}
			if !v.IsNil() {
				all = append(all, explore(v.Elem(), field, apply)...)
			}
		}
	case reflect.Interface: // what a workflow passes
		if text, ok := v.Interface().(string); ok {
			offer("longer", func() { v.Set(reflect.ValueOf(text + "x")) })
			offer("emptied", func() { v.Set(reflect.ValueOf("")) })
		} else {
			offer("another", func() { v.Set(reflect.ValueOf("x")) })
		}
	case reflect.Slice:
		offer("with one more", func() {
			one := reflect.New(v.Type().Elem()).Elem()
			if one.Kind() == reflect.String {
				one.SetString("x")
			}
			v.Set(reflect.Append(v, one))
		})
		for i := range v.Len() {
			all = append(all, explore(v.Index(i), fmt.Sprintf("%s[%d]", field, i), apply)...)
			if apply != nil && apply.how == "with one more" {
				continue
			}
		}
		for i := range v.Len() {
			offer(fmt.Sprintf("without %d", i), func() {
				v.Set(reflect.AppendSlice(v.Slice3(0, i, i), v.Slice(i+1, v.Len())))
			})
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		offer("with one more", func() {
			if v.IsNil() {
				v.Set(reflect.MakeMap(v.Type()))
			}
			value := reflect.New(v.Type().Elem()).Elem()
			if value.Kind() == reflect.Pointer {
				value.Set(reflect.New(value.Type().Elem()))
			}
			v.SetMapIndex(reflect.ValueOf("x"), value)
		})
		for _, key := range keys {
			name := join(key.String())
			if strings.HasSuffix(field, "attribute_mapping") {
				name = fmt.Sprintf("%s[%q]", field, key.String())
			}
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			all = append(all, explore(value, name, apply)...)
			v.SetMapIndex(key, value)
		}
		for _, key := range keys {
			offer("without "+key.String(), func() { v.SetMapIndex(key, reflect.Value{}) })
		}
	case reflect.Struct:
		for f, value := range v.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json")+f.Tag.Get("yaml"), ",")
			if f.Name == "Name" && v.Type() == reflect.TypeFor[workflow.File]() {
				continue // it is part of every field's name; TestFindings changes it
			}
			if name == "-" || name == "" {
				name = strings.ToLower(f.Name)
			}
			if f.Name == "Lists" { // a matrix has them beside include and exclude
				all = append(all, explore(value, field, apply)...)
				continue
			}
			all = append(all, explore(value, join(name), apply)...)
		}
	default:
		panic("no way to change a " + v.Kind().String() + " at " + field)
	}
	return all
}

// changed is the valid set-up after a change, and every change that there is.
func changed(t testing.TB, setup diagnosis.Setup, apply *change) (diagnosis.Setup, []change) {
	all := explore(reflect.ValueOf(&setup.WIF).Elem(), "", apply)
	all = append(all, explore(reflect.ValueOf(&setup.Token.Claims).Elem(), "claims", apply)...)
	for i := range setup.Workflows {
		all = append(all, explore(reflect.ValueOf(&setup.Workflows[i]).Elem(), setup.Workflows[i].Name+": ", apply)...)
	}
	return setup, all
}

// harmless are the changes after which the token is admitted as before, and why.
// By the end of a field's name, as all functions are alike.
var harmless = map[string]string{
	`provider.attribute_mapping without attribute.owner_id`:      "no member goes by it",
	`provider.attribute_mapping without attribute.repository_id`: "no member goes by it",

	"\"] indented":       "CEL skips spaces",
	"condition indented": "CEL skips spaces",

	"claims.aud with one more":     "one that fits is enough",
	"claims.other":                 "the mapping and the condition read none",
	"claims.workflow_ref indented": "the condition compares its end",

	": on without 1":                               "the push of the token starts the workflow still",
	": on[0].paths":                                "a push may touch what is wanted",
	": on[1].branches":                             "only pushes and pull requests are narrowed",
	": on[1].tags":                                 "only pushes and pull requests are narrowed",
	": on[1].paths":                                "only pushes and pull requests are narrowed",
	"runs-on.labels[0] in capitals":                "labels have no case",
	"runs-on.labels[0] indented":                   "spaces are no part of a label",
	"deploy.yml: permissions":                      "the job's own stand in their place",
	"jobs.deploy.permissions with one more":        "other grants are not about the token",
	"jobs.deploy.permissions.contents":             "other grants are not about the token",
	"jobs.deploy.permissions without contents":     "other grants are not about the token",
	"jobs.deploy.uses":                             "GitHub refuses a job with steps and uses",
	"jobs.deploy.with":                             "the job calls nothing",
	"jobs.deploy.if":                               "whether the job runs is not about the token",
	"jobs.deploy.strategy.matrix with one more":    "the job does not read it",
	"jobs.deploy.strategy.matrix.include with":     "it adds nothing",
	"jobs.deploy.strategy.matrix.exclude with":     "it takes nothing away",
	"jobs.deploy.steps with one more":              "a step that uses nothing",
	"jobs.deploy.steps without 0":                  "signing in needs no checkout",
	"jobs.deploy.steps[0]":                         "signing in needs no checkout",
	"jobs.deploy.steps[1].line":                    "where it stands in the file",
	"jobs.deploy.steps[1].with with one more":      "the action has other inputs",
	"jobs.deploy.strategy.matrix.computed flipped": "all that is read is written out",
	"jobs.deploy.steps[1].uses longer":             "its version",
	"jobs.deploy.steps[1].uses in capitals":        "GitHub takes names in any case",
	"jobs.deploy.steps[2]":                         "what runs after signing in",
	"jobs.deploy.steps without 2":                  "what runs after signing in",
	"jobs with one more":                           "a job without steps",
}

// unread are claims that the condition of the valid set-up does not go by; the
// strict one below reads every claim.
var unread = []string{
	"jti", "sub", "actor", "actor_id", "base_ref", "check_run_id", "enterprise", "enterprise_id", "head_ref", "job_workflow_ref", "job_workflow_sha",
	"ref_protected", "repository", "repository_owner", "repository_visibility", "run_attempt", "run_id", "run_number", "sha", "workflow", "workflow_sha",
}

func isHarmless(c change) bool {
	for suffix := range harmless {
		if strings.Contains(c.String(), suffix) {
			return true
		}
	}
	return slices.ContainsFunc(unread, func(claim string) bool { return c.field == "claims."+claim })
}

// related tells whether a finding's field is that of the change, a part of it, or
// what it is a part of.
func related(field, other string) bool {
	part := func(a, b string) bool {
		rest, ok := strings.CutPrefix(a, b)
		return ok && (rest == "" || strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "[") || strings.HasSuffix(b, ":"))
	}
	field, other = strings.TrimSuffix(field, " "), strings.TrimSuffix(other, " ")
	return part(field, other) || part(other, field)
}

func TestValidSetupIsAdmitted(t *testing.T) {
	t.Parallel()
	report := diagnosis.Examine(valid(t))
	if report.Verdict != diagnosis.Admitted || len(report.Findings) > 0 {
		t.Errorf("%s with %+v", report.Verdict, report.Findings)
	}
}

// A pipeline of another kind, such as that of migrations, runs as an account that
// is not named like the functions' ones.
func TestAnAccountMayBeNamedOtherwise(t *testing.T) {
	t.Parallel()
	const email = "frontend@acme-dash-prod.iam.gserviceaccount.com"
	setup := valid(t)
	web := setup.WIF.Functions["web"]
	web.RuntimeAccount, setup.WIF.Deployers["web"].ActsAs[0] = email, email
	setup.WIF.Functions["web"] = web
	if report := diagnosis.Examine(setup); report.Verdict != diagnosis.Admitted {
		t.Errorf("%s with %+v", report.Verdict, report.Findings)
	}
}

func TestEveryChangeIsNamedAndNothingElse(t *testing.T) {
	t.Parallel()
	_, all := changed(t, valid(t), nil)
	if len(all) < 400 {
		t.Fatalf("only %d changes are tried", len(all))
	}
	used := map[string]bool{}
	for _, c := range all {
		setup, _ := changed(t, valid(t), &c)
		report := diagnosis.Examine(setup)
		if isHarmless(c) {
			for suffix := range harmless {
				used[suffix] = used[suffix] || strings.Contains(c.String(), suffix)
			}
			if len(report.Findings) > 0 {
				t.Errorf("%s: is said to be harmless, and: %+v", c, report.Findings)
			}
			continue
		}
		if len(report.Findings) == 0 {
			t.Errorf("%s: nothing is found", c)
		}
		for _, f := range report.Findings {
			if !slices.ContainsFunc(f.Fields, func(field string) bool { return related(field, c.field) }) {
				t.Errorf("%s: %s names %q: %s", c, f.Check, f.Fields, f.Problem)
			}
		}
	}
	for suffix := range harmless {
		if !used[suffix] {
			t.Errorf("%q is no change that is tried", suffix)
		}
	}
}

// A condition that reads every claim, so that each must be named.
func TestEveryClaimIsNamed(t *testing.T) {
	t.Parallel()
	strict := func() diagnosis.Setup {
		setup := valid(t)
		setup.Workflows = nil
		claims := setup.Token.Claims.Map()
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(claims)) {
			if text, ok := claims[name].(string); ok {
				parts = append(parts, fmt.Sprintf("assertion.%s == %q", name, text))
			}
		}
		for _, name := range []string{"enterprise", "enterprise_id"} {
			parts = append(parts, fmt.Sprintf("!has(assertion.%s)", name))
		}
		setup.WIF.Provider.AttributeCondition = strings.Join(parts, " && ")
		return setup
	}
	base := diagnosis.Examine(strict())
	if base.Verdict != diagnosis.Admitted {
		t.Fatalf("%+v", base.Findings)
	}
	_, all := changed(t, strict(), nil)
	tried := 0
	for _, c := range all {
		if !strings.HasPrefix(c.field, "claims.") || c.field == "claims.other" || c.field == "claims.aud" {
			continue
		}
		tried++
		setup, _ := changed(t, strict(), &c)
		report := diagnosis.Examine(setup)
		if report.Verdict != diagnosis.Refused {
			t.Errorf("%s: %s", c, report.Verdict)
		}
		for _, f := range report.Findings {
			if !slices.ContainsFunc(f.Fields, func(field string) bool { return related(field, c.field) }) {
				t.Errorf("%s: %s names %q: %s", c, f.Check, f.Fields, f.Problem)
			}
		}
	}
	if want := 3 * len(token.Documented()) / 2; tried < want {
		t.Errorf("%d changes are tried, want %d", tried, want)
	}
}
