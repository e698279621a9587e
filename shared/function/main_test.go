package function_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// worker is the function of the processes that the tests start. Its one route
// says "working" on standard output and answers when it is told to on standard
// input.
var worker = function.Function{
	Name: "worker", Settings: []function.Setting{{Name: "WORK", Doc: "what to do"}},
	Routes: func(api *httpapi.API, env *function.Env) {
		env.OnStop(func(context.Context) error { fmt.Println("closed"); return nil })
		api.Handle("GET /work", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Println("working")
			_, _ = os.Stdin.Read(make([]byte, 1))
			_, _ = io.WriteString(w, "done")
		}))
	},
}

// named gives fn a name that this process has not registered yet: the functions
// framework keeps names for good, and -count runs a test again.
func named(fn function.Function) function.Function {
	fn.Name = fmt.Sprint(fn.Name, registered.Add(1))
	return fn
}

var registered atomic.Int64

// TestMain is the process under test when a test starts this binary again.
func TestMain(m *testing.M) {
	switch os.Getenv("TEST_PROCESS") {
	case "main":
		os.Exit(function.Main(worker))
	case "impatient":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		os.Exit(function.Run(ctx, worker, os.LookupEnv, os.Stderr, funcframework.StartHostPort, 50*time.Millisecond))
	case "staged": // as the buildpack's main does it
		functions.HTTP("Worker", function.Entry(worker))
		_ = os.Setenv("FUNCTION_TARGET", "Worker")
		fmt.Println(funcframework.StartHostPort(os.Getenv("HOST"), os.Getenv("PORT")))
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// process is this binary, started again.
type process struct {
	*exec.Cmd
	url    string
	in     io.Writer
	out    *bufio.Reader
	errors *bytes.Buffer
}

func start(t *testing.T, kind string, settings ...string) *process {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	_ = listener.Close()
	p := &process{Cmd: exec.Command(os.Args[0]), url: "http://127.0.0.1:" + port, errors: &bytes.Buffer{}}
	p.Env = append(os.Environ(), append(settings, "TEST_PROCESS="+kind, "HOST=127.0.0.1", "PORT="+port)...)
	p.Stderr = p.errors
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	return p
}

// until asks for the process's life until it answers with the status.
func (p *process) until(t *testing.T, status int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		answer, err := http.Get(p.url + function.LivePath)
		if err != nil {
			continue
		}
		_ = answer.Body.Close()
		if answer.StatusCode == status {
			return
		}
	}
	t.Fatalf("%s never answered %d: %s", p.url, status, p.errors)
}

// says reads one line of the process's output.
func (p *process) says(t *testing.T, want string) {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("the process says %q, %v; want %q: %s", line, err, want, p.errors)
	}
}

// begin sends a request that works until it is told to answer.
func (p *process) begin(t *testing.T) <-chan string {
	t.Helper()
	answered := make(chan string, 1)
	go func() {
		answer, err := http.Get(p.url + "/work")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		answered <- fmt.Sprintf("%d %s %v", answer.StatusCode, body, err)
	}()
	p.says(t, "working")
	return answered
}

func TestSIGTERMLetsRequestsInFlightFinish(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"main", "staged"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := start(t, kind, "WORK=yes")
			p.until(t, 200)
			answered := p.begin(t)
			if err := p.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			p.until(t, 503) // it has seen the signal, and takes nothing new
			if _, err := p.in.Write([]byte("!")); err != nil {
				t.Fatal(err)
			}
			if got := <-answered; got != "200 done <nil>" {
				t.Errorf("the request in flight ended with %s", got)
			}
			p.says(t, "closed")
			if err := p.Wait(); err != nil {
				t.Errorf("exit: %v: %s", err, p.errors)
			}
		})
	}
}

func TestRequestThatOutlivesTheDrainIsCutOff(t *testing.T) {
	t.Parallel()
	p := start(t, "impatient", "WORK=yes")
	p.until(t, 200)
	answered := p.begin(t)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.says(t, "closed")
	if got := <-answered; strings.HasPrefix(got, "200") {
		t.Errorf("the request was answered %s", got)
	}
	var exit *exec.ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("exit: %v, want code 1: %s", err, p.errors)
	}
}

func TestMissingSettingsEndTheProcess(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"main", "staged"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := start(t, kind)
			var exit *exec.ExitError
			if err := p.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
				t.Errorf("exit: %v, want code 2", err)
			}
			if want := "settings are missing or wrong:\nworker: set WORK (what to do)\n"; p.errors.String() != want {
				t.Errorf("it says %q, want %q", p.errors, want)
			}
		})
	}
}

// The tests that call Run or Main in this process are not parallel: those set the
// environment and write to the framework's registry, once in a process's life and
// so without a lock.

func TestRunSaysByItsExitCodeHowItEnded(t *testing.T) {
	nothing := function.Function{Name: "nothing", Routes: func(*httpapi.API, *function.Env) {}}
	refuse := func(string, string) error { return errors.New("port taken") }
	block := func(string, string) error { select {} }
	ended, end := context.WithCancel(t.Context())
	end()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		fn     function.Function
		listen func(string, string) error
		code   int
		log    string
	}{
		{"settings missing", t.Context(), worker, refuse, 2, "settings are missing or wrong"},
		{"cannot listen", t.Context(), named(nothing), refuse, 1, "port taken\n"},
		{"told to end", ended, named(nothing), block, 0, `"message":"stopped"`},
	} {
		var log bytes.Buffer
		if code := function.Run(test.ctx, test.fn, lookup(), &log, test.listen, time.Second); code != test.code || !strings.Contains(log.String(), test.log) {
			t.Errorf("%s: exit code %d, log %s", test.name, code, &log)
		}
	}
}

func TestRunListensWhereItIsTold(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings []string
		want     string
	}{
		{"somewhere", []string{"HOST", "127.0.0.1", "PORT", "9000"}, "127.0.0.1 9000"},
		{"anywhere", nil, " 8080"},
	} {
		var got string
		fn := named(function.Function{Name: test.name, Routes: func(*httpapi.API, *function.Env) {}})
		function.Run(t.Context(), fn, lookup(test.settings...), io.Discard, func(host, port string) error {
			got = host + " " + port
			return errors.New("enough")
		}, time.Second)
		if got != test.want {
			t.Errorf("%s: listens on %q, want %q", test.name, got, test.want)
		}
	}
}

func TestMainFailsWhereItCannotListen(t *testing.T) {
	t.Setenv("PORT", "not a port")
	t.Setenv("WORK", "yes")
	if code := function.Main(named(worker)); code != 1 {
		t.Errorf("exit code %d", code)
	}
	w := httptest.NewRecorder()
	function.Entry(worker)(w, httptest.NewRequest("GET", function.LivePath, nil))
	if w.Code != 200 {
		t.Errorf("the staged entry answers %d %s", w.Code, w.Body)
	}
}

func TestLogIsInTermsOfTheProject(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	var log bytes.Buffer
	fn := named(function.Function{Name: "logged", Routes: func(_ *httpapi.API, env *function.Env) { env.Log.Log(context.Background(), slog.LevelWarn, "hello") }})
	function.Run(ended, fn, lookup("GOOGLE_CLOUD_PROJECT", "p"), &log, func(string, string) error { select {} }, time.Second)
	if !strings.Contains(log.String(), `"severity":"WARNING","message":"hello","function":"logged`) {
		t.Errorf("logged %s", &log)
	}
}
