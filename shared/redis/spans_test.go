package redis_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/logging"
	"github.com/devops-dashboard/dashboard/shared/redis"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
	"github.com/devops-dashboard/dashboard/shared/tracing"
	"github.com/devops-dashboard/dashboard/shared/tracing/tracingtest"
)

type noHeaders struct{}

func (noHeaders) Get(context.Context) (string, error) { return "", nil }
func (noHeaders) Forget()                             {}

func TestCommandsMakeSpans(t *testing.T) {
	t.Parallel()
	settings := map[string]string{"REDIS_URL": redistest.URL(t), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example.com"}
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, func(name string) (string, bool) { v, ok := settings[name]; return v, ok }).
		For(function.Function{Name: "test", Needs: []function.Need{redis.Need}})
	client, err := redis.For(env).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	collector := tracingtest.New(t)
	tracer := tracing.New(tracing.Collector{Endpoint: collector.URL, Headers: noHeaders{}}, tracing.Source{}, 1, time.Now, env.Log)
	ctx, request := tracer.Serve(t.Context(), logging.Trace{})

	key := redistest.URL(t) + "hunter2"
	client.Set(ctx, key, "hunter2", time.Minute)
	client.Get(ctx, key+"none")
	client.EvalSha(ctx, "ffffffffffffffffffffffffffffffffffffffff", nil)
	client.LPush(ctx, key, "hunter2")
	_, _ = client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		p.Incr(ctx, key+"n")
		p.Incr(ctx, key+"n")
		return nil
	})
	client.Ping(t.Context()) // belongs to no request
	request.End()
	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, failure := range map[string]any{"redis SET": nil, "redis GET": nil, "redis EVALSHA": nil, "redis LPUSH": "proto.RedisError", "redis PIPELINE": nil} {
		span, _ := collector.Span(t, name)
		if got := tracingtest.Attribute(span, "error.type"); got != failure || tracingtest.Attribute(span, "db.system.name") != "redis" ||
			tracingtest.Attribute(span, "db.operation.name") != strings.TrimPrefix(name, "redis ") {
			t.Errorf("%s: %v", name, span)
		}
	}
	if span, _ := collector.Span(t, "redis PIPELINE"); tracingtest.Attribute(span, "db.operation.batch.size") != int64(2) {
		t.Errorf("%v", span)
	}
	if strings.Contains(collector.Text(), "hunter2") || strings.Contains(collector.Text(), "PING") {
		t.Error("keys, values or others' commands are told")
	}
}
