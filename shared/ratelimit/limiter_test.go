package ratelimit_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// clock is a time that moves when a test says so.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

var discard = slog.New(slog.DiscardHandler)

func connect(t testing.TB, url string) *goredis.Client {
	t.Helper()
	options, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	options.ReadTimeout, options.WriteTimeout, options.DialTimeout = 20*time.Second, 20*time.Second, 20*time.Second
	options.ContextTimeoutEnabled = true
	options.DisableIdentity = true
	client := goredis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// everywhere runs a test with what can hold limits: this process alone, a Redis in
// process, a real one.
func everywhere(t *testing.T, test func(*testing.T, *goredis.Client)) {
	t.Run("alone", func(t *testing.T) { t.Parallel(); test(t, nil) })
	t.Run("in process", func(t *testing.T) { t.Parallel(); test(t, connect(t, redistest.URL(t))) })
	t.Run("real", func(t *testing.T) { t.Parallel(); test(t, connect(t, redistest.Real(t))) })
}

func key(p *ratelimit.Policy, id byte) ratelimit.Key {
	return ratelimit.Key{Policy: p, ID: [16]byte{15: id}}
}

// The policies of the tests. Their seconds are long, because a real Redis forgets
// by its own clock.
func policy(name string, burst int, window time.Duration) *ratelimit.Policy {
	return &ratelimit.Policy{Name: name, By: ratelimit.Address, Burst: burst, Window: window}
}

func wantAllowed(t testing.TB, what string, d ratelimit.Decision, remaining int, reset time.Duration) {
	t.Helper()
	if want := (ratelimit.Decision{Allowed: true, Remaining: remaining, Reset: reset}); d != want {
		t.Errorf("%s: %+v, want %+v", what, d, want)
	}
}

func wantRefused(t testing.TB, what string, d ratelimit.Decision, p *ratelimit.Policy, after time.Duration) {
	t.Helper()
	if want := (ratelimit.Decision{Refused: p, RetryAfter: after}); d != want {
		t.Errorf("%s: %+v, want %+v", what, d, want)
	}
}

func TestBurstThenSteadyRate(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		c, p := newClock(), policy("steady", 3, 30*time.Second)
		l := ratelimit.New(client, 1, c.now, discard)
		take := func() ratelimit.Decision { return l.Take(t.Context(), nil, key(p, 1)) }
		wantAllowed(t, "first", take(), 2, 10*time.Second)
		wantAllowed(t, "second", take(), 1, 20*time.Second)
		wantAllowed(t, "third", take(), 0, 30*time.Second)
		wantRefused(t, "fourth", take(), p, 10*time.Second)
		c.move(4 * time.Second)
		wantRefused(t, "too early", take(), p, 6*time.Second)
		c.move(6*time.Second - time.Microsecond)
		if d := take(); d.Allowed {
			t.Errorf("a microsecond early: %+v", d)
		}
		c.move(time.Microsecond)
		wantAllowed(t, "in time", take(), 0, 30*time.Second)
		wantRefused(t, "and no more", take(), p, 10*time.Second)
		c.move(15 * time.Second)
		wantAllowed(t, "half a request is none", take(), 0, 25*time.Second)
		c.move(time.Hour)
		wantAllowed(t, "never more than a burst", take(), 2, 10*time.Second)
		wantAllowed(t, "somebody else", l.Take(t.Context(), nil, key(p, 2)), 2, 10*time.Second)
		wantAllowed(t, "another policy", l.Take(t.Context(), nil, key(policy("other", 1, time.Minute), 1)), 0, time.Minute)
	})
}

func TestAllLimitsOrNone(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		c := newClock()
		wide, narrow, slow := policy("wide", 10, 100*time.Second), policy("narrow", 1, 20*time.Second), policy("slow", 1, 60*time.Second)
		l := ratelimit.New(client, 1, c.now, discard)
		wantAllowed(t, "all", l.Take(t.Context(), nil, key(wide, 1), key(narrow, 1), key(slow, 1)), 9, 10*time.Second)
		for range 5 {
			// A new limiter remembers no refusal, so that each of these is decided anew.
			if client != nil {
				l = ratelimit.New(client, 1, c.now, discard)
			}
			wantRefused(t, "the longest wait is told", l.Take(t.Context(), nil, key(wide, 1), key(narrow, 1), key(slow, 1)), slow, 60*time.Second)
			wantRefused(t, "wherever it stands", l.Take(t.Context(), nil, key(slow, 1), key(wide, 1), key(narrow, 1)), slow, 60*time.Second)
			wantRefused(t, "of two", l.Take(t.Context(), nil, key(wide, 1), key(narrow, 1)), narrow, 20*time.Second)
		}
		wantAllowed(t, "refusals have cost nothing", l.Take(t.Context(), nil, key(wide, 1)), 8, 20*time.Second)
		wantAllowed(t, "nor others", l.Take(t.Context(), nil, key(wide, 1), key(narrow, 2), key(slow, 2)), 7, 30*time.Second)
	})
}

