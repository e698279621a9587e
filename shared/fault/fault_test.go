package fault_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

func TestErrorSaysCodeDetailAndCause(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"gone: It is gone.":       fault.New(fault.NotFound, "gone", "It is gone."),
		"gone: It is gone.: lost": &fault.Error{Code: "gone", Detail: "It is gone.", Cause: errors.New("lost")},
	} {
		if got := err.Error(); got != want {
			t.Errorf("Error() = %q, want %q", got, want)
		}
	}
}

func TestInvalidFieldNamesThePartToChange(t *testing.T) {
	t.Parallel()
	want := &fault.Error{
		Kind: fault.Invalid, Code: "invalid_request", Detail: "must not be before from",
		Fields: []fault.Field{{Location: "query.to", Message: "must not be before from"}},
	}
	if diff := cmp.Diff(want, fault.InvalidField("query.to", "must not be before from")); diff != "" {
		t.Error(diff)
	}
}

func TestAwayKeepsItsCauseAndMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	cause := errors.New("connection refused")
	err := fault.Away("the database", cause)
	if err.Kind != fault.Unavailable || err.Code != "unavailable" || err.RetryAfter != 2*time.Second {
		t.Errorf("Away = %+v", err)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is lost to errors.Is")
	}
	if want := "The service cannot reach the database at the moment. Try again shortly."; err.Detail != want {
		t.Errorf("Detail = %q, want %q", err.Detail, want)
	}
}

func TestFromFindsTheFaultInAChain(t *testing.T) {
	t.Parallel()
	known := fault.New(fault.Conflict, "taken", "The name is taken.")
	if got := fault.From(fmt.Errorf("add: %w", known)); got != known {
		t.Errorf("From = %v, want the wrapped fault", got)
	}
}

func TestFromSaysNothingAboutADefect(t *testing.T) {
	t.Parallel()
	cause := errors.New("password=hunter2")
	got := fault.From(cause)
	want := &fault.Error{Kind: fault.Internal, Code: "internal", Detail: "Something went wrong on our side. The request id helps us find it.", Cause: cause}
	if got.Kind != want.Kind || got.Code != want.Code || got.Detail != want.Detail || got.Cause != cause || got.RetryAfter != 0 {
		t.Errorf("From = %+v, want %+v", got, want)
	}
}
