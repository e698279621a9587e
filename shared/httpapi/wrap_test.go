package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/fault"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
	"github.com/devops-dashboard/dashboard/shared/logging"
)

// house is a server with a few routes, and its log.
type house struct {
	*httptest.Server
	log *lines
}

// lines is a log that may be read once a request has been answered: the line is
// written after the answer, so reading waits for it.
type lines struct{ written chan []byte }

func (l *lines) Write(b []byte) (int, error) {
	l.written <- bytes.Clone(b)
	return len(b), nil
}

func (l *lines) next(t *testing.T) (map[string]any, string) {
	t.Helper()
	select {
	case line := <-l.written:
		var got map[string]any
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		return got, string(line)
	case <-time.After(10 * time.Second):
		t.Fatal("no log line")
		return nil, ""
	}
}

type credentials struct {
	Email    string `json:"email" format:"email"`
	Password string `json:"password" minLength:"12" maxLength:"64"`
}

type said struct{ Body string }

// open serves the routes that register adds.
func open(t *testing.T, register func(api *httpapi.API)) *house {
	t.Helper()
	return openFor(t, 0, register)
}

func openFor(t *testing.T, timeout time.Duration, register func(api *httpapi.API)) *house {
	t.Helper()
	log := &lines{make(chan []byte, 100)}
	mux := http.NewServeMux()
	register(httpapi.New(mux, timeout))
	var mu sync.Mutex
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tick := func() time.Time { // every look at the clock takes 1.5 ms
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(1500 * time.Microsecond)
		return clock
	}
	handler := httpapi.Wrap(mux, slog.New(logging.NewHandler(log, "auth", "p")), tick, httpapi.Surroundings{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { // as the functions framework does
			if recover() != nil {
				http.Error(w, "a panic occurred", http.StatusInternalServerError)
			}
		}()
		handler.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	return &house{server, log}
}

// operation is a public operation, which change adapts.
func operation(method, path string, change ...func(*huma.Operation)) huma.Operation {
	op := huma.Operation{OperationID: method + path, Method: method, Path: path, Security: httpapi.Public}
	for _, c := range change {
		c(&op)
	}
	return op
}

// signIn registers POST /sign-in, which wants credentials.
func signIn(api *httpapi.API, change ...func(*huma.Operation)) {
	huma.Register(api, operation("POST", "/sign-in", change...), func(context.Context, *struct{ Body credentials }) (*said, error) {
		return &said{"welcome"}, nil
	})
}

// fails registers GET /fail, which answers err.
func fails(api *httpapi.API, err error) {
	huma.Register(api, operation("GET", "/fail"), func(context.Context, *struct{}) (*said, error) { return nil, err })
}

func request(t *testing.T, method, url string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r) // follows no redirect
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// problem reads a problem document and checks what holds for all of them.
func problem(t *testing.T, answer *http.Response, body string) httpapi.Problem {
	t.Helper()
	if got := answer.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type = %q in %s", got, body)
	}
	if got := answer.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control = %q", got)
	}
	var p httpapi.Problem
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if p.Type != "about:blank" || p.Title != http.StatusText(answer.StatusCode) || p.Status != answer.StatusCode || p.Code == "" || p.Detail == "" {
		t.Errorf("the problem is not whole: %s", body)
	}
	if id := answer.Header.Get("X-Request-Id"); len(id) != 16 || p.RequestID != id {
		t.Errorf("request id %q in the header, %q in the problem", id, p.RequestID)
	}
	return p
}

func TestWhatHasNoRouteIsAProblem(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		signIn(api)
		fails(api, nil)
		api.Handle("GET /assets/", http.NotFoundHandler())
		api.Handle("GET /{$}", http.NotFoundHandler())
	})
	for _, test := range []struct {
		method, path  string
		status        int
		code, allowed string
	}{
		{"GET", "/nowhere", 404, "no_such_route", ""},
		{"GET", "/sign-in/", 404, "no_such_route", ""},
		{"POST", "//sign-in", 404, "no_such_route", ""},
		{"GET", "//fail", 404, "no_such_route", ""},
		{"GET", "/x/../fail", 404, "no_such_route", ""},
		{"GET", "/./fail", 404, "no_such_route", ""},
		{"GET", "/assets//x", 404, "no_such_route", ""},
		{"GET", "/nowhere%00", 404, "no_such_route", ""},
		{"GET", "/sign-in", 405, "method_not_allowed", "POST"},
		{"PUT", "/sign-in", 405, "method_not_allowed", "POST"},
		{"OPTIONS", "/sign-in", 405, "method_not_allowed", "POST"},
		{"TRACE", "/fail", 405, "method_not_allowed", "GET, HEAD"},
		{"DELETE", "/fail", 405, "method_not_allowed", "GET, HEAD"},
	} {
		t.Run(test.method+test.path, func(t *testing.T) {
			t.Parallel()
			answer, body := do(t, request(t, test.method, house.URL+test.path, nil))
			if answer.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", answer.StatusCode, test.status, body)
			}
			p := problem(t, answer, body)
			if p.Code != test.code || answer.Header.Get("Allow") != test.allowed {
				t.Errorf("code %q, Allow %q, want %q, %q", p.Code, answer.Header.Get("Allow"), test.code, test.allowed)
			}
			if test.status == 405 && p.Detail != "This route does not take "+test.method+"; it takes "+test.allowed+"." {
				t.Errorf("detail %q", p.Detail)
			}
		})
	}
}