// An instance whose clock ran an hour ahead, and was set right, locks nobody out
// for longer than a burst takes.
func TestClockThatRanAhead(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		c, p := newClock(), policy("ahead", 3, 30*time.Second)
		l := ratelimit.New(client, 1, c.now, discard)
		c.move(time.Hour)
		l.Take(t.Context(), nil, key(p, 1))
		c.move(-time.Hour)
		wantRefused(t, "at once", l.Take(t.Context(), nil, key(p, 1)), p, 10*time.Second)
		if client != nil {
			wantRefused(t, "to another instance", ratelimit.New(client, 1, c.now, discard).Take(t.Context(), nil, key(p, 1)), p, 10*time.Second)
			c.move(10 * time.Second)
			if d := l.Take(t.Context(), nil, key(p, 1)); d.Allowed && d.Remaining > 0 {
				t.Errorf("after it: %+v", d)
			}
		}
	})
}

// Nor does one make an account wait for longer than the longest wait.
func TestClockThatRanAheadOfAFailure(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		c, p := newClock(), policy("ahead", 3, 30*time.Second)
		account := key(&ratelimit.Backoff.Policy, 7)
		c.move(time.Hour)
		l := ratelimit.New(client, 1, c.now, discard)
		for range ratelimit.Backoff.Free {
			l.Fail(t.Context(), account)
		}
		c.move(-time.Hour)
		if client != nil {
			l = ratelimit.New(client, 1, c.now, discard)
		}
		wantRefused(t, "at once", l.Take(t.Context(), &account, key(p, 1)), account.Policy, ratelimit.Backoff.Longest)
	})
}

// Half of one request would be none at all.
func TestSecretOfOneRequestIsNotHalved(t *testing.T) {
	t.Parallel()
	p := policy("secret", 1, time.Minute)
	p.Secret = true
	l := ratelimit.New(nil, 1, newClock().now, discard)
	wantAllowed(t, "the one", l.Take(t.Context(), nil, key(p, 1)), 0, time.Minute)
}

func TestBackoffDoublesAndIsForgottenOnSuccess(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		c, p := newClock(), policy("attempts", 1000, time.Second*1000)
		l := ratelimit.New(client, 1, c.now, discard)
		account, address := key(&ratelimit.Backoff.Policy, 7), byte(0)
		take := func() ratelimit.Decision {
			address++
			return l.Take(t.Context(), &account, key(p, address))
		}
		if d := take(); !d.Allowed || d.Failed {
			t.Errorf("before any failure: %+v", d)
		}
		for range ratelimit.Backoff.Free - 1 {
			l.Fail(t.Context(), account)
			if d := take(); !d.Allowed || !d.Failed {
				t.Errorf("a failure that costs nothing: %+v", d)
			}
		}
		if d := take(); d.Allowed {
			t.Errorf("beside one that may be the fifth to fail: %+v", d)
		}
		for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900} {
			l.Fail(t.Context(), account)
			wantRefused(t, "failed", take(), &ratelimit.Backoff.Policy, wait*time.Second)
			if client != nil {
				other := ratelimit.New(client, 1, c.now, discard)
				wantRefused(t, "at another instance", other.Take(t.Context(), &account, key(p, 99)), &ratelimit.Backoff.Policy, wait*time.Second)
			}
			c.move(wait * time.Second)
			if d := take(); !d.Allowed || !d.Failed {
				t.Errorf("after %d s: %+v", wait, d)
			}
			wantRefused(t, "beside it", take(), &ratelimit.Backoff.Policy, min(2*wait, 10)*time.Second)
		}
		l.Fail(t.Context(), account)
		l.Succeed(t.Context(), account)
		if d := take(); !d.Allowed || d.Failed {
			t.Errorf("after a success: %+v", d)
		}
		l.Fail(t.Context(), account)
		if d := take(); !d.Allowed || !d.Failed {
			t.Errorf("counted from one: %+v", d)
		}
	})
}

