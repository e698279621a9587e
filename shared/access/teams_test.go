package access_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/devops-dashboard/dashboard/shared/access"
	"github.com/devops-dashboard/dashboard/shared/workflow"
)

// A handler that names an argument as the clause does would let the request decide
// what the clause asks.
func TestAStatementsArgumentsAreApart(t *testing.T) {
	t.Parallel()
	clause := access.ClauseOf(access.Caller{Workflow: &workflow.Token{Environment: "staging"}})
	args := clause.Args(pgx.NamedArgs{"environment": "production"})
	if args["environment"] != "production" || args["job_environment"] != "staging" {
		t.Errorf("bound are %v", args)
	}
	if diff := cmp.Diff(clause.Args(nil)["job_environment"], "staging"); diff != "" {
		t.Error(diff)
	}
	defer func() {
		if recover() == nil {
			t.Error("a request may say in which environment its job is")
		}
	}()
	clause.Args(pgx.NamedArgs{"job_environment": "production"})
}

// Limits count people by account, tokens by themselves, and jobs by their repository.
func TestSubjects(t *testing.T) {
	t.Parallel()
	user := uuid.New()
	job := func(repository int64, id byte) access.Caller {
		return access.Caller{Workflow: &workflow.Token{ID: [32]byte{id}, Repository: repository}}
	}
	if (access.Caller{User: user}).Subject() != user {
		t.Error("a person is not counted by account")
	}
	if job(74, 1).Subject() != job(74, 2).Subject() || job(74, 1).Subject() == job(75, 1).Subject() {
		t.Error("jobs are not counted by repository")
	}
	if a, b := (access.Caller{Token: access.DigestOf("a")}).Subject(), (access.Caller{Token: access.DigestOf("b")}).Subject(); a == b || a == uuid.Nil {
		t.Error("tokens are not counted by themselves")
	}
}
