package ratelimit

import (
	"context"
	"log/slog"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/redis"
)

// New returns a limiter over a client, nil for none. It waits for Redis as long as
// a busy machine may take: what is compared is what Redis decides.
func New(client *goredis.Client, scaled float64, now func() time.Time, log *slog.Logger) *Limiter {
	return patient(client, 20*time.Second, scaled, now, log)
}

// NewHasty returns a limiter that gives Redis up as soon as those that serve do.
func NewHasty(client *goredis.Client, scaled float64, now func() time.Time, log *slog.Logger) *Limiter {
	patience, err := parsePatience(Need.Settings[1].Default)
	if err != nil {
		panic(err)
	}
	return patient(client, patience, scaled, now, log)
}

func patient(client *goredis.Client, patience time.Duration, scaled float64, now func() time.Time, log *slog.Logger) *Limiter {
	if client == nil {
		return newLimiter(nil, 0, scale(scaled), now, log)
	}
	return newLimiter(func(context.Context) (*redis.Commands, error) { return redis.Over(client), nil }, patience, scale(scaled), now, log)
}

// Fail and Succeed are what an Attempt does.
func (l *Limiter) Fail(ctx context.Context, account Key)    { l.fail(ctx, account, false) }
func (l *Limiter) Succeed(ctx context.Context, account Key) { l.succeed(ctx, account, false) }

// RedisName is a key's name in Redis.
func (k Key) RedisName() string { return k.redis() }

// Most is how many keys an instance holds.
const Most = most

// Held returns how many limits and refusals an instance holds.
func (l *Limiter) Held() (whole, refused int) {
	l.local.mu.Lock()
	defer l.local.mu.Unlock()
	return len(l.local.whole), len(l.local.refused)
}

// Known is what a limiter refuses without asking anybody.
func (l *Limiter) Known(keys ...Key) (Decision, bool) { return l.known(keys) }
