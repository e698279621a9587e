package diagnosis_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/devops-dashboard/dashboard/infra/doctor/diagnosis"
	"github.com/devops-dashboard/dashboard/infra/doctor/expression"
	"github.com/devops-dashboard/dashboard/infra/doctor/token"
	"github.com/devops-dashboard/dashboard/infra/doctor/wif"
	"github.com/devops-dashboard/dashboard/infra/doctor/workflow"
)

// Whatever the inputs, each finding says which check, where, what and how, and the
// verdict follows from the findings.
func FuzzExamine(f *testing.F) {
	config, err := os.ReadFile("../testdata/wif.json")
	if err != nil {
		f.Fatal(err)
	}
	file, err := os.ReadFile("../testdata/.github/workflows/deploy.yml")
	if err != nil {
		f.Fatal(err)
	}
	claims, err := json.Marshal(valid(f).Token.Claims)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(config, file, claims)
	f.Add([]byte(`{"pool":{"id":"x"},"deployers":{"":{}},"functions":{"":{}},"provider":{"attribute_mapping":{"":"","google.groups":"['a']","attribute.":"1"},"attribute_condition":"assertion.sub == 1 || true"}}`), []byte("on: {pull_request: }\njobs: {'': {steps: [{uses: google-github-actions/auth}]}}"), []byte(`{"sub":"repo:a@1/b@2:x"}`))
	f.Add([]byte(`{"pool":{"id":"x"},"deployers":{"a":{"members":[{"role":"roles/iam.workloadIdentityUser","member":"principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/x/group/a"}]}}}`), []byte(""), []byte("{}"))
	f.Add([]byte(`{"pool":{"id":"x"},"deployers":{"a":{"environment":"e"}},"provider":{"attribute_mapping":{"google.subject":"assertion.sub"},"attribute_condition":"assertion.ref in ['refs/tags/*', 7, null] || assertion.sub == 'repo:a/b:x' && !(attribute.a != 1)"}}`),
		[]byte("on: {push: {branches: ['a[b-c]+', '!d?'], tags: '**', paths-ignore: [x]}, pull_request: {branches-ignore: m}, workflow_call: }\njobs: {a: {runs-on: {group: g, labels: ['${{ matrix.r }}']}, environment: e, strategy: {matrix: {r: [self-hosted, [x, y]]}}, steps: [{uses: google-github-actions/auth@v3, with: {service_account: 'x@${{ vars.P }}'}}]}}"), []byte(`{"value":"x"}`))
	f.Fuzz(func(t *testing.T, config, file, claims []byte) {
		setup := diagnosis.Setup{Now: now, Ignores: map[string]string{}}
		if setup.WIF, err = wif.Parse(config); err != nil {
			return
		}
		if one, err := workflow.Parse("a.yml", file); err == nil {
			setup.Workflows = []workflow.File{one}
		}
		if read, err := token.Parse(claims); err == nil {
			setup.Token = &read
		}
		report := diagnosis.Examine(setup)
		worst := diagnosis.Admitted
		for _, finding := range report.Findings {
			known := slices.ContainsFunc(diagnosis.Checks, func(c diagnosis.Check) bool { return c.ID == finding.Check })
			if !known || len(finding.Fields) == 0 || finding.Problem == "" || finding.Remedy == "" {
				t.Errorf("%+v", finding)
			}
			switch {
			case finding.Effect == diagnosis.Notes:
			case !finding.Elsewhere && (finding.Effect == diagnosis.Refuses || finding.Effect == diagnosis.Breaks):
				worst = diagnosis.Refused
			case worst == diagnosis.Admitted:
				worst = diagnosis.Unsure
			}
		}
		if setup.Token != nil && report.Verdict != diagnosis.Refused && setup.WIF.Provider.AttributeCondition != "" && !holds(setup.WIF.Provider, setup.Token.Claims) {
			t.Errorf("%s, and the condition is not true", report.Verdict)
		}
		if worst != report.Verdict {
			t.Errorf("%s, and the worst is %s", report.Verdict, worst)
		}
	})
}

// holds tells whether a condition is true for a token, as package expression has it.
func holds(p wif.Provider, c token.Claims) bool {
	in := expression.Input{Assertion: c.Map(), Google: map[string]any{}, Attribute: map[string]any{}}
	for key, text := range p.AttributeMapping {
		mapping, err := expression.Mapping(text)
		if err != nil {
			continue
		}
		if value, err := mapping.Eval(expression.Input{Assertion: in.Assertion}); err == nil {
			if name, custom := strings.CutPrefix(key, "attribute."); custom {
				in.Attribute[name] = value
			} else {
				in.Google[strings.TrimPrefix(key, "google.")] = value
			}
		}
	}
	condition, err := expression.Condition(p.AttributeCondition)
	if err != nil {
		return false
	}
	value, err := condition.Eval(in)
	return err == nil && value == true
}
