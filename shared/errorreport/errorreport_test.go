package errorreport_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/devops-dashboard/dashboard/shared/errorreport"
	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// clock is set by hand.
type clock struct{ passed atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(c.passed.Load()))
}
func (c *clock) pass(d time.Duration) { c.passed.Add(int64(d)) }

// event is what arrives, as Sentry reads it.
type event struct {
	ID          string `json:"event_id"`
	Timestamp   time.Time
	Platform    string
	Level       string
	Release     string
	Environment string
	Transaction string
	Tags        map[string]string
	Contexts    struct {
		Trace struct {
			ID   string `json:"trace_id"`
			Span string `json:"span_id"`
		}
	}
	Fingerprint []string
	Exception   []struct {
		Type, Value string
		Stacktrace  struct {
			Frames []struct {
				Module, Function, Filename string
				Lineno                     int
				InApp                      bool `json:"in_app"`
			}
		}
	}
	User    any
	Request any
}

// ingest is a Sentry that keeps what it is sent.
type ingest struct {
	*httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64

	mu     sync.Mutex
	events []event
	text   string // all that arrived
}

func newIngest(t *testing.T) *ingest {
	t.Helper()
	i := &ingest{}
	i.takes()
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		(*i.answer.Load())(w, r)
	}))
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	i.Start()
	t.Cleanup(func() { i.CloseClientConnections(); i.Close() })
	return i
}

func (i *ingest) dsn() string {
	return strings.Replace(i.URL, "http://", "http://publickey@", 1) + "/sub/42"
}

func (i *ingest) answers(h http.HandlerFunc) { i.answer.Store(&h) }

func (i *ingest) takes() { i.answers(i.take) }

// take reads an envelope strictly.
func (i *ingest) take(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	lines := bufio.NewReader(bytes.NewReader(body))
	var envelope struct {
		ID   string    `json:"event_id"`
		Sent time.Time `json:"sent_at"`
	}
	var item struct {
		Type   string
		Length int
	}
	head, _ := lines.ReadBytes('\n')
	kind, _ := lines.ReadBytes('\n')
	if json.Unmarshal(head, &envelope) != nil || json.Unmarshal(kind, &item) != nil || item.Type != "event" || envelope.Sent.IsZero() ||
		r.URL.Path != "/sub/api/42/envelope/" || !strings.Contains(r.Header.Get("X-Sentry-Auth"), "sentry_key=publickey") ||
		r.Header.Get("Content-Type") != "application/x-sentry-envelope" {
		http.Error(w, "no envelope", 400)
		return
	}
	payload := make([]byte, item.Length)
	var e event
	if _, err := io.ReadFull(lines, payload); err != nil || json.Unmarshal(payload, &e) != nil || e.ID != envelope.ID || len(e.ID) != 32 {
		http.Error(w, "no event", 400)
		return
	}
	if rest, _ := io.ReadAll(lines); string(rest) != "\n" {
		http.Error(w, "something follows", 400)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.events = append(i.events, e)
	i.text += string(body)
	_, _ = io.WriteString(w, `{"id":"`+e.ID+`"}`)
}

func (i *ingest) got() []event {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]event(nil), i.events...)
}

// setting is a DSN that may be read anew.
type setting struct {
	value  atomic.Pointer[string]
	failed atomic.Pointer[error]
	forgot atomic.Int64
}

func (s *setting) Get(context.Context) (string, error) {
	if err := s.failed.Load(); err != nil {
		return "", *err
	}
	return *s.value.Load(), nil
}
func (s *setting) Forget()          { s.forgot.Add(1) }
func (s *setting) set(value string) { s.value.Store(&value) }

// world is a function whose failures are reported.
type world struct {
	*ingest
	*errorreport.Reporter
	clock   clock
	dsn     setting
	log     bytes.Buffer
	handler http.Handler
}

type input struct {
	Name string `query:"name"`
	Key  string `header:"X-Key"`
	ID   string `path:"id"`
	Body struct {
		Password string `json:"password"`
		Nested   struct {
			Pin int `json:"pin"`
		} `json:"nested,omitempty"`
	}
}

