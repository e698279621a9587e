package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/logging"
	"github.com/devops-dashboard/dashboard/shared/tracing"
)

// Wrap puts around a mux what every request gets: a request id, one log line,
// recovery from panics before the framework sees them, refusal of cross-site
// writes, and problem documents where the mux would answer in plain text.
func Wrap(mux *http.ServeMux, log *slog.Logger, now func() time.Time, from Surroundings) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		record := &record{id: newRequestID(), log: log, started: now(), client: from.Proxies.Client(r)}
		r = r.WithContext(from.trace(context.WithValue(r.Context(), recordKey{}, record), record, r))
		from.Proxies.believe(record, r)
		answer := &answer{ResponseWriter: w}
		limit(answer, r)
		answer.Header().Set("X-Request-Id", record.id)
		protect(answer.Header(), r)
		defer func() {
			cause := recover()
			begun := answer.status != 0
			switch {
			case cause == nil, cause == http.ErrAbortHandler: // which a proxy throws when its target breaks off
			default:
				record.panicked = fmt.Sprintf("%v\n%s", cause, debug.Stack())
			}
			if cause != nil && !begun {
				newProblem(http.StatusInternalServerError, "internal", fault.From(nil).Detail).write(answer, r)
			}
			record.cut = cause != nil && begun
			record.write(r, answer, now())
			from.tell(r, record, answer, cause)
			if cause != nil && begun {
				cut(w)
			}
		}()
		if from.Origins.share(answer, r) {
			return
		}
		if !from.Origins.check(r) {
			newProblem(http.StatusForbidden, "cross_site", "This request comes from another site's page. Call the API from its own origin.").write(answer, r)
			return
		}
		serve(mux, answer, r)
	})
}

// Surroundings say where requests come from, and who is told of them.
type Surroundings struct {
	Proxies  Proxies
	Origins  Origins
	Reporter Reporter        // of failures; nil for nobody
	Tracer   *tracing.Tracer // nil for none
}

// Bounds on what a client may keep a connection waiting for. A route whose
// requests take longer by right sets its own.
const (
	bodyTime  = 5 * time.Second  // until the whole body has arrived
	writeTime = 30 * time.Second // until the whole answer has been taken
)

// limit bounds a request in time: the functions framework serves without any
// deadline, and net/http reads to the end of a body before it sends an answer.
func limit(a *answer, r *http.Request) {
	connection := http.NewResponseController(a.ResponseWriter)
	_ = connection.SetWriteDeadline(time.Now().Add(writeTime))
	if r.ContentLength == 0 {
		return
	}
	_ = connection.SetReadDeadline(time.Now().Add(bodyTime))
	a.body = &requestBody{ReadCloser: r.Body, ended: func() { _ = connection.SetReadDeadline(time.Time{}) }}
	r.Body = a.body
}

// requestBody tells when it has been read to its end. From then on the server
// reads from the connection to notice that the client left, and must not take a
// deadline for that.
type requestBody struct {
	io.ReadCloser
	whole atomic.Bool // a proxy's transport reads it beside the handler
	ended func()
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) && b.whole.CompareAndSwap(false, true) {
		b.ended()
	}
	return n, err
}

// cut ends the connection, so that half an answer is not taken for a whole one.
// The functions framework recovers from panics, http.ErrAbortHandler included,
// and would end the answer with words of its own.
func cut(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = connection.Close()
}

// serve lets the mux answer, except where it would do so in plain text.
func serve(mux *http.ServeMux, w *answer, r *http.Request) {
	handler, pattern := mux.Handler(r)
	recordOf(r.Context()).route = pattern
	if pattern != "" && isClean(r.URL.Path) {
		if p := checkURL(r); p != nil {
			p.write(w, r)
			return
		}
		mux.ServeHTTP(w, r)
		return
	}
	refusal := &refusal{header: http.Header{}}
	if pattern == "" { // else it is a route's own, which the mux finds for "/a/%2e%2e" too
		handler.ServeHTTP(refusal, r)
	}
	switch refusal.status {
	case http.StatusMethodNotAllowed:
		allow := refusal.header.Get("Allow")
		w.Header().Set("Allow", allow)
		newProblem(refusal.status, codes[refusal.status], "This route does not take "+r.Method+"; it takes "+allow+".").write(w, r)
	default:
		newProblem(http.StatusNotFound, codes[http.StatusNotFound], "There is no such route. /api/docs lists them all.").write(w, r)
	}
}

