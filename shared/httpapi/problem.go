package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devops-dashboard/dashboard/shared/fault"
)

// Problem is an RFC 9457 problem document: what is wrong and what to change.
type Problem struct {
	Type      string         `json:"type" example:"about:blank" doc:"A URI that names the kind of problem."`
	Title     string         `json:"title" example:"Unprocessable Entity" doc:"The status in words."`
	Status    int            `json:"status" example:"422" doc:"The HTTP status."`
	Code      string         `json:"code" example:"invalid_request" doc:"A stable name of the problem, for programs."`
	Detail    string         `json:"detail" doc:"What is wrong and what to change."`
	RequestID string         `json:"request_id,omitempty" doc:"Names this request in our log."`
	Errors    []ProblemField `json:"errors,omitempty" doc:"The parts of the request that have to change."`
	Exceeded  []string       `json:"violated-policies,omitempty" doc:"The limits that were exceeded; RateLimit-Policy says what they are."`

	cause      error
	retryAfter time.Duration
}

// ProblemField is one part of a request that has to change.
type ProblemField struct {
	Location string `json:"location" example:"query.from" doc:"Where it stands in the request."`
	Message  string `json:"message" doc:"What to change."`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of problem documents.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// statuses is the one place that knows both a kind of failure and a status.
var statuses = map[fault.Kind]int{
	fault.Internal:        http.StatusInternalServerError,
	fault.Malformed:       http.StatusBadRequest,
	fault.Invalid:         http.StatusUnprocessableEntity,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Gone:            http.StatusGone,
	fault.Conflict:        http.StatusConflict,
	fault.Limited:         http.StatusTooManyRequests,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Broken:          http.StatusBadGateway,
	fault.Late:            http.StatusGatewayTimeout,
}

// codes name the problems that arise before a handler runs.
var codes = map[int]string{
	http.StatusBadRequest:            "malformed_request",
	http.StatusNotFound:              "no_such_route",
	http.StatusMethodNotAllowed:      "method_not_allowed",
	http.StatusRequestTimeout:        "request_too_slow",
	http.StatusRequestEntityTooLarge: "request_too_large",
	http.StatusUnsupportedMediaType:  "unsupported_media_type",
	http.StatusUnprocessableEntity:   "invalid_request",
	http.StatusInternalServerError:   "internal",
}

// quotaExceeded is registered by draft-ietf-httpapi-ratelimit-headers-11, section 7.
const quotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

func problemOf(err error) *Problem {
	if errors.Is(err, context.DeadlineExceeded) {
		var f *fault.Error
		if !errors.As(err, &f) {
			err = &fault.Error{Kind: fault.Unavailable, Code: "deadline", Detail: "The answer took too long to make. Try again shortly, or ask for less at once.", RetryAfter: 2 * time.Second, Cause: err}
		}
	}
	f := fault.From(err)
	p := newProblem(statuses[f.Kind], f.Code, f.Detail)
	p.cause, p.retryAfter, p.Exceeded = f.Cause, f.RetryAfter, f.Exceeded
	if len(f.Exceeded) > 0 {
		p.Type = quotaExceeded
	}
	for _, field := range f.Fields {
		p.Errors = append(p.Errors, ProblemField{field.Location, field.Message})
	}
	return p
}

func newProblem(status int, code, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

// init hooks our problems into huma, which has a package variable and nothing
// narrower for it.
func init() {
	huma.ValidateStrictCasing = true
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return humaProblem(status, msg, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		p := humaProblem(status, msg, errs)
		p.prepare(ctx.Context(), ctx.SetHeader)
		return p
	}
}

// humaProblem turns what huma found wrong into a problem. An error returned by a
// handler arrives as status 500 with that one error.
func humaProblem(status int, msg string, errs []error) *Problem {
	if status == http.StatusInternalServerError && len(errs) == 1 {
		return problemOf(errs[0])
	}
	code, ok := codes[status]
	if !ok {
		code = strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "_")
	}
	p := newProblem(status, code, msg)
	for _, err := range errs {
		field := ProblemField{Message: err.Error()}
		// The offending value is left out: it may be a password.
		if d, ok := err.(huma.ErrorDetailer); ok {
			field = ProblemField{d.ErrorDetail().Location, rule(d.ErrorDetail().Message)}
		}
		p.Errors = append(p.Errors, field)
	}
	if len(p.Errors) > 0 && status == http.StatusUnprocessableEntity {
		p.Detail = "The request has parts that cannot be accepted; errors names each and what to change."
	}
	return p
}

// rule returns huma's message without what the parser of a format adds to it,
// which quotes the value: "expected string to be RFC 5322 email: ...".
func rule(message string) string {
	if message == "invalid value" || strings.HasPrefix(message, "invalid value: invalid UUID") {
		return "must be a UUID, like 2f1c6f0e-7f0b-4b0e-9a53-5c1d2e3f4a5b"
	}
	if strings.HasPrefix(message, "expected") {
		message, _, _ = strings.Cut(message, ": ")
	}
	return message
}

// prepare sets the headers that go with the problem and leaves its cause for the
// request's log line.
func (p *Problem) prepare(ctx context.Context, setHeader func(name, value string)) {
	record := recordOf(ctx)
	p.RequestID = record.id
	record.problem(p)
	setHeader("Cache-Control", "no-store")
	if p.retryAfter > 0 {
		setHeader("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	if p.Status == http.StatusUnauthorized {
		setHeader("WWW-Authenticate", challenge(p.Code))
	}
}

// challenge says how to authenticate (RFC 6750, section 3): a request without a
// token is told no error, one with a token that is refused is.
func challenge(code string) string {
	switch code {
	case "invalid_token", "token_expired":
		return `Bearer error="invalid_token"`
	}
	return "Bearer"
}

func writeFault(api huma.API, ctx huma.Context, err error) {
	_ = huma.WriteErr(api, ctx, http.StatusInternalServerError, "", err)
}

// WriteProblem answers err outside of huma: for plain handlers and middleware.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	problemOf(err).write(w, r)
}

func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	p.prepare(r.Context(), w.Header().Set)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