func TestHEADIsGETWithoutItsBody(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		huma.Register(api, operation("GET", "/say"), func(context.Context, *struct{}) (*said, error) { return &said{"hello"}, nil })
	})
	answer, body := do(t, request(t, "HEAD", house.URL+"/say", nil))
	if answer.StatusCode != 200 || body != "" || answer.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %q %v", answer.StatusCode, body, answer.Header)
	}
}

func TestRequestsFromOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		signIn(api)
		api.Handle("GET /page", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	})
	body := `{"email":"a@example.com","password":"correct horse"}`
	for _, test := range []struct {
		name, method, path, header, value string
		status                            int
	}{
		{"fetched across sites", "POST", "/sign-in", "Sec-Fetch-Site", "cross-site", 403},
		{"from a subdomain", "POST", "/sign-in", "Sec-Fetch-Site", "same-site", 403},
		{"another origin", "POST", "/sign-in", "Origin", "https://evil.example", 403},
		{"the same origin", "POST", "/sign-in", "Sec-Fetch-Site", "same-origin", 200},
		{"no browser", "POST", "/sign-in", "X-Nothing", "", 200},
		{"a read", "GET", "/page", "Sec-Fetch-Site", "cross-site", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			answer, text := do(t, request(t, test.method, house.URL+test.path, strings.NewReader(body), "Content-Type", "application/json", test.header, test.value))
			if answer.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", answer.StatusCode, test.status, text)
			}
			if test.status == 403 {
				if p := problem(t, answer, text); p.Code != "cross_site" {
					t.Errorf("code %q", p.Code)
				}
			}
			if got := answer.Header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options = %q", got)
			}
		})
	}
}

