package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

func TestBodyThatCannotBeReadIsAProblemThatSaysWhatToChange(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) { signIn(api) })
	const json = "application/json"
	good := `{"email":"a@example.com","password":"correct horse"}`
	exact := func(bytes int) string { return good + strings.Repeat(" ", bytes-len(good)) }
	for _, test := range []struct {
		name, mediaType, encoding, body string
		status                          int
		code, detail                    string
		fields                          []httpapi.ProblemField
	}{
		{name: "good", mediaType: json, body: good, status: 200},
		{name: "with charset", mediaType: json + "; charset=UTF-8", body: good, status: 200},
		{name: "identity", mediaType: json, encoding: "identity", body: good, status: 200},
		{name: "just not too large", mediaType: json, body: exact(httpapi.JSONBodyBytes), status: 200},
		{name: "no type", body: good, status: 415, code: "unsupported_media_type", detail: "Content-Type: application/json"},
		{name: "text", mediaType: "text/plain", body: good, status: 415, code: "unsupported_media_type", detail: "Content-Type: application/json"},
		{name: "a form", mediaType: "application/x-www-form-urlencoded", body: "email=a", status: 415, code: "unsupported_media_type"},
		{name: "a broken type", mediaType: "application/json; charset", body: good, status: 415, code: "unsupported_media_type"},
		{name: "cbor", mediaType: "application/cbor", body: good, status: 415, code: "unsupported_media_type"},
		{name: "latin-1", mediaType: json + "; charset=iso-8859-1", body: good, status: 415, code: "unsupported_media_type", detail: "UTF-8"},
		{name: "zipped", mediaType: json, encoding: "gzip", body: good, status: 415, code: "unsupported_media_type", detail: "without Content-Encoding"},
		{name: "empty", mediaType: json, status: 400, code: "malformed_request", detail: "empty"},
		{name: "blank", mediaType: json, body: " \n", status: 400, code: "malformed_request", detail: "empty"},
		{name: "not JSON", mediaType: json, body: `{"password": hunter2}`, status: 400, code: "malformed_request", detail: "at byte 13"},
		{name: "cut off", mediaType: json, body: good[:20], status: 400, code: "malformed_request", detail: "it ends too early, at byte 20"},
		{name: "two values", mediaType: json, body: good + good, status: 400, code: "malformed_request", detail: "something follows it, at byte"},
		{name: "a number out of range", mediaType: json, body: `{"email":1e999}`, status: 400, code: "malformed_request", detail: "a number in it is too large"},
		{name: "a name twice", mediaType: json, body: `{"email":"a@example.com","password":"hunter2 hunter2","password":"correct horse"}`, status: 400, code: "malformed_request", detail: "one name twice"},
		{name: "half a character", mediaType: json, body: `{"email":"a@example.com","password":"correct horse\ud800"}`, status: 400, code: "malformed_request", detail: "cannot be read on"},
		{name: "a whole character", mediaType: json, body: `{"email":"a@example.com","password":"correct horse\ud83d\ude00"}`, status: 200},
		{name: "zipped, it says second", mediaType: json, encoding: "identity,gzip", body: good, status: 415, code: "unsupported_media_type"},
		{name: "too deep", mediaType: json, body: strings.Repeat("[", 20000), status: 400, code: "malformed_request"},
		{name: "not UTF-8", mediaType: json, body: "{\"email\":\"\xff\"}", status: 400, code: "malformed_request", detail: "UTF-8"},
		{name: "too large", mediaType: json, body: exact(httpapi.JSONBodyBytes + 1), status: 413, code: "request_too_large", detail: "65536 bytes"},
		{name: "not an object", mediaType: json, body: `"hunter2"`, status: 422, code: "invalid_request", fields: []httpapi.ProblemField{{Location: "body", Message: "expected object"}}},
		{name: "null", mediaType: json, body: `null`, status: 422, code: "invalid_request", fields: []httpapi.ProblemField{{Location: "body", Message: "expected object"}}},
		{name: "NUL", mediaType: json, body: `{"email":"a\u0000","password":"correct horse"}`, status: 422, code: "invalid_request", fields: []httpapi.ProblemField{{Location: "body.email", Message: "must not contain NUL characters"}}},
		{name: "NUL in a list", mediaType: json, body: `{"email":["a",["\u0000"]]}`, status: 422, code: "invalid_request", fields: []httpapi.ProblemField{{Location: "body.email[1][0]", Message: "must not contain NUL characters"}}},
		{name: "NUL in a name", mediaType: json, body: `{"in":{"a\u0000":1}}`, status: 422, code: "invalid_request", fields: []httpapi.ProblemField{{Location: "body.in", Message: "must not contain NUL characters"}}},
		{name: "raw NUL", mediaType: json, body: "{\"email\":\"a\x00\"}", status: 400, code: "malformed_request"},
		{name: "an unknown field", mediaType: json, body: `{"email":"a@example.com","password":"correct horse","admin":true}`, status: 422, code: "invalid_request", fields: []httpapi.ProblemField{{Location: "body.admin", Message: "unexpected property"}}},
		{name: "another case", mediaType: json, body: `{"email":"a@example.com","password":"correct horse","Email":"b@example.com"}`, status: 422, code: "invalid_request", fields: []httpapi.ProblemField{{Location: "body.Email", Message: "unexpected property"}}},
		{name: "values out of bounds", mediaType: json, body: `{"email":"hunter2 hunter2","password":"hunter2"}`, status: 422, code: "invalid_request", detail: "errors names each", fields: []httpapi.ProblemField{
			{Location: "body.email", Message: "expected string to be RFC 5322 email"},
			{Location: "body.password", Message: "expected length >= 12"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := request(t, "POST", house.URL+"/sign-in", strings.NewReader(test.body))
			if test.mediaType != "" {
				r.Header.Set("Content-Type", test.mediaType)
			}
			if test.encoding != "" {
				r.Header["Content-Encoding"] = strings.Split(test.encoding, ",")
			}
			answer, body := do(t, r)
			if answer.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", answer.StatusCode, test.status, body)
			}
			if strings.Contains(body, "hunter2") {
				t.Errorf("the answer repeats what was sent: %s", body)
			}
			if test.status == 200 {
				return
			}
			p := problem(t, answer, body)
			if p.Code != test.code || !strings.Contains(p.Detail, test.detail) {
				t.Errorf("code %q, detail %q; want %q, %q", p.Code, p.Detail, test.code, test.detail)
			}
			if diff := cmp.Diff(test.fields, p.Errors); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatPeopleSentIsNotLogged(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) { signIn(api) })
	for _, body := range []string{`{"password": hunter2}`, `{"email":"hunter2","password":"hunter2"}`, `{"hunter2":1}`} {
		do(t, request(t, "POST", house.URL+"/sign-in?hunter2=hunter2", strings.NewReader(body), "Content-Type", "application/json"))
		do(t, request(t, "POST", house.URL+"/sign-in", strings.NewReader(body), "Content-Type", "application/json"))
		for range 2 {
			if _, line := house.log.next(t); strings.Contains(line, "hunter2") {
				t.Errorf("logged %s", line)
			}
		}
	}
}

func TestOperationMayReadMore(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) { signIn(api, func(op *huma.Operation) { op.MaxBodyBytes = 100 << 10 }) })
	body := `{"email":"a@example.com","password":"correct horse"}` + strings.Repeat(" ", 90<<10)
	if answer, text := do(t, request(t, "POST", house.URL+"/sign-in", strings.NewReader(body), "Content-Type", "application/json")); answer.StatusCode != 200 {
		t.Errorf("%d %s", answer.StatusCode, text)
	}
}

