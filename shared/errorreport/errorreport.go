// Package errorreport tells Sentry of requests that were answered 5xx or panicked:
// where, why and how often, and nothing of what the client sent. Which requests
// those are is left to httpapi, and how Sentry is reached to package uplink.
package errorreport

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/uplink"
)

const (
	// patience is how long a request that failed may wait for Sentry.
	patience = time.Second
	// quiet is for how long failures of one group are counted after one was sent,
	// and mostGroups how many groups may be told apart in that time: together they
	// bound what a storm sends.
	quiet      = time.Minute
	mostGroups = 32
)

// DSN is the setting that says where Sentry is.
type DSN interface {
	Get(context.Context) (string, error)
	Forget() // has it read again, as it leads nowhere
}

// Source is what is reported on.
type Source struct{ Function, Release, Environment string }

// Reporter tells Sentry of failures.
type Reporter struct {
	source Source
	dsn    DSN
	now    func() time.Time
	line   *uplink.Line

	mu     sync.Mutex
	groups map[string]*group
}

// group is failures that are one issue.
type group struct {
	event *sentry.Event // the latest of those that are still to be sent; nil if none is
	times int           // how many those are
	sent  time.Time
}

// New returns a reporter. Nothing is read or dialled before the first failure.
func New(dsn DSN, source Source, now func() time.Time, log *slog.Logger) *Reporter {
	return &Reporter{source: source, dsn: dsn, now: now, line: uplink.New("Sentry", patience, now, log), groups: map[string]*group{}}
}

// Report notes a failure, and sends what there is to send unless another request is
// doing so. It is to be called on the stack that panicked.
func (r *Reporter) Report(ctx context.Context, f httpapi.Failure) {
	if r.note(f) {
		r.line.Send(ctx, r.send)
	}
}

// Flush sends what is left, at the end of the process.
func (r *Reporter) Flush(ctx context.Context) error {
	defer r.line.Close()
	if r.due(true) != nil && !r.line.Last(ctx, func(ctx context.Context) error { return r.sendAll(ctx, true) }) {
		return errors.New("not all failures were reported to Sentry")
	}
	return nil
}

// note tells whether something is to be sent now.
func (r *Reporter) note(f httpapi.Failure) bool {
	event := r.event(f)
	key := groupOf(event)
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[key]
	if g == nil {
		if !r.room() {
			return false
		}
		g = &group{}
		r.groups[key] = g
	}
	g.event = event
	g.times++
	return r.isDue(g)
}

// room makes room for another group where one has been quiet. Without, what is
// beyond them is in the log alone.
func (r *Reporter) room() bool {
	for key, g := range r.groups {
		if len(r.groups) >= mostGroups && g.event == nil && r.isDue(g) {
			delete(r.groups, key)
		}
	}
	return len(r.groups) < mostGroups
}

func (r *Reporter) isDue(g *group) bool { return g.sent.IsZero() || r.now().Sub(g.sent) >= quiet }

// due returns a group that has something to send, quiet or not; nil if none has.
func (r *Reporter) due(any bool) *group {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.groups {
		if g.event != nil && (any || r.isDue(g)) {
			return g
		}
	}
	return nil
}

func (r *Reporter) send(ctx context.Context) error { return r.sendAll(ctx, false) }

func (r *Reporter) sendAll(ctx context.Context, any bool) error {
	dsn, err := r.dsn.Get(ctx)
	if err != nil {
		return err
	}
	client, err := newClient(ctx, r.line, dsn, r.source)
	if err != nil {
		r.dsn.Forget()
		return err
	}
	defer client.Close()
	for g := r.due(any); g != nil; g = r.due(any) {
		event, times := r.take(g)
		event.Tags["times"] = strconv.Itoa(times)
		limit, err := client.send(event)
		r.line.Rest(limit)
		if err != nil {
			r.giveBack(g, event, times, err)
			return err
		}
		if limit > 0 {
			return nil
		}
	}
	return nil
}

func (r *Reporter) take(g *group) (*sentry.Event, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	event, times := g.event, g.times
	g.event, g.times, g.sent = nil, 0, r.now()
	return event, times
}

// giveBack keeps what was not taken for the next try, unless Sentry finds the event
// wrong: it will again.
func (r *Reporter) giveBack(g *group, e *sentry.Event, times int, err error) {
	var refused *uplink.Refusal
	if errors.As(err, &refused) {
		switch refused.Status {
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			return
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
			r.dsn.Forget()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	g.sent = time.Time{}
	g.times += times
	if g.event == nil {
		g.event = e
	}
}
