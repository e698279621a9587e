package postgres_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/shared/logging"
	"github.com/devops-dashboard/dashboard/shared/postgres"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
	"github.com/devops-dashboard/dashboard/shared/tracing"
	"github.com/devops-dashboard/dashboard/shared/tracing/tracingtest"
)

type noHeaders struct{}

func (noHeaders) Get(context.Context) (string, error) { return "", nil }
func (noHeaders) Forget()                             {}

func TestStatementsMakeSpans(t *testing.T) {
	t.Parallel()
	proxy := pgtest.NewProxy(t, pgtest.URL(t))
	settings := map[string]string{"DATABASE_URL": proxy.URL, "DATABASE_POOL": "1"}
	traced := maps.Clone(settings)
	traced["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector.example.com"
	if pool, err := postgres.For(newEnv(settings)).Pool(t.Context()); err != nil || pool.Config().ConnConfig.Tracer != nil {
		t.Errorf("a hook for nobody: %v", err)
	}
	env := newEnv(traced)
	db := postgres.For(env)
	t.Cleanup(func() { _ = env.Stop(context.Background()) })
	collector := tracingtest.New(t)
	tracer := tracing.New(tracing.Collector{Endpoint: collector.URL, Headers: noHeaders{}}, tracing.Source{}, 1, time.Now, env.Log)
	ctx, request := tracer.Serve(t.Context(), logging.Trace{})

	if got, err := ask[string](ctx, db, "SELECT $1::text", "hunter2"); got != "hunter2" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	_, _ = ask[int](ctx, db, "\n  values ('x'::text || $1)\n", "hunter2") // is no number, which is found after the answer
	_, _ = ask[int](ctx, db, "WITH a AS (SELECT $1::text AS b) SELECT b::int FROM a", "hunter2")
	_, _ = ask[int](t.Context(), db, "TABLE of_no_request")
	if _, err := db.Exec(ctx, "INSERT INTO none VALUES ('"+strings.Repeat("ä", 1000)+"')"); err == nil {
		t.Error("there is no such table")
	}
	_, _ = db.Exec(ctx, "DELETE FROM pg_class WHERE false AND relname IN (SELECT relname FROM pg_class WHERE 1 = 2)")
	proxy.Break()
	_, _ = db.Exec(ctx, "UPDATE pg_class SET relname = relname WHERE false")
	request.End()
	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, failure := range map[string]any{
		"postgresql SELECT": nil, "postgresql WITH": "22P02", "postgresql INSERT": "42P01", "postgresql DELETE": nil,
	} {
		span, _ := collector.Span(t, name)
		if got := tracingtest.Attribute(span, "error.type"); got != failure || tracingtest.Attribute(span, "db.system.name") != "postgresql" ||
			tracingtest.Attribute(span, "db.operation.name") != strings.TrimPrefix(name, "postgresql ") || tracingtest.Attribute(span, "db.namespace") == "" {
			t.Errorf("%s: %v", name, span)
		}
	}
	if span, _ := collector.Span(t, "postgresql SELECT"); tracingtest.Attribute(span, "db.query.text") != "SELECT $1::text" {
		t.Errorf("%v", span)
	}
	if span, _ := collector.Span(t, "postgresql VALUES"); tracingtest.Attribute(span, "error.type") != nil && !strings.HasPrefix(tracingtest.Attribute(span, "error.type").(string), "pgx.ScanArgError") {
		t.Errorf("%v", span)
	}
	if span, _ := collector.Span(t, "postgresql INSERT"); len(tracingtest.Attribute(span, "db.query.text").(string)) > 1024 {
		t.Errorf("%v", span)
	}
	if strings.Contains(collector.Text(), "hunter2") || strings.Contains(collector.Text(), "of_no_request") {
		t.Error("arguments, or others' statements, are told")
	}
}
