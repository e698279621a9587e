package tracing_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/logging"
	"github.com/devops-dashboard/dashboard/shared/tracing"
)

// clock is set by hand.
type clock struct{ passed atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(c.passed.Load()))
}
func (c *clock) pass(d time.Duration) { c.passed.Add(int64(d)) }

// headers is the setting of what is sent along.
type headers struct {
	text   atomic.Pointer[string]
	err    atomic.Pointer[error]
	forgot atomic.Int64
}

func (h *headers) Get(context.Context) (string, error) {
	if err := h.err.Load(); err != nil {
		return "", *err
	}
	return *h.text.Load(), nil
}
func (h *headers) Forget()         { h.forgot.Add(1) }
func (h *headers) set(text string) { h.text.Store(&text) }

// world is a tracer before a collector that keeps what it is sent.
type world struct {
	*tracing.Tracer
	clock   clock
	headers headers
	log     bytes.Buffer
	asked   atomic.Int64
	answer  atomic.Pointer[http.HandlerFunc]

	mu       sync.Mutex
	received []*tracepb.TracesData
}

func open(t testing.TB, share float64) *world {
	t.Helper()
	w := &world{}
	w.headers.set("x-api-key=a%3Db, Other = two")
	w.answers(w.take)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		(*w.answer.Load())(rw, r)
	}))
	w.Tracer = tracing.New(tracing.Collector{Endpoint: server.URL + "/otlp/", Headers: &w.headers},
		tracing.Source{Function: "auth", Release: "abc123", Environment: "staging"}, share, w.clock.now, slog.New(slog.NewTextHandler(&w.log, nil)))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return w
}

func (w *world) answers(h http.HandlerFunc) { w.answer.Store(&h) }

func (w *world) refuses(status int) {
	w.answers(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) })
}

// take decodes what arrives by OpenTelemetry's own description of it, and takes
// nothing that the description does not know.
func (w *world) take(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	data := &tracepb.TracesData{}
	err := proto.Unmarshal(body, data)
	if err != nil || r.URL.Path != "/otlp/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" ||
		r.Header.Get("X-Api-Key") != "a=b" || r.Header.Get("Other") != "two" || strings.Contains(fmt.Sprintf("%v", data), "unknown") {
		rw.WriteHeader(400)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.received = append(w.received, data)
}

func (w *world) spans(t testing.TB) (all []*tracepb.Span) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, data := range w.received {
		for _, resource := range data.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				all = append(all, scope.Spans...)
			}
		}
	}
	return all
}

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

var outside = logging.Trace{ID: traceID, Span: spanID}

// serve makes a request of one call.
func (w *world) serve(parent logging.Trace) (context.Context, *tracing.Span) {
	ctx, span := w.Serve(context.Background(), parent)
	_, call := tracing.Call(ctx, "redis GET")
	call.End()
	span.Rename("GET /things/{id}")
	span.End()
	return ctx, span
}

func TestSpansArriveAsTheyWere(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	ctx, request := w.Serve(t.Context(), outside)
	w.clock.pass(time.Millisecond)
	inner, call := tracing.Call(ctx, "postgresql SELECT")
	call.Set(tracing.Text("db.system.name", "postgresql"), tracing.Number("rows", 7))
	_, deeper := tracing.Call(inner, "postgresql connect")
	w.clock.pass(time.Millisecond)
	deeper.End()
	call.Fail("57P01")
	call.End()
	call.End()                                 // the first end counts
	call.Set(tracing.Text("late", "too late")) // and nothing is told after it
	call.Fail("late")
	w.clock.pass(time.Millisecond)
	request.Rename("GET /things/{id}")
	request.Set(tracing.Number("http.response.status_code", 503))
	request.End()
	w.Deliver(ctx)

	spans := w.spans(t)
	if len(spans) != 3 {
		t.Fatalf("got %v", spans)
	}
	connect, query, server := spans[0], spans[1], spans[2]
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, s := range spans {
		if hex.EncodeToString(s.TraceId) != traceID || len(s.SpanId) != 8 {
			t.Errorf("span %v", s)
		}
	}
	if server.Name != "GET /things/{id}" || server.Kind != tracepb.Span_SPAN_KIND_SERVER || hex.EncodeToString(server.ParentSpanId) != spanID || server.Flags != 0x301 ||
		server.StartTimeUnixNano != uint64(start.UnixNano()) || server.EndTimeUnixNano != uint64(start.Add(3*time.Millisecond).UnixNano()) || server.Status != nil ||
		server.Attributes[0].Value.GetIntValue() != 503 {
		t.Errorf("of the request: %v", server)
	}
	if query.Name != "postgresql SELECT" || query.Kind != tracepb.Span_SPAN_KIND_CLIENT || !bytes.Equal(query.ParentSpanId, server.SpanId) || query.Flags != 0x101 ||
		query.Status.Code != tracepb.Status_STATUS_CODE_ERROR || query.EndTimeUnixNano-query.StartTimeUnixNano != uint64(time.Millisecond) {
		t.Errorf("of the call: %v", query)
	}
	if got := query.Attributes; len(got) != 3 || got[0].Key != "db.system.name" || got[0].Value.GetStringValue() != "postgresql" || got[1].Value.GetIntValue() != 7 ||
		got[2].Key != "error.type" || got[2].Value.GetStringValue() != "57P01" {
		t.Errorf("of the call: %v", got)
	}
	if !bytes.Equal(connect.ParentSpanId, query.SpanId) || connect.Status != nil {
		t.Errorf("of the connection: %v", connect)
	}
	resource := w.received[0].ResourceSpans[0]
	told := map[string]string{}
	for _, a := range resource.Resource.Attributes {
		told[a.Key] = a.Value.GetStringValue()
	}
	if told["service.name"] != "auth" || told["service.version"] != "abc123" || told["deployment.environment.name"] != "staging" || !strings.HasPrefix(resource.SchemaUrl, "https://opentelemetry.io/schemas/") {
		t.Errorf("resource %v", resource)
	}
}

