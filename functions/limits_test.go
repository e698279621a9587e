package functions_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/redis/redistest"
)

// What writes, and so what hashes, has a limit. The scheduler has Cloud Run's.
func TestEveryRouteThatWritesHasALimit(t *testing.T) {
	t.Parallel()
	for _, fn := range functions.All {
		for _, route := range function.Routes(fn) {
			if route.Method != http.MethodGet && route.Access != "scheduler" && len(route.Limits) == 0 {
				t.Errorf("%s %s has no limit", route.Method, route.Path)
			}
		}
	}
}

// Four processes behind a proxy that knows nothing hold one limit between them. It
// is not parallel: where Redis is not asked in time, each would limit by itself.
func TestProcessesHoldOneLimit(t *testing.T) {
	settings := everywhere(t)
	settings["REDIS_URL"] = redistest.Real(t)
	var targets []*httputil.ReverseProxy
	for range 4 {
		address, err := url.Parse(startEverything(t, settings).url)
		if err != nil {
			t.Fatal(err)
		}
		targets = append(targets, httputil.NewSingleHostReverseProxy(address))
	}
	var turn atomic.Uint32
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		targets[int(turn.Add(1))%len(targets)].ServeHTTP(w, r)
	}))
	defer door.Close()
	e := &everything{url: door.URL, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
	began := time.Now()
	answers := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	turns := make(chan struct{}, len(targets))
	for i := range 60 {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			status, _, text, err := e.ask("POST", "/api/auth/login", map[string]string{"email": fmt.Sprintf("nobody%d@example.com", i), "password": "a guess"})
			if err != nil || status != http.StatusUnauthorized && status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
				t.Errorf("%d %s %v", status, text, err)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
	}
	all.Wait()
	// Admitted are also those that then found the hasher busy.
	admitted, most := answers[http.StatusUnauthorized]+answers[http.StatusServiceUnavailable], 10+int(time.Since(began)/(6*time.Second))
	if admitted < 10 || admitted > most {
		t.Errorf("%d were admitted, want 10 to %d: %v", admitted, most, answers)
	}
}
