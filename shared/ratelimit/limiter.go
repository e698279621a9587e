package ratelimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/redis"
)

const (
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

	takeScript = redis.NewScript(takeText)
	failScript = redis.NewScript(failText)
)

// Limiter decides. One serves all requests of a process.
type Limiter struct {
	cause   atomic.Pointer[error] // why Redis was last of no use
	client  func(context.Context) (*redis.Commands, error)
	within  time.Duration // Redis has to answer
	now     func() time.Time
	scale   scale
	local   *local
	breaker *gobreaker.CircuitBreaker[[]int64]
}

// Need declares that a function limits its callers.
var Need = function.Need{Name: "ratelimit", Check: check, Settings: []function.Setting{
	{Name: "RATE_LIMIT_SCALE", Default: "1", Doc: "multiplies every limit, from 0.1: for an installation that many people reach from one address"},
	// In the same region an answer takes about a millisecond.
	{Name: "RATE_LIMIT_PATIENCE", Default: "150ms", Doc: "how long a request may wait for Redis, from 10ms to 1m; then its instance decides"},
}}

func check(setting func(string) string) (errs []error) {
	if _, err := parseScale(setting("RATE_LIMIT_SCALE")); err != nil {
		errs = append(errs, err)
	}
	if _, err := parsePatience(setting("RATE_LIMIT_PATIENCE")); err != nil {
		errs = append(errs, err)
	}
	return errs
}

func parsePatience(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 10*time.Millisecond || d > time.Minute {
		return 0, fmt.Errorf("RATE_LIMIT_PATIENCE must be from 10ms to 1m, not %q", text)
	}
	return d, nil
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
		// What serves was checked.
		patience, _ := parsePatience(env.Setting("RATE_LIMIT_PATIENCE"))
		return newLimiter(db.Commands, patience, scaleOf(env), env.Now, env.Log)
	})
}

// Local returns a limiter for limits that each instance keeps by itself: they
// guard the instance, and cost no round trip. The function must declare Need.
func Local(env *function.Env) *Limiter {
	return newLimiter(nil, 0, scaleOf(env), env.Now, env.Log)
}

func scaleOf(env *function.Env) scale {
	s, err := parseScale(env.Setting("RATE_LIMIT_SCALE"))
	if err != nil {
		return 1 // which lists routes; what serves was checked
	}
	return s
}

func newLimiter(client func(context.Context) (*redis.Commands, error), patience time.Duration, s scale, now func() time.Time, log *slog.Logger) *Limiter {
	l := &Limiter{client: client, within: patience, now: now, scale: s, local: newLocal(s)}
	l.breaker = gobreaker.NewCircuitBreaker[[]int64](gobreaker.Settings{
		Timeout:     restTime,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= trips },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case from == gobreaker.StateClosed:
				log.Warn("Redis is of no use: this instance limits its callers by itself", "error", (*l.cause.Load()).Error())
			case to == gobreaker.StateClosed:
				log.Info("Redis is of use again: limits hold across instances")
			}
		},
	})
	return l
}

// Take decides about a request that counts under keys, and charges them all if it
// is admitted. account, which may be nil, is whose failures may make it wait.
// It never fails: where Redis does not answer, this instance decides.
func (l *Limiter) Take(ctx context.Context, account *Key, keys ...Key) Decision {
	d, _ := l.take(ctx, account, keys...)
	return d
}

// take also tells whether Redis had a say, which is asked once for a request that
// it keeps waiting.
func (l *Limiter) take(ctx context.Context, account *Key, keys ...Key) (d Decision, alone bool) {
	now := l.now()
	if d, refused := l.local.hot(now, keys, account); refused {
		return d, false
	}
	asked := keys
	if account != nil {
		asked = append(keys[:len(keys):len(keys)], *account)
	}
	answer, err := l.ask(ctx, func(ctx context.Context, client *redis.Commands) ([]int64, error) {
		names, args := make([]string, len(asked)), make([]any, 0, 4+2*len(asked))
		args = append(args, now.UnixMicro())
		for i, k := range asked {
			names[i] = k.redis()
			if account != nil && i == len(keys) {
				args = append(args, 0, Backoff.Longest.Microseconds(), Backoff.Free, Backoff.First.Microseconds(), Backoff.Attempt.Microseconds())
			} else {
				emission, burst := l.scale.rate(k.Policy)
				args = append(args, emission.Microseconds(), burst)
			}
		}
		answer, err := client.Run(ctx, takeScript, names, args...)
		admits := len(answer) == 3+len(keys) && answer[0] == 0
		refuses := len(answer) == 2 && answer[0] >= 1 && answer[0] <= int64(len(asked))
		if err == nil && !admits && !refuses {
			err = fmt.Errorf("a decision was answered with %d", answer)
		}
		return answer, err
	})
	if err != nil {
		return l.local.take(now, keys, account), true
	}
	if answer[0] == 0 {
		l.local.charged(now, keys, answer[3:])
		return Decision{Allowed: true, Remaining: int(answer[1]), Reset: whole(microseconds(answer[3])), Failed: answer[2] == 1}, false
	}
	refusing, wait := asked[answer[0]-1], microseconds(answer[1])
	l.local.remember(now, refusing, wait)
	return Decision{Refused: refusing.Policy, RetryAfter: whole(wait)}, false
}

// known returns a refusal that the instance can give without asking anybody.
func (l *Limiter) known(keys []Key) (Decision, bool) {
	rate := l.scale.rate
	if l.client == nil || l.breaker.State() != gobreaker.StateClosed {
		rate = l.scale.alone
	}
	return l.local.known(l.now(), keys, rate)
}

// fail counts a failed attempt on an account; alone, in this instance only.
func (l *Limiter) fail(ctx context.Context, account Key, alone bool) {
	now := l.now()
	l.local.fail(now, account)
	if alone {
		return
	}
	answer, err := l.ask(ctx, func(ctx context.Context, client *redis.Commands) ([]int64, error) {
		return client.Run(ctx, failScript, []string{account.redis()},
			now.UnixMicro(), Backoff.Free, Backoff.First.Microseconds(), Backoff.Longest.Microseconds(), Backoff.Forget.Milliseconds())
	})
	if err == nil && len(answer) == 1 && answer[0] > 0 {
		l.local.remember(now, account, time.Duration(answer[0])*time.Millisecond)
	}
}

// succeed forgets the failures of an account; alone, in this instance only.
func (l *Limiter) succeed(ctx context.Context, account Key, alone bool) {
	l.local.succeed(account)
	if alone {
		return
	}
	_, _ = l.ask(ctx, func(ctx context.Context, client *redis.Commands) ([]int64, error) {
		return nil, client.Send(ctx, []any{"DEL", account.redis()})
	})
}

// ask asks Redis, unless it has been failing.
func (l *Limiter) ask(ctx context.Context, do func(context.Context, *redis.Commands) ([]int64, error)) ([]int64, error) {
	if l.client == nil {
		return nil, errAlone
	}
	return l.breaker.Execute(func() (answer []int64, err error) {
		defer func() {
			if err != nil {
				l.cause.Store(&err)
			}
		}()
		// Who hangs up is counted all the same.
		timed, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.within)
		defer cancel()
		client, err := l.client(timed)
		if err != nil {
			return nil, err
		}
		return do(timed, client)
	})
}

var errAlone = errors.New("this limiter keeps to its instance")

func microseconds(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
