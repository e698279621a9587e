package ratelimit_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/go-redis/redis_rate/v10"
	goredis "github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// atInstants gives redis_rate's own scripts, as they are sent, the test's instant
// where they ask Redis for the time: two limiters that are asked one after the
// other cannot otherwise decide about the same instant.
type atInstants struct{ now func() time.Time }

func (a atInstants) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (a atInstants) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

func (a atInstants) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	const asks = `redis.call("TIME")`
	return func(ctx context.Context, cmd goredis.Cmder) error {
		args := cmd.Args()
		switch cmd.Name() {
		case "evalsha": // is not the script that runs here
			err := noScript{}
			cmd.SetErr(err)
			return err
		case "eval":
			script := args[1].(string)
			if strings.Count(script, asks) != 1 {
				panic("redis_rate's script asks for the time in another way")
			}
			now := a.now()
			timed := append([]any{}, args...)
			timed[1] = strings.Replace(script, asks, "{ARGV[5], ARGV[6]}", 1)
			asked := goredis.NewCmd(ctx, append(timed, now.Unix(), now.Nanosecond()/1000)...)
			err := next(ctx, asked)
			cmd.(*goredis.Cmd).SetVal(asked.Val())
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// noScript is what Redis answers to EVALSHA of what it does not hold.
type noScript struct{}

func (noScript) Error() string { return "NOSCRIPT No matching script." }
func (noScript) RedisError()   {}

// With one key, every decision is that of redis_rate, to the number: allowed, what
// remains, when to come again and when all is whole. Instants and rates are in
// quarters of a second, which redis_rate's floating point holds exactly.
func TestDecidesAsRedisRate(t *testing.T) {
	t.Parallel()
	const quarter = 250 * time.Millisecond
	ours, theirs := connect(t, redistest.Real(t)), connect(t, redistest.Real(t))
	c := newClock()
	theirs.AddHook(atInstants{c.now})
	oracle := redis_rate.NewLimiter(theirs)
	decisions, refusals := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		if err := ours.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := theirs.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		burst := rapid.IntRange(1, 12).Draw(t, "burst")
		emission := time.Duration(rapid.IntRange(4, 240).Draw(t, "emission")) * quarter
		p := policy("oracle", burst, emission*time.Duration(burst))
		limit := redis_rate.Limit{Rate: burst, Burst: burst, Period: p.Window}
		l := ratelimit.New(ours, 1, c.now, discard)
		steps := rapid.SliceOfN(rapid.OneOf(rapid.Just(0), rapid.IntRange(0, int(2*emission/quarter)), rapid.IntRange(0, int(p.Window/quarter))), 1, 60).Draw(t, "steps")
		for i, step := range steps {
			c.move(time.Duration(step) * quarter)
			want, err := oracle.Allow(context.Background(), "k", limit)
			if err != nil {
				t.Fatal(err)
			}
			got := l.Take(context.Background(), nil, key(p, 1))
			decisions++
			if want.Allowed == 0 {
				refusals++
				if got.Allowed || got.RetryAfter != want.RetryAfter {
					t.Fatalf("step %d: %+v, redis_rate refuses for %v", i, got, want.RetryAfter)
				}
			} else if !got.Allowed || got.Remaining != want.Remaining || got.Reset != want.ResetAfter {
				t.Fatalf("step %d: %+v, redis_rate admits: %+v", i, got, want)
			}
		}
	})
	if refusals*20 < decisions || refusals*20 > 19*decisions {
		t.Errorf("of %d decisions %d were refusals: the traces try one side only", decisions, refusals)
	}
}

// redis_rate as it is, by Redis' own clock: what may come at once is the same.
func TestBurstIsThatOfRedisRate(t *testing.T) {
	t.Parallel()
	client := connect(t, redistest.Real(t))
	oracle := redis_rate.NewLimiter(client)
	for burst := 1; burst <= 20; burst++ {
		p := policy("burst", burst, time.Duration(burst)*time.Hour)
		l := ratelimit.New(client, 1, time.Now, discard)
		for i := range burst + 3 {
			want, err := oracle.Allow(t.Context(), string(rune('a'+burst)), redis_rate.Limit{Rate: burst, Burst: burst, Period: p.Window})
			if err != nil {
				t.Fatal(err)
			}
			got := l.Take(t.Context(), nil, key(p, byte(burst)))
			if got.Allowed != (want.Allowed == 1) || got.Remaining != want.Remaining {
				t.Errorf("burst %d, request %d: %+v, want %+v", burst, i, got, want)
			}
		}
	}
}

// What an instance decides by itself is what Redis decides, to the number, for
// any mix of keys, failures and clocks: losing Redis changes nobody's limits but
// those that guard secrets.
func TestAloneDecidesAsInRedis(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		server := miniredis.RunT(t)
		// Time passes for the keys of this Redis too, so that what it forgets counts.
		compareAlone(t, connect(t, "redis://"+server.Addr()), server.FastForward, 0, 2*time.Hour)
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		// A real Redis forgets by its own clock, which hardly moves in a test: clocks
		// may go back, and no failure may grow old enough to be forgotten.
		compareAlone(t, connect(t, redistest.Real(t)), func(time.Duration) {}, -10*time.Second, 30*time.Second)
	})
}

func compareAlone(t *testing.T, client *goredis.Client, pass func(time.Duration), back, ahead time.Duration) {
	policies := []*ratelimit.Policy{
		policy("one", 3, 20*time.Second), policy("two", 2, 3*time.Minute), policy("three", 1, 90*time.Second),
	}
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		if err := client.FlushAll(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		c := newClock()
		alone := ratelimit.New(nil, 1, c.now, discard)
		var account *ratelimit.Key
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			step := time.Duration(rapid.OneOf(
				rapid.Just(int64(0)), rapid.Int64Range(0, int64(20*time.Second/time.Microsecond)), rapid.Int64Range(int64(back/time.Microsecond), int64(ahead/time.Microsecond)),
			).Draw(t, "move")) * time.Microsecond
			c.move(step)
			pass(max(0, step))
			// A new one each time: it remembers no refusal, and has to ask.
			shared := ratelimit.New(client, 1, c.now, discard)
			account = nil
			if n := rapid.IntRange(0, 2).Draw(t, "account"); n > 0 {
				account = new(key(&ratelimit.Backoff.Policy, byte(n)))
			}
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what == 0 && account != nil:
				alone.Succeed(ctx, *account)
				shared.Succeed(ctx, *account)
			case what < 4 && account != nil:
				for range rapid.IntRange(1, 4).Draw(t, "failures") {
					alone.Fail(ctx, *account)
					shared.Fail(ctx, *account)
				}
			default:
				var keys []ratelimit.Key
				for _, p := range rapid.Permutation(policies).Draw(t, "policies")[:rapid.IntRange(1, 3).Draw(t, "keys")] {
					keys = append(keys, key(p, rapid.ByteRange(0, 1).Draw(t, "subject")))
				}
				a, s := alone.Take(ctx, account, keys...), shared.Take(ctx, account, keys...)
				if a != s {
					t.Fatalf("step %d, %d keys: alone %+v, in Redis %+v", i, len(keys), a, s)
				}
				switch {
				case a.Allowed:
					seen["allowed"]++
				case a.Refused == &ratelimit.Backoff.Policy:
					seen["backoff"]++
				default:
					seen[a.Refused.Name]++
				}
			}
		}
	})
	for _, what := range []string{"allowed", "backoff", "one", "two", "three"} {
		if seen[what] == 0 {
			t.Errorf("the traces never came to %q: %v", what, seen)
		}
	}
}
