package redistest_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

func client(t *testing.T, url string) *goredis.Client {
	t.Helper()
	options, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := goredis.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// wantOwn fails the test unless both addresses hold an empty Redis each.
func wantOwn(t *testing.T, one, other string) {
	t.Helper()
	a, b := client(t, one), client(t, other)
	for _, c := range []*goredis.Client{a, b} {
		if n, err := c.DBSize(t.Context()).Result(); err != nil || n != 0 {
			t.Errorf("%d keys at the start, %v", n, err)
		}
	}
	if err := a.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Exists(t.Context(), "k").Result(); err != nil || n != 0 {
		t.Errorf("two tests share a Redis: %v", err)
	}
}

func TestInProcess(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	wantOwn(t, redistest.URL(t), redistest.URL(t))
}

func TestReal(t *testing.T) {
	t.Parallel()
	wantOwn(t, redistest.Real(t), redistest.Real(t))
}

func TestOneServerForAll(t *testing.T) {
	for name, server := range map[string]func(*testing.T) string{
		"in process": func(t *testing.T) string { return "redis://" + miniredis.RunT(t).Addr() },
		"real":       func(t *testing.T) string { return redistest.Real(t) },
	} {
		t.Run(name, func(t *testing.T) {
			url := server(t)
			t.Setenv("REDIS_URL", url)
			wantOwn(t, redistest.URL(t), redistest.URL(t))
			// More tests than databases: they wait for each other, and what
			// one has written the next does not see.
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					t.Run(fmt.Sprint(i), func(t *testing.T) {
						c := client(t, redistest.URL(t))
						if n, err := c.Incr(t.Context(), "k").Result(); err != nil || n != 1 {
							t.Errorf("k is %d, %v", n, err)
						}
					})
				})
			}
			all.Wait()
			taken, err := client(t, url).Keys(t.Context(), "redistest:lease:*").Result()
			if err != nil || len(taken) != 2 {
				t.Errorf("leases that stay: %v, %v; want this test's two", taken, err)
			}
		})
	}
}