// What is left of an attempt that nobody tells the outcome of is a short wait, and that
// those before it are remembered as long as they would be without it.
func TestAttemptWithoutAnOutcome(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		c, p := newClock(), policy("attempts", 1000, time.Second*1000)
		l := ratelimit.New(client, 1, c.now, discard)
		account := key(&ratelimit.Backoff.Policy, 7)
		for range 15 {
			l.Fail(t.Context(), account)
		}
		c.move(15 * time.Minute)
		if d := l.Take(t.Context(), &account, key(p, 1)); !d.Allowed {
			t.Errorf("after the longest wait: %+v", d)
		}
		wantRefused(t, "beside it", l.Take(t.Context(), &account, key(p, 1)), account.Policy, 10*time.Second)
		c.move(10 * time.Second)
		if d := l.Take(t.Context(), &account, key(p, 1)); !d.Allowed || !d.Failed {
			t.Errorf("ten seconds later: %+v", d)
		}
		if client == nil {
			return
		}
		if left := client.PTTL(t.Context(), account.RedisName()).Val(); left < 59*time.Minute {
			t.Errorf("failures are remembered for %v", left)
		}
		l.Fail(t.Context(), account)
		wantRefused(t, "failed", l.Take(t.Context(), &account, key(p, 1)), account.Policy, 15*time.Minute)
	})
}

func TestFailuresAreForgottenInTime(t *testing.T) {
	t.Parallel()
	c, p := newClock(), policy("attempts", 1000, time.Second*1000)
	l := ratelimit.New(nil, 1, c.now, discard)
	account := key(&ratelimit.Backoff.Policy, 7)
	for range 4 {
		l.Fail(t.Context(), account)
	}
	c.move(ratelimit.Backoff.Forget)
	if d := l.Take(t.Context(), &account, key(p, 1)); !d.Allowed || d.Failed {
		t.Errorf("forgotten: %+v", d)
	}
	l.Fail(t.Context(), account)
	if d := l.Take(t.Context(), &account, key(p, 1)); !d.Allowed {
		t.Errorf("a fifth failure an hour later: %+v", d)
	}
}

// counted counts what a client sends.
type counted struct {
	mu       sync.Mutex
	commands []string
}

func (c *counted) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (c *counted) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		c.mu.Lock()
		c.commands = append(c.commands, cmd.Name())
		c.mu.Unlock()
		return next(ctx, cmd)
	}
}
func (c *counted) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

func (c *counted) sent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.commands)
}

func TestFloodOfARefusedKeyAsksRedisNothing(t *testing.T) {
	t.Parallel()
	client, count := connect(t, redistest.URL(t)), &counted{}
	client.AddHook(count)
	c, p := newClock(), policy("flood", 1, 10*time.Second)
	other := policy("other", 100, time.Minute)
	l := ratelimit.New(client, 1, c.now, discard)
	l.Take(t.Context(), nil, key(p, 1))
	wantRefused(t, "by Redis", l.Take(t.Context(), nil, key(p, 1)), p, 10*time.Second)
	before := count.sent()
	for range 1000 {
		c.move(time.Millisecond)
		if d := l.Take(t.Context(), nil, key(other, 1), key(p, 1)); d.Allowed || d.Refused != p {
			t.Fatalf("%+v", d)
		}
	}
	if n := count.sent() - before; n != 0 {
		t.Errorf("a flood sent %d commands", n)
	}
	c.move(9 * time.Second)
	wantAllowed(t, "when it is over", l.Take(t.Context(), nil, key(p, 1)), 0, 10*time.Second)
	// Nor does an account that has to wait.
	account := key(&ratelimit.Backoff.Policy, 7)
	for range ratelimit.Backoff.Free {
		l.Fail(t.Context(), account)
	}
	before = count.sent()
	wantRefused(t, "an account", l.Take(t.Context(), &account, key(other, 2)), &ratelimit.Backoff.Policy, time.Second)
	if n := count.sent() - before; n != 0 {
		t.Errorf("an account that waits sent %d commands", n)
	}
}

