package diagnosis_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/devops-dashboard/dashboard/infra/doctor/diagnosis"
)

// TestTheRolesThatTerraformGivesAreEnough takes them from Terraform's own test.
func TestTheRolesThatTerraformGivesAreEnough(t *testing.T) {
	t.Parallel()
	stated, err := os.ReadFile("../../tests/identities.tftest.hcl")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`project_roles = (\[.*\])`).FindSubmatch(stated)
	if found == nil {
		t.Fatal("infra/tests/identities.tftest.hcl states no project_roles")
	}
	about := func(project string, spoil func([]string) []string) []diagnosis.Finding {
		setup := valid(t)
		for name, d := range setup.WIF.Deployers {
			if err := json.Unmarshal([]byte(strings.ReplaceAll(string(found[1]), "acme-dash", project)), &d.ProjectRoles); err != nil {
				t.Fatal(err)
			}
			d.ProjectRoles = spoil(d.ProjectRoles)
			setup.WIF.Deployers[name] = d
		}
		return diagnosis.Examine(setup).Findings
	}
	all := func(roles []string) []string { return roles }
	own := valid(t).WIF.ProjectID
	if found := about(own, all); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	for what, found := range map[string][]diagnosis.Finding{
		"another project's role":      about("acme-other", all),
		"the role without the others": about(own, func(roles []string) []string { return roles[:1] }),
		"the others without the role": about(own, func(roles []string) []string { return roles[1:] }),
	} {
		if len(found) == 0 || found[0].Check != "R1" || !strings.Contains(found[0].Fields[0], "project_roles") {
			t.Errorf("%s: %+v", what, found)
		}
	}
}