func TestSlowBodyIsGivenUp(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		signIn(api, func(op *huma.Operation) { op.BodyReadTimeout = 50 * time.Millisecond })
	})
	answer := say(t, house.Listener.Addr().String(), "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != 408 {
		t.Fatalf("%d %s", answer.StatusCode, body)
	}
	if p := problem(t, answer, string(body)); p.Code != "request_too_slow" {
		t.Errorf("code %q", p.Code)
	}
}

func TestBodyThatBreaksOffIsMalformed(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) { signIn(api) })
	connection, err := net.Dial("tcp", house.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	_, _ = io.WriteString(connection, "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if line, text := house.log.next(t); line["httpRequest"].(map[string]any)["status"] != 400.0 {
		t.Errorf("logged %s", text)
	}
}

// TestAnswerMayTakeLongerThanTheBody guards against a read deadline that is left
// standing: the server reads on while the handler works, to notice that the
// client left, and would take the deadline for that.
func TestAnswerMayTakeLongerThanTheBody(t *testing.T) {
	t.Parallel()
	const bodyTime = 20 * time.Millisecond
	house := open(t, func(api *httpapi.API) {
		huma.Register(api, operation("POST", "/work", func(op *huma.Operation) { op.BodyReadTimeout = bodyTime }),
			func(ctx context.Context, _ *struct{ Body credentials }) (*said, error) {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(10 * bodyTime):
					return &said{"done"}, nil
				}
			})
	})
	answer, body := do(t, request(t, "POST", house.URL+"/work", strings.NewReader(`{"email":"a@example.com","password":"correct horse"}`), "Content-Type", "application/json"))
	if answer.StatusCode != 200 {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}

