package errorreport

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// event is all that Sentry is told of a failure, in its own terms:
// https://develop.sentry.dev/sdk/data-model/event-payloads. It is made of what is
// ours; texts, which may hold anything, are scrubbed.
type event struct {
	ID          string            `json:"event_id"`
	Time        string            `json:"timestamp"`
	Platform    string            `json:"platform"`
	Level       string            `json:"level"`
	Release     string            `json:"release"`
	Environment string            `json:"environment"`
	Transaction string            `json:"transaction,omitempty"`
	Tags        map[string]string `json:"tags"`
	Contexts    *contexts         `json:"contexts,omitempty"`
	Fingerprint []string          `json:"fingerprint,omitempty"` // absent, Sentry groups by the stack
	Exception   []exception       `json:"exception"`
}

type contexts struct {
	Trace trace `json:"trace"`
}

type trace struct {
	ID   string `json:"trace_id"`
	Span string `json:"span_id"`
}

type exception struct {
	Type  string      `json:"type"`
	Value string      `json:"value"`
	Stack *stacktrace `json:"stacktrace,omitempty"`
}

type stacktrace struct {
	Frames []frame `json:"frames"` // oldest first
}

type frame struct {
	Module   string `json:"module"`
	Function string `json:"function"`
	File     string `json:"filename"`
	Line     int    `json:"lineno"`
	Ours     bool   `json:"in_app"`
}

func (r *Reporter) event(f httpapi.Failure) *event {
	e := &event{
		ID: newID(), Time: r.now().UTC().Format(time.RFC3339Nano), Platform: "go", Level: "error",
		Release: r.source.Release, Environment: r.source.Environment, Transaction: f.Route,
		Tags: map[string]string{
			"function": r.source.Function, "route": f.Route, "request_id": f.RequestID,
			"status": strconv.Itoa(f.Status), "code": f.Code,
		},
	}
	if f.Trace.ID != "" && f.Trace.Span != "" {
		e.Contexts = &contexts{trace{f.Trace.ID, f.Trace.Span}}
	}
	var sent []string
	if f.Sent != nil {
		sent = f.Sent()
	}
	if f.Panic != nil {
		e.Level = "fatal"
		e.Exception = []exception{{"panic", scrub(fmt.Sprint(f.Panic), sent), panicked()}}
		return e
	}
	kind, text := root(f.Cause)
	value := f.Code
	if f.Cause != nil {
		value = scrub(f.Cause.Error(), sent)
	}
	e.Exception = []exception{{Type: kind, Value: value}}
	e.Fingerprint = []string{r.source.Function, f.Code, kind, scrub(text, sent)}
	if f.Status == http.StatusInternalServerError { // a defect is one route's, an outage all routes'
		e.Fingerprint = append(e.Fingerprint, f.Route)
	}
	return e
}

// group names the issue that Sentry will make of the event.
func (e *event) group() string {
	if stack := e.Exception[0].Stack; stack != nil && len(stack.Frames) > 0 {
		last := stack.Frames[len(stack.Frames)-1]
		return last.File + ":" + strconv.Itoa(last.Line)
	}
	return strings.Join(e.Fingerprint, "\x00")
}

// root is where an error began: its type, and what tells errors of that type apart.
func root(err error) (kind, text string) {
	if err == nil {
		return "answer", ""
	}
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return fmt.Sprintf("%T", coded), coded.SQLState()
	}
	for {
		next := errors.Unwrap(err)
		if several, ok := err.(interface{ Unwrap() []error }); ok && len(several.Unwrap()) > 0 {
			next = several.Unwrap()[0]
		}
		if next == nil {
			return fmt.Sprintf("%T", err), err.Error()
		}
		err = next
	}
}

const (
	module     = "github.com/devops-dashboard/dashboard/"
	mostFrames = 100
)

// panicked is the stack of the panic under way: the frames that this is called from
// on top of it are left out. Files are named by their package; where they lay when
// they were compiled is told to nobody.
func panicked() *stacktrace {
	counters := make([]uintptr, mostFrames)
	next := runtime.CallersFrames(counters[:runtime.Callers(1, counters)])
	s := &stacktrace{}
	for more := true; more; {
		var f runtime.Frame
		f, more = next.Next()
		if f.Function == "runtime.gopanic" { // those so far have recovered it
			s.Frames = nil
			continue
		}
		// The first dot after the last slash ends the package.
		slash := strings.LastIndexByte(f.Function, '/') + 1
		end, name, _ := strings.Cut(f.Function[slash:], ".")
		in := f.Function[:slash] + end
		folder, ours := strings.CutPrefix(in, module)
		s.Frames = append(s.Frames, frame{in, name, path.Join(folder, path.Base(f.File)), f.Line, ours})
	}
	slices.Reverse(s.Frames)
	return s
}

// envelope is the event as it is sent: https://develop.sentry.dev/sdk/data-model/envelopes.
func (e *event) envelope(now time.Time) []byte {
	payload, _ := json.Marshal(e) // texts are all that it holds
	head := fmt.Sprintf("{\"event_id\":%q,\"sent_at\":%q}\n{\"type\":\"event\",\"length\":%d}\n", e.ID, now.UTC().Format(time.RFC3339Nano), len(payload))
	return append(append([]byte(head), payload...), '\n')
}

func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails since Go 1.24
	return hex.EncodeToString(id[:])
}
