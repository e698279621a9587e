package web

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

func TestTakesGzip(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		accept []string
		want   bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"gzip"}, true},
		{[]string{"GZip"}, true},
		{[]string{"x-gzip"}, true},
		{[]string{"br", "gzip"}, true},
		{[]string{"gzip, deflate, br, zstd"}, true},
		{[]string{"deflate ,gzip ; q=0.5"}, true},
		{[]string{"gzip;q=0.001"}, true},
		{[]string{"gzip;q=0"}, false},
		{[]string{"gzip; Q=0.000, *"}, false},
		{[]string{"*, gzip;q=0"}, false},
		{[]string{"*"}, true},
		{[]string{"*;q=0"}, false},
		{[]string{"identity"}, false},
		{[]string{"gzip;q=none"}, false},
		{[]string{"gzipped"}, false},
	} {
		if got := takesGzip(tt.accept); got != tt.want {
			t.Errorf("takesGzip(%q) = %v, want %v", tt.accept, got, tt.want)
		}
	}
}

// Whatever a client sends, the answer is one of the two forms, whole.
func FuzzNegotiation(f *testing.F) {
	f.Add("gzip, br", `"a", W/"tag-gz"`)
	f.Add("*;q=0.1;q=;;", "*")
	f.Add("gzip;q=1e999, ,", `"tag`)
	f.Fuzz(func(t *testing.T, accept, ifNoneMatch string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Accept-Encoding"], r.Header["If-None-Match"] = []string{accept}, []string{ifNoneMatch}
		w := httptest.NewRecorder()
		file{media: "text/plain", cache: revalidated, tag: "tag", plain: []byte("plain"), compressed: []byte("zip")}.serve(w, r)
		forms := map[string]string{"": "plain", "gzip": "zip"}
		switch body := w.Body.String(); w.Code {
		case http.StatusOK:
			if body != forms[w.Header().Get("Content-Encoding")] || w.Header().Get("Content-Length") != strconv.Itoa(len(body)) {
				t.Errorf("Content-Encoding %q with %q", w.Header().Get("Content-Encoding"), body)
			}
		case http.StatusNotModified:
			if body != "" || !strings.Contains(ifNoneMatch, "*") && !strings.Contains(ifNoneMatch, w.Header().Get("ETag")) {
				t.Errorf("304 for %q", ifNoneMatch)
			}
		default:
			t.Errorf("status %d", w.Code)
		}
	})
}

func TestPageOutsideTheBuild(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	page("gone.html").ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d", w.Code)
	}
}