func TestARequestWithoutATraceBeginsOne(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	_, a := w.serve(logging.Trace{})
	_, b := w.serve(logging.Trace{})
	if a.Trace().ID == b.Trace().ID || a.Trace().Span == b.Trace().Span || len(a.Trace().ID) != 32 || len(a.Trace().Span) != 16 || !a.Trace().Sampled {
		t.Errorf("got %+v and %+v", a.Trace(), b.Trace())
	}
	w.Deliver(t.Context())
	for _, s := range w.spans(t) {
		if s.Kind == tracepb.Span_SPAN_KIND_SERVER && (len(s.ParentSpanId) != 0 || s.Flags != 0x101) {
			t.Errorf("got %v", s)
		}
	}
}

func TestWithoutASpanNothingIsDone(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	inner, span := tracing.Call(ctx, "call")
	span.Rename("x")
	span.Set(tracing.Number("n", 1))
	span.Fail("x")
	span.End()
	if inner != ctx || span != nil || span.Trace() != (logging.Trace{}) {
		t.Error("something is done")
	}
	h := http.Header{"Traceparent": {"as it was"}, "X-Cloud-Trace-Context": {"a/1"}, "Tracestate": {"a=b"}}
	tracing.Inject(ctx, h)
	if h.Get("Traceparent") != "as it was" || len(h) != 3 {
		t.Errorf("got %v", h)
	}
}

// It cannot run beside others, whose allocations would be counted.
func TestWithoutASpanNothingIsAllocated(t *testing.T) {
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { _, s := tracing.Call(ctx, "call"); s.End() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestInject(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0, 1} {
		w := open(t, share)
		ctx, span := w.Serve(t.Context(), outside)
		h := http.Header{"X-Cloud-Trace-Context": {"a/1"}, "Tracestate": {"a=b"}}
		tracing.Inject(ctx, h)
		if want := fmt.Sprintf("00-%s-%s-0%.0f", traceID, span.Trace().Span, share); h.Get("Traceparent") != want || h.Get("X-Cloud-Trace-Context") != "" || h.Get("Tracestate") != "a=b" {
			t.Errorf("got %v, want %s", h, want)
		}
		ctx, _ = w.Serve(t.Context(), logging.Trace{})
		if tracing.Inject(ctx, h); h.Get("Tracestate") != "" {
			t.Error("a state of no trace is passed on")
		}
	}
}

// All functions decide alike about a trace, and no more than the share is recorded.
func TestSampling(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		share := rapid.Float64Range(0, 1).Draw(rt, "share")
		id := rapid.StringMatching(`[0-9a-f]{31}[1-9a-f]`).Draw(rt, "id")
		less, more := open(t, share/2), open(t, share)
		_, a := less.Serve(context.Background(), logging.Trace{ID: id, Span: spanID, Sampled: rapid.Bool().Draw(rt, "outside")})
		_, b := more.Serve(context.Background(), logging.Trace{ID: id, Span: spanID, Sampled: rapid.Bool().Draw(rt, "outside")})
		if a.Trace().Sampled && !b.Trace().Sampled {
			rt.Error("a larger share records less")
		}
	})
	for share, want := range map[float64][2]int{0: {0, 0}, 0.25: {850, 1150}, 1: {4000, 4000}} {
		w, sampled := open(t, share), 0
		for range 4000 {
			if _, s := w.Serve(t.Context(), logging.Trace{}); s.Trace().Sampled {
				sampled++
			}
		}
		if sampled < want[0] || sampled > want[1] {
			t.Errorf("of %v, %d in 4000 are recorded", share, sampled)
		}
	}
	w := open(t, 0)
	w.serve(outside)
	w.Deliver(t.Context())
	if err := w.Flush(t.Context()); err != nil || w.asked.Load() != 0 {
		t.Errorf("%v; asked %d times", err, w.asked.Load())
	}
}

