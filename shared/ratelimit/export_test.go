package ratelimit

import (
	"context"
	"log/slog"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// AskTime is how long a limiter waits for Redis.
const AskTime = askTime

// New returns a limiter over a client, nil for none. It waits for Redis as long as
// a busy machine may take: what is compared is what Redis decides.
func New(client *goredis.Client, scaled float64, now func() time.Time, log *slog.Logger) *Limiter {
	l := NewHasty(client, scaled, now, log)
	l.within = 20 * time.Second
	return l
}

// NewHasty returns a limiter that gives Redis up as soon as those that serve do.
func NewHasty(client *goredis.Client, scaled float64, now func() time.Time, log *slog.Logger) *Limiter {
	if client == nil {
		return newLimiter(nil, scale(scaled), now, log)
	}
	return newLimiter(func(context.Context) (*goredis.Client, error) { return client, nil }, scale(scaled), now, log)
}

// Fail and Succeed are what an Attempt does.
func (l *Limiter) Fail(ctx context.Context, account Key)    { l.fail(ctx, account) }
func (l *Limiter) Succeed(ctx context.Context, account Key) { l.succeed(ctx, account) }

// RedisName is a key's name in Redis.
func (k Key) RedisName() string { return k.redis() }

// Most is how many keys an instance holds.
const Most = most
