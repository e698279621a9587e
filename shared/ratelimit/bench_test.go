package ratelimit_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/ratelimit"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// overTCP is a redis-server that is reached as one elsewhere is.
func overTCP(b *testing.B) string {
	b.Helper()
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr)
	_ = listener.Close()
	if err := connect(b, redistest.Real(b)).ConfigSet(b.Context(), "port", fmt.Sprint(address.Port)).Err(); err != nil {
		b.Fatal(err)
	}
	return address.String()
}

// BenchmarkTake compares a decision with the least that any script costs: the same
// keys and arguments, on the same connection, in turns, so that both see the same
// machine.
func BenchmarkTake(b *testing.B) {
	for keys, most := range map[int]float64{1: 1.6, 3: 1.9} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			options := &goredis.Options{Addr: overTCP(b)}
			options.PoolSize, options.ContextTimeoutEnabled, options.DisableIdentity = 1, true, true
			client := goredis.NewClient(options)
			b.Cleanup(func() { _ = client.Close() })
			l := ratelimit.New(client, 1, time.Now, discard)
			var of []ratelimit.Key
			var names []string
			args := []any{time.Now().UnixMicro()}
			for i := range keys {
				k := key(policy(fmt.Sprint("bench-", i), 1e9, 1e9*time.Millisecond), 1)
				of, names, args = append(of, k), append(names, k.RedisName()), append(args, 1000, int64(1e9))
			}
			bare := goredis.NewScript("return 1")
			ctx := context.Background()
			for range 200 { // both scripts loaded, the connection made
				l.Take(ctx, nil, of...)
				if err := bare.Run(ctx, client, names, args...).Err(); err != nil {
					b.Fatal(err)
				}
			}
			var ours, theirs []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				d := l.Take(ctx, nil, of...)
				between := time.Now()
				err := bare.Run(ctx, client, names, args...).Err()
				ours, theirs = append(ours, between.Sub(start)), append(theirs, time.Since(between))
				if err != nil || !d.Allowed {
					b.Fatalf("%+v, %v", d, err)
				}
			}
			slices.Sort(ours)
			slices.Sort(theirs)
			for _, percent := range []int{10, 50} {
				i := len(ours) * percent / 100
				ratio := float64(ours[i]) / float64(theirs[i])
				b.ReportMetric(float64(ours[i].Nanoseconds()), fmt.Sprintf("p%d-ns", percent))
				b.ReportMetric(ratio, fmt.Sprintf("p%d-ratio", percent))
				if len(ours) >= 1000 && ratio > most {
					b.Errorf("p%d: %v is %.2f times %v, want at most %.1f", percent, ours[i], ratio, theirs[i], most)
				}
			}
		})
	}
}

// refusedKeys returns a limiter that knows one of three keys to be refused.
func refusedKeys(tb testing.TB) (*ratelimit.Limiter, []ratelimit.Key) {
	c := newClock()
	l := ratelimit.New(connect(tb, redistest.URL(tb)), 1, c.now, discard)
	refused := key(policy("refused", 1, time.Hour), 1)
	for range 2 {
		l.Take(context.Background(), nil, refused)
	}
	return l, []ratelimit.Key{key(policy("a", 9, time.Hour), 1), key(policy("b", 9, time.Hour), 1), refused}
}

func BenchmarkTakeRefused(b *testing.B) {
	l, keys := refusedKeys(b)
	b.ReportAllocs()
	for b.Loop() {
		if l.Take(context.Background(), nil, keys...).Allowed {
			b.Fatal("allowed")
		}
	}
}

// A flood leaves no garbage. Not in parallel: AllocsPerRun counts what others
// allocate too.
func TestFloodAllocatesNothing(t *testing.T) {
	l, keys := refusedKeys(t)
	if n := testing.AllocsPerRun(1000, func() { l.Take(context.Background(), nil, keys...) }); n != 0 {
		t.Errorf("%v allocations for a request that is refused", n)
	}
}
