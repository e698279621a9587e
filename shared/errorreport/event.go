package errorreport

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/getsentry/sentry-go"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

const module = "github.com/devops-dashboard/dashboard/"

// event is a failure in Sentry's terms. It is made of what is ours; texts, which may
// hold anything, are without what the client sent, so that none of it waits here.
func (r *Reporter) event(f httpapi.Failure) *sentry.Event {
	e := &sentry.Event{
		Timestamp: r.now().UTC(), Level: sentry.LevelError, Transaction: f.Route,
		Tags: map[string]string{
			"function": r.source.Function, "route": f.Route, "request_id": f.RequestID,
			"status": strconv.Itoa(f.Status), "code": f.Code,
		},
	}
	if f.Trace.ID != "" && f.Trace.Span != "" {
		e.Contexts = map[string]sentry.Context{"trace": {"trace_id": f.Trace.ID, "span_id": f.Trace.Span}}
	}
	var sent []string
	if f.Sent != nil {
		sent = f.Sent()
	}
	if f.Panic != nil {
		e.Level = sentry.LevelFatal
		e.Exception = []sentry.Exception{{Type: "panic", Value: without(sent, fmt.Sprint(f.Panic)), Stacktrace: sentry.NewStacktrace()}}
		return e
	}
	kind, text := root(f.Cause)
	value := f.Code
	if f.Cause != nil {
		value = without(sent, f.Cause.Error())
	}
	e.Exception = []sentry.Exception{{Type: kind, Value: value}}
	e.Fingerprint = []string{r.source.Function, f.Code, kind, scrub(without(sent, text))}
	if f.Status == http.StatusInternalServerError { // a defect is one route's, an outage all routes'
		e.Fingerprint = append(e.Fingerprint, f.Route)
	}
	return e
}

// told is what leaves of an event: this and no more, whatever Sentry's client may add
// in time, and no text that looks private.
func told(e *sentry.Event) *sentry.Event {
	exceptions := slices.Clone(e.Exception)
	for i := range exceptions {
		x := &exceptions[i]
		*x = sentry.Exception{Type: x.Type, Value: scrub(x.Value), Stacktrace: named(x.Stacktrace)}
	}
	return &sentry.Event{
		EventID: e.EventID, Timestamp: e.Timestamp, Platform: e.Platform, Sdk: e.Sdk, Level: e.Level,
		Release: e.Release, Environment: e.Environment, Transaction: e.Transaction,
		Tags: e.Tags, Contexts: e.Contexts, Fingerprint: e.Fingerprint, Exception: exceptions,
	}
}

// named is a stack whose files are named by their package: where they lay when they
// were compiled is told to nobody.
func named(s *sentry.Stacktrace) *sentry.Stacktrace {
	if s == nil {
		return nil
	}
	frames := make([]sentry.Frame, len(s.Frames))
	for i, f := range s.Frames {
		folder, ours := strings.CutPrefix(f.Module, module)
		file := path.Base(cmp.Or(f.AbsPath, f.Filename))
		frames[i] = sentry.Frame{Module: f.Module, Function: f.Function, Filename: path.Join(folder, file), Lineno: f.Lineno, InApp: ours}
	}
	return &sentry.Stacktrace{Frames: frames}
}

// groupOf names the issue that Sentry will make of the event.
func groupOf(e *sentry.Event) string {
	if stack := e.Exception[0].Stacktrace; stack != nil && len(stack.Frames) > 0 {
		last := stack.Frames[len(stack.Frames)-1]
		return last.Module + "." + last.Function + ":" + strconv.Itoa(last.Lineno)
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
