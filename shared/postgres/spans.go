package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/devops-dashboard/dashboard/shared/tracing"
)

// spans makes one of each statement and of each connection. Of a statement its own
// text is told, which is ours, and never its arguments; of an error its code, since
// its words may hold what was sent.
type spans struct{}

type spanKey struct{}

// mostText is how many bytes of a statement are told.
const mostText = 1 << 10

func (spans) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	text := strings.TrimSpace(data.SQL)
	verb, _, _ := strings.Cut(text, " ")
	ctx, span := begin(ctx, strings.ToUpper(strings.Trim(verb, ";\n\t")))
	span.Set(tracing.Text("db.namespace", conn.Config().Database), tracing.Text("db.query.text", strings.ToValidUTF8(text[:min(len(text), mostText)], "")))
	return ctx
}

func (spans) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	end(ctx, data.Err)
}

func (spans) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	ctx, _ = begin(ctx, "connect")
	return ctx
}

func (spans) TraceConnectEnd(ctx context.Context, data pgx.TraceConnectEndData) { end(ctx, data.Err) }

func begin(ctx context.Context, operation string) (context.Context, *tracing.Span) {
	ctx, span := tracing.Call(ctx, "postgresql "+operation)
	span.Set(tracing.Text("db.system.name", "postgresql"), tracing.Text("db.operation.name", operation))
	return context.WithValue(ctx, spanKey{}, span), span
}

func end(ctx context.Context, err error) {
	span, _ := ctx.Value(spanKey{}).(*tracing.Span)
	var server *pgconn.PgError
	switch {
	case err == nil, errors.Is(err, pgx.ErrNoRows):
	case errors.As(err, &server):
		span.Fail(server.Code)
	default:
		span.Fail(fmt.Sprintf("%T", err))
	}
	span.End()
}
