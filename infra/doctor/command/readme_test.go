package command_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/devops-dashboard/dashboard/infra/doctor/diagnosis"
	"github.com/devops-dashboard/dashboard/infra/doctor/refusal"
)

func TestReadmeListsTheChecks(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for _, c := range diagnosis.Checks {
		fmt.Fprintf(&rows, "| %s | %s |\n", c.ID, c.Asks)
	}
	if !strings.Contains(string(text), rows.String()) {
		t.Errorf("infra/doctor/README.md lists other checks; these are:\n%s", rows.String())
	}
}

func TestErrorsNameChecksThatAre(t *testing.T) {
	t.Parallel()
	for _, e := range refusal.Errors {
		for _, id := range e.Checks {
			found := false
			for _, c := range diagnosis.Checks {
				found = found || c.ID == id
			}
			if !found {
				t.Errorf("%s names the check %s", e.ID, id)
			}
		}
	}
}