func TestRequestIsLoggedAsCloudLoggingReadsIt(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		huma.Register(api, operation("GET", "/say/{what}"), func(ctx context.Context, in *struct {
			What string `path:"what"`
			Loud string `query:"loud"`
		}) (*said, error) {
			httpapi.Note(ctx, "team", "t1")
			return &said{"hello"}, nil
		})
	})
	answer, _ := do(t, request(t, "GET", house.URL+"/say/it?loud=s3cret", nil,
		"Authorization", "Bearer s3cret", "Cookie", "__Host-dd_rt=s3cret", "User-Agent", "test/1",
		"X-Cloud-Trace-Context", "105445aa7843bc8bf206b12000100000/1;o=1"))
	got, line := house.log.next(t)
	if strings.Contains(line, "s3cret") {
		t.Errorf("the log holds a secret: %s", line)
	}
	delete(got, "time")
	want := map[string]any{
		"severity":                      "INFO",
		"message":                       "GET /say/it",
		"function":                      "auth",
		"request_id":                    answer.Header.Get("X-Request-Id"),
		"team":                          "t1",
		"logging.googleapis.com/trace":  "projects/p/traces/105445aa7843bc8bf206b12000100000",
		"logging.googleapis.com/spanId": "0000000000000001", "logging.googleapis.com/trace_sampled": true,
		"httpRequest": map[string]any{
			"requestMethod": "GET",
			"requestUrl":    "/say/it",
			"status":        200.0,
			"responseSize":  "8", // "hello" in quotes, and a line end
			"userAgent":     "test/1",
			"remoteIp":      "127.0.0.1",
			"latency":       "0.001500s",
			"protocol":      "HTTP/1.1",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLogClipsWhatAClientChose(t *testing.T) {
	t.Parallel()
	house := open(t, func(*httpapi.API) {})
	long := strings.Repeat("é", 10000)
	do(t, request(t, "GET", house.URL+"/"+long, nil, "User-Agent", long))
	got, line := house.log.next(t)
	if len(line) > 3000 {
		t.Errorf("the line has %d bytes", len(line))
	}
	of := got["httpRequest"].(map[string]any)
	if want := strings.Repeat("é", 256) + "…"; of["userAgent"] != want {
		t.Errorf("userAgent = %q", of["userAgent"])
	}
	if want := "/" + strings.Repeat("é", 255) + "…"; of["requestUrl"] != want {
		t.Errorf("requestUrl = %q", of["requestUrl"])
	}
}

func TestTraceComesFromEitherHeader(t *testing.T) {
	t.Parallel()
	house := open(t, func(*httpapi.API) {})
	const id, zero = "4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"
	for _, test := range []struct {
		name, value, trace, span string
		sampled                  bool
	}{
		{"X-Cloud-Trace-Context", id + "/123;o=1", id, "000000000000007b", true},
		{"X-Cloud-Trace-Context", id + "/18446744073709551615;o=0", id, "ffffffffffffffff", false},
		{"X-Cloud-Trace-Context", id + "/1", id, "0000000000000001", false},
		{"X-Cloud-Trace-Context", id + "/0;o=1", id, "", false},
		{"X-Cloud-Trace-Context", id, "", "", false},
		{"X-Cloud-Trace-Context", id + "/x", "", "", false},
		{"X-Cloud-Trace-Context", zero + "/1", "", "", false},
		{"X-Cloud-Trace-Context", "../../etc/1", "", "", false},
		{"X-Cloud-Trace-Context", id + "00/1", "", "", false},
		{"Traceparent", "00-" + id + "-00f067aa0ba902b7-01", id, "00f067aa0ba902b7", true},
		{"Traceparent", "00-" + id + "-00f067aa0ba902b7-02", id, "00f067aa0ba902b7", false},
		{"Traceparent", "00-" + id + "-00f067aa0ba902b7-0b", id, "00f067aa0ba902b7", true},
		{"Traceparent", "cc-" + id + "-00f067aa0ba902b7-01-later", id, "00f067aa0ba902b7", true},
		{"Traceparent", "cc-" + id + "-00f067aa0ba902b7-01.later", "", "", false},
		{"Traceparent", "00-" + id + "-00f067aa0ba902b7-01-later", "", "", false},
		{"Traceparent", "ff-" + id + "-00f067aa0ba902b7-01", "", "", false},
		{"Traceparent", "0x-" + id + "-00f067aa0ba902b7-01", "", "", false},
		{"Traceparent", "00-" + id + "-00f067aa0ba902b7-x1", "", "", false},
		{"Traceparent", "00-" + id + "-0000000000000000-01", "", "", false},
		{"Traceparent", "00-" + zero + "-00f067aa0ba902b7-01", "", "", false},
		{"Traceparent", "00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01", "", "", false},
		{"Traceparent", "00-" + id + "-00F067AA0BA902B7-01", "", "", false},
		{"Traceparent", "00+" + id + "-00f067aa0ba902b7-01", "", "", false},
		{"Traceparent", "00-" + id + "+00f067aa0ba902b7-01", "", "", false},
		{"Traceparent", "00-" + id + "-00f067aa0ba902b7+01", "", "", false},
		{"Traceparent", "00-" + id, "", "", false},
		{"Traceparent", "00-zbf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", "", false},
	} {
		do(t, request(t, "GET", house.URL+"/", nil, test.name, test.value))
		got, _ := house.log.next(t)
		trace, _ := got["logging.googleapis.com/trace"].(string)
		span, placed := got["logging.googleapis.com/spanId"].(string)
		sampled, told := got["logging.googleapis.com/trace_sampled"].(bool)
		if strings.TrimPrefix(trace, "projects/p/traces/") != test.trace || span != test.span || sampled != test.sampled || told != placed {
			t.Errorf("%s: %s gives trace %q, span %q, sampled %t", test.name, test.value, trace, span, sampled)
		}
	}
	// Where both stand, Google's front end has written both, and W3C's is passed on.
	do(t, request(t, "GET", house.URL+"/", nil, "Traceparent", "00-"+id+"-00f067aa0ba902b7-01", "X-Cloud-Trace-Context", "105445aa7843bc8bf206b12000100000/1;o=1"))
	if got, line := house.log.next(t); got["logging.googleapis.com/trace"] != "projects/p/traces/"+id {
		t.Error(line)
	}
}

func TestPanicBeforeTheAnswerIsAProblem(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]any{"a defect": "index out of hunter2", "a proxy's abort": http.ErrAbortHandler} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			house := open(t, func(api *httpapi.API) {
				api.Handle("GET /fall", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(cause) }))
			})
			answer, body := do(t, request(t, "GET", house.URL+"/fall", nil))
			if p := problem(t, answer, body); answer.StatusCode != 500 || p.Code != "internal" || strings.Contains(body, "hunter2") {
				t.Errorf("%d %s", answer.StatusCode, body)
			}
			line, _ := house.log.next(t)
			text, _ := line["panic"].(string)
			if isDefect := cause != http.ErrAbortHandler; line["severity"] != "ERROR" || strings.Contains(text, "index out of hunter2") != isDefect || strings.Contains(text, "wrap_test.go") != isDefect {
				t.Errorf("logged %v", line)
			}
		})
	}
}

