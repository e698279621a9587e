package function

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/function/heap"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/logging"
)

// drainTime is how long requests in flight may take after SIGTERM, stopTime what
// closing may take after that, and sendTime how long the server gets to send an
// answer once its handler is done. Cloud Run kills an instance 10 s after SIGTERM.
const (
	drainTime = 8 * time.Second
	stopTime  = time.Second
	sendTime  = 100 * time.Millisecond
)

// Main serves one function on $PORT through the functions framework until
// SIGTERM, and returns the exit code.
func Main(fn Function) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return Run(ctx, fn, os.LookupEnv, os.Stderr, funcframework.StartHostPort, drainTime)
}

// Run is Main with its surroundings given: what ends it, where settings come
// from, where the log goes, what listens, and how long requests in flight may
// take once ctx has ended. The exit code is 0 after an orderly end, 1 when
// something broke or was cut off, and 2 when settings are missing or
// wrong.
func Run(ctx context.Context, fn Function, lookup Lookup, log io.Writer, listen func(host, port string) error, drainTime time.Duration) int {
	env := newEnv(fn, lookup, log)
	d, err := newDrain(env, fn, drainTime)
	if err != nil {
		fmt.Fprintln(log, err)
		return 2
	}
	functions.HTTP(fn.Name, d.serve)
	// Without it the framework would serve the function at /<name>.
	if err := os.Setenv("FUNCTION_TARGET", fn.Name); err != nil {
		fmt.Fprintln(log, err)
		return 1
	}
	port, _ := lookup("PORT")
	if port == "" {
		port = "8080"
	}
	host, _ := lookup("HOST")
	failed := make(chan error, 1)
	go func() { failed <- listen(host, port) }()
	select {
	case err := <-failed:
		fmt.Fprintln(log, err)
		return 1
	case <-ctx.Done():
		return d.end(env)
	}
}

// Entry returns fn as the functions framework wants it, for the root package
// that the deployment stages. There main is the framework's, so Entry itself
// ends the process: when settings are missing or wrong, so that a broken
// revision never takes traffic, and when SIGTERM has been seen to.
func Entry(fn Function) func(http.ResponseWriter, *http.Request) {
	env := newEnv(fn, os.LookupEnv, os.Stderr)
	d, err := newDrain(env, fn, drainTime)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		defer stop()
		os.Exit(d.end(env))
	})
	return d.serve
}

func newEnv(fn Function, lookup Lookup, log io.Writer) *Env {
	project, _ := lookup("GOOGLE_CLOUD_PROJECT")
	return NewEnv(slog.New(logging.NewHandler(log, fn.Name, project)), time.Now, lookup)
}

// LivePath answers that the process serves, and which functions at which
// release, without asking anything of a dependency: for the check after a
// deployment. It is no part of the API. (Cloud Run keeps some paths that end in
// z to itself.)
const LivePath = "/live"

// Handler serves the functions on one mux, with everything around them: request
// log, recovery, deadlines, limits. It fails when settings are missing or wrong
// and names all of them.
func Handler(env *Env, fns ...Function) (http.Handler, error) {
	memory := int64(0)
	if len(fns) == 1 { // as it is deployed
		memory = int64(fns[0].MemoryMiB) << 20
	}
	defer heap.Serve(memory)
	from, err := env.surroundings()
	from, unobserved := env.observed(from, fns)
	unusable := []error{err, unobserved}
	for _, fn := range fns {
		unusable = append(unusable, env.For(fn).unusable())
	}
	if err := errors.Join(unusable...); err != nil {
		return nil, fmt.Errorf("settings are missing or wrong:\n%w", err)
	}
	mux := http.NewServeMux()
	alive := liveness{Release: env.Release()}
	for _, fn := range fns {
		api := httpapi.New(mux, fn.Timeout)
		api.Late = true
		fn.register(api, env)
		alive.Functions = append(alive.Functions, fn.Name)
	}
	mux.Handle("GET "+LivePath, alive)
	return httpapi.Wrap(mux, env.Log, env.Now, from), nil
}

func (f Function) register(api *httpapi.API, env *Env) {
	api.Cookies = append([]string{}, f.Cookies...) // none is not all
	f.Routes(api, env.For(f))
}

type liveness struct {
	Functions []string `json:"functions"`
	Release   string   `json:"release"`
}

func (l liveness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(l)
}

// drain counts requests in flight: the framework owns the listener and has no
// shutdown, so the process itself waits for them.
type drain struct {
	next   http.Handler
	refuse http.Handler
	most   time.Duration

	mu       sync.Mutex
	inFlight int
	finished time.Time // when the last request was
	ending   bool
	idle     chan struct{} // closed when ending and nothing is in flight
}

func newDrain(env *Env, fn Function, most time.Duration) (*drain, error) {
	handler, err := Handler(env, fn)
	from, _ := env.surroundings() // what is wrong with them, Handler has said
	refusal := http.NewServeMux()
	refusal.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		httpapi.WriteProblem(w, r, &fault.Error{Kind: fault.Unavailable, Code: "stopping", Detail: "This instance is stopping. Try again.", RetryAfter: time.Second})
	})
	return &drain{next: handler, refuse: httpapi.Wrap(refusal, env.Log, env.Now, from), most: most, idle: make(chan struct{})}, err
}

// serve answers a request, or turns it away when the process is ending: Cloud
// Run sends none then, but a connection that is kept open may.
func (d *drain) serve(w http.ResponseWriter, r *http.Request) {
	if !d.begin() {
		w.Header().Set("Connection", "close")
		d.refuse.ServeHTTP(w, r)
		return
	}
	defer d.finish()
	d.next.ServeHTTP(w, r)
}

func (d *drain) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending {
		return false
	}
	d.inFlight++
	return true
}

func (d *drain) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inFlight--
	d.finished = time.Now()
	if d.ending && d.inFlight == 0 {
		close(d.idle)
	}
}

// end waits for the requests in flight, closes what was opened and returns the
// exit code. It is called once.
func (d *drain) end(env *Env) int {
	started := time.Now()
	d.mu.Lock()
	d.ending = true
	waiting := d.inFlight
	if waiting == 0 {
		close(d.idle)
	}
	d.mu.Unlock()
	finished := true
	select {
	case <-d.idle:
	case <-time.After(d.most):
		finished = false
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := env.Stop(ctx)
	level, attrs := slog.LevelInfo, []any{"in_flight", waiting, "all_finished", finished, "took", time.Since(started).String()}
	if err != nil {
		attrs = append(attrs, "error", err.Error())
	}
	if err != nil || !finished {
		level = slog.LevelWarn
	}
	env.Log.Log(ctx, level, "stopped", attrs...)
	d.letSend()
	if level != slog.LevelInfo {
		return 1
	}
	return 0
}

// letSend waits until the answers of finished requests must have been sent: the
// server sends what a handler wrote only after the handler has returned, and tells
// nobody when it has. (Its Shutdown would know, and would have the framework's own
// main end the process at once.)
func (d *drain) letSend() {
	d.mu.Lock()
	finished := d.finished
	d.mu.Unlock()
	time.Sleep(time.Until(finished.Add(sendTime)))
}

// release is the commit, where the linker was told:
// -X github.com/devops-dashboard/dashboard/shared/function.release=SHA. A build
// from staged source has no repository to learn it from.
var release string

// buildRevision is the commit this binary was built from, where the build
// recorded it.
func buildRevision() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "dev"
}
