package errorreport

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/devops-dashboard/dashboard/shared/uplink"
)

var (
	errDSN    = errors.New("SENTRY_DSN must be as Sentry shows it, https://KEY@HOST/PROJECT")
	errUnsent = errors.New("the event could not be written")
)

// Check says what is wrong with a DSN, without repeating it.
func Check(dsn string) error {
	if _, err := sentry.NewDsn(dsn); err != nil {
		return errDSN
	}
	return nil
}

// client is Sentry's own, for as long as one request sends. It keeps two goroutines
// for logs and metrics, which are not to stay where the CPU is taken away.
type client struct {
	*sentry.Client
	carrier
}

// newClient returns a client that sends before CaptureEvent returns, over the line.
// None of Sentry's integrations is in it: they tell of the machine and the modules.
func newClient(ctx context.Context, line *uplink.Line, dsn string, source Source) (*client, error) {
	if err := Check(dsn); err != nil { // Sentry's own error repeats it
		return nil, err
	}
	c := &client{carrier: carrier{ctx: ctx, line: line}}
	var err error
	c.Client, err = sentry.NewClient(sentry.ClientOptions{
		Dsn: dsn, Release: source.Release, Environment: source.Environment,
		Transport:            sentry.NewHTTPSyncTransport(),
		HTTPClient:           &http.Client{Transport: &c.carrier},
		Integrations:         func([]sentry.Integration) []sentry.Integration { return nil },
		DisableClientReports: true,
		BeforeSend:           func(e *sentry.Event, _ *sentry.EventHint) *sentry.Event { return told(e) },
	})
	return c, err
}

// send sends an event, and tells for how long Sentry then takes no others.
func (c *client) send(e *sentry.Event) (limit time.Duration, err error) {
	c.limit, c.err = 0, errUnsent
	c.CaptureEvent(e, nil, nil)
	return c.limit, c.err
}

// carrier takes what the client sends over the line, in the time that the request
// which sends has, and keeps how it went: Sentry's client tells nobody.
type carrier struct {
	ctx   context.Context
	line  *uplink.Line
	limit time.Duration
	err   error
}

// RoundTrip answers the client itself: when to send again is the line's to know.
func (c *carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	var answered http.Header
	answered, c.err = c.line.Do(r.WithContext(c.ctx))
	c.limit = limited(answered)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// limited is for how long Sentry takes no errors, as it has said with an answer:
// https://develop.sentry.dev/sdk/expected-features/rate-limiting.
func limited(answered http.Header) time.Duration {
	longest := 0.0
	for limit := range strings.SplitSeq(answered.Get("X-Sentry-Rate-Limits"), ",") {
		parts := strings.Split(strings.TrimSpace(limit), ":")
		seconds, err := strconv.ParseFloat(parts[0], 64)
		if err != nil || math.IsNaN(seconds) {
			continue
		}
		if len(parts) == 1 || parts[1] == "" || slices.Contains(strings.Split(parts[1], ";"), "error") {
			longest = max(longest, seconds)
		}
	}
	return time.Duration(math.Ceil(min(longest, time.Hour.Seconds()))) * time.Second
}
