// Package logging writes log records as Cloud Logging reads them: one JSON
// object a line with severity, message and trace. What a request's line holds is
// decided by httpapi.
package logging

import (
	"context"
	"io"
	"log/slog"
)

type traceKey struct{}

// Trace is where in a trace something happens, in lower-case hexadecimal.
type Trace struct {
	ID      string // 32 digits; "" outside of any trace
	Span    string // 16 digits; "" where it is not known
	Sampled bool   // whether the trace is recorded
}

// WithTrace returns a context whose log records carry the trace.
func WithTrace(ctx context.Context, trace Trace) context.Context {
	if trace.ID == "" {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, trace)
}

// NewHandler returns a handler that writes to w for the named function. With a
// Google Cloud project the trace is written as the full resource name by which
// Cloud Logging groups the lines of one request.
func NewHandler(w io.Writer, function, project string) slog.Handler {
	json := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo, ReplaceAttr: rename})
	prefix := ""
	if project != "" {
		prefix = "projects/" + project + "/traces/"
	}
	return handler{json.WithAttrs([]slog.Attr{slog.String("function", function)}), prefix}
}

// rename gives the top-level attributes the names that Cloud Logging reads:
// https://cloud.google.com/logging/docs/structured-logging.
func rename(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.MessageKey:
		a.Key = "message"
	case slog.LevelKey:
		level, ok := a.Value.Any().(slog.Level)
		if !ok {
			return a // somebody's own "level"
		}
		a.Key = "severity"
		if level == slog.LevelWarn {
			a.Value = slog.StringValue("WARNING")
		}
	}
	return a
}

type handler struct {
	slog.Handler
	prefix string
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if trace, ok := ctx.Value(traceKey{}).(Trace); ok {
		r.AddAttrs(slog.String("logging.googleapis.com/trace", h.prefix+trace.ID))
		if trace.Span != "" {
			r.AddAttrs(slog.String("logging.googleapis.com/spanId", trace.Span), slog.Bool("logging.googleapis.com/trace_sampled", trace.Sampled))
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.prefix}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.prefix}
}