func TestPanicAmidTheAnswerCutsTheConnection(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"of a good answer": 200, "of a bad answer": 500} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			house := open(t, func(api *httpapi.API) {
				api.Handle("GET /fall", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(status)
					_, _ = io.WriteString(w, "half")
					_ = http.NewResponseController(w).Flush()
					panic("lost")
				}))
			})
			answer, err := http.Get(house.URL + "/fall")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = answer.Body.Close() }()
			got, err := io.ReadAll(answer.Body)
			if string(got) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("read %q, %v: want it to break off", got, err)
			}
			if line, _ := house.log.next(t); line["severity"] != "ERROR" || line["panic"] == nil {
				t.Errorf("logged %v", line)
			}
		})
	}
}

// TestPanicIsPassedOnWhereTheConnectionCannotBeTaken is HTTP/2, where the server
// itself resets the stream.
func TestPanicIsPassedOnWhereTheConnectionCannotBeTaken(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /fall", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic("lost")
	})
	handler := httpapi.Wrap(mux, slog.New(slog.DiscardHandler), time.Now, httpapi.Surroundings{})
	defer func() {
		if cause := recover(); cause != http.ErrAbortHandler {
			t.Errorf("recovered %v", cause)
		}
	}()
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/fall", nil))
}

func TestStatusOfASilentHandlerIsLogged(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		api.Handle("GET /silent", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		api.Handle("GET /hint", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte("short"))
		}))
		api.Handle("GET /written", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("abc"))
			_, _ = w.Write([]byte("def"))
		}))
	})
	for _, test := range []struct {
		path, size string
		status     float64
	}{{"/silent", "0", 200}, {"/hint", "5", 418}, {"/written", "6", 200}} {
		do(t, request(t, "GET", house.URL+test.path, nil))
		line, _ := house.log.next(t)
		if of := line["httpRequest"].(map[string]any); of["status"] != test.status || of["responseSize"] != test.size {
			t.Errorf("%s: logged %v", test.path, of)
		}
	}
}

func TestClientThatLeftIsNoError(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	house := open(t, func(api *httpapi.API) {
		huma.Register(api, operation("GET", "/wait"), func(ctx context.Context, _ *struct{}) (*said, error) {
			close(arrived)
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	ctx, leave := context.WithCancel(context.Background())
	go func() { <-arrived; leave() }()
	if _, err := http.DefaultClient.Do(request(t, "GET", house.URL+"/wait", nil).WithContext(ctx)); err == nil {
		t.Fatal("the client got an answer")
	}
	if line, text := house.log.next(t); line["severity"] != "INFO" || line["client_left"] != true {
		t.Errorf("logged %s", text)
	}
}

func TestOutsideOfWrapNothingBreaks(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	httpapi.Note(r.Context(), "team", "t1")
	httpapi.WriteProblem(w, r, fault.New(fault.NotFound, "gone", "It is gone."))
	if want := `{"type":"about:blank","title":"Not Found","status":404,"code":"gone","detail":"It is gone."}` + "\n"; w.Body.String() != want {
		t.Errorf("got %s", w.Body)
	}
}

func TestAddressWithoutAPortIsLoggedAsItIs(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	handler := httpapi.Wrap(http.NewServeMux(), slog.New(logging.NewHandler(&out, "auth", "")), time.Now, httpapi.Surroundings{})
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "@"
	handler.ServeHTTP(httptest.NewRecorder(), r)
	if !strings.Contains(out.String(), `"remoteIp":"@"`) {
		t.Errorf("logged %s", out.String())
	}
}

// say sends raw bytes and returns the answer.
func say(t *testing.T, address string, raw string) *http.Response {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if _, err := io.WriteString(connection, raw); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
