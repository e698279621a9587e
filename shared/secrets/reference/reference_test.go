package reference

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// world is a setting, with a Secret Manager that answers over HTTP.
type world struct {
	*Setting
	reads  atomic.Int64
	answer atomic.Pointer[func(http.ResponseWriter)]
	token  string
}

const name = "projects/p/secrets/s/versions/latest"

func open(t *testing.T, raw string) *world {
	t.Helper()
	w := &world{token: `{"access_token":"of the instance","expires_in":3599}`}
	w.holds("value\n", "")
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.reads.Add(1)
		if r.URL.Path != "/v1/"+name+":access" || r.Header.Get("Authorization") != "Bearer of the instance" {
			rw.WriteHeader(401)
			return
		}
		(*w.answer.Load())(rw)
	}))
	t.Cleanup(server.Close)
	w.Setting = newSetting("SENTRY_DSN", raw, server.Client(), server.URL+"/v1/", func(context.Context) (string, error) {
		if w.token == "" {
			return "", errors.New("not on this machine")
		}
		return w.token, nil
	})
	return w
}

func (w *world) holds(value, sum string) {
	if sum == "" {
		sum = fmt.Sprint(crc32.Checksum([]byte(value), crc32.MakeTable(crc32.Castagnoli)))
	}
	w.answers(200, fmt.Sprintf(`{"name":%q,"payload":{"data":%q,"dataCrc32c":%q}}`, name, base64.StdEncoding.EncodeToString([]byte(value)), sum))
}

func (w *world) does(answer func(http.ResponseWriter)) { w.answer.Store(&answer) }

func (w *world) answers(status int, body string) {
	w.does(func(rw http.ResponseWriter) { rw.WriteHeader(status); _, _ = rw.Write([]byte(body)) })
}

func TestPlainValueIsTheSettingItself(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "https://key@host/1", "sm:/almost"} {
		s := New("SENTRY_DSN", raw)
		if got, err := s.Get(t.Context()); got != raw || err != nil {
			t.Errorf("%q is read as %q, %v", raw, got, err)
		}
		if got, plain := s.Plain(); got != raw || !plain {
			t.Errorf("%q is no plain value", raw)
		}
	}
	if _, plain := New("SENTRY_DSN", "sm://"+name).Plain(); plain {
		t.Error("a reference passes for a value")
	}
}

func TestReferenceIsReadWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	w := open(t, "sm://"+name)
	if w.reads.Load() != 0 {
		t.Error("was read unasked")
	}
	for range 3 {
		if got, err := w.Get(t.Context()); got != "value" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if w.reads.Load() != 1 {
		t.Errorf("was read %d times", w.reads.Load())
	}
	w.holds("another", "")
	w.Forget()
	if got, err := w.Get(t.Context()); got != "another" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFailuresSayWhatIsWrongAndAreNotRemembered(t *testing.T) {
	t.Parallel()
	for says, fail := range map[string]func(*world){
		"403 PERMISSION_DENIED: grant it": func(w *world) {
			w.answers(403, `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"grant it"}}`)
		},
		"404 NOT_FOUND":  func(w *world) { w.answers(404, `{"error":{"status":"NOT_FOUND","message":"no such secret"}}`) },
		"answered 502":   func(w *world) { w.answers(502, `<html>hunter2`) },
		"cannot be read": func(w *world) { w.answers(200, `{"payload":{"data":"hunter2!"}}`) },
		"damaged":        func(w *world) { w.holds("hunter2", "1") },
		"unexpected EOF": func(w *world) {
			w.does(func(rw http.ResponseWriter) { rw.Header().Set("Content-Length", "9"); rw.WriteHeader(200) })
		},
		"EOF":                 func(w *world) { w.does(func(http.ResponseWriter) { panic(http.ErrAbortHandler) }) },
		"not on this machine": func(w *world) { w.token = "" },
		"no token":            func(w *world) { w.token = `{"error":"hunter2"}` },
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			w := open(t, "sm://"+name)
			fail(w)
			_, err := w.Get(t.Context())
			if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "SENTRY_DSN") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v", err)
			}
			w.token = `{"access_token":"of the instance"}`
			w.holds("good", "")
			if got, err := w.Get(t.Context()); got != "good" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	w := open(t, "sm://%zz")
	if _, err := w.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "write sm://projects/P") {
		t.Errorf("got %v", err)
	}
}
