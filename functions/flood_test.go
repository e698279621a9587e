package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/functions"
	"github.com/devops-dashboard/dashboard/functions/auth"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/identity/identitytest"
	"github.com/devops-dashboard/dashboard/shared/postgres/pgtest"
)

// TestMain is, when a test starts this binary again, every function in one
// process: what shares processors and memory is worst off there.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_PROCESS") == "everything" {
		fmt.Println(serveEverything())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// serveEverything says on standard output where it serves.
func serveEverything() error {
	env := function.NewEnv(slog.New(slog.DiscardHandler), time.Now, os.LookupEnv)
	handler, err := function.Handler(env, functions.All...)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.HandleFunc("GET /heap", func(w http.ResponseWriter, _ *http.Request) {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		_ = json.NewEncoder(w).Encode(stats.HeapSys)
	})
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	return http.Serve(listener, mux)
}

// everything is every function in a process of its own.
type everything struct {
	url    string
	client *http.Client
}

// everywhere are the settings of instances that share what instances share.
func everywhere(t testing.TB) map[string]string {
	t.Helper()
	settings := identitytest.Settings(t)
	settings["DATABASE_URL"], settings["DATABASE_POOL"] = pgtest.URL(t), "8"
	settings["REDIS_URL"] = "redis://" + miniredis.RunT(t).Addr()
	settings["TEST_PROCESS"] = "everything"
	return settings
}

func startEverything(t testing.TB, settings map[string]string) *everything {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Stderr = os.Stderr
	cmd.Env = os.Environ()
	for name, value := range settings {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line := make([]byte, 256)
	n, err := out.Read(line)
	url := strings.TrimSpace(string(line[:n]))
	if err != nil || !strings.HasPrefix(url, "http://") {
		t.Fatalf("it says %q: %v", url, err)
	}
	return &everything{url, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}}
}

func (e *everything) ask(method, path string, body any, headers ...string) (int, http.Header, []byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, nil, err
	}
	r, err := http.NewRequest(method, e.url+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := e.client.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err = io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, text, err
}

// watcher is somebody who is signed in and uses the product.
type watcher struct {
	*everything
	t             testing.TB
	token, cookie string
}

func (e *everything) watcher(t testing.TB) *watcher {
	t.Helper()
	w := &watcher{everything: e, t: t}
	status, header, text, err := e.ask("POST", "/api/auth/register", map[string]string{
		"email": "watcher@example.com", "password": walkersPassword, "name": "Watcher", "team": "Tower",
	})
	var in auth.SignedIn
	if err != nil || status != http.StatusCreated || json.Unmarshal(text, &in) != nil {
		t.Fatalf("%d %s %v", status, text, err)
	}
	w.token = in.AccessToken
	w.keep(header)
	return w
}

func (w *watcher) keep(header http.Header) {
	value, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
	w.cookie = value
}

// uses are what the watcher does, each with the time of its answer.
func (w *watcher) uses() map[string]func() time.Duration {
	timed := func(method, path string, headers ...string) (time.Duration, http.Header) {
		began := time.Now()
		status, header, text, err := w.ask(method, path, nil, headers...)
		if err != nil || status != http.StatusOK {
			w.t.Errorf("%s %s: %d %s %v", method, path, status, text, err)
		}
		return time.Since(began), header
	}
	return map[string]func() time.Duration{
		"me": func() time.Duration {
			d, _ := timed("GET", "/api/auth/me", "Authorization", "Bearer "+w.token)
			return d
		},
		"health": func() time.Duration { d, _ := timed("GET", "/api/health"); return d },
		"refresh": func() time.Duration {
			d, header := timed("POST", "/api/auth/refresh", "Cookie", w.cookie)
			w.keep(header)
			return d
		},
	}
}

// medians uses each n times, in turns.
func (w *watcher) medians(n int) map[string]time.Duration {
	uses, took := w.uses(), map[string][]time.Duration{}
	for range n {
		for name, use := range uses {
			took[name] = append(took[name], use())
		}
	}
	medians := map[string]time.Duration{}
	for name, all := range took {
		slices.Sort(all)
		medians[name] = all[len(all)/2]
	}
	return medians
}

// flood signs in and registers from 64 connections until it is ended, and returns
// how often each status was answered.
func (e *everything) flood(t testing.TB) (end func() map[int]int) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	for i := range 64 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				path, body := "/api/auth/login", map[string]string{"email": uuid.NewString() + "@example.com", "password": "a guess of mine"} // one account would have to wait
				if i%2 == 0 {
					path, body = "/api/auth/register", map[string]string{"email": uuid.NewString() + "@example.com", "password": walkersPassword, "name": "Flood", "team": "Flood"}
				}
				status, header, text, err := e.ask("POST", path, body)
				if err != nil || status == http.StatusServiceUnavailable && header.Get("Retry-After") == "" ||
					!slices.Contains([]int{201, 401, 503}, status) {
					t.Errorf("%s: %d %s %v", path, status, text, err)
					return
				}
				mu.Lock()
				answers[status]++
				mu.Unlock()
			}
		})
	}
	return func() map[int]int {
		close(stop)
		all.Wait()
		return answers
	}
}

// mostHeap is half of what an instance of auth has. A collection is due only when
// the heap has doubled, so a few hashes that are done lie about.
const mostHeap = 256 << 20

func (e *everything) checkHeap(t testing.TB) {
	t.Helper()
	_, _, text, err := e.ask("GET", "/heap", nil)
	var heap uint64
	if err != nil || json.Unmarshal(text, &heap) != nil || heap > mostHeap {
		t.Errorf("the heap has taken %s bytes, %v; at most %d are wanted", text, err, mostHeap)
	}
	t.Logf("the heap has taken %d MB", heap>>20)
}

// A flood of sign-ins takes the memory of a few hashes, is told to come back, and
// leaves everybody who is signed in what they had. How fast that is stands in the
// log here and is held by BenchmarkFlood.
func TestFloodOfSignIns(t *testing.T) {
	t.Parallel()
	settings := everywhere(t)
	settings["RATE_LIMIT_SCALE"] = unlimited
	e := startEverything(t, settings)
	w := e.watcher(t)
	quiet := w.medians(30)
	end := e.flood(t)
	flooded := w.medians(30)
	t.Logf("quiet %v, under the flood %v, which was answered %v", quiet, flooded, end())
	e.checkHeap(t)
}

// BenchmarkFlood holds that under a flood of 64 connections each answer to who is
// signed in takes at most twice its time when quiet, at the median.
//
//	go test ./functions -run '^$' -bench Flood -benchtime 1x
func BenchmarkFlood(b *testing.B) {
	settings := everywhere(b)
	settings["RATE_LIMIT_SCALE"] = unlimited
	e := startEverything(b, settings)
	w := e.watcher(b)
	w.medians(50)
	quiet := w.medians(200)
	end := e.flood(b)
	w.medians(20)
	flooded := w.medians(200)
	answers := end()
	b.ReportMetric(0, "ns/op")
	for name, was := range quiet {
		ratio := float64(flooded[name]) / float64(was)
		b.ReportMetric(ratio, name+"-times-quiet")
		if ratio > 2 {
			b.Errorf("%s takes %v under a flood, and %v when it is quiet", name, flooded[name], was)
		}
	}
	b.Logf("quiet %v, under the flood %v, which was answered %v", quiet, flooded, answers)
	e.checkHeap(b)
}
