package diagnosis_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/devops-dashboard/dashboard/infra/doctor/diagnosis"
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
		if worst != report.Verdict {
			t.Errorf("%s, and the worst is %s", report.Verdict, worst)
		}
	})
}
