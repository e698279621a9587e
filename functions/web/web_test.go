package web_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/devops-dashboard/dashboard/functions/web"
	"github.com/devops-dashboard/dashboard/shared/function"
	"github.com/devops-dashboard/dashboard/shared/httpapi"
)

// get asks the function for path; headers are pairs of name and value.
func get(t *testing.T, method, path string, headers ...string) *http.Response {
	t.Helper()
	handler, err := function.Handler(function.NewEnv(slog.New(slog.DiscardHandler), time.Now, nil), web.Function)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, answer *http.Response) []byte {
	t.Helper()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// addresses are what the function serves: its own routes and what its pages load.
func addresses(t *testing.T) map[string]string {
	t.Helper()
	media := map[string]string{
		"/":                    "text/html; charset=utf-8",
		"/api/docs":            "text/html; charset=utf-8",
		"/api/openapi.json":    "application/json",
		"/favicon.svg":         "image/svg+xml",
		"/assets/licences.txt": "text/plain; charset=utf-8",
	}
	loads := regexp.MustCompile(`(?:src|href)="(/assets/[^"]+\.(js|css))"`)
	for _, page := range []string{"/", "/api/docs"} {
		found := loads.FindAllStringSubmatch(string(body(t, get(t, "GET", page))), -1)
		if len(found) != 2 {
			t.Fatalf("%s loads %v, want a script and a style", page, found)
		}
		for _, load := range found {
			media[load[1]] = map[string]string{"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}[load[2]]
		}
	}
	return media
}

func TestEverythingIsServed(t *testing.T) {
	t.Parallel()
	for path, media := range addresses(t) {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			plain, zipped := get(t, "GET", path), get(t, "GET", path, "Accept-Encoding", "br, gzip")
			for form, answer := range map[string]*http.Response{"plain": plain, "zipped": zipped} {
				if answer.StatusCode != http.StatusOK {
					t.Fatalf("%s: status %d", form, answer.StatusCode)
				}
				want := map[string]string{
					"Content-Type":            media,
					"X-Content-Type-Options":  "nosniff",
					"Referrer-Policy":         "no-referrer",
					"Vary":                    "Accept-Encoding",
					"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
					"Cache-Control":           "no-cache",
				}
				if strings.HasSuffix(path, ".js") || strings.HasSuffix(path, ".css") {
					want["Cache-Control"] = "public, max-age=31536000, immutable"
				}
				for name, value := range want {
					if got := answer.Header.Get(name); got != value {
						t.Errorf("%s: %s is %q, want %q", form, name, got, value)
					}
				}
			}
			if got := plain.Header.Get("Content-Encoding"); got != "" {
				t.Errorf("plain: Content-Encoding is %q", got)
			}
			if got := zipped.Header.Get("Content-Encoding"); got != "gzip" {
				t.Errorf("zipped: Content-Encoding is %q", got)
			}
			content := body(t, plain)
			unzip, err := gzip.NewReader(zipped.Body)
			if err != nil {
				t.Fatal(err)
			}
			unzipped, err := io.ReadAll(unzip)
			if err != nil || !bytes.Equal(unzipped, content) || len(content) == 0 {
				t.Errorf("the two forms differ: %d and %d bytes, %v", len(content), len(unzipped), err)
			}
		})
	}
}

func TestCopiesAreRevalidated(t *testing.T) {
	t.Parallel()
	for path := range addresses(t) {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			tags := map[string]string{}
			for _, accept := range []string{"identity", "gzip"} {
				tag := get(t, "GET", path, "Accept-Encoding", accept).Header.Get("ETag")
				tags[accept] = tag
				answer := get(t, "GET", path, "Accept-Encoding", accept, "If-None-Match", `"other", W/`+tag)
				if answer.StatusCode != http.StatusNotModified || len(body(t, answer)) != 0 || answer.Header.Get("ETag") != tag {
					t.Errorf("%s: status %d, ETag %s", accept, answer.StatusCode, answer.Header.Get("ETag"))
				}
				if answer.Header.Get("Cache-Control") == "" || answer.Header.Get("Vary") == "" {
					t.Errorf("%s: a 304 without %v", accept, answer.Header)
				}
				if answer := get(t, "GET", path, "Accept-Encoding", accept, "If-None-Match", `"other"`); answer.StatusCode != http.StatusOK {
					t.Errorf("%s: status %d for a copy that is stale", accept, answer.StatusCode)
				}
			}
			if tags["identity"] == tags["gzip"] {
				t.Errorf("both forms have the ETag %s", tags["gzip"])
			}
		})
	}
}

