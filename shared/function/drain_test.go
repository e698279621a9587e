package function

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

const most = 3 * time.Second

// slow is a function whose one route takes as long as the query says.
var slow = Function{Name: "slow", Routes: func(api *httpapi.API, _ *Env) {
	api.Handle("GET /work", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		took, _ := time.ParseDuration(r.URL.RawQuery)
		time.Sleep(took)
		_, _ = io.WriteString(w, "done")
	}))
}}

func draining(t *testing.T) (*drain, *Env) {
	t.Helper()
	env := NewEnv(slog.New(slog.DiscardHandler), time.Now, nil)
	d, err := newDrain(env, slow, most)
	if err != nil {
		t.Fatal(err)
	}
	return d, env
}

func work(d *drain, took time.Duration) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	d.serve(w, httptest.NewRequest("GET", "/work?"+took.String(), nil))
	return w
}

func TestDrainWaitsForTheLastRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, env := draining(t)
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if w := work(d, time.Duration(i)*100*time.Millisecond); w.Body.String() != "done" {
					t.Errorf("answered %d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		closed := time.Time{}
		env.OnStop(func(context.Context) error { closed = time.Now(); return nil })
		began := time.Now()
		if code := d.end(env); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if took := closed.Sub(began); took != 900*time.Millisecond {
			t.Errorf("closed after %v, want 900ms", took)
		}
		all.Wait()
	})
}

// A handler that is done has not been answered for yet.
func TestAnswersAreSentBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for name, ago := range map[string]time.Duration{"just done": 0, "done a while ago": 60 * time.Millisecond, "done long ago": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, env := draining(t)
				work(d, 0)
				done := time.Now()
				time.Sleep(ago)
				d.end(env)
				if took := time.Since(done); took < sendTime || took > max(sendTime, ago) {
					t.Errorf("the process ends %v after the handler", took)
				}
			})
		})
	}
	if whole := drainTime + stopTime + sendTime; whole >= 10*time.Second {
		t.Errorf("the end may take %s; Cloud Run kills after 10 s", whole)
	}
}

func TestDrainOfAnIdleProcessIsImmediate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, env := draining(t)
		work(d, 0)
		time.Sleep(sendTime)
		began := time.Now()
		if code := d.end(env); code != 0 || time.Since(began) != 0 {
			t.Errorf("exit code %d after %v", code, time.Since(began))
		}
	})
}

func TestDrainTurnsNewRequestsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, env := draining(t)
		go work(d, time.Second)
		synctest.Wait()
		ended := make(chan int)
		go func() { ended <- d.end(env) }()
		synctest.Wait()
		for range 3 {
			w := work(d, 0)
			if w.Code != 503 || w.Header().Get("Retry-After") != "1" || w.Header().Get("Connection") != "close" || !strings.Contains(w.Body.String(), `"code":"stopping"`) {
				t.Errorf("answered %d %v %s", w.Code, w.Header(), w.Body)
			}
		}
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

func TestDrainGivesUpOnARequestThatTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, env := draining(t)
		go work(d, time.Hour)
		synctest.Wait()
		began := time.Now()
		if code := d.end(env); code != 1 || time.Since(began) != most {
			t.Errorf("exit code %d after %v", code, time.Since(began))
		}
		time.Sleep(time.Hour) // the request ends, which nobody waits for any more
	})
}

func TestDrainLeavesWhatDoesNotClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, env := draining(t)
		env.OnStop(func(context.Context) error { time.Sleep(time.Minute); return nil })
		began := time.Now()
		if code := d.end(env); code != 1 || time.Since(began) != stopTime {
			t.Errorf("exit code %d after %v", code, time.Since(began))
		}
		time.Sleep(time.Minute)
	})
}

func TestDrainTellsWhatDidNotCloseWell(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	env := NewEnv(slog.New(slog.NewTextHandler(&log, nil)), time.Now, nil)
	d, err := newDrain(env, slow, most)
	if err != nil {
		t.Fatal(err)
	}
	env.OnStop(func(context.Context) error { return errors.New("the pool is stuck") })
	if code := d.end(env); code != 1 || !strings.Contains(log.String(), `level=WARN msg=stopped in_flight=0 all_finished=true`) || !strings.Contains(log.String(), "the pool is stuck") {
		t.Errorf("exit code %d, log %s", code, log.String())
	}
}

func TestPanicDoesNotKeepTheDrainWaiting(t *testing.T) {
	t.Parallel()
	env := NewEnv(slog.New(slog.DiscardHandler), time.Now, nil)
	d := &drain{next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), most: most, idle: make(chan struct{})}
	func() {
		defer func() { _ = recover() }()
		work(d, 0)
	}()
	if code := d.end(env); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestLinkerTellsTheRelease is not parallel: it sets what the linker sets.
func TestLinkerTellsTheRelease(t *testing.T) {
	release = "0123abc"
	defer func() { release = "" }()
	if got := NewEnv(nil, time.Now, nil).Release(); got != "0123abc" {
		t.Errorf("Release() = %q", got)
	}
}