func TestURLThatCannotBeMeantIsRefused(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		huma.Register(api, operation("GET", "/of/{name}"), func(_ context.Context, in *struct {
			Name string `path:"name"`
			From string `query:"from"`
		}) (*said, error) {
			return &said{in.Name + in.From}, nil
		})
		api.Handle("GET /pages/{file}", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	})
	nul := "must not contain NUL characters"
	for _, test := range []struct {
		path   string
		status int
		fields []httpapi.ProblemField
	}{
		{"/of/a?from=b", 200, nil},
		{"/of/a%2Fb?from=%C3%A9", 200, nil},
		{"/of/a?from=%00", 422, []httpapi.ProblemField{{Location: "query.from", Message: nul}}},
		{"/of/a?from=%ff", 400, nil},
		{"/of/a?from=b&from=c", 422, []httpapi.ProblemField{{Location: "query.from", Message: "must be given once"}}},
		{"/of/a?from=%c3&to=%a9", 400, nil},
		{"/of/a?from=%00&to=%ff", 400, nil},
		{"/of/a?%00=b", 400, nil},
		{"/of/a?%ff=b", 400, nil},
		{"/of/a?from=%zz", 400, nil},
		{"/of/a?from=a;b", 400, nil},
		{"/of/a%00", 422, []httpapi.ProblemField{{Location: "path", Message: nul}}},
		{"/of/%ff", 400, nil},
		{"/pages/%ff", 400, nil},
		{"/pages/a%00", 422, []httpapi.ProblemField{{Location: "path", Message: nul}}},
		{"/of/a?to=b", 422, []httpapi.ProblemField{{Location: "query.to", Message: "unknown query parameter"}}},
	} {
		t.Run(test.path, func(t *testing.T) {
			t.Parallel()
			answer := say(t, house.Listener.Addr().String(), "GET "+test.path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", answer.StatusCode, test.status, body)
			}
			if test.status == 200 {
				return
			}
			p := problem(t, answer, string(body))
			if diff := cmp.Diff(test.fields, p.Errors); diff != "" {
				t.Error(diff)
			}
			if code := map[int]string{400: "malformed_request", 422: "invalid_request"}[test.status]; p.Code != code {
				t.Errorf("code %q, want %q", p.Code, code)
			}
		})
	}
}

// FuzzBody holds that no body is a defect: it is taken, or refused with a
// problem that says why.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{"email":"a@example.com","password":"correct horse"}`, ``, `{`, `null`, `[]`, `0`, `{"email":"\u0000"}`, `{"email":"\ud800","password":"correct horse"}`,
		"\xff", `{"a":1e999}`, `{"email":{"email":{}}}`, `{"":""}`, "\ufeff{}", `{"password":"correct horse","password":"correct horse"}`,
	} {
		f.Add(seed)
	}
	var seen *credentials
	mux := http.NewServeMux()
	api := httpapi.New(mux, 0)
	huma.Register(api, operation("POST", "/sign-in"), func(_ context.Context, in *struct{ Body credentials }) (*said, error) {
		seen = &in.Body
		return &said{"welcome"}, nil
	})
	f.Fuzz(func(t *testing.T, body string) {
		seen = nil
		r := httptest.NewRequest("POST", "/sign-in", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		switch w.Code {
		case 200:
			if seen == nil || !textual(seen.Email) || !textual(seen.Password) || len(seen.Password) < 12 {
				t.Errorf("took %q as %+v", body, seen)
			}
		case 400, 413, 422:
			if seen != nil || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("refused %q wrongly: %v %s", body, seen, w.Body)
			}
		default:
			t.Errorf("%q is answered %d %s", body, w.Code, w.Body)
		}
	})
}

// FuzzURL holds that a handler never sees text that PostgreSQL cannot hold, and
// that no address is a defect.
func FuzzURL(f *testing.F) {
	for _, seed := range [][2]string{{"a", "from=b"}, {"%00", ""}, {"%ff", "from=%ff"}, {"a", "from=%00&%00=1"}, {"a", ";"}, {"..", "from=1&from=2"}, {"%2e%2e", "%"}, {"", "&&=="}, {"%2F", "from=+"}} {
		f.Add(seed[0], seed[1])
	}
	var seen []string
	mux := http.NewServeMux()
	huma.Register(httpapi.New(mux, 0), operation("GET", "/of/{name}"), func(_ context.Context, in *struct {
		Name string `path:"name"`
		From string `query:"from"`
	}) (*said, error) {
		seen = []string{in.Name, in.From}
		return &said{"ok"}, nil
	})
	handler := httpapi.Wrap(mux, discard, time.Now, httpapi.Surroundings{})
	f.Fuzz(func(t *testing.T, name, query string) {
		u, err := url.ParseRequestURI("/of/" + name)
		if err != nil {
			return // the server refuses it
		}
		u.RawQuery = query
		seen = nil
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, &http.Request{Method: "GET", URL: u, Host: "x", RequestURI: "/", Header: http.Header{}})
		for _, text := range seen {
			if !textual(text) {
				t.Errorf("the handler saw %q", seen)
			}
		}
		if ok := w.Code == 200 && seen != nil || (w.Code == 400 || w.Code == 404 || w.Code == 422) && seen == nil; !ok {
			t.Errorf("%q?%q is answered %d, seen %q", name, query, w.Code, seen)
		}
	})
}

func textual(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

func ExampleAPI() {
	mux := http.NewServeMux()
	api := httpapi.New(mux, time.Second)
	huma.Register(api, huma.Operation{OperationID: "greet", Method: "GET", Path: "/greet", Security: httpapi.Public},
		func(context.Context, *struct{}) (*said, error) { return &said{"hello"}, nil })
	for _, route := range api.Served() {
		fmt.Println(route.Method, route.Path, route.Access)
	}
	// Output: GET /greet public
}
