package ratelimit_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// commands is how often the server has run each command, those inside scripts
// among them, as Upstash bills them.
func commands(t *testing.T, client *goredis.Client) map[string]int {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for line := range strings.Lines(info) {
		name, stats, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		calls, _, _ := strings.Cut(stats, ",")
		if ran[name], err = strconv.Atoi(calls); err != nil {
			t.Fatal(err)
		}
	}
	return ran
}

func TestCommandsThatADecisionCosts(t *testing.T) {
	t.Parallel()
	url := redistest.Real(t)
	client, watch := connect(t, url), connect(t, url)
	c := newClock()
	p, q, r := policy("p", 2, time.Minute), policy("q", 3, time.Minute), policy("r", 4, time.Minute)
	account := key(&ratelimit.Backoff.Policy, 7)
	take := func(account *ratelimit.Key, keys ...ratelimit.Key) func(*ratelimit.Limiter) {
		return func(l *ratelimit.Limiter) { l.Take(context.Background(), account, keys...) }
	}
	// What Redis holds already: the scripts, and limits that are used up.
	warm := ratelimit.New(client, 1, c.now, discard)
	for range 3 {
		take(nil, key(p, 9))(warm)
	}
	worried := key(&ratelimit.Backoff.Policy, 9)
	for range ratelimit.Backoff.Free - 1 {
		warm.Fail(t.Context(), worried)
	}
	if err := watch.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		do   func(*ratelimit.Limiter)
		want map[string]int
		sum  int
	}{
		{"one key", take(nil, key(p, 1)), map[string]int{"evalsha": 1, "get": 1, "set": 1}, 3},
		{"three keys", take(nil, key(p, 2), key(q, 2), key(r, 2)), map[string]int{"evalsha": 1, "mget": 1, "set": 3}, 5},
		{"three keys and an account", take(&account, key(p, 3), key(q, 3), key(r, 3)), map[string]int{"evalsha": 1, "mget": 1, "set": 3}, 5},
		{"one key and an account with failures", take(&worried, key(p, 4)), map[string]int{"evalsha": 1, "mget": 1, "set": 2}, 4},
		{"one key, refused", take(nil, key(p, 9)), map[string]int{"evalsha": 1, "get": 1}, 2},
		{"three keys, refused", take(nil, key(q, 9), key(r, 9), key(p, 9)), map[string]int{"evalsha": 1, "mget": 1}, 2},
		{"a failure", func(l *ratelimit.Limiter) { l.Fail(context.Background(), account) }, map[string]int{"evalsha": 1, "get": 1, "set": 1}, 3},
		{"a success", func(l *ratelimit.Limiter) { l.Succeed(context.Background(), account) }, map[string]int{"del": 1}, 1},
	} {
		if err := watch.ConfigResetStat(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		test.do(ratelimit.New(client, 1, c.now, discard))
		got := commands(t, watch)
		maps.DeleteFunc(got, func(name string, _ int) bool { return strings.HasPrefix(name, "config") || name == "info" })
		sum := 0
		for _, n := range got {
			sum += n
		}
		if sum != test.sum || !maps.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// Whatever happens, Redis is asked nothing that Upstash lacks or that a least role
// would have to allow besides.
func TestOnlyFewCommandsAreUsed(t *testing.T) {
	t.Parallel()
	url := redistest.Real(t)
	admin := connect(t, url)
	allowed := []string{"evalsha", "eval", "get", "mget", "set", "del"}
	rules := []any{"ACL", "SETUSER", "least", "on", ">secret", "resetkeys", "~limit:*", "-@all", "+hello"}
	for _, name := range allowed {
		rules = append(rules, "+"+name)
	}
	if err := admin.Do(t.Context(), rules...).Err(); err != nil {
		t.Fatal(err)
	}
	client := serving(t, strings.Replace(url, "unix://", "unix://least:secret@", 1))
	count := &counted{}
	client.AddHook(count)
	c, p := newClock(), policy("least", 2, time.Minute)
	log := &lines{}
	account := key(&ratelimit.Backoff.Policy, 7)
	for range 2 {
		l := ratelimit.New(client, 1, c.now, log.logger())
		l.Take(t.Context(), nil, key(p, 1))
		l.Take(t.Context(), &account, key(p, 1), key(p, 2))
		l.Fail(t.Context(), account)
		l.Succeed(t.Context(), account)
		if err := admin.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if keys, err := admin.Keys(t.Context(), "limit:least:*").Result(); err != nil || len(keys) != 2 {
		t.Errorf("Redis did not decide: %v, %v", keys, err)
	}
	for _, name := range count.commands {
		if name != "hello" && !slices.Contains(allowed, name) {
			t.Errorf("%s is not one of %v", name, allowed)
		}
	}
	if denied, err := admin.Do(t.Context(), "ACL", "LOG").Slice(); err != nil || len(denied) != 0 {
		t.Errorf("refused to the least role: %v, %v", fmt.Sprint(denied...), err)
	}
}