// open serves POST /things/{id}, which does as fail says, and reports.
func open(t *testing.T, fail func(*input) error) *world {
	t.Helper()
	w := &world{ingest: newIngest(t)}
	w.dsn.set(w.ingest.dsn())
	w.Reporter = errorreport.New(&w.dsn, errorreport.Source{Function: "auth", Release: "abc123", Environment: "staging"}, w.clock.now, slog.New(slog.NewTextHandler(&w.log, nil)))
	mux := http.NewServeMux()
	api := httpapi.New(mux, 0)
	huma.Register(api, huma.Operation{OperationID: "thing", Method: "POST", Path: "/things/{id}", Security: httpapi.Public}, func(_ context.Context, in *input) (*struct{}, error) {
		return nil, fail(in)
	})
	api.Handle("GET /plain", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	w.handler = httpapi.Wrap(mux, slog.New(slog.DiscardHandler), time.Now, httpapi.Surroundings{Reporter: w.Reporter})
	t.Cleanup(func() { _ = w.Flush(context.Background()) })
	return w
}

func (w *world) ask(header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/things/path-secret-1?name=query%20secret%202", strings.NewReader(`{"password":"body secret 3","nested":{"pin":40404}}`))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.RemoteAddr = "203.0.113.77:4242"
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	if answer.Code < 500 {
		panic(answer.Body.String())
	}
	return answer
}

func (w *world) wants(t *testing.T, n int) []event {
	t.Helper()
	got := w.got()
	if len(got) != n {
		t.Fatalf("%d events arrived, want %d: %+v", len(got), n, got)
	}
	return got
}

func TestFailureIsReported(t *testing.T) {
	t.Parallel()
	w := open(t, func(*input) error {
		return fault.Away("the database", fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}))
	})
	answer := w.ask("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	e := w.wants(t, 1)[0]
	want := map[string]string{
		"function": "auth", "route": "POST /things/{id}", "request_id": answer.Header().Get("X-Request-Id"),
		"status": "503", "code": "unavailable", "times": "1",
	}
	if diff := cmp.Diff(want, e.Tags); diff != "" || answer.Code != 503 {
		t.Error(diff)
	}
	if e.Release != "abc123" || e.Environment != "staging" || e.Transaction != "POST /things/{id}" || e.Level != "error" || e.Platform != "go" || !e.Timestamp.Equal(w.clock.now()) {
		t.Errorf("got %+v", e)
	}
	if e.Contexts.Trace.ID != "4bf92f3577b34da6a3ce929d0e0e4736" || e.Contexts.Trace.Span != "00f067aa0ba902b7" {
		t.Errorf("trace %+v", e.Contexts.Trace)
	}
	if len(e.Exception) != 1 || e.Exception[0].Type != "*errors.errorString" || e.Exception[0].Value != "dial: dial: refused" {
		t.Errorf("exception %+v", e.Exception)
	}
}

func TestPanicIsReportedWithItsStack(t *testing.T) {
	t.Parallel()
	w := open(t, func(in *input) error { return []error{nil}[len(in.ID)] })
	if answer := w.ask(); answer.Code != 500 {
		t.Fatalf("answered %d", answer.Code)
	}
	e := w.wants(t, 1)[0]
	frames := e.Exception[0].Stacktrace.Frames
	if e.Level != "fatal" || e.Exception[0].Type != "panic" || e.Exception[0].Value != "runtime error: index out of range [13] with length 1" || e.Fingerprint != nil || len(frames) < 3 {
		t.Fatalf("got %+v", e)
	}
	last := frames[len(frames)-1] // the runtime, which panics, is not among them
	if last.Function != "TestPanicIsReportedWithItsStack.func1" || last.Filename != "shared/errorreport_test/errorreport_test.go" && last.Filename != "shared/errorreport/errorreport_test.go" ||
		!last.InApp || last.Lineno == 0 || last.Module != "github.com/devops-dashboard/dashboard/shared/errorreport_test" {
		t.Errorf("the stack ends %+v", last)
	}
	ours := 0
	for _, f := range frames {
		if strings.HasPrefix(f.Filename, "/") || strings.Contains(f.Function, "recover") || f.InApp != strings.HasPrefix(f.Module, "github.com/devops-dashboard/") {
			t.Errorf("frame %+v", f)
		}
		if f.InApp {
			ours++
		}
	}
	if ours == len(frames) || ours < 3 {
		t.Errorf("%d of %d frames are ours", ours, len(frames))
	}
}

