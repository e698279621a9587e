package httpapi_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// A body that was announced and does not come must not keep the answer back: the
// server would read to its end first.
func TestAnswerDoesNotWaitForABodyThatNobodyReads(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		signIn(api)
		huma.Register(api, operation("GET", "/hello"), func(context.Context, *struct{}) (*said, error) { return &said{"hello"}, nil })
		api.Handle("GET /silent", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		api.Handle("GET /page", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") }))
	})
	for request, want := range map[string]string{
		"POST /nope":    "404",
		"POST /hello":   "405",
		"GET /hello":    "200",
		"GET /page":     "200",
		"POST /sign-in": "415",
	} {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			connection, err := net.Dial("tcp", strings.TrimPrefix(house.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = connection.Close() }()
			if _, err := io.WriteString(connection, request+" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
			if err != nil {
				t.Fatal(err)
			}
			// Only a connection that ends afterwards is answered on at once.
			if !strings.HasPrefix(answer.Status, want) || !answer.Close {
				t.Errorf("%s, the connection is closed: %t", answer.Status, answer.Close)
			}
		})
	}
}

func TestConnectionOutlivesAWholeBody(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) { signIn(api) })
	r := request(t, "POST", house.URL+"/sign-in", strings.NewReader(`{"email":"a@example.com","password":"correct horse"}`))
	r.Header.Set("Content-Type", "application/json")
	answer, err := house.Client().Do(r) // which would keep the connection
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != 200 || answer.Close {
		t.Errorf("%d, the connection is closed: %t", answer.StatusCode, answer.Close)
	}
}

// connection is a connection's deadlines as they were set last.
type connection struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (c *connection) SetReadDeadline(at time.Time) error {
	c.read = append(c.read, at)
	return nil
}

func (c *connection) SetWriteDeadline(at time.Time) error {
	c.write = append(c.write, at)
	return nil
}

func TestRequestsHaveDeadlines(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	api := httpapi.New(mux, time.Minute)
	read := func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }
	api.Handle("POST /page", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if until, ok := r.Context().Deadline(); !ok || time.Until(until) > time.Minute {
			t.Errorf("a page is made until %s, %t", until, ok)
		}
		read(w, r)
	}))
	huma.Register(api, operation("GET", "/hello"), func(context.Context, *struct{}) (*said, error) { return &said{"hello"}, nil })
	handler := httpapi.Wrap(mux, discard, time.Now, httpapi.Surroundings{})
	within := func(at time.Time, least, most time.Duration) bool {
		left := time.Until(at)
		return left > least && left <= most
	}
	ask := func(method, path, body string) *connection {
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		handler.ServeHTTP(c, httptest.NewRequest(method, path, strings.NewReader(body)))
		return c
	}
	if c := ask("GET", "/nope", ""); len(c.read) != 0 || len(c.write) != 1 || !within(c.write[0], 20*time.Second, 30*time.Second) {
		t.Errorf("what has no route: reads until %v, writes until %v", c.read, c.write)
	}
	if c := ask("GET", "/hello", ""); len(c.read) != 0 || len(c.write) != 2 || !within(c.write[1], 80*time.Second, 90*time.Second) {
		t.Errorf("an operation: reads until %v, writes until %v", c.read, c.write)
	}
	c := ask("POST", "/page", "body")
	if len(c.read) != 2 || !within(c.read[0], 3*time.Second, 5*time.Second) || !c.read[1].IsZero() || len(c.write) != 2 || !within(c.write[1], 80*time.Second, 90*time.Second) {
		t.Errorf("a page with a body: reads until %v, writes until %v", c.read, c.write)
	}
}

func TestDocumentNamesWhatTheFrameAnswers(t *testing.T) {
	t.Parallel()
	api := httpapi.New(http.NewServeMux(), 0)
	signIn(api)
	guarded := operation("GET", "/guarded/{id}")
	guarded.Security = httpapi.Bearer
	huma.Register(api, guarded, func(context.Context, *struct {
		ID uuid.UUID `path:"id"`
	}) (*said, error) {
		return nil, nil
	})
	item := api.OpenAPI().Paths
	for _, test := range []struct {
		op       *huma.Operation
		statuses string
	}{
		{item["/sign-in"].Post, "400 403 408 413 415 422"},
		{item["/guarded/{id}"].Get, "400 401 403 422"},
	} {
		for _, status := range strings.Fields(test.statuses) {
			if answer := test.op.Responses[status]; answer == nil || answer.Content["application/problem+json"] == nil {
				t.Errorf("%s does not tell of %s", test.op.Path, status)
			}
		}
	}
}

func TestWrongIDIsToldWhatOneLooksLike(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		huma.Register(api, operation("GET", "/of/{id}"), func(context.Context, *struct {
			ID uuid.UUID `path:"id" format:"uuid"`
		}) (*said, error) {
			return &said{"ok"}, nil
		})
	})
	for _, id := range []string{"one", "11111111-1111-4111-8111-11111111111"} {
		answer, body := do(t, request(t, "GET", house.URL+"/of/"+id, nil))
		p := problem(t, answer, body)
		if answer.StatusCode != 422 || !strings.Contains(p.Errors[0].Message, "UUID") || strings.Contains(body, "invalid") && strings.Contains(body, "length") {
			t.Errorf("%d %s", answer.StatusCode, body)
		}
	}
}