// One request in many waits for the collector.
func TestSpansAreSentNowAndThen(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	for range 100 {
		ctx, _ := w.serve(outside)
		w.Deliver(ctx)
	}
	if w.asked.Load() != 1 || len(w.spans(t)) != 2 {
		t.Errorf("asked %d times", w.asked.Load())
	}
	w.clock.pass(5*time.Second - 1)
	w.Deliver(t.Context())
	if w.asked.Load() != 1 {
		t.Error("asked early")
	}
	w.clock.pass(1)
	w.Deliver(t.Context())
	if w.asked.Load() != 2 || len(w.spans(t)) != 200 {
		t.Errorf("asked %d times, %d spans", w.asked.Load(), len(w.spans(t)))
	}
	for range 255 {
		w.serve(outside)
	}
	if w.Deliver(t.Context()); w.asked.Load() != 2 {
		t.Error("asked early")
	}
	w.serve(outside)
	if w.Deliver(t.Context()); w.asked.Load() != 3 || len(w.spans(t)) != 712 {
		t.Errorf("asked %d times, %d spans", w.asked.Load(), len(w.spans(t)))
	}
	w.serve(outside)
	if err := w.Flush(t.Context()); err != nil || len(w.spans(t)) != 714 {
		t.Errorf("%v; %d spans", err, len(w.spans(t)))
	}
}

func TestSpansWaitForACollectorThatFails(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	w.refuses(500)
	for i := range 3000 {
		ctx, span := w.Serve(t.Context(), outside)
		span.Rename(fmt.Sprint(i))
		span.End()
		w.Deliver(ctx)
	}
	if w.asked.Load() != 2 {
		t.Errorf("asked %d times", w.asked.Load())
	}
	if err := w.Flush(t.Context()); err == nil || w.asked.Load() != 3 {
		t.Errorf("%v; asked %d times", err, w.asked.Load())
	}
	w.answers(w.take)
	if err := w.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	spans := w.spans(t)
	if len(spans) != 2048 || spans[0].Name != "952" || spans[2047].Name != "2999" || !slices.IsSortedFunc(spans, func(a, b *tracepb.Span) int { return len(a.Name) - len(b.Name) }) {
		t.Errorf("%d spans", len(spans))
	}
	for _, data := range w.received {
		if n := len(data.ResourceSpans[0].ScopeSpans[0].Spans); n > 512 {
			t.Errorf("%d spans at once", n)
		}
	}
}

func TestACollectorThatHangsIsWaitedForTwice(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	w.answers(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() })
	began := time.Now()
	for range 1000 {
		w.clock.pass(time.Millisecond)
		ctx, _ := w.serve(outside)
		w.Deliver(ctx)
	}
	if took := time.Since(began); took > 5*time.Second || w.asked.Load() > 2 {
		t.Errorf("took %s, asked %d times", took, w.asked.Load())
	}
}

func TestSpansThatAreFoundWrongAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 413} {
		w := open(t, 1)
		w.refuses(status)
		w.serve(outside)
		w.Deliver(t.Context())
		w.answers(w.take)
		if err := w.Flush(t.Context()); err != nil || w.asked.Load() != 1 {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestHeadersThatAreRefusedAreReadAgain(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	w.serve(outside)
	w.refuses(403)
	w.Deliver(t.Context())
	w.headers.set("nonsense")
	w.clock.pass(time.Minute)
	w.Deliver(t.Context())
	if w.headers.forgot.Load() != 2 || w.asked.Load() != 1 {
		t.Errorf("read again %d times", w.headers.forgot.Load())
	}
	missing := errors.New("NOT_FOUND")
	w.headers.err.Store(&missing)
	w.clock.pass(time.Minute)
	w.Deliver(t.Context())
	w.headers.err.Store(nil)
	w.headers.set("x-api-key=a%3Db,other=two")
	w.answers(w.take)
	w.clock.pass(time.Minute)
	w.Deliver(t.Context())
	if len(w.spans(t)) != 2 || strings.Contains(w.log.String(), "a=b") {
		t.Errorf("%d spans; the log says %s", len(w.spans(t)), &w.log)
	}
}

func TestARequestOfManyCallsIsBounded(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	ctx, span := w.Serve(t.Context(), outside)
	for range 1000 {
		_, call := tracing.Call(ctx, "call")
		call.End()
	}
	span.End()
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := w.spans(t)
	if last := spans[len(spans)-1]; len(spans) != 201 || last.Attributes[0].Key != "calls_left_out" || last.Attributes[0].Value.GetIntValue() != 800 {
		t.Errorf("%d spans, the last is %v", len(spans), last)
	}
}

func TestParseHeaders(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]http.Header{
		"": {}, " , ": {}, "a=b": {"A": {"b"}}, "Authorization=Basic%20YTpi,x-b = c=d ": {"Authorization": {"Basic YTpi"}, "X-B": {"c=d"}}, "empty=": {"Empty": {""}},
	} {
		got, err := tracing.ParseHeaders(text)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"hunter2", "=hunter2", "a b=hunter2", "a=hunter2%zz", "a=hunter2%0Ab", "ä=hunter2"} {
		if _, err := tracing.ParseHeaders(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