// What the client sent, and what looks like a secret or a person, is told to nobody,
// wherever it stands in an error or a panic.
func TestNothingPrivateIsTold(t *testing.T) {
	t.Parallel()
	const jwt = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"
	header := []string{
		"Authorization", "Bearer " + jwt, "Cookie", "__Host-dd_rt=cookie==secret5; other=plaincookie6", "User-Agent", "Agent/7.7.7 (secret-agent)",
		"X-Key", "header-secret-8", "X-Forwarded-For", "198.51.100.9, 2001:db8::99",
	}
	secrets := []string{
		"path-secret-1", "query secret 2", "query%20secret%202", "body secret 3", "40404", jwt, "eyJzdWIiOiI0MiJ9", "cookie==secret5", "plaincookie6", "secret-agent",
		"header-secret-8", "198.51.100.9", "2001:db8::99", "203.0.113.77", "jane.doe@example.com", "stored-password", "192.0.2.55", "fe80::1:2", "hunter2", "s3cr3t", "deadbeefcafe",
		"0123456789012", "Zm9vYmFyYmF6cXV4cXV1eA",
	}
	texts := func(in *input) []string {
		return []string{
			fmt.Sprintf("cannot use %s and %s and %s and %s and %s for %s", in.Name, in.Key, in.ID, in.Body.Password, fmt.Sprint(in.Body.Nested.Pin), "jane.doe@example.com"),
			fmt.Sprintf("got %q for %+v", in.Body.Password, *in),
			"token " + jwt + " of __Host-dd_rt=cookie==secret5; other=plaincookie6 by Agent/7.7.7 (secret-agent)",
			"query%20secret%202 from 203.0.113.77:4242, 198.51.100.9, 192.0.2.55:5432, [2001:db8::99]:443 and fe80::1:2%eth0",
			"failed to connect to `user=app password=s3cr3t database=x`: postgres://app:hunter2@192.0.2.55/x?sslmode=off refused",
			`Key (email)=(jane.doe@example.com) exists: "stored-password" 'stored-password'`,
			"Authorization: Bearer s3cr3t",
			"session deadbeefcafe1 of 0123456789012 has Zm9vYmFyYmF6cXV4cXV1eA",
			"unfinished \"stored-password",
		}
	}
	n := len(texts(&input{}))
	for i := range n {
		for how, fail := range map[string]func(text string) error{
			"cause":           func(text string) error { return fault.Away("the database", errors.New(text)) },
			"plain":           errors.New,
			"panic":           func(text string) error { panic(text) },
			"panicking error": func(text string) error { panic(errors.New(text)) },
			"detail": func(text string) error {
				return &pgconn.PgError{Severity: "ERROR", Code: "23505", Message: text, Detail: text, Where: text}
			},
		} {
			t.Run(fmt.Sprint(how, " ", i), func(t *testing.T) {
				t.Parallel()
				w := open(t, func(in *input) error { return fail(texts(in)[i]) })
				w.ask(header...)
				w.wants(t, 1)
				for _, secret := range secrets {
					if strings.Contains(strings.ToLower(w.text), strings.ToLower(secret)) {
						t.Errorf("%s is told: %s", secret, w.text)
					}
				}
			})
		}
	}
}

func TestFailuresAreGroupedByTheirCause(t *testing.T) {
	t.Parallel()
	var fail atomic.Pointer[error]
	w := open(t, func(*input) error { return *fail.Load() })
	group := func(err error) string {
		w.clock.pass(time.Hour)
		fail.Store(&err)
		before := len(w.got())
		w.ask()
		return strings.Join(w.wants(t, before+1)[before].Fingerprint, "|")
	}
	pg := func(code, message string) error {
		return fault.Away("the database", &pgconn.PgError{Code: code, Message: message})
	}
	if a, b, c := group(pg("53300", "too many")), group(pg("53300", "zu viele")), group(pg("57P01", "too many")); a != b || a == c {
		t.Errorf("%s, %s, %s", a, b, c)
	}
	if a, b, c := group(fmt.Errorf("session deadbeef01: %w", io.ErrUnexpectedEOF)), group(fmt.Errorf("session 77aabbcc: %w", io.ErrUnexpectedEOF)), group(io.EOF); a != b || a == c {
		t.Errorf("%s, %s, %s", a, b, c)
	}
	if a, b := group(errors.Join(io.ErrClosedPipe, io.EOF)), group(io.ErrClosedPipe); a != b {
		t.Errorf("%s, %s", a, b)
	}
	if defect, outage := group(io.EOF), group(fault.Away("it", io.EOF)); !strings.HasSuffix(defect, "|POST /things/{id}") || strings.Contains(outage, "things") || !strings.HasPrefix(outage, "auth|unavailable|") {
		t.Errorf("%s, %s", defect, outage)
	}
}

func TestAnAnswerWithoutAProblemIsReportedToo(t *testing.T) {
	t.Parallel()
	w := open(t, nil)
	w.handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/plain", nil))
	if e := w.wants(t, 1)[0]; e.Tags["route"] != "GET /plain" || e.Tags["status"] != "503" || e.Exception[0].Type != "answer" {
		t.Errorf("got %+v", e)
	}
	w.handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/none", nil))
	w.wants(t, 1)
}

// A storm costs one event a minute for each group, which says how many it stands for.
func TestAStormIsCounted(t *testing.T) {
	t.Parallel()
	w := open(t, func(*input) error { return io.EOF })
	for range 1000 {
		w.ask()
	}
	w.wants(t, 1)
	w.clock.pass(time.Minute - 1)
	w.ask()
	w.wants(t, 1)
	w.clock.pass(1)
	w.ask()
	if got := w.wants(t, 2)[1].Tags["times"]; got != "1001" {
		t.Errorf("%s times", got)
	}
	w.ask()
	if err := w.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if got := w.wants(t, 3)[2].Tags["times"]; got != "1" {
		t.Errorf("%s times", got)
	}
	if err := w.Flush(t.Context()); err != nil || len(w.got()) != 3 {
		t.Errorf("flushed again: %v", err)
	}
}