func TestScaleMultipliesAllLimits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		scale           float64
		burst, admitted int
	}{{1, 10, 10}, {0.1, 10, 1}, {0.1, 5, 1}, {0.5, 10, 5}, {2, 10, 20}, {2.5, 10, 25}} {
		everywhere(t, func(t *testing.T, client *goredis.Client) {
			c, p := newClock(), policy("scaled", test.burst, time.Minute)
			l := ratelimit.New(client, test.scale, c.now, discard)
			n := 0
			for l.Take(t.Context(), nil, key(p, 1)).Allowed {
				n++
			}
			if n != test.admitted {
				t.Errorf("%v times %d admits %d, want %d", test.scale, test.burst, n, test.admitted)
			}
			if d := l.Take(t.Context(), nil, key(p, 1)); d.RetryAfter != time.Minute/time.Duration(n) {
				t.Errorf("%v: steady rate %v", test.scale, d.RetryAfter)
			}
		})
	}
}

// The largest scale leaves less than a microsecond between requests, and still is
// a limit, not a division by nothing.
func TestLargestScale(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, client *goredis.Client) {
		p := policy("largest", 300, time.Minute)
		l := ratelimit.New(client, 1e6, newClock().now, discard)
		wantAllowed(t, "one", l.Take(t.Context(), nil, key(p, 1)), 3e8-1, time.Millisecond)
	})
}

func env(settings map[string]string) *function.Env {
	lookup := func(name string) (string, bool) { v, ok := settings[name]; return v, ok }
	return function.NewEnv(discard, newClock().now, lookup).
		For(function.Function{Name: "test", Needs: []function.Need{ratelimit.Need, redis.Need}})
}

func TestScaleIsANumber(t *testing.T) {
	t.Parallel()
	check := func(value string) []error {
		return ratelimit.Need.Check(func(name string) string {
			return map[string]string{"RATE_LIMIT_SCALE": value, "RATE_LIMIT_PATIENCE": "1s"}[name]
		})
	}
	for _, value := range []string{"", "0", "0.09", "-1", "NaN", "Inf", "-Inf", "1000001", "two", "1,5"} {
		if errs := check(value); len(errs) != 1 || !strings.Contains(errs[0].Error(), "RATE_LIMIT_SCALE") {
			t.Errorf("%q: %v", value, errs)
		}
	}
	for _, value := range []string{"0.1", "1", "1.5", "1e6"} {
		if errs := check(value); len(errs) != 0 {
			t.Errorf("%q: %v", value, errs)
		}
	}
}

func TestPatienceIsADuration(t *testing.T) {
	t.Parallel()
	for value, right := range map[string]bool{"": false, "150": false, "9ms": false, "61s": false, "-1s": false, "10ms": true, "1m": true} {
		errs := ratelimit.Need.Check(func(name string) string {
			return map[string]string{"RATE_LIMIT_SCALE": "1", "RATE_LIMIT_PATIENCE": value}[name]
		})
		if right != (len(errs) == 0) || !right && !strings.Contains(errs[0].Error(), "RATE_LIMIT_PATIENCE must be from 10ms to 1m") {
			t.Errorf("%q: %v", value, errs)
		}
	}
}

func TestProcessHasOneLimiterOverRedisAndOthersAlone(t *testing.T) {
	t.Parallel()
	e := env(map[string]string{"REDIS_URL": redistest.URL(t), "RATE_LIMIT_SCALE": "2"})
	defer func() { _ = e.Stop(context.Background()) }()
	if first, second := ratelimit.For(e), ratelimit.For(e); first != second {
		t.Error("two limiters of one process")
	}
	p := policy("two", 1, time.Minute)
	for i := range 3 {
		if d := ratelimit.For(e).Take(t.Context(), nil, key(p, 1)); d.Allowed != (i < 2) {
			t.Errorf("request %d: %+v", i, d)
		}
	}
	// What the process holds by itself knows nothing of the other's.
	if d := ratelimit.Local(e).Take(t.Context(), nil, key(p, 1)); !d.Allowed {
		t.Errorf("alone: %+v", d)
	}
	// A scale that cannot be read is refused when the function starts; listing its
	// routes needs none.
	ratelimit.Local(env(map[string]string{"RATE_LIMIT_SCALE": "none"}))
}

