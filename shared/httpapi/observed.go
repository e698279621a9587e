package httpapi

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/devops-dashboard/dashboard/shared/logging"
	"github.com/devops-dashboard/dashboard/shared/tracing"
)

// Failure is a request that panicked or was answered 5xx by this function itself.
type Failure struct {
	RequestID string
	Route     string // "GET /api/auth/sessions/{id}"; "" where there is none
	Status    int
	Code      string // of the problem; "" where the answer was none
	Cause     error  // nil where none is known
	Panic     any    // nil where none was
	Trace     logging.Trace
	Sent      func() []string // what the client sent, of which nothing may be told
}

// Reporter is told of failures while the client still waits, so it must not take
// long. Of a panic it is told on the stack that panicked.
type Reporter interface {
	Report(context.Context, Failure)
}

// trace finds out to which trace a request belongs, and begins a span in it.
func (s Surroundings) trace(ctx context.Context, record *record, r *http.Request) context.Context {
	record.trace = traceOf(r.Header)
	if s.Tracer != nil {
		ctx, record.span = s.Tracer.Serve(ctx, record.trace)
		record.trace = record.span.Trace()
	}
	return logging.WithTrace(ctx, record.trace)
}

// tell tells of a request that has been answered, before the server sends the end
// of the answer: after that there may be no CPU.
func (s Surroundings) tell(r *http.Request, record *record, a *answer, panicked any) {
	if s.Reporter == nil && s.Tracer == nil {
		return
	}
	status := max(a.status, http.StatusOK)
	if panicked == http.ErrAbortHandler {
		panicked = nil
	}
	failed := status >= http.StatusInternalServerError || panicked != nil
	if s.Reporter != nil && failed && !record.passedOn && (panicked != nil || !errors.Is(r.Context().Err(), context.Canceled)) {
		s.Reporter.Report(r.Context(), Failure{
			RequestID: record.id, Route: record.route, Status: status, Code: record.code,
			Cause: record.cause, Panic: panicked, Trace: record.trace,
			Sent: func() []string { return record.sent(r) },
		})
	}
	if s.Tracer != nil {
		record.span.Rename(record.route)
		record.span.Set(tracing.Text("http.request.method", method(r)), tracing.Text("http.route", pathOf(record.route)),
			tracing.Number("http.response.status_code", int64(status)), tracing.Text("request_id", record.id))
		if failed {
			record.span.Fail(strconv.Itoa(status))
		}
		record.span.End()
		s.Tracer.Deliver(r.Context())
	}
}

// method is the request's, where it is one that HTTP knows: others may be anything.
func method(r *http.Request) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, r.Method) {
		return r.Method
	}
	return "_OTHER"
}

func pathOf(route string) string {
	_, path, _ := strings.Cut(route, " ")
	return path
}

// sent lists what the client chose of a request, whole and in parts.
func (rec *record) sent(r *http.Request) []string {
	var all []string
	for _, values := range r.Header {
		for _, value := range values {
			all = append(append(all, value), strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(" ;,=\"", c) })...)
			for pair := range strings.SplitSeq(value, ";") { // a cookie's value may have an = in it
				_, cookie, _ := strings.Cut(pair, "=")
				all = append(all, cookie)
			}
		}
	}
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		_, value, _ := strings.Cut(pair, "=")
		decoded, _ := url.QueryUnescape(value)
		all = append(all, value, decoded)
	}
	for _, p := range []string{r.URL.Path, r.URL.EscapedPath()} {
		for segment := range strings.SplitSeq(p, "/") {
			if !slices.Contains(strings.Split(rec.route, "/"), segment) {
				all = append(all, segment)
			}
		}
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	all = append(all, host)
	if rec.client.IsValid() {
		all = append(all, rec.client.String())
	}
	return append(all, written(rec.body)...)
}

// written lists the values in a JSON text, and the text itself.
func written(body []byte) []string {
	if len(body) == 0 {
		return nil
	}
	all := []string{string(body)}
	decoder := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		token, err := decoder.ReadToken()
		if err != nil {
			return all
		}
		if kind := token.Kind(); kind == '"' || kind == '0' {
			if container, n := decoder.StackIndex(decoder.StackDepth()); container == '{' && n%2 == 1 {
				continue // a name, which the route has chosen
			}
			all = append(all, token.String())
		}
	}
}

// traceOf reads which trace a request belongs to: as W3C has it, or as Google's front
// end does. https://www.w3.org/TR/trace-context/#traceparent-header
func traceOf(h http.Header) logging.Trace {
	if parent := h.Get("Traceparent"); len(parent) >= 55 && parent[2] == '-' && parent[35] == '-' && parent[52] == '-' {
		version, flags := parent[:2], parent[53:55]
		trace := logging.Trace{ID: parent[3:35], Span: parent[36:52]}
		if isID(trace.ID, 32) && isID(trace.Span, 16) && isHex(version, 2) && version != "ff" && isHex(flags, 2) &&
			(len(parent) == 55 || version != "00" && parent[55] == '-') {
			trace.Sampled = strings.IndexByte("13579bdf", flags[1]) >= 0
			return trace
		}
	}
	id, rest, _ := strings.Cut(h.Get("X-Cloud-Trace-Context"), "/")
	number, options, _ := strings.Cut(rest, ";")
	span, err := strconv.ParseUint(number, 10, 64)
	if !isID(id, 32) || err != nil {
		return logging.Trace{}
	}
	trace := logging.Trace{ID: id, Sampled: options == "o=1"}
	if span != 0 {
		trace.Span = hexadecimal(span)
	}
	return trace
}

func hexadecimal(n uint64) string {
	text := strconv.FormatUint(n, 16)
	return strings.Repeat("0", 16-len(text)) + text
}

// isID tells whether a text is an id in lower-case hexadecimal; zero is none.
func isID(s string, length int) bool {
	return isHex(s, length) && s == strings.ToLower(s) && strings.Trim(s, "0") != ""
}
