package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/tracing"
)

// spans makes one of each command, of which its name is told, and neither keys nor
// values.
type spans struct{}

// DialHook makes none: the pool dials for no command in particular.
func (spans) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (spans) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, command goredis.Cmder) error {
		ctx, span := begin(ctx, strings.ToUpper(command.Name()))
		err := next(ctx, command)
		end(span, err)
		return err
	}
}

func (spans) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, commands []goredis.Cmder) error {
		ctx, span := begin(ctx, "PIPELINE")
		span.Set(tracing.Number("db.operation.batch.size", int64(len(commands))))
		err := next(ctx, commands)
		end(span, err)
		return err
	}
}

func begin(ctx context.Context, operation string) (context.Context, *tracing.Span) {
	ctx, span := tracing.Call(ctx, "redis "+operation)
	span.Set(tracing.Text("db.system.name", "redis"), tracing.Text("db.operation.name", operation))
	return ctx, span
}

// end ends a span. That there is no such key is an answer, and so is that a script
// has to be sent.
func end(span *tracing.Span, err error) {
	if err != nil && !errors.Is(err, goredis.Nil) && !goredis.HasErrorPrefix(err, "NOSCRIPT") {
		span.Fail(fmt.Sprintf("%T", err))
	}
	span.End()
}
