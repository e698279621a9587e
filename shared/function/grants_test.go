package function_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/function"
)

func TestGrantsAreOfFunctionsWithADatabase(t *testing.T) {
	t.Parallel()
	database := []function.Need{{Name: "postgres"}}
	one := function.Function{Name: "one", Doc: "is first.", Needs: database, Tables: []function.Grant{
		{Table: "things", Owner: true, Select: "id, name", Insert: "name", Update: "name", Delete: true},
	}}
	two := function.Function{Name: "two", Doc: "is second.", Needs: database, Tables: []function.Grant{
		{Table: "things", Select: "id"}, {Table: "others", Owner: true, Select: "id"},
	}}
	if function.DatabaseRole(one) != "dashboard_one" || function.DatabaseRole(greeter) != "" {
		t.Errorf("the roles are %q and %q", function.DatabaseRole(one), function.DatabaseRole(greeter))
	}
	got := function.Grants(one, greeter, two)
	for _, want := range []string{
		"REVOKE ALL ON others,\n  things\n  FROM PUBLIC, dashboard_one, dashboard_two;\n",
		"\n-- one is first.\nGRANT SELECT (id, name),\n  INSERT (name),\n  UPDATE (name),\n  DELETE ON things TO dashboard_one;\n",
		"\n-- two is second.\nGRANT SELECT (id) ON things TO dashboard_two;\nGRANT SELECT (id) ON others TO dashboard_two;\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in %s", want, got)
		}
	}
	if strings.Contains(got, "greeter") {
		t.Errorf("a function without a database is named: %s", got)
	}
	single := []string{"SELECT (id)", "SELECT (name)", "INSERT (name)", "UPDATE (name)", "DELETE"}
	if diff := cmp.Diff(single, one.Tables[0].Single()); diff != "" {
		t.Error(diff)
	}
}
