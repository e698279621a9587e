package httpapi_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// doorFrom is a frame that reads clients' addresses as proxies says, around a
// handler that writes what it would tell the next frame, and what it takes a
// request for itself.
func doorFrom(t *testing.T, proxies httpapi.Proxies) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	httpapi.New(mux, 0).Relay("POST /next", time.Minute, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpapi.Introduce(w.Header(), r)
		fmt.Fprint(w, r.Host, " ", httpapi.ClientOf(r.Context()))
	}))
	return httpapi.Wrap(mux, slog.New(slog.DiscardHandler), time.Now, httpapi.Surroundings{Proxies: proxies})
}

// What one frame introduces, the next one believes, and only where it is told that
// the door stands before it.
func TestFrameBehindTheDoorBelievesIt(t *testing.T) {
	t.Parallel()
	first := httptest.NewRequest("POST", "/next", nil)
	first.Host, first.RemoteAddr = "dash.example", "192.0.2.1:4711"
	first.Header.Set("X-Forwarded-Proto", "https")
	told := httptest.NewRecorder()
	doorFrom(t, httpapi.Proxies{}).ServeHTTP(told, first)
	id := told.Header().Get("X-Request-Id")

	for name, test := range map[string]struct {
		proxies  httpapi.Proxies
		believed bool
	}{
		"behind the door":   {httpapi.Proxies{Hops: 1, Header: httpapi.ClientHeader}, true},
		"in other letters":  {httpapi.Proxies{Header: strings.ToLower(httpapi.ClientHeader)}, true},
		"behind others":     {httpapi.Proxies{Hops: 1}, false},
		"before the world":  {httpapi.Proxies{}, false},
		"by another header": {httpapi.Proxies{Header: "X-Client-Address"}, false},
	} {
		second := httptest.NewRequest("POST", "/next", nil)
		second.Host, second.RemoteAddr = "auth.internal", "10.0.0.1:1"
		second.Header = told.Header().Clone()
		second.Header.Set("Origin", "https://dash.example") // which is the page's own, seen from the door
		w := httptest.NewRecorder()
		doorFrom(t, test.proxies).ServeHTTP(w, second)
		if !test.believed {
			if w.Code != 403 || w.Header().Get("X-Request-Id") == id {
				t.Errorf("%s: answered %d %s", name, w.Code, w.Body)
			}
			continue
		}
		if w.Body.String() != "dash.example 192.0.2.1" || w.Header().Get("X-Request-Id") != id {
			t.Errorf("%s: answered %d %s to %s, not %s", name, w.Code, w.Body, w.Header().Get("X-Request-Id"), id)
		}
		for _, header := range []string{httpapi.ClientHeader, "X-Dashboard-Host", "X-Dashboard-Request", "X-Forwarded-Proto"} {
			if diff := cmp.Diff(told.Header()[header], w.Header()[header]); diff != "" {
				t.Errorf("%s: %s is not told on: %s", name, header, diff)
			}
		}
	}

	odd := httptest.NewRequest("POST", "/next", nil)
	odd.Header.Set("X-Dashboard-Request", "not an id of ours")
	w := httptest.NewRecorder()
	doorFrom(t, httpapi.Proxies{Header: httpapi.ClientHeader}).ServeHTTP(w, odd)
	if id := w.Header().Get("X-Request-Id"); len(id) != 16 || w.Header().Get(httpapi.ClientHeader) != "" || w.Header().Get("X-Forwarded-Proto") != "http" || !strings.HasPrefix(w.Body.String(), "example.com ") {
		t.Errorf("answered %s with %v", w.Body, w.Header())
	}
}

func TestRelayedRoutesAreAnothersAndEndInTime(t *testing.T) {
	t.Parallel()
	house := open(t, func(api *httpapi.API) {
		api.Relay("GET /slow", 10*time.Millisecond, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			httpapi.WriteProblem(w, r, r.Context().Err())
		}))
		if served := api.Served(); len(served) != 0 {
			t.Errorf("lists %v", served)
		}
	})
	if answer, body := do(t, request(t, "GET", house.URL+"/slow", nil)); answer.StatusCode != 503 {
		t.Errorf("answered %d %s", answer.StatusCode, body)
	}
}

func TestBodiesThatCannotBePassedOn(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"request_too_large": &http.MaxBytesError{Limit: 7},
		"request_too_slow":  os.ErrDeadlineExceeded,
		"malformed_request": io.ErrUnexpectedEOF,
	} {
		w := httptest.NewRecorder()
		httpapi.WriteBodyProblem(w, httptest.NewRequest("POST", "/", nil), err, 7)
		if !strings.Contains(w.Body.String(), `"code":"`+want+`"`) {
			t.Errorf("%v: %s", err, w.Body)
		}
	}
}