func TestHeadTellsWhatGetWould(t *testing.T) {
	t.Parallel()
	handler, err := function.Handler(function.NewEnv(slog.New(slog.DiscardHandler), time.Now, nil), web.Function)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	for path := range addresses(t) {
		head, err := http.Head(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = head.Body.Close()
		if want := int64(len(body(t, get(t, "GET", path)))); head.StatusCode != http.StatusOK || head.ContentLength != want {
			t.Errorf("HEAD %s: status %d, %d bytes, want %d", path, head.StatusCode, head.ContentLength, want)
		}
	}
}

// A range is not offered, so the whole is the right answer (RFC 9110, 14.2).
func TestRangesAreNotOffered(t *testing.T) {
	t.Parallel()
	for _, asked := range []string{"bytes=0-3", "bytes=9999999-", "lines=1-2", "bytes=-", "\x00"} {
		answer := get(t, "GET", "/favicon.svg", "Range", asked)
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Accept-Ranges") != "" {
			t.Errorf("Range %q: status %d", asked, answer.StatusCode)
		}
	}
}

func TestUnknownFilesAreProblems(t *testing.T) {
	t.Parallel()
	loaded := ""
	for path := range addresses(t) {
		if strings.HasSuffix(path, ".js") {
			loaded = path
		}
	}
	for _, tt := range []struct {
		path   string
		status int
	}{
		{"/assets/gone-ABCDEFGH.js", 404},
		{"/assets/app.html", 404}, // has an address of its own, with other caching
		{"/assets/favicon.svg", 404},
		{loaded + ".gz", 404},
		{"/assets/" + strings.ToUpper(strings.TrimPrefix(loaded, "/assets/")), 404},
		{"/assets/..%2Fweb.go", 404},
		{"/assets/..%2Fopenapi.json", 404},
		{"/assets/%00.js", 422},
		{"/assets/%FF.css", 400},
		{"/assets/", 404},
		{"/assets/" + strings.Repeat("a", 100_000) + ".js", 404},
		{"/nowhere", 404},
		{"/api/docs/", 404},
	} {
		answer := get(t, "GET", tt.path, "Accept-Encoding", "gzip")
		var problem httpapi.Problem
		err := json.Unmarshal(body(t, answer), &problem)
		if answer.StatusCode != tt.status || err != nil || problem.Detail == "" || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%.60s: status %d, %s, %v", tt.path, answer.StatusCode, answer.Header.Get("Content-Type"), err)
		}
		if caching := answer.Header.Get("Cache-Control"); caching != "no-store" {
			t.Errorf("%.60s: a problem with Cache-Control %q", tt.path, caching)
		}
	}
}

func TestWritesAreRefused(t *testing.T) {
	t.Parallel()
	for path := range addresses(t) {
		if answer := get(t, "POST", path); answer.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: status %d", path, answer.StatusCode)
		}
	}
}

func TestBrowsersStayOnHTTPS(t *testing.T) {
	t.Parallel()
	if got := get(t, "GET", "/").Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("over http: %q", got)
	}
	if got := get(t, "GET", "/", "X-Forwarded-Proto", "https").Header.Get("Strict-Transport-Security"); got == "" {
		t.Error("behind a proxy that speaks https: no Strict-Transport-Security")
	}
	if got := get(t, "GET", "https://dashboard.example/").Header.Get("Strict-Transport-Security"); got == "" {
		t.Error("over TLS: no Strict-Transport-Security")
	}
}

// The deployed function only hands out files: what builds them and what talks to
// dependencies stays out of it.
func TestLinksLittle(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "./cmd").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, unwanted := range []string{
		"github.com/evanw/esbuild", "github.com/chromedp", "github.com/jackc/pgx", "github.com/redis/go-redis",
		"cloud.google.com/go/secretmanager", "cloud.google.com/go/cloudsqlconn", "google.golang.org/grpc",
	} {
		if strings.Contains(string(out), unwanted) {
			t.Errorf("web links %s", unwanted)
		}
	}
}
