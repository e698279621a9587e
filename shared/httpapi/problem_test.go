package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

var discard = slog.New(slog.DiscardHandler)

func TestFaultsBecomeProblems(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		err        error
		status     int
		code       string
		retryAfter string
		logged     string // what the log says of the cause
	}{
		{"internal", errors.New("hunter2 at db.internal"), 500, "internal", "", "hunter2 at db.internal"},
		{"malformed", fault.New(fault.Malformed, "c", "d"), 400, "c", "", ""},
		{"invalid", fault.New(fault.Invalid, "c", "d"), 422, "c", "", ""},
		{"unauthenticated", fault.New(fault.Unauthenticated, "c", "d"), 401, "c", "", ""},
		{"forbidden", fault.New(fault.Forbidden, "c", "d"), 403, "c", "", ""},
		{"not found", fmt.Errorf("look up: %w", fault.New(fault.NotFound, "c", "d")), 404, "c", "", ""},
		{"gone", fault.New(fault.Gone, "c", "d"), 410, "c", "", ""},
		{"conflict", fault.New(fault.Conflict, "c", "d"), 409, "c", "", ""},
		{"limited", &fault.Error{Kind: fault.Limited, Code: "c", Detail: "d", RetryAfter: 1200 * time.Millisecond}, 429, "c", "2", ""},
		{"limited for whole seconds", &fault.Error{Kind: fault.Limited, Code: "c", Detail: "d", RetryAfter: 3 * time.Second}, 429, "c", "3", ""},
		{"away", fault.Away("the database", errors.New("hunter2 refused")), 503, "unavailable", "2", "hunter2 refused"},
		{"broken", &fault.Error{Kind: fault.Broken, Code: "c", Detail: "d", RetryAfter: time.Second, Cause: errors.New("hunter2 spoke")}, 502, "c", "1", "hunter2 spoke"},
		{"late", &fault.Error{Kind: fault.Late, Code: "c", Detail: "d", RetryAfter: time.Second, Cause: errors.New("hunter2 slept")}, 504, "c", "1", "hunter2 slept"},
		{"out of time", fmt.Errorf("select: %w", context.DeadlineExceeded), 503, "deadline", "2", "select: context deadline exceeded"},
		{"away for being out of time", fault.Away("the database", context.DeadlineExceeded), 503, "unavailable", "2", "context deadline exceeded"},
		{"a client's fault with a cause", &fault.Error{Kind: fault.Conflict, Code: "c", Detail: "d", Cause: errors.New("duplicate hunter2")}, 409, "c", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			house := open(t, func(api *httpapi.API) { fails(api, test.err) })
			answer, body := do(t, request(t, "GET", house.URL+"/fail", nil))
			if answer.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", answer.StatusCode, test.status, body)
			}
			if p := problem(t, answer, body); p.Code != test.code || strings.Contains(body, "hunter2") {
				t.Errorf("answered %s", body)
			}
			if got := answer.Header.Get("Retry-After"); got != test.retryAfter {
				t.Errorf("Retry-After = %q, want %q", got, test.retryAfter)
			}
			if got := answer.Header.Get("WWW-Authenticate"); (got == "Bearer") != (test.status == 401) {
				t.Errorf("WWW-Authenticate = %q", got)
			}
			line, text := house.log.next(t)
			if got, _ := line["error"].(string); got != test.logged {
				t.Errorf("logged error %q, want %q", got, test.logged)
			}
			if line["problem"] != test.code || (line["severity"] == "ERROR") != (test.status >= 500) || line["request_id"] != answer.Header.Get("X-Request-Id") {
				t.Errorf("logged %s", text)
			}
		})
	}
}

func TestFieldsOfAFaultAreNamed(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) { fails(api, fault.InvalidField("query.to", "must not be before from")) })
	answer, body := do(t, request(t, "GET", house.URL+"/fail", nil))
	want := []httpapi.ProblemField{{Location: "query.to", Message: "must not be before from"}}
	if diff := cmp.Diff(want, problem(t, answer, body).Errors); diff != "" {
		t.Error(diff)
	}
}

func TestPlainHandlersAnswerProblemsToo(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		api.Handle("GET /page", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			httpapi.WriteProblem(w, r, fault.Away("the origin", errors.New("refused")))
		}))
	})
	answer, body := do(t, request(t, "GET", house.URL+"/page", nil))
	if p := problem(t, answer, body); answer.StatusCode != 503 || p.Code != "unavailable" || answer.Header.Get("Retry-After") != "2" {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}

func TestHumasOwnErrorsHaveACode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		code   string
	}{{404, "no_such_route"}, {410, "gone"}, {412, "precondition_failed"}} {
		err := huma.NewError(test.status, "No.", errors.New("plain"))
		p, ok := err.(*httpapi.Problem)
		if !ok || p.GetStatus() != test.status || p.Code != test.code || p.Error() != "No." {
			t.Errorf("%d gives %+v", test.status, err)
			continue
		}
		if diff := cmp.Diff([]httpapi.ProblemField{{Message: "plain"}}, p.Errors); diff != "" {
			t.Error(diff)
		}
	}
}
