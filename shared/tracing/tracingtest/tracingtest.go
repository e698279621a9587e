// Package tracingtest is a trace collector for tests, which reads what it is sent by
// OpenTelemetry's own description.
package tracingtest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Collector keeps the spans that it is sent.
type Collector struct {
	URL string

	mu    sync.Mutex
	spans []*tracepb.Span
	by    []string // the service of each
	text  string   // all that arrived
}

// New returns a collector that serves until the test's end.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// ServeHTTP takes POST /v1/traces.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	data := &tracepb.TracesData{} // is encoded as a request for export is
	if err != nil || proto.Unmarshal(body, data) != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text += string(body)
	for _, resource := range data.ResourceSpans {
		name := ""
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.name" {
				name = a.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				c.spans, c.by = append(c.spans, span), append(c.by, name)
			}
		}
	}
}

// Span returns the one span of this name and its service, and fails the test unless
// it is one.
func (c *Collector) Span(t testing.TB, name string) (*tracepb.Span, string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	found := -1
	for i, s := range c.spans {
		if s.Name != name {
			continue
		}
		if found >= 0 {
			t.Fatalf("there are several spans %q", name)
		}
		found = i
	}
	if found < 0 {
		t.Fatalf("there is no span %q among %v", name, c.spans)
	}
	return c.spans[found], c.by[found]
}

// Text returns all that arrived.
func (c *Collector) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text
}

// Attribute returns what a span says under a name, or nil.
func Attribute(s *tracepb.Span, name string) any {
	for _, a := range s.Attributes {
		if a.Key != name {
			continue
		}
		if n := a.Value.GetIntValue(); n != 0 {
			return n
		}
		return a.Value.GetStringValue()
	}
	return nil
}
