package logging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/logging"
)

func TestRecordsAreAsCloudLoggingReadsThem(t *testing.T) {
	t.Parallel()
	traced := logging.WithTrace(context.Background(), logging.Trace{ID: "4bf92f3577b34da6a3ce929d0e0e4736"})
	placed := logging.WithTrace(context.Background(), logging.Trace{ID: "4bf92f3577b34da6a3ce929d0e0e4736", Span: "00f067aa0ba902b7", Sampled: true})
	for name, test := range map[string]struct {
		ctx     context.Context
		project string
		level   slog.Level
		want    map[string]any
	}{
		"plain":      {context.Background(), "p", slog.LevelInfo, map[string]any{"severity": "INFO"}},
		"warning":    {context.Background(), "p", slog.LevelWarn, map[string]any{"severity": "WARNING"}},
		"error":      {context.Background(), "p", slog.LevelError, map[string]any{"severity": "ERROR"}},
		"trace":      {traced, "p", slog.LevelInfo, map[string]any{"severity": "INFO", "logging.googleapis.com/trace": "projects/p/traces/4bf92f3577b34da6a3ce929d0e0e4736"}},
		"no project": {traced, "", slog.LevelInfo, map[string]any{"severity": "INFO", "logging.googleapis.com/trace": "4bf92f3577b34da6a3ce929d0e0e4736"}},
		"span": {placed, "p", slog.LevelInfo, map[string]any{
			"severity": "INFO", "logging.googleapis.com/trace": "projects/p/traces/4bf92f3577b34da6a3ce929d0e0e4736",
			"logging.googleapis.com/spanId": "00f067aa0ba902b7", "logging.googleapis.com/trace_sampled": true,
		}},
		"no trace": {logging.WithTrace(context.Background(), logging.Trace{}), "p", slog.LevelInfo, map[string]any{"severity": "INFO"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			log := slog.New(logging.NewHandler(&out, "auth", test.project))
			log.Log(test.ctx, test.level, "done", "level", "own", slog.Group("in", "msg", "kept"))
			var got map[string]any
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatalf("%v in %s", err, out.Bytes())
			}
			if _, err := time.Parse(time.RFC3339Nano, got["time"].(string)); err != nil {
				t.Error(err)
			}
			delete(got, "time")
			test.want["message"], test.want["function"] = "done", "auth"
			test.want["in"] = map[string]any{"msg": "kept"}
			// An attribute that a caller names "level" must not pass for the severity.
			test.want["level"] = "own"
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDebugIsNotWritten(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	slog.New(logging.NewHandler(&out, "auth", "")).Debug("noise")
	if out.Len() > 0 {
		t.Errorf("wrote %s", out.Bytes())
	}
}

// TestHandlerKeepsTheRulesOfSlog runs the standard library's own suite, which
// covers groups and attributes kept by With.
func TestHandlerKeepsTheRulesOfSlog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return logging.NewHandler(&out, "auth", "")
	}, func(t *testing.T) map[string]any {
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		line[slog.LevelKey], line[slog.MessageKey] = line["severity"], line["message"]
		return line
	})
}
