// Package tracing records what a request did and for how long, as OpenTelemetry has
// it: a span for the request, and one for each call that it made, sent to a collector
// by OTLP. Who makes spans of which calls is left to those who make the calls, and how
// the collector is reached to package uplink.
package tracing

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/devops-dashboard/dashboard/shared/logging"
	"github.com/devops-dashboard/dashboard/shared/uplink"
)

const (
	// patience is how long a request may wait for the collector. It is one in many:
	// spans are sent when the last were sent a while ago, or many wait.
	patience = 500 * time.Millisecond
	interval = 5 * time.Second
	batch    = 512
	// mostWaiting bounds the spans that are kept while the collector takes none, and
	// mostCalls those of one request.
	mostWaiting = 4 * batch
	mostCalls   = 200
)

// Source is what makes the spans.
type Source struct{ Function, Release, Environment string }

// Collector is where spans are sent.
type Collector struct {
	Endpoint string // its base, as OTEL_EXPORTER_OTLP_ENDPOINT has it
	Headers  Headers
}

// Headers is the setting of what the collector wants to be sent along.
type Headers interface {
	Get(context.Context) (string, error)
	Forget() // has it read again, as the collector refuses it
}

// ParseHeaders reads that setting, in the form that OpenTelemetry gives it. What is
// wrong is not repeated: it may be a key.
func ParseHeaders(text string) (http.Header, error) {
	h := http.Header{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		name = strings.TrimSpace(name)
		if !found || err != nil || !isToken(name) || strings.ContainsFunc(value, unicode.IsControl) {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS must be NAME=VALUE,NAME=VALUE, with a % in a value as %25")
		}
		h.Set(name, value)
	}
	return h, nil
}

// isToken tells whether a text may be a header's name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// Tracer makes spans and sends them.
type Tracer struct {
	collector Collector
	resource  []byte
	threshold uint64 // traces below it are recorded
	now       func() time.Time
	line      *uplink.Line

	mu      sync.Mutex
	waiting [][]byte // encoded, oldest first
	sent    time.Time
}

// New returns a tracer that records a share of all traces, from 0 to 1. Nothing is
// read or dialled before the first spans are sent.
func New(to Collector, of Source, share float64, now func() time.Time, log *slog.Logger) *Tracer {
	return &Tracer{
		collector: to, resource: resource(of), threshold: threshold(share), now: now,
		line: uplink.New("The trace collector", patience, now, log),
	}
}

func threshold(share float64) uint64 {
	if share >= 1 {
		return math.MaxUint64
	}
	return uint64(max(share, 0) * (1 << 63))
}

// samples decides by the id alone, so that all functions decide alike, and a client
// has no say but by the id: whether Google's front end samples a request is a
// decision about Google's own spans.
func (t *Tracer) samples(trace [16]byte) bool {
	return binary.BigEndian.Uint64(trace[8:])>>1 < t.threshold
}

// Span is one piece of work. A nil span takes everything and does nothing.
type Span struct {
	tracer     *Tracer
	trace      [16]byte
	id, parent [8]byte
	remote     bool // the parent is another process's
	sampled    bool
	name       string
	kind       uint64
	start      time.Time
	attributes []Attribute
	failure    string
	ended      bool
	root       *Span
	calls      atomic.Int32 // of a root
}

// Attribute is something known of a span.
type Attribute struct {
	name   string
	text   string
	number int64
	isText bool
}

// Text is an attribute. Never pass what a client sent, nor secrets.
func Text(name, value string) Attribute { return Attribute{name: name, text: value, isText: true} }

// Number is an attribute.
func Number(name string, value int64) Attribute { return Attribute{name: name, number: value} }

// The kinds of spans, as OTLP numbers them.
const (
	kindServer = 2
	kindClient = 3
)

type spanKey struct{}

// Serve begins the span of a request, in the trace of parent if it has one.
func (t *Tracer) Serve(ctx context.Context, parent logging.Trace) (context.Context, *Span) {
	s := &Span{tracer: t, kind: kindServer, start: t.now()}
	s.root = s
	if parent.ID == "" {
		_, _ = rand.Read(s.trace[:]) // never fails since Go 1.24
	} else {
		_, _ = hex.Decode(s.trace[:], []byte(parent.ID))
		_, _ = hex.Decode(s.parent[:], []byte(parent.Span))
		s.remote = true
	}
	_, _ = rand.Read(s.id[:])
	s.sampled = t.samples(s.trace)
	return context.WithValue(ctx, spanKey{}, s), s
}

