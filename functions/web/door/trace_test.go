package door

import (
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/devops-dashboard/dashboard/shared/tracing/tracingtest"
)

// A function that is called finds itself in the trace of who called the door.
func TestTracesGoThroughTheDoor(t *testing.T) {
	t.Parallel()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	collector := tracingtest.New(t)
	at := map[string]string{"auth": behind(t, echo), "metrics": behind(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })}
	h := open(t, at, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	got := h.reaches(t, "POST", "/api/auth/logout", nil, "Traceparent=00-"+trace+"-00f067aa0ba902b7-00", "X-Cloud-Trace-Context="+trace+"/1;o=0", "Tracestate=a=b")
	h.Close() // which waits for what follows the answer
	call, by := collector.Span(t, "call auth")
	server, _ := collector.Span(t, "POST /api/auth/logout")
	if want := "00-" + trace + "-" + hex.EncodeToString(call.SpanId) + "-01"; got.Header.Get("Traceparent") != want || got.Header.Get("X-Cloud-Trace-Context") != "" || got.Header.Get("Tracestate") != "a=b" {
		t.Errorf("got %v, want %s", got.Header, want)
	}
	if by != "web" || hex.EncodeToString(call.ParentSpanId) != hex.EncodeToString(server.SpanId) || hex.EncodeToString(server.ParentSpanId) != "00f067aa0ba902b7" {
		t.Errorf("%s: %v in %v", by, call, server)
	}
}

// What another function has answered it has reported itself; what the door could not
// pass on, nobody else has.
func TestTheDoorReportsItsOwnFailuresAlone(t *testing.T) {
	t.Parallel()
	told := make(chan string, 10)
	sentry := behind(t, func(w http.ResponseWriter, r *http.Request) { told <- r.URL.Path; w.WriteHeader(200) })
	h := open(t, map[string]string{"metrics": behind(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })},
		"SENTRY_DSN="+strings.Replace(sentry, "http://", "http://key@", 1)+"/1")
	if answer := h.ask(t, "GET", "/api/metrics/services", nil); answer.StatusCode != 503 || text(t, answer) != "" || len(told) != 0 {
		t.Errorf("answered %d, told %d", answer.StatusCode, len(told))
	}
	refuses(t, h.ask(t, "GET", "/api/auth/me", nil), 503, "unavailable")
	h.Close() // which waits for what follows the answer
	if len(told) != 1 {
		t.Errorf("told %d", len(told))
	}
}
