package function_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// plain is a function that wants no settings of its own.
var plain = function.Function{Name: "plain", Routes: func(api *httpapi.API, _ *function.Env) {
	api.Handle("POST /thing", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}}

// A wrong origin would have browsers refuse the product, or let another's pages
// in: no instance takes traffic with one.
func TestWrongOriginsStopTheStart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ setting, value string }{
		"no scheme":         {"PUBLIC_ORIGIN", "dash.example.com"},
		"a path":            {"PUBLIC_ORIGIN", "https://dash.example.com/"},
		"several":           {"PUBLIC_ORIGIN", "https://dash.example.com,https://front.example.net"},
		"plain http":        {"PUBLIC_ORIGIN", "http://dash.example.com"},
		"everybody":         {"ALLOWED_ORIGINS", "*"},
		"hidden pages":      {"ALLOWED_ORIGINS", "null"},
		"a pattern":         {"ALLOWED_ORIGINS", "https://front.example.net,https://*.example.com"},
		"others' plain one": {"ALLOWED_ORIGINS", "http://front.example.net"},
	} {
		var log bytes.Buffer
		listen := func(string, string) error { t.Errorf("%s: it listens", name); return nil }
		code := function.Run(context.Background(), plain, lookup(test.setting, test.value), &log, listen, time.Second)
		if code != 2 || !strings.Contains(log.String(), "\n"+test.setting+": \"") {
			t.Errorf("%s: exit code %d, log: %s", name, code, &log)
		}
	}
	_, err := function.Handler(newEnv("PUBLIC_ORIGIN", "x", "TRUSTED_PROXIES", "y"), greeter)
	for _, setting := range []string{"PUBLIC_ORIGIN", "TRUSTED_PROXIES", "GREETING", "STORE_URL"} {
		if err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s is not named: %v", setting, err)
		}
	}
}

func TestOriginsReachTheFrame(t *testing.T) {
	t.Parallel()
	handler, err := function.Handler(newEnv("PUBLIC_ORIGIN", "https://dash.example.com", "ALLOWED_ORIGINS", "https://front.example.net, http://localhost:5173"), plain)
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]struct {
		status int
		shared string
	}{
		"https://dash.example.com":  {200, ""},
		"https://front.example.net": {200, "https://front.example.net"},
		"http://localhost:5173":     {200, "http://localhost:5173"},
		"https://example.com":       {403, ""}, // the host of the request, which another setting overrules
		"https://evil.example":      {403, ""},
	} {
		r := httptest.NewRequest("POST", "https://example.com/thing", nil)
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if shared := w.Header().Get("Access-Control-Allow-Origin"); w.Code != want.status || shared != want.shared {
			t.Errorf("%s: %d, shared with %q, want %+v", origin, w.Code, shared, want)
		}
	}
}