type coded string

func (c coded) Error() string    { return "failed" }
func (c coded) SQLState() string { return string(c) }

func TestAStormOfManyKindsIsBounded(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	w := open(t, func(*input) error { return coded(fmt.Sprint("X", n.Add(1))) })
	for range 500 {
		w.ask()
	}
	w.wants(t, 32)
	w.clock.pass(time.Minute)
	for range 500 {
		w.ask()
	}
	w.wants(t, 64)
}

func TestAStormWhileSentryHangs(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	w := open(t, func(*input) error { return coded(fmt.Sprint("X", n.Add(1)%20)) })
	w.answers(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() })
	began := time.Now()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 100 {
				w.ask()
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 10*time.Second || w.asked.Load() > 2 {
		t.Errorf("1000 failures waited %s for %d sends", took, w.asked.Load())
	}
	w.takes()
	w.clock.pass(30 * time.Second)
	w.ask()
	total := 0
	for _, e := range w.wants(t, 20) {
		var times int
		_, _ = fmt.Sscan(e.Tags["times"], &times)
		total += times
	}
	if total != 1001 {
		t.Errorf("%d of 1001 failures are told", total)
	}
}

func TestSentrySaysWhenToSendAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		header [2]string
		wait   time.Duration
	}{
		"429":      {429, [2]string{"Retry-After", "90"}, 90 * time.Second},
		"errors":   {200, [2]string{"X-Sentry-Rate-Limits", "10:transaction:key, 120:default;error:organization"}, 2 * time.Minute},
		"all":      {429, [2]string{"X-Sentry-Rate-Limits", "200::organization"}, 200 * time.Second},
		"too long": {200, [2]string{"X-Sentry-Rate-Limits", "9e99"}, time.Hour},
		"others":   {200, [2]string{"X-Sentry-Rate-Limits", "3000:transaction:key,nonsense,NaN:error"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			w := open(t, func(*input) error { return coded(fmt.Sprint("X", n.Add(1))) })
			w.answers(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set(c.header[0], c.header[1])
				rw.WriteHeader(c.status)
			})
			w.ask()
			w.takes()
			before := w.asked.Load()
			if c.wait > 0 {
				w.clock.pass(c.wait - 1)
				w.ask()
				if w.asked.Load() != before {
					t.Error("was asked too early")
				}
				w.clock.pass(1)
			}
			w.ask()
			if w.asked.Load() == before {
				t.Error("was not asked again")
			}
		})
	}
}

func TestADSNThatLeadsNowhereIsReadAgain(t *testing.T) {
	t.Parallel()
	w := open(t, func(*input) error { return io.EOF })
	good := w.ingest.dsn()
	for i, bad := range []string{strings.Replace(good, "publickey", "gone", 1), "nonsense"} {
		w.dsn.set(bad)
		w.answers(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(403) })
		w.ask()
		if w.dsn.forgot.Load() != int64(i+1) {
			t.Errorf("%s is kept", bad)
		}
	}
	missing := errors.New("NOT_FOUND")
	w.dsn.failed.Store(&missing)
	w.clock.pass(time.Minute)
	w.ask()
	w.dsn.failed.Store(nil)
	w.dsn.set(good)
	w.takes()
	w.clock.pass(time.Minute)
	w.ask()
	if got := w.wants(t, 1)[0].Tags["times"]; got != "4" {
		t.Errorf("told of %s failures", got)
	}
	if strings.Contains(w.log.String(), "publickey") || strings.Contains(w.log.String(), "gone") || !strings.Contains(w.log.String(), "Sentry does not take") {
		t.Errorf("the log says %s", &w.log)
	}
}

func TestAnEventThatSentryFindsWrongIsGivenUp(t *testing.T) {
	t.Parallel()
	w := open(t, func(*input) error { return io.EOF })
	w.answers(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(413) })
	w.ask()
	if err := w.Flush(t.Context()); err != nil || w.asked.Load() != 1 {
		t.Errorf("asked %d times: %v", w.asked.Load(), err)
	}
}

func TestTheEndSaysWhatWasNotTold(t *testing.T) {
	t.Parallel()
	w := open(t, func(*input) error { return io.EOF })
	w.answers(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	w.ask()
	if err := w.Flush(t.Context()); err == nil || w.asked.Load() != 2 {
		t.Errorf("asked %d times: %v", w.asked.Load(), err)
	}
}
