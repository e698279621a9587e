// Package uplink is the way to a collector outside, such as Sentry. Cloud Run takes
// the CPU away after an answer, so what is sent is sent before it: within a bound,
// by one request at a time, and not at all for a while once the collector has failed.
// What is sent is left to those who send.
package uplink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// trips is after how many failures in a row the collector is left alone, and
	// restTime for how long. Then one try decides.
	trips    = 2
	restTime = 30 * time.Second
	// A collector that wants to be left alone says for how long, or gets a minute.
	askedTime    = time.Minute
	mostAskedFor = time.Hour
	// answerBytes is how much of an answer is read, which keeps its connection.
	answerBytes = 64 << 10
)

// Line is the way to one collector.
type Line struct {
	name      string
	patience  time.Duration
	now       func() time.Time
	log       *slog.Logger
	transport *http.Transport

	turn chan struct{} // holds something while somebody sends

	mu       sync.Mutex
	failures int       // in a row
	rests    time.Time // after failures, nothing is sent before
	asked    time.Time // as the collector has asked, nothing is sent before
}

// New returns a line that has a request wait for patience at most.
func New(name string, patience time.Duration, now func() time.Time, log *slog.Logger) *Line {
	return &Line{
		name: name, patience: patience, now: now, log: log, turn: make(chan struct{}, 1),
		transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: patience}).DialContext,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        30 * time.Second, // Cloud Run takes the CPU away between requests, and they die unseen
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
	}
}

// Send has do send, unless the collector is left alone or somebody else is sending.
// It tells whether do was run and succeeded.
func (l *Line) Send(ctx context.Context, do func(context.Context) error) bool {
	if !l.mayTry(true) {
		return false
	}
	select {
	case l.turn <- struct{}{}:
	default:
		return false
	}
	defer func() { <-l.turn }()
	if !l.mayTry(true) { // the one before may have failed
		return false
	}
	return l.try(ctx, do)
}

// Last is Send for the end of a process: it waits for its turn, and tries a
// collector that has failed once more.
func (l *Line) Last(ctx context.Context, do func(context.Context) error) bool {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-l.turn }()
	return l.mayTry(false) && l.try(ctx, do)
}

func (l *Line) mayTry(rests bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	return !now.Before(l.asked) && !(rests && now.Before(l.rests))
}

// try sends whether or not the client is still there: if its leaving counted as a
// failure, clients could have the collector left alone.
func (l *Line) try(ctx context.Context, do func(context.Context) error) bool {
	deadline := time.Now().Add(l.patience)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	bounded, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	err := do(bounded)
	l.count(ctx, err)
	return err == nil
}

func (l *Line) count(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		if l.failures >= trips {
			l.log.InfoContext(ctx, l.name+" takes what it is sent again")
		}
		l.failures = 0
		return
	}
	l.failures++
	var refused *Refusal
	if errors.As(err, &refused) {
		l.leaveAlone(refused.Wait)
	}
	if l.failures >= trips {
		l.rests = l.now().Add(restTime)
	}
	if l.failures == trips {
		l.log.WarnContext(ctx, l.name+" does not take what it is sent: it is left alone, but for a try now and then", "error", because(err).Error())
	}
}

// because is an error without the address that it befell, which may hold a key.
func because(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// Rest has the collector left alone, as it has asked.
func (l *Line) Rest(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveAlone(d)
}

func (l *Line) leaveAlone(d time.Duration) {
	if until := l.now().Add(min(d, mostAskedFor)); d > 0 && until.After(l.asked) {
		l.asked = until
	}
}

// Post sends a body, and judges the answer by its status.
func (l *Line) Post(ctx context.Context, to string, header http.Header, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = header
	_, err = l.Do(r)
	return err
}

// Do sends a request that somebody else has made, and judges the answer by its
// status. The answer is read whole, so that the connection may serve again, and no
// redirect is followed.
func (l *Line) Do(r *http.Request) (answered http.Header, err error) {
	answer, err := l.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, answerBytes)) // what it says beside is of no use
	return answer.Header, verdict(answer)
}

// Close lets go of the connection.
func (l *Line) Close() { l.transport.CloseIdleConnections() }

// Refusal is an answer by which a collector did not take what it was sent.
type Refusal struct {
	Status int
	Wait   time.Duration // for which it wants to be left alone; 0 where it says nothing of it
}

func (r *Refusal) Error() string {
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("answered %d: correct its key", r.Status)
	case http.StatusNotFound:
		return "answered 404: correct its address"
	}
	return fmt.Sprintf("answered %d", r.Status)
}

// verdict is nil for an answer that takes what was sent.
func verdict(answer *http.Response) error {
	if answer.StatusCode/100 == 2 {
		return nil
	}
	refusal := &Refusal{Status: answer.StatusCode}
	if answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable {
		refusal.Wait = retryAfter(answer.Header.Get("Retry-After"), answer.Header.Get("Date"))
		if refusal.Wait == 0 && answer.StatusCode == http.StatusTooManyRequests {
			refusal.Wait = askedTime
		}
	}
	return refusal
}

// retryAfter reads a number of seconds or a date, which is taken by the collector's
// own clock; 0 where it is neither.
func retryAfter(text, date string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(date)
	if err != nil {
		return 0
	}
	return max(until.Sub(now), 0)
}
