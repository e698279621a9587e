package function

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/devops-dashboard/dashboard/shared/errorreport"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/secrets/reference"
	"github.com/devops-dashboard/dashboard/shared/tracing"
)

// observers are the settings of those outside who are told of requests. Without
// them nothing of it runs.
var observers = []Setting{
	{Name: "SENTRY_DSN", Secret: true, Optional: true, Doc: "where Sentry is told of failures: https://KEY@HOST/PROJECT"},
	{Name: "OTEL_EXPORTER_OTLP_ENDPOINT", Optional: true, Doc: "where traces are sent by OTLP over HTTP: https://collector.example.com, without /v1/traces"},
	{Name: "OTEL_EXPORTER_OTLP_HEADERS", Secret: true, Optional: true, Doc: "what the trace collector wants to be sent along, such as its key: NAME=VALUE,NAME=VALUE"},
	{Name: "OTEL_TRACES_SAMPLER_ARG", Default: "1", Doc: "the share of all traces that is recorded, from 0 to 1"},
	{Name: "DEPLOYMENT_ENVIRONMENT", Default: "production", Doc: "what Sentry and traces call this installation"},
}

// flushTime is what telling the rest may take, at the end of the process.
const flushTime = 600 * time.Millisecond

// observed adds to the surroundings who is told of requests, as the functions of one
// process.
func (e *Env) observed(from httpapi.Surroundings, fns []Function) (httpapi.Surroundings, error) {
	names := make([]string, len(fns))
	for i, fn := range fns {
		names[i] = fn.Name
	}
	name, environment := strings.Join(names, "+"), e.framed("DEPLOYMENT_ENVIRONMENT")
	reporter, sentryErr := e.reporter(errorreport.Source{Function: name, Release: e.Release(), Environment: environment})
	tracer, traceErr := e.tracer(tracing.Source{Function: name, Release: e.Release(), Environment: environment})
	if err := errors.Join(sentryErr, traceErr); err != nil {
		return from, err
	}
	if reporter != nil { // a nil one would not be a nil Reporter
		from.Reporter = reporter
		e.onEnd(reporter.Flush)
	}
	if tracer != nil {
		from.Tracer = tracer
		e.onEnd(tracer.Flush)
	}
	return from, nil
}

func (e *Env) reporter(of errorreport.Source) (*errorreport.Reporter, error) {
	raw := e.framed("SENTRY_DSN")
	if raw == "" {
		return nil, nil
	}
	dsn := reference.New("SENTRY_DSN", raw)
	if value, plain := dsn.Plain(); plain {
		if err := errorreport.Check(value); err != nil {
			return nil, err
		}
	}
	return errorreport.New(dsn, of, e.Now, e.Log), nil
}

func (e *Env) tracer(of tracing.Source) (*tracing.Tracer, error) {
	endpoint := e.framed("OTEL_EXPORTER_OTLP_ENDPOINT")
	if endpoint == "" {
		return nil, nil
	}
	share, err := strconv.ParseFloat(e.framed("OTEL_TRACES_SAMPLER_ARG"), 64)
	if err != nil || !(share >= 0 && share <= 1) {
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1, not %q", e.framed("OTEL_TRACES_SAMPLER_ARG"))
	}
	at, err := url.Parse(endpoint)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.User != nil || at.RawQuery != "" {
		return nil, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT must be an address such as https://collector.example.com; a key goes to OTEL_EXPORTER_OTLP_HEADERS")
	}
	headers := reference.New("OTEL_EXPORTER_OTLP_HEADERS", e.framed("OTEL_EXPORTER_OTLP_HEADERS"))
	if value, plain := headers.Plain(); plain {
		if _, err := tracing.ParseHeaders(value); err != nil {
			return nil, err
		}
	}
	return tracing.New(tracing.Collector{Endpoint: endpoint, Headers: headers}, of, share, e.Now, e.Log), nil
}

// Traced tells whether requests are traced: a dependency that would make spans needs
// no hook otherwise.
func (e *Env) Traced() bool { return e.framed("OTEL_EXPORTER_OTLP_ENDPOINT") != "" }

// onEnd has tell called when the process ends, before anything is closed, which may
// hang.
func (e *Env) onEnd(tell func(context.Context) error) {
	e.process.stopMu.Lock()
	defer e.process.stopMu.Unlock()
	e.process.ends = append(e.process.ends, tell)
}

// tellRest has all that is still to be told told, side by side.
func tellRest(ctx context.Context, ends []func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	errs := make([]error, len(ends))
	var all sync.WaitGroup
	for i, end := range ends {
		all.Go(func() { errs[i] = end(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}