// Call begins the span of a call that is made for the span of ctx. Where there is
// none, or it is not recorded, it does nothing.
func Call(ctx context.Context, name string) (context.Context, *Span) {
	s, _ := ctx.Value(spanKey{}).(*Span)
	if s == nil || !s.sampled || s.root.calls.Add(1) > mostCalls {
		return ctx, nil
	}
	c := &Span{tracer: s.tracer, trace: s.trace, parent: s.id, sampled: true, kind: kindClient, name: name, start: s.tracer.now(), root: s.root}
	_, _ = rand.Read(c.id[:])
	return context.WithValue(ctx, spanKey{}, c), c
}

// Trace is where in its trace the span stands.
func (s *Span) Trace() logging.Trace {
	if s == nil {
		return logging.Trace{}
	}
	return logging.Trace{ID: hex.EncodeToString(s.trace[:]), Span: hex.EncodeToString(s.id[:]), Sampled: s.sampled}
}

// Inject writes into the header of a call to which span it belongs, if to any:
// https://www.w3.org/TR/trace-context. Google's own header would say another.
func Inject(ctx context.Context, h http.Header) {
	s, _ := ctx.Value(spanKey{}).(*Span)
	if s == nil {
		return
	}
	at := s.Trace()
	flags := "00"
	if at.Sampled {
		flags = "01"
	}
	h.Set("Traceparent", "00-"+at.ID+"-"+at.Span+"-"+flags)
	h.Del("X-Cloud-Trace-Context")
	if !s.root.remote { // it belongs to the parent that was not understood
		h.Del("Tracestate")
	}
}

// Rename gives the span a name that was not known when it began.
func (s *Span) Rename(name string) {
	if s != nil {
		s.name = name
	}
}

// Set adds what is known of the span.
func (s *Span) Set(attributes ...Attribute) {
	if s != nil && s.sampled && !s.ended {
		s.attributes = append(s.attributes, attributes...)
	}
}

// Fail says of what kind the failure is that the span ended with.
func (s *Span) Fail(kind string) {
	if s != nil && !s.ended {
		s.failure = kind
	}
}

// End ends the span. The first end counts.
func (s *Span) End() {
	if s == nil || s.ended {
		return
	}
	s.ended = true
	if s.sampled {
		if left := s.calls.Load() - mostCalls; left > 0 {
			s.attributes = append(s.attributes, Number("calls_left_out", int64(left)))
		}
		s.tracer.keep(s.encode(s.tracer.now()))
	}
}

func (t *Tracer) keep(spans ...[]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, spans...)
	if over := len(t.waiting) - mostWaiting; over > 0 {
		t.waiting = t.waiting[over:]
	}
}

// Deliver sends the spans that wait, when it is time to, unless another request is
// doing so. It is called before the end of an answer.
func (t *Tracer) Deliver(ctx context.Context) {
	if t.due() {
		t.line.Send(ctx, t.send)
	}
}

// Flush sends what is left, at the end of the process.
func (t *Tracer) Flush(ctx context.Context) error {
	defer t.line.Close()
	if t.some() && !t.line.Last(ctx, t.send) {
		return errors.New("not all spans were sent to the trace collector")
	}
	return nil
}

func (t *Tracer) due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting) >= batch || len(t.waiting) > 0 && (t.sent.IsZero() || t.now().Sub(t.sent) >= interval)
}

func (t *Tracer) some() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waiting) > 0
}

func (t *Tracer) send(ctx context.Context) error {
	text, err := t.collector.Headers.Get(ctx)
	if err != nil {
		return err
	}
	header, err := ParseHeaders(text)
	if err != nil {
		t.collector.Headers.Forget()
		return err
	}
	header.Set("Content-Type", "application/x-protobuf")
	for t.some() {
		spans := t.take()
		if err := t.line.Post(ctx, strings.TrimSuffix(t.collector.Endpoint, "/")+"/v1/traces", header, request(t.resource, spans)); err != nil {
			t.refused(spans, err)
			return err
		}
	}
	return nil
}

func (t *Tracer) take() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(batch, len(t.waiting))
	spans := t.waiting[:n:n]
	t.waiting, t.sent = t.waiting[n:], t.now()
	return spans
}

func (t *Tracer) giveBack(spans [][]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(spans, t.waiting...) // what is over the bound goes with the next that is kept
}

// refused keeps spans for later, unless the collector finds them wrong: it will again.
func (t *Tracer) refused(spans [][]byte, err error) {
	var refused *uplink.Refusal
	if errors.As(err, &refused) {
		switch refused.Status {
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			return
		case http.StatusUnauthorized, http.StatusForbidden:
			t.collector.Headers.Forget()
		}
	}
	t.giveBack(spans)
}
