package history_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var sorted = cmpopts.SortSlices(func(a, b string) bool { return a < b })

func openPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	return openTracedPool(t, url, nil)
}

// openTracedPool calls query before each query.
func openTracedPool(t *testing.T, url string, query func()) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	if query != nil {
		config.ConnConfig.Tracer = tracer(query)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

type tracer func()

func (t tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	t()
	return ctx
}

func (t tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