// Where there is no room for another key, new ones share a limit: a flood of
// addresses frees nobody, and fills no memory.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	c, p := newClock(), policy("flooded", 2, time.Minute)
	l := ratelimit.New(nil, 1, c.now, discard)
	many := func(i int) ratelimit.Key {
		return ratelimit.Key{Policy: p, ID: [16]byte{0: 1, 1: byte(i >> 16), 2: byte(i >> 8), 3: byte(i)}}
	}
	for i := range ratelimit.Most {
		if d := l.Take(t.Context(), nil, many(i)); !d.Allowed {
			t.Fatalf("key %d: %+v", i, d)
		}
	}
	admitted := 0
	for i := range 1000 {
		if l.Take(t.Context(), nil, many(ratelimit.Most+i)).Allowed {
			admitted++
		}
	}
	if admitted != 2 {
		t.Errorf("of those without a place %d were admitted, want a burst of 2", admitted)
	}
	if d := l.Take(t.Context(), nil, many(5)); !d.Allowed {
		t.Errorf("one that has a place: %+v", d)
	}
	c.move(time.Hour)
	for i := range 1000 {
		if d := l.Take(t.Context(), nil, many(2*ratelimit.Most+i)); !d.Allowed {
			t.Fatalf("after those before are whole again, key %d: %+v", i, d)
		}
	}
	// Failures are dropped likewise, when they are over.
	for i := range ratelimit.Most + 10 {
		k := many(i)
		k.Policy = &ratelimit.Backoff.Policy
		for range ratelimit.Backoff.Free {
			l.Fail(t.Context(), k)
		}
	}
	c.move(2 * time.Hour)
	k := key(&ratelimit.Backoff.Policy, 1)
	for range ratelimit.Backoff.Free {
		l.Fail(t.Context(), k)
	}
	wantRefused(t, "there is room again", l.Take(t.Context(), &k, many(1)), k.Policy, time.Second)
}

// Nor does what Redis says fill it: who was admitted, and who was refused.
func TestMemoryOfWhatRedisSaidIsBounded(t *testing.T) {
	t.Parallel()
	fake := miniredis.RunT(t)
	var refuses atomic.Bool
	fake.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd != "EVALSHA" {
			return false
		}
		answer := []int{0, 1, 0, 60_000_000}
		if refuses.Load() {
			answer = []int{1, 60_000_000}
		}
		c.WriteLen(len(answer))
		for _, n := range answer {
			c.WriteInt(n)
		}
		return true
	})
	client, c := connect(t, "redis://"+fake.Addr()), newClock()
	l := ratelimit.New(client, 1, c.now, discard)
	p := policy("flooded", 2, time.Minute)
	flood := func(from, n int) {
		var all sync.WaitGroup
		for part := range 8 {
			all.Go(func() {
				for i := part; i < n; i += 8 {
					id := from + i
					l.Take(t.Context(), nil, ratelimit.Key{Policy: p, ID: [16]byte{0: 1, 1: byte(id >> 16), 2: byte(id >> 8), 3: byte(id)}})
				}
			})
		}
		all.Wait()
	}
	flood(0, ratelimit.Most+1000)
	refuses.Store(true)
	flood(ratelimit.Most+1000, ratelimit.Most+1000)
	if whole, refused := l.Held(); whole < ratelimit.Most || whole > ratelimit.Most+1 || refused != ratelimit.Most {
		t.Errorf("holds %d and %d", whole, refused)
	}
	c.move(time.Hour)
	flood(3*ratelimit.Most, 1)
	if whole, refused := l.Held(); whole != 1 || refused != 1 {
		t.Errorf("an hour later it holds %d and %d", whole, refused)
	}
	// Those who have no place of their own are not taken for each other while Redis
	// knows them apart, and share one when it does not.
	refuses.Store(false)
	flood(4*ratelimit.Most, ratelimit.Most+10)
	for range 5 {
		if d, refused := l.Known(key(p, 1)); refused {
			t.Fatalf("a stranger is refused: %+v", d)
		}
	}
	_ = client.Close()
	if d := l.Take(t.Context(), nil, key(p, 1)); d.Allowed {
		t.Errorf("one more of many without Redis: %+v", d)
	}
}

func TestNamesInRedisSayNothingOfTheSubject(t *testing.T) {
	t.Parallel()
	if got := key(policy("login", 1, time.Minute), 255).RedisName(); got != "limit:login:AAAAAAAAAAAAAAAAAAAA_w" {
		t.Error(got)
	}
}
