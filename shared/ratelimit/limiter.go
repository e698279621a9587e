package ratelimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/redis"
)

const (
	// askTime is how long Redis may take for a decision; in the same region it
	// takes about a millisecond.
	askTime = 150 * time.Millisecond
	// trips is after how many failures in a row Redis is left alone, and restTime
	// for how long.
	trips    = 3
	restTime = 5 * time.Second
)

var (
	//go:embed take.lua
	takeText string
	//go:embed fail.lua
	failText string

	takeScript = goredis.NewScript(takeText)
	failScript = goredis.NewScript(failText)
)

// Limiter decides. One serves all requests of a process.
type Limiter struct {
	client  func(context.Context) (*goredis.Client, error)
	within  time.Duration // Redis has to answer
	now     func() time.Time
	scale   scale
	local   *local
	breaker *gobreaker.CircuitBreaker[[]int64]
}

// Need declares that a function limits its callers.
var Need = function.Need{Name: "ratelimit", Check: check, Settings: []function.Setting{
	{Name: "RATE_LIMIT_SCALE", Default: "1", Doc: "multiplies every limit, from 0.1: for an installation that many people reach from one address"},
}}

func check(setting func(string) string) []error {
	if _, err := parseScale(setting("RATE_LIMIT_SCALE")); err != nil {
		return []error{err}
	}
	return nil
}

func parseScale(text string) (scale, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0.1 && n <= 1e6) {
		return 0, fmt.Errorf("RATE_LIMIT_SCALE must be a number from 0.1 to 1000000, not %q", text)
	}
	return scale(n), nil
}

// For returns the process's limiter, whose limits hold across instances. The
// function must declare Need and redis.Need.
func For(env *function.Env) *Limiter {
	db := redis.For(env)
	return function.Shared(env, Need, func() *Limiter {
		return newLimiter(db.Client, scaleOf(env), env.Now, env.Log)
	})
}

// Local returns a limiter for limits that each instance keeps by itself: they
// guard the instance, and cost no round trip. The function must declare Need.
func Local(env *function.Env) *Limiter {
	return newLimiter(nil, scaleOf(env), env.Now, env.Log)
}

func scaleOf(env *function.Env) scale {
	s, err := parseScale(env.Setting("RATE_LIMIT_SCALE"))
	if err != nil {
		return 1 // which lists routes; what serves was checked
	}
	return s
}

func newLimiter(client func(context.Context) (*goredis.Client, error), s scale, now func() time.Time, log *slog.Logger) *Limiter {
	return &Limiter{
		client: client, within: askTime, now: now, scale: s, local: newLocal(s),
		breaker: gobreaker.NewCircuitBreaker[[]int64](gobreaker.Settings{
			Timeout:     restTime,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= trips },
			// A caller who leaves says nothing about Redis.
			IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
			OnStateChange: func(_ string, from, to gobreaker.State) {
				switch {
				case from == gobreaker.StateClosed:
					log.Warn("Redis does not answer: this instance limits its callers by itself")
				case to == gobreaker.StateClosed:
					log.Info("Redis answers again: limits hold across instances")
				}
			},
		}),
	}
}

// Take decides about a request that counts under keys, and charges them all if it
// is admitted. account, which may be nil, is whose failures may make it wait.
// It never fails: where Redis does not answer, this instance decides.
func (l *Limiter) Take(ctx context.Context, account *Key, keys ...Key) Decision {
	now := l.now()
	if d, refused := l.local.hot(now, keys, account); refused {
		return d
	}
	asked := keys
	if account != nil {
		asked = append(keys[:len(keys):len(keys)], *account)
	}
	answer, err := l.ask(ctx, func(ctx context.Context, client *goredis.Client) ([]int64, error) {
		names, args := make([]string, len(asked)), make([]any, 0, 1+2*len(asked))
		args = append(args, now.UnixMicro())
		for i, k := range asked {
			names[i] = k.redis()
			if account != nil && i == len(keys) {
				args = append(args, 0, Backoff.Longest.Microseconds())
			} else {
				emission, burst := l.scale.rate(k.Policy)
				args = append(args, emission.Microseconds(), burst)
			}
		}
		return takeScript.Run(ctx, client, names, args...).Int64Slice()
	})
	switch {
	case err == nil && len(answer) == 4 && answer[0] == 0:
		l.local.charge(now, keys)
		return Decision{Allowed: true, Remaining: int(answer[1]), Reset: milliseconds(answer[2]), Failed: answer[3] == 1}
	case err == nil && len(answer) == 2 && answer[0] >= 1 && answer[0] <= int64(len(asked)):
		refusing, wait := asked[answer[0]-1], milliseconds(answer[1])
		l.local.remember(now, refusing, wait)
		return Decision{Refused: refusing.Policy, RetryAfter: wait}
	}
	return l.local.take(now, keys, account)
}

// fail counts a failed attempt on an account.
func (l *Limiter) fail(ctx context.Context, account Key) {
	now := l.now()
	l.local.fail(now, account)
	answer, err := l.ask(ctx, func(ctx context.Context, client *goredis.Client) ([]int64, error) {
		ms, err := failScript.Run(ctx, client, []string{account.redis()},
			now.UnixMicro(), Backoff.Free, Backoff.First.Microseconds(), Backoff.Longest.Microseconds(), Backoff.Forget.Milliseconds()).Int64()
		return []int64{ms}, err
	})
	if err == nil && answer[0] > 0 {
		l.local.remember(now, account, milliseconds(answer[0]))
	}
}

// succeed forgets the failures of an account.
func (l *Limiter) succeed(ctx context.Context, account Key) {
	l.local.succeed(account)
	_, _ = l.ask(ctx, func(ctx context.Context, client *goredis.Client) ([]int64, error) {
		return nil, client.Del(ctx, account.redis()).Err()
	})
}

// ask asks Redis, unless it has been failing.
func (l *Limiter) ask(ctx context.Context, do func(context.Context, *goredis.Client) ([]int64, error)) ([]int64, error) {
	if l.client == nil {
		return nil, errAlone
	}
	return l.breaker.Execute(func() ([]int64, error) {
		timed, cancel := context.WithTimeout(ctx, l.within)
		defer cancel()
		client, err := l.client(timed)
		if err != nil {
			return nil, err
		}
		answer, err := do(timed, client)
		if err != nil {
			return nil, fmt.Errorf("ask Redis: %w", err)
		}
		return answer, nil
	})
}

var errAlone = errors.New("this limiter keeps to its instance")

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