// isClean tells whether the mux would take the path as it is. It redirects from
// others, such as "//api/version", which would turn a wrong address into a
// right one at the cost of a second request. Where a function is deployed, the
// framework has a mux of its own before ours, which redirects all the same.
func isClean(p string) bool {
	return p == "/" || path.Clean(p) == strings.TrimSuffix(p, "/") && strings.HasPrefix(p, "/")
}

// refusal keeps what the mux would have answered.
type refusal struct {
	header http.Header
	status int
}

func (f *refusal) Header() http.Header         { return f.header }
func (f *refusal) Write(b []byte) (int, error) { return len(b), nil }
func (f *refusal) WriteHeader(status int)      { f.status = status }

// answer remembers what was sent.
type answer struct {
	http.ResponseWriter
	body   *requestBody // nil where the request has none
	status int
	bytes  int64
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= http.StatusOK { // 1xx are hints, not the answer
		a.status = status
		a.giveUpBody()
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
		a.giveUpBody()
	}
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// giveUpBody has the connection end after the answer, where part of the body was
// not read: the server would wait for it first.
func (a *answer) giveUpBody() {
	if a.body != nil && !a.body.whole.Load() {
		a.Header().Set("Connection", "close")
	}
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

type recordKey struct{}

// record is what a request's one log line holds, filled along the way.
type record struct {
	id       string
	log      *slog.Logger
	started  time.Time
	client   netip.Addr // the zero address where it cannot be told
	attrs    []any
	cause    error
	panicked string
	cut      bool // half an answer was sent

	// For those who are told of the request.
	route    string // as the mux knows it, "GET /api/version"; "" where there is none
	code     string // of the problem that was answered
	body     []byte // what was read of it
	passedOn bool   // the answer is another function's
	trace    logging.Trace
	span     *tracing.Span
}

// recordOf returns the request's record, or an unused one outside of Wrap.
func recordOf(ctx context.Context) *record {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		return r
	}
	return &record{}
}

// Note adds attributes to the request's log line. Never pass secrets or tokens.
func Note(ctx context.Context, attrs ...any) {
	r := recordOf(ctx)
	r.attrs = append(r.attrs, attrs...)
}

func (rec *record) problem(p *Problem) {
	rec.attrs = append(rec.attrs, "problem", p.Code)
	rec.code = p.Code
	if p.Status >= http.StatusInternalServerError {
		rec.cause = p.cause
	}
}

// write logs the line. The query is left out: it may carry what people typed.
func (rec *record) write(r *http.Request, a *answer, now time.Time) {
	status := a.status
	if status == 0 {
		status = http.StatusOK // which the server sends for a handler that says nothing
	}
	attrs := append([]any{
		"request_id", rec.id,
		slog.Group("httpRequest",
			"requestMethod", r.Method,
			"requestUrl", clip(r.URL.Path),
			"status", status,
			"responseSize", strconv.FormatInt(a.bytes, 10),
			"userAgent", clip(r.UserAgent()),
			"remoteIp", rec.clientText(r),
			"latency", fmt.Sprintf("%.6fs", now.Sub(rec.started).Seconds()),
			"protocol", r.Proto,
		),
	}, rec.attrs...)
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if rec.cut {
		level = slog.LevelError
		attrs = append(attrs, "cut", true)
	}
	if errors.Is(r.Context().Err(), context.Canceled) {
		// Whatever failed did so because nobody waited for it any more.
		level = slog.LevelInfo
		attrs = append(attrs, "client_left", true)
	}
	if rec.cause != nil {
		attrs = append(attrs, "error", rec.cause.Error())
	}
	if rec.panicked != "" {
		level = slog.LevelError
		attrs = append(attrs, "panic", rec.panicked)
	}
	rec.log.Log(r.Context(), level, r.Method+" "+clip(r.URL.Path), attrs...)
}

// clip keeps what a client chose from filling the log.
func clip(s string) string {
	const most = 512
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// clientText is the client's address, or the connection's where that cannot be
// told.
func (rec *record) clientText(r *http.Request) string {
	if rec.client.IsValid() {
		return rec.client.String()
	}
	return clip(r.RemoteAddr)
}

const requestIDBytes = 8

func newRequestID() string {
	var b [requestIDBytes]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

func isHex(s string, length int) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == length
}
